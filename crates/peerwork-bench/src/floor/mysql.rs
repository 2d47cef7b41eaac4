//! MariaDB: a claim deletes and is told what it deleted; rows go in as lists of parameters.
//!
//! A second claimer of a lane waits for the first one's transaction. The tasks' own rows are read after it: they never
//! change.

use super::{OUTPUT, Pipeline, Scope, Taken};
use crate::raw;
use anyhow::ensure;
use async_trait::async_trait;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};
use std::collections::HashMap;
use uuid::Uuid;

const NOW: &str = "timestampdiff(microsecond, '1970-01-01 00:00:00', utc_timestamp(6))";

pub struct Connection {
    link: MySqlConnection,
    scope: Scope,
    /// Up to here everything is claimed. Without the id: that form is no range of the index here.
    bound: (i32, i64),
}

impl Connection {
    pub async fn open(url: &str, scope: Scope) -> anyhow::Result<Self> {
        Ok(Self {
            link: raw::mysql(url).await?,
            scope,
            bound: (i32::MIN, i64::MIN),
        })
    }

    async fn run(&mut self, text: &'static str) -> anyhow::Result<()> {
        sqlx::raw_sql(text).execute(&mut self.link).await?;
        Ok(())
    }

    async fn delete_ready(&mut self, limit: usize) -> anyhow::Result<Vec<MySqlRow>> {
        let text = self.scope.sql(&format!(
            "delete from ~ready where lane = ? and (rank_no > ? or (rank_no = ? and ready_at >= ?)) and kind in (?) \
             and exists (select 1 from ~node where id = ? and alive = 1) \
             order by rank_no, ready_at, id limit ? \
             returning id, rank_no, kind, status, ready_at, attempt, failures, crashes, child, ended_by, {NOW}"
        ));
        let deleted = sqlx::query(AssertSqlSafe(text))
            .bind(self.scope.lane)
            .bind(self.bound.0)
            .bind(self.bound.0)
            .bind(self.bound.1)
            .bind(self.scope.kind)
            .bind(self.scope.node)
            .bind(limit as u64)
            .fetch_all(&mut self.link)
            .await?;
        Ok(deleted)
    }

    async fn insert_running(&mut self, rows: &[MySqlRow], run: Uuid) -> anyhow::Result<()> {
        let text = self.scope.sql(&format!(
            "insert into ~running (id, run_id, node, lane, kind, priority, status, attempt, failures, crashes, ready_at, \
             started_at, child) values {}",
            list("(?,?,?,?,?,?,5,?,?,?,?,?,?)", rows.len())
        ));
        let mut insert = sqlx::query(AssertSqlSafe(text));
        for row in rows {
            insert = insert
                .bind(row.try_get::<Uuid, _>(0)?)
                .bind(run)
                .bind(self.scope.node)
                .bind(self.scope.lane)
                .bind(row.try_get::<i64, _>(2)?)
                .bind(row.try_get::<i32, _>(1)? - 131_072)
                .bind(row.try_get::<i64, _>(5)? + 1)
                .bind(row.try_get::<i64, _>(6)?)
                .bind(row.try_get::<i64, _>(7)?)
                .bind(row.try_get::<i64, _>(4)?)
                .bind(row.try_get::<i64, _>(10)?)
                .bind(row.try_get::<i16, _>(8)?);
        }
        insert.execute(&mut self.link).await?;
        Ok(())
    }

    async fn inputs(&mut self, rows: &[MySqlRow]) -> anyhow::Result<HashMap<Uuid, Vec<u8>>> {
        let text = self.scope.sql(&format!(
            "select id, input, lane, created_at, usr, grp, kind, priority, options, parent from ~task where id in ({})",
            list("?", rows.len())
        ));
        let mut read = sqlx::query(AssertSqlSafe(text));
        for row in rows {
            read = read.bind(row.try_get::<Uuid, _>(0)?);
        }
        let tasks = read.fetch_all(&mut self.link).await?;
        tasks
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }
}

/// `item` so many times.
fn list(item: &str, items: usize) -> String {
    let mut list = format!("{item},").repeat(items);
    list.pop();
    list
}

#[async_trait]
impl Pipeline for Connection {
    async fn claim(&mut self, limit: usize) -> anyhow::Result<Vec<Taken>> {
        loop {
            match self.try_claim(limit).await {
                Err(error) if is_deadlock(&error) => self.run("rollback").await?,
                other => return other,
            }
        }
    }

    async fn finish(&mut self, taken: &[Taken]) -> anyhow::Result<()> {
        loop {
            match self.try_finish(taken).await {
                Err(error) if is_deadlock(&error) => self.run("rollback").await?,
                other => return other,
            }
        }
    }
}

/// A few in a hundred thousand tasks, with several connections: one of two is told to try again.
fn is_deadlock(error: &anyhow::Error) -> bool {
    let database = error
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error);
    database
        .and_then(|error| error.code())
        .is_some_and(|code| code == "40001")
}

impl Connection {
    async fn try_claim(&mut self, limit: usize) -> anyhow::Result<Vec<Taken>> {
        self.run("begin").await?;
        let rows = self.delete_ready(limit).await?;
        if rows.is_empty() {
            self.run("commit").await?;
            return Ok(Vec::new());
        }
        let run = Uuid::new_v4();
        self.insert_running(&rows, run).await?;
        self.run("commit").await?;
        let mut inputs = self.inputs(&rows).await?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, ready_at) = (row.try_get(0)?, row.try_get(4)?);
            if self.scope.remembers {
                self.bound = self.bound.max((row.try_get(1)?, ready_at));
            }
            taken.push(Taken {
                id,
                run,
                ready_at,
                started_at: row.try_get(10)?,
                attempt: row.try_get::<i64, _>(5)? + 1,
                failures: row.try_get(6)?,
                crashes: row.try_get(7)?,
                input: inputs.remove(&id).unwrap_or_default(),
            });
        }
        Ok(taken)
    }

    async fn try_finish(&mut self, taken: &[Taken]) -> anyhow::Result<()> {
        let Some(run) = taken.first().map(|taken| taken.run) else {
            return Ok(());
        };
        self.run("begin").await?;
        let text = self.scope.sql(&format!(
            "delete from ~running where id in ({}) and run_id = ? and status in (5,6) and child = 0",
            list("?", taken.len())
        ));
        let mut delete = sqlx::query(AssertSqlSafe(text));
        for taken in taken {
            delete = delete.bind(taken.id);
        }
        let deleted = delete
            .bind(run)
            .execute(&mut self.link)
            .await?
            .rows_affected();
        ensure!(
            deleted == taken.len() as u64,
            "{deleted} of {} were finished",
            taken.len()
        );
        let text = self.scope.sql(&format!(
            "insert into ~done (id, status, run_id, node, started_at, finished_at, ready_at, attempt, failures, crashes, \
             output) values {}",
            list(&format!("(?,14,?,?,?,{NOW},?,?,?,?,?)"), taken.len())
        ));
        let mut insert = sqlx::query(AssertSqlSafe(text));
        for taken in taken {
            insert = insert
                .bind(taken.id)
                .bind(run)
                .bind(self.scope.node)
                .bind(taken.started_at)
                .bind(taken.ready_at)
                .bind(taken.attempt)
                .bind(taken.failures)
                .bind(taken.crashes)
                .bind(OUTPUT);
        }
        insert.execute(&mut self.link).await?;
        self.run("commit").await
    }
}
