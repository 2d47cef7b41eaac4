//! The service around a node: it has a pool, which it shares with its node, and now and then it needs all of it.

use super::audit::Dialect;
use super::history::{FaultSort, Journal, What};
use anyhow::Result;
use peerwork::{Database, Settings, SqlStore};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{MySqlPool, PgPool, SqlitePool};
use std::time::Duration;
use tokio::sync::mpsc;

/// Of the pool.
const CONNECTIONS: u32 = 4;
/// How long the service holds all of them.
const HOLD: Duration = Duration::from_secs(5);
/// How long it waits for one.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(200);

/// The pool that a service shares with its node.
#[derive(Clone, Debug)]
pub enum SharedPool {
    /// Of a file.
    Sqlite(SqlitePool),
    /// Of a server.
    Postgres(PgPool),
    /// Of a MariaDB server.
    MySql(MySqlPool),
}

impl SharedPool {
    /// A pool to `url`; connections are made when they are needed.
    ///
    /// # Errors
    /// If `url` is none.
    pub fn new(url: &str) -> Result<Self> {
        fn options<DB: sqlx::Database>(options: PoolOptions<DB>) -> PoolOptions<DB> {
            options
                .max_connections(CONNECTIONS)
                .acquire_timeout(PATIENCE)
        }
        Ok(match Dialect::of_url(url)? {
            Dialect::Sqlite => Self::Sqlite(options(SqlitePoolOptions::new()).connect_lazy(url)?),
            Dialect::Postgres => Self::Postgres(options(PgPoolOptions::new()).connect_lazy(url)?),
            Dialect::MySql => Self::MySql(options(MySqlPoolOptions::new()).connect_lazy(url)?),
        })
    }

    /// The database that its node is to use.
    ///
    /// # Errors
    /// If the settings do not go with it.
    pub fn database(&self, settings: Settings) -> Result<Database> {
        let store = match self.clone() {
            Self::Sqlite(pool) => SqlStore::sqlite(pool, settings)?,
            Self::Postgres(pool) => SqlStore::postgres(pool, settings)?,
            Self::MySql(pool) => SqlStore::mysql(pool, settings)?,
        };
        Ok(store.into())
    }

    /// Takes all connections each time it is asked to, and holds them for a while; ends when nobody can ask any more.
    pub async fn serve(self, mut asked: mpsc::Receiver<()>, journal: Journal, label: String) {
        while asked.recv().await.is_some() {
            match &self {
                Self::Sqlite(pool) => hold_all(pool, &asked, &journal, &label).await,
                Self::Postgres(pool) => hold_all(pool, &asked, &journal, &label).await,
                Self::MySql(pool) => hold_all(pool, &asked, &journal, &label).await,
            }
        }
    }
}

async fn hold_all<DB: sqlx::Database>(
    pool: &sqlx::Pool<DB>,
    asked: &mpsc::Receiver<()>,
    journal: &Journal,
    label: &str,
) {
    let mut held = Vec::new();
    while held.len() < CONNECTIONS as usize {
        if asked.is_closed() {
            return;
        }
        match pool.acquire().await {
            Ok(connection) => held.push(connection),
            // The database is away; then it is not the pool that is missing.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
    let (sort, node) = (FaultSort::PoolExhausted, || Some(label.to_owned()));
    journal.write(What::Fault { sort, node: node() });
    tokio::time::sleep(HOLD).await;
    journal.write(What::Healed { sort, node: node() });
}
