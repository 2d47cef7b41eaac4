//! A transaction: statements, bulk inserts, and the time.

#[cfg(feature = "postgres")]
use super::connect::postgres_settings;
use super::dialect::{Dialect, Sql};
use super::fault::Fault;
use super::link::Link;
use super::rows::Table;
use super::settings::{Database, Isolation};
use super::value::{Rows, Value};
use peerwork_core::{BATCH_BYTES_MAX, Timestamp};
use std::sync::Arc;

/// A connection with its dialect, in a transaction or (for a call that is one statement, or only reads) without one.
pub(crate) struct Tx<'a> {
    link: &'a mut dyn Link,
    pub dialect: Arc<Dialect>,
    /// What it is for.
    operation: &'static str,
    now: Option<Timestamp>,
    phase: Phase,
    /// On SQLite: statements that are sent before the next one is, or with the commit.
    later: Vec<Sql>,
}

/// On SQLite, where each statement is handed to a thread and back, a transaction begins with its first statement, where it does not wait long
/// for that: the time that the statement carries is of before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No transaction that this has begun, or none on SQLite.
    Outside,
    ToBegin,
    Begun,
}

/// Taking the lock at the first write instead would fail where others have written since.
const BEGIN_ON_SQLITE: &str = "begin immediate";

/// Rows of an insert that is kept for later, and such inserts that go together: each combination of texts is prepared and kept, so there
/// must be few. Where there is more to write, a hand-over more does not matter.
const LATER_ROWS_MAX: usize = 4;
const TOGETHER_MAX: usize = 3;

/// Rows to insert, one value for each column of the table.
pub(crate) struct Bulk {
    table: &'static Table,
    values: Vec<Value>,
}

impl Bulk {
    pub(crate) fn new(table: &'static Table, rows: usize) -> Self {
        Self {
            table,
            values: Vec::with_capacity(rows * table.columns.len()),
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, values: [Value; N]) {
        assert_eq!(
            N,
            self.table.columns.len(),
            "a row has a value for every column"
        );
        self.values.extend(values);
    }

    /// Replaces a value of the last row by the time at which it is inserted.
    pub(crate) fn set_now(&mut self, column: &'static str) {
        let width = self.table.columns.len();
        let at = self
            .table
            .columns
            .iter()
            .position(|known| known.0 == column)
            .expect("the table has this column");
        let row = self.values.len() - width;
        self.values[row + at] = Value::Now;
    }

    /// How many rows go together, so that no statement outgrows a server's packet: what is over the bound goes alone.
    fn groups(&self) -> Vec<usize> {
        let (mut groups, mut rows, mut bytes) = (Vec::new(), 0, 0);
        for row in self.values.chunks(self.table.columns.len()) {
            let more: usize = row.iter().map(Value::bytes).sum();
            if rows > 0 && bytes + more > BATCH_BYTES_MAX {
                groups.push(rows);
                (rows, bytes) = (0, 0);
            }
            rows += 1;
            bytes += more;
        }
        groups.push(rows);
        groups
    }
}

/// What an insert does about rows that are there already. In MariaDB's words too, which knows no `excluded`.
#[derive(Clone, Copy)]
pub(crate) enum OnDuplicate {
    /// It fails.
    Fail,
    /// It runs this instead.
    Do {
        /// After `on conflict`.
        standard: &'static str,
        /// After `on duplicate key update`.
        mysql: &'static str,
    },
}

impl<'a> Tx<'a> {
    pub(crate) fn new(
        link: &'a mut dyn Link,
        dialect: Arc<Dialect>,
        operation: &'static str,
    ) -> Self {
        Self {
            link,
            dialect,
            operation,
            now: None,
            phase: Phase::Outside,
            later: Vec::new(),
        }
    }

