//! What a database is made to do: statements, commits, bytes of log.
//!
//! Statements are counted where they leave this process, by what the driver tells of each: PostgreSQL does not count
//! them by itself, and SQLite has no server. MariaDB's server counts them, and its driver tells of some twice. A `begin` and a
//! `commit` are statements, too.

use crate::place::Place;
use crate::raw::Raw;
use crate::target::Sort;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A statement is counted only while somebody counts: telling costs time.
static COUNTS: AtomicBool = AtomicBool::new(false);
static STATEMENTS: AtomicU64 = AtomicU64::new(0);
static BEGINS: AtomicU64 = AtomicU64::new(0);

/// The target of what the driver tells.
const DRIVER: &str = "sqlx::query";

/// A backend of PostgreSQL tells its counts once a second.
const TOLD_AFTER: Duration = Duration::from_millis(1_200);

/// Has the driver's statements counted from now on, whenever [`Counting`] says so.
pub fn install() {
    // A second call in one process would find it installed.
    let _ = tracing::subscriber::set_global_default(Counter);
}

struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == DRIVER && COUNTS.load(Ordering::Relaxed)
    }

    fn register_callsite(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        match metadata.target() == DRIVER {
            true => tracing::subscriber::Interest::sometimes(),
            false => tracing::subscriber::Interest::never(),
        }
    }

    fn event(&self, event: &Event<'_>) {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
        event.record(&mut IsBegin);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Counts the statements that open a transaction of several.
struct IsBegin;

impl Visit for IsBegin {
    fn record_str(&mut self, field: &Field, value: &str) {
        let is_begin = value
            .get(..5)
            .is_some_and(|start| start.eq_ignore_ascii_case("begin"));
        if field.name() == "summary" && is_begin {
            BEGINS.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// That this process sent.
    pub statements: f64,
    /// Transactions that the server has committed, reads included; on SQLite those of several statements.
    pub commits: f64,
    /// Bytes that the server wrote to its log; on SQLite bytes that this process wrote.
    pub log_bytes: f64,
}

/// Statements that ask a server which counts them, from one answer to the next.
const ASKING: i64 = 3;

/// Counts from its start to its end. One at a time in a process.
pub struct Counting<'a> {
    place: &'a Place,
    /// The one that asks the server: its own statements are known.
    raw: Raw,
    server: Server,
    since: Instant,
}

/// What the server says since its start.
#[derive(Clone, Copy)]
struct Server {
    commits: i64,
    log_bytes: i64,
    /// Statements of clients, where it counts them.
    statements: Option<i64>,
}

impl<'a> Counting<'a> {
    pub async fn start(place: &'a Place) -> anyhow::Result<Self> {
        tokio::time::sleep(told_after(place.sort)).await;
        let mut raw = place.raw().await?;
        let server = Server::ask(place.sort, &mut raw).await?;
        STATEMENTS.store(0, Ordering::Relaxed);
        BEGINS.store(0, Ordering::Relaxed);
        count(true);
        Ok(Self {
            place,
            raw,
            server,
            since: Instant::now(),
        })
    }

    /// Of a server that others use, too, this counts what they do besides.
    pub async fn end(self) -> anyhow::Result<Counts> {
        Ok(self.end_with_time().await?.0)
    }

    /// The same with the time in which the server counted.
    pub async fn end_with_time(mut self) -> anyhow::Result<(Counts, Duration)> {
        count(false);
        let told = STATEMENTS.load(Ordering::Relaxed);
        tokio::time::sleep(told_after(self.place.sort)).await;
        let server = Server::ask(self.place.sort, &mut self.raw).await?;
        let time = self.since.elapsed();
        let statements = match (self.server.statements, server.statements) {
            (Some(before), Some(after)) => (after - before - ASKING) as f64,
            _ => told as f64,
        };
        let commits = match self.place.sort {
            Sort::Sqlite => BEGINS.load(Ordering::Relaxed) as f64,
            Sort::Postgres | Sort::MySql => (server.commits - self.server.commits) as f64,
        };
        let counts = Counts {
            statements,
            commits,
            log_bytes: (server.log_bytes - self.server.log_bytes) as f64,
        };
        Ok((counts, time))
    }
}

fn count(counts: bool) {
    COUNTS.store(counts, Ordering::Relaxed);
}

fn told_after(sort: Sort) -> Duration {
    match sort {
        Sort::Postgres => TOLD_AFTER,
        Sort::MySql | Sort::Sqlite => Duration::ZERO,
    }
}

impl Server {
    async fn ask(sort: Sort, raw: &mut Raw) -> anyhow::Result<Self> {
        let status = |name| {
            format!(
                "select cast(variable_value as int) from information_schema.global_status where variable_name = '{name}'"
            )
        };
        let (commits, log_bytes) = match sort {
            Sort::Sqlite => {
                return Ok(Self {
                    commits: 0,
                    log_bytes: written_bytes()?,
                    statements: None,
                });
            }
            Sort::Postgres => (
                "select xact_commit from pg_stat_database where datname = current_database()"
                    .to_owned(),
                "select (pg_current_wal_insert_lsn() - '0/0')::bigint".to_owned(),
            ),
            // A statement by itself is a commit that `com_commit` does not count; the storage engine counts all.
            Sort::MySql => (status("HANDLER_COMMIT"), status("INNODB_OS_LOG_WRITTEN")),
        };
        let statements = match sort {
            Sort::MySql => Some(raw.int(&status("QUESTIONS")).await?),
            Sort::Postgres | Sort::Sqlite => None,
        };
        Ok(Self {
            statements,
            commits: raw.int(&commits).await?,
            log_bytes: raw.int(&log_bytes).await?,
        })
    }
}

/// What this process has handed to the system to be written.
fn written_bytes() -> anyhow::Result<i64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(line.unwrap_or("0").parse()?)
}
