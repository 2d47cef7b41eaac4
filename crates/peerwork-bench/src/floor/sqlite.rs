//! SQLite: one writer; the ends of a batch and the next claim are one transaction.

use super::{OUTPUT, Pipeline, Scope, Taken};
use crate::raw;
use anyhow::ensure;
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

const SELECT: &str = "select t.id, t.input, t.lane, t.created_at, t.usr, t.grp, t.kind, t.priority, t.options, t.parent, \
     l.status, l.ready_at, l.attempt + 1, l.failures, l.crashes, l.rank_no from (select * from ~ready where lane = ?1 \
     and kind in (?2) and exists (select 1 from ~node where id = ?3 and alive = 1) \
     order by rank_no, ready_at, id limit ?4) l cross join ~task t on t.id = l.id";

const INSERT_RUNNING: &str = "insert into ~running (id, run_id, node, lane, kind, priority, status, attempt, failures, \
     crashes, ready_at, started_at, child) select id, ?1, ?2, lane, kind, rank_no - 131072, 5, attempt + 1, failures, \
     crashes, ready_at, ?3, child from ~ready where lane = ?4 and kind in (?5) order by rank_no, ready_at, id limit ?6";

/// Up to the last row of the select: exact, since only this connection writes.
const DELETE_READY: &str = "delete from ~ready where lane = ?1 and (rank_no, ready_at, id) <= (?2, ?3, ?4) and kind in (?5)";

/// `j` is a list of `[id, run]` in hex.
const INSERT_DONE: &str = "insert into ~done (id, status, run_id, node, started_at, finished_at, ready_at, attempt, \
     failures, crashes, output) select r.id, 14, r.run_id, r.node, r.started_at, ?2, r.ready_at, r.attempt, r.failures, \
     r.crashes, ?3 from json_each(?1) j cross join ~running r on r.id = unhex(j.value->>0) \
     and r.run_id = unhex(j.value->>1) and r.status in (5,6) and r.child = 0";

const DELETE_RUNNING: &str = "delete from ~running where id in (select unhex(value->>0) from json_each(?1)) \
     and run_id = ?2 and status in (5,6) and child = 0";

pub struct Connection {
    link: SqliteConnection,
    scope: Scope,
    texts: [Arc<str>; 5],
}

impl Connection {
    pub async fn open(url: &str, scope: Scope) -> anyhow::Result<Self> {
        let texts = [
            SELECT,
            INSERT_RUNNING,
            DELETE_READY,
            INSERT_DONE,
            DELETE_RUNNING,
        ];
        Ok(Self {
            link: raw::sqlite(url).await?,
            texts: texts.map(|text| scope.sql(text).into()),
            scope,
        })
    }

    async fn run(&mut self, text: &'static str) -> anyhow::Result<()> {
        sqlx::query(text).execute(&mut self.link).await?;
        Ok(())
    }

    async fn take(&mut self, limit: usize) -> anyhow::Result<Vec<Taken>> {
        let [select, insert, delete, ..] = self.texts.clone();
        let (run, now) = (Uuid::new_v4(), now());
        let rows = sqlx::query(AssertSqlSafe(select))
            .bind(self.scope.lane)
            .bind(self.scope.kind)
            .bind(self.scope.node)
            .bind(limit as i64)
            .fetch_all(&mut self.link)
            .await?;
        let Some(last) = rows.last() else {
            return Ok(Vec::new());
        };
        let last: (i64, i64, Uuid) = (last.try_get(15)?, last.try_get(11)?, last.try_get(0)?);
        sqlx::query(AssertSqlSafe(insert))
            .bind(run)
            .bind(self.scope.node)
            .bind(now)
            .bind(self.scope.lane)
            .bind(self.scope.kind)
            .bind(limit as i64)
            .execute(&mut self.link)
            .await?;
        let deleted = sqlx::query(AssertSqlSafe(delete))
            .bind(self.scope.lane)
            .bind(last.0)
            .bind(last.1)
            .bind(last.2)
            .bind(self.scope.kind)
            .execute(&mut self.link)
            .await?
            .rows_affected();
        ensure!(
            deleted == rows.len() as u64,
            "{deleted} of {} were claimed",
            rows.len()
        );
        let taken = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Taken {
                id: row.try_get(0)?,
                run,
                ready_at: row.try_get(11)?,
                started_at: now,
                attempt: row.try_get(12)?,
                failures: row.try_get(13)?,
                crashes: row.try_get(14)?,
                input: row.try_get(1)?,
            })
        };
        rows.iter().map(taken).collect()
    }

    async fn record(&mut self, taken: &[Taken]) -> anyhow::Result<()> {
        let Some(run) = taken.first().map(|taken| taken.run) else {
            return Ok(());
        };
        let [.., insert, delete] = self.texts.clone();
        let ids = ids(taken);
        let inserted = sqlx::query(AssertSqlSafe(insert))
            .bind(ids.clone())
            .bind(now())
            .bind(OUTPUT)
            .execute(&mut self.link)
            .await?
            .rows_affected();
        let deleted = sqlx::query(AssertSqlSafe(delete))
            .bind(ids.clone())
            .bind(run)
            .execute(&mut self.link)
            .await?
            .rows_affected();
        let expected = taken.len() as u64;
        ensure!(
            (inserted, deleted) == (expected, expected),
            "{inserted} of {expected} were finished"
        );
        Ok(())
    }
}

fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

fn ids(taken: &[Taken]) -> String {
    let mut ids = String::with_capacity(taken.len() * 72 + 2);
    for taken in taken {
        let comma = if ids.is_empty() { '[' } else { ',' };
        let (id, run) = (taken.id.simple(), taken.run.simple());
        write!(ids, r#"{comma}["{id}","{run}"]"#).expect("a string takes all");
    }
    ids.push(']');
    ids
}

#[async_trait]
impl Pipeline for Connection {
    async fn claim(&mut self, limit: usize) -> anyhow::Result<Vec<Taken>> {
        self.turn(&[], limit).await
    }

    async fn finish(&mut self, taken: &[Taken]) -> anyhow::Result<()> {
        self.run("begin immediate").await?;
        self.record(taken).await?;
        self.run("commit").await
    }

    async fn turn(&mut self, taken: &[Taken], limit: usize) -> anyhow::Result<Vec<Taken>> {
        self.run("begin immediate").await?;
        self.record(taken).await?;
        let next = self.take(limit).await?;
        self.run("commit").await?;
        Ok(next)
    }
}