    pub(crate) async fn begin(&mut self, own: bool) -> Result<(), Fault> {
        let begin = match (self.dialect.database, self.dialect.isolation) {
            (Database::Sqlite, _) => {
                self.phase = Phase::ToBegin;
                // The caller's connections may wait for seconds.
                return match own {
                    true => Ok(()),
                    false => self.send_later().await,
                };
            }
            (Database::Postgres, Isolation::ReadCommitted) => {
                "begin isolation level read committed"
            }
            (Database::Postgres, Isolation::Serializable) => "begin isolation level serializable",
            (Database::MySql, _) => "start transaction",
        };
        if self.dialect.database == Database::MySql && !own {
            // For the next transaction only. The default, REPEATABLE READ, locks gaps, and others' inserts with them.
            self.run("set transaction isolation level read committed".to_owned())
                .await?;
        }
        let text = begin.to_owned();
        #[cfg(feature = "postgres")]
        let text = match own && !self.dialect.capabilities.sessions {
            // The connection was told nothing, as it may be another one each time.
            true => format!("{text}; {}", postgres_settings("set local")),
            false => text,
        };
        self.run(text).await
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Fault> {
        if self.later.len() > TOGETHER_MAX {
            self.send_later().await?;
        }
        let committed = match (self.phase, self.later.is_empty()) {
            // Nothing was sent, so nothing has begun.
            (Phase::ToBegin, true) => Ok(()),
            (Phase::Outside | Phase::Begun, true) => self.run("commit".to_owned()).await,
            (_, false) => {
                let commit = self.sql("commit");
                self.later.push(commit);
                self.send_together().await
            }
        };
        self.phase = Phase::Outside;
        committed.map_err(Fault::at_commit)
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Fault> {
        self.later.clear();
        if std::mem::replace(&mut self.phase, Phase::Outside) == Phase::ToBegin {
            return Ok(());
        }
        match self.run("rollback".to_owned()).await {
            // It was to begin with the statement that has failed.
            Err(fault) if fault.to_string().contains("no transaction is active") => Ok(()),
            other => other,
        }
    }

    /// Runs text that is no prepared statement, as of a migration.
    pub(crate) async fn run(&mut self, text: String) -> Result<(), Fault> {
        self.send_later().await?;
        let statement = self.link.run(text.clone());
        self.dialect
            .carry_out(self.operation, &text, statement)
            .await
    }

    /// Runs a statement of which only an error matters: in a transaction on SQLite together with others.
    async fn execute_later(&mut self, sql: Sql) -> Result<(), Fault> {
        if self.phase == Phase::Outside {
            return self.execute(sql).await.map(drop);
        }
        self.later.push(sql);
        Ok(())
    }

    /// What is to be sent before all else.
    fn opening(&mut self) -> Option<Sql> {
        let begins = self.phase == Phase::ToBegin;
        begins.then(|| {
            self.phase = Phase::Begun;
            self.sql(BEGIN_ON_SQLITE)
        })
    }

    /// Sends what was kept for later, in a transaction that has begun then.
    async fn send_later(&mut self) -> Result<(), Fault> {
        if self.later.len() <= TOGETHER_MAX {
            return self.send_together().await;
        }
        let opening = self.opening();
        for sql in opening.into_iter().chain(std::mem::take(&mut self.later)) {
            self.send(sql).await?;
        }
        Ok(())
    }

    async fn send_together(&mut self) -> Result<(), Fault> {
        let opening = self.opening();
        let all = opening.into_iter().chain(std::mem::take(&mut self.later));
        match Sql::together(all) {
            Some(sql) => self.send(sql).await.map(drop),
            None => Ok(()),
        }
    }

    pub(crate) fn database(&self) -> Database {
        self.dialect.database
    }

    pub(crate) fn sql(&self, constant: &'static str) -> Sql {
        self.dialect.sql(constant)
    }

    pub(crate) async fn fetch(&mut self, sql: Sql) -> Result<Rows, Fault> {
        if !self.later.is_empty() {
            self.send_later().await?;
        }
        let opened = self.opening().into_iter().chain([sql]);
        let sql = Sql::together(opened).expect("there is one");
        let text = self.text_of(&sql);
        let statement = self.link.fetch(sql);
        self.dialect
            .carry_out(self.operation, &text, statement)
            .await
    }

    pub(crate) async fn execute(&mut self, sql: Sql) -> Result<u64, Fault> {
        // By itself: SQLite counts what the statement before has changed as well.
        self.send_later().await?;
        self.send(sql).await
    }

    async fn send(&mut self, sql: Sql) -> Result<u64, Fault> {
        let text = self.text_of(&sql);
        let statement = self.link.execute(sql);
        self.dialect
            .carry_out(self.operation, &text, statement)
            .await
    }

    /// Copied only for those who look at it.
    fn text_of(&self, sql: &Sql) -> String {
        if cfg!(feature = "failpoints") {
            sql.text.clone()
        } else {
            String::new()
        }
    }

    /// Runs a change that must touch exactly `expected` rows: they were read under a lock.
    pub(crate) async fn execute_exactly(&mut self, sql: Sql, expected: usize) -> Result<(), Fault> {
        if self.execute(sql).await? != expected as u64 {
            return Err(Fault::moved());
        }
        Ok(())
    }

    /// The time, the same throughout the transaction.
    pub(crate) async fn now(&mut self) -> Result<Timestamp, Fault> {
        if let Some(now) = self.now {
            return Ok(now);
        }
        let now = match self.dialect.known_now() {
            Some(now) => now,
            None => {
                let mut sql = self.sql("select ");
                sql.now();
                Timestamp(self.fetch(sql).await?.single_int()?)
            }
        };
        self.now = Some(now);
        Ok(now)
    }

    /// The time that a statement brought along.
    pub(crate) fn set_now(&mut self, now: Timestamp) -> Timestamp {
        *self.now.get_or_insert(now)
    }

    /// Inserts rows, a few statements for all of them, and answers how many. On SQLite a few rows that may only [fail](OnDuplicate::Fail) are
    /// sent with what comes next, the commit at the latest, which then fails instead.
    pub(crate) async fn insert(
        &mut self,
        bulk: Bulk,
        duplicate: OnDuplicate,
    ) -> Result<u64, Fault> {
        let (table, width) = (bulk.table, bulk.table.columns.len());
        let mut affected = 0;
        let groups = bulk.groups().into_iter();
        let chunks: Vec<_> = groups
            .flat_map(|rows| self.dialect.chunks(rows, width))
            .collect();
        let is_small = chunks.len() == 1 && chunks[0] <= LATER_ROWS_MAX;
        let mut values = bulk.values.into_iter();
        for rows in chunks.into_iter().filter(|rows| *rows > 0) {
            let chunk: Vec<Value> = values.by_ref().take(rows * width).collect();
            let mut sql = self.sql("insert into ~");
            sql.push(table.name)
                .push_on(Database::Postgres, " as old")
                .push_on(Database::Sqlite, " as old");
            sql.push(" (");
            for (i, column) in table.columns.iter().enumerate() {
                sql.push(if i > 0 { "," } else { "" }).push(column.0);
            }
            sql.push(") ");
            if self.database() == Database::Postgres {
                push_unnest(&mut sql, table, chunk);
            } else {
                sql.values(width, chunk);
            }
            match (duplicate, self.database()) {
                (OnDuplicate::Fail, _) => {}
                (OnDuplicate::Do { mysql, .. }, Database::MySql) => {
                    sql.push(" on duplicate key update ").push(mysql);
                }
                (OnDuplicate::Do { standard, .. }, _) => {
                    sql.push(" on conflict ").push(standard);
                }
            }
            match duplicate {
                OnDuplicate::Fail if is_small => {
                    self.execute_later(sql).await?;
                    affected += rows as u64;
                }
                OnDuplicate::Fail | OnDuplicate::Do { .. } => affected += self.execute(sql).await?,
            }
        }
        Ok(affected)
    }
}

/// A column of times that are `Now` is written as an expression beside the arrays.
fn push_unnest(sql: &mut Sql, table: &'static Table, values: Vec<Value>) {
    let width = table.columns.len();
    let is_now: Vec<bool> = values
        .iter()
        .take(width)
        .map(|value| *value == Value::Now)
        .collect();
    sql.push("select ");
    for (i, column) in table.columns.iter().enumerate() {
        sql.push(if i > 0 { "," } else { "" });
        if is_now[i] {
            sql.now();
        } else {
            sql.push("u.").push(column.0);
        }
    }
    let sorts: Vec<_> = table
        .columns
        .iter()
        .zip(&is_now)
        .filter(|(_, now)| !**now)
        .map(|(c, _)| c.1)
        .collect();
    let values = values
        .into_iter()
        .enumerate()
        .filter(|(i, _)| !is_now[i % width])
        .map(|(_, value)| value);
    sql.push(" from ")
        .unnest(&sorts, values.collect())
        .push(" u(");
    let mut first = true;
    for (column, _) in table.columns.iter().zip(&is_now).filter(|(_, now)| !**now) {
        sql.push(if first { "" } else { "," }).push(column.0);
        first = false;
    }
    sql.push(")");
}
