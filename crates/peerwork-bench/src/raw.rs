//! One connection for statements of the bench's own, with the settings that a node's connections have.

use crate::target::Sort;
use anyhow::Context;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row, SqliteConnection};
use std::str::FromStr;
use std::time::Duration;

/// What plans and locks depend on: the same as in a node.
const POSTGRES_SETTINGS: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; \
     set enable_hashjoin = off; set enable_mergejoin = off; set jit = off";
const MYSQL_SETTINGS: &str = "set session transaction isolation level read committed; \
     set session in_predicate_conversion_threshold = 0";

/// Longer than the longest transaction of anybody beside us.
const BUSY: Duration = Duration::from_secs(10);

pub async fn postgres(url: &str) -> anyhow::Result<PgConnection> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(POSTGRES_SETTINGS)
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

pub async fn mysql(url: &str) -> anyhow::Result<MySqlConnection> {
    let mut connection = MySqlConnection::connect(&url.replacen("mariadb:", "mysql:", 1)).await?;
    sqlx::raw_sql(MYSQL_SETTINGS)
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

pub async fn sqlite(url: &str) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-16384");
    Ok(SqliteConnection::connect_with(&options).await?)
}

/// A connection to any of the three.
pub enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

/// The same on each of the three connections.
macro_rules! on_each {
    ($raw:expr, $connection:ident => $answer:expr) => {
        match $raw {
            Raw::Sqlite($connection) => $answer,
            Raw::Postgres($connection) => $answer,
            Raw::MySql($connection) => $answer,
        }
    };
}

impl Raw {
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        Ok(match Sort::of(url) {
            Sort::Sqlite => Self::Sqlite(sqlite(url).await?),
            Sort::Postgres => Self::Postgres(postgres(url).await?),
            Sort::MySql => Self::MySql(mysql(url).await?),
        })
    }

    /// Runs text as it is: one statement or several.
    pub async fn run(&mut self, text: &str) -> anyhow::Result<()> {
        let sql = || sqlx::raw_sql(AssertSqlSafe(text));
        on_each!(self, connection => {
            sql().execute(connection).await.with_context(|| text.to_owned())?;
        });
        Ok(())
    }

    /// Runs a prepared statement without parameters.
    pub async fn execute(&mut self, text: &str) -> anyhow::Result<()> {
        on_each!(self, connection => {
            let sql = sqlx::query(AssertSqlSafe(text));
            sql.execute(connection).await.with_context(|| text.to_owned())?;
        });
        Ok(())
    }

    /// The first column of the only row.
    pub async fn int(&mut self, text: &str) -> anyhow::Result<i64> {
        on_each!(self, connection => {
            let row = sqlx::raw_sql(AssertSqlSafe(text)).fetch_one(connection).await;
            Ok(row.with_context(|| text.to_owned())?.try_get(0)?)
        })
    }

    /// The first column of all rows.
    pub async fn texts(&mut self, text: &str) -> anyhow::Result<Vec<String>> {
        on_each!(self, connection => {
            let rows = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await;
            let rows = rows.with_context(|| text.to_owned())?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        })
    }
}
