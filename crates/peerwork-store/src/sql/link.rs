//! The seam to a driver: one connection, the same for the three databases, and the pools they come from.

use super::dialect::Sql;
use super::fault::{self, Fault, FaultSort};
use super::settings::Database;
use super::value::Rows;
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One connection.
///
/// **Cancel safety**: none. Dropping one of these futures leaves a connection in an unknown state; the engine runs
/// them in a task of its own.
#[async_trait]
pub(crate) trait Link: Send {
    /// Runs a statement that answers with rows.
    async fn fetch(&mut self, sql: Sql) -> Result<Rows, Fault>;
    /// Runs a statement that changes rows; answers how many.
    async fn execute(&mut self, sql: Sql) -> Result<u64, Fault>;
    /// Runs text as it is, not prepared.
    async fn run(&mut self, text: String) -> Result<(), Fault>;
}

/// The pool of one of the databases.
#[derive(Clone)]
pub(crate) enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
}

impl Pool {
    pub(crate) fn database(&self) -> Database {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Database::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Database::Postgres,
            #[cfg(feature = "mysql")]
            Self::MySql(_) => Database::MySql,
        }
    }

    async fn acquire(&self) -> Result<Held, Fault> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.acquire().await.map(Held::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.acquire().await.map(Held::Postgres),
            #[cfg(feature = "mysql")]
            Self::MySql(pool) => pool.acquire().await.map(Held::MySql),
        }
        .map_err(|error| self.sort_connect(error))
    }

    /// Whatever happens while a connection is made, nothing was done.
    pub(crate) fn sort_connect(&self, error: sqlx::Error) -> Fault {
        let mut fault = sort(self.database(), error);
        if fault.sort == FaultSort::Lost {
            fault.sort = FaultSort::Unavailable;
        }
        fault
    }
}

/// An error of `database`, sorted by what is to be done about it.
pub(crate) fn sort(database: Database, error: sqlx::Error) -> Fault {
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite => super::sqlite::sort(error),
        #[cfg(feature = "postgres")]
        Database::Postgres => super::postgres::sort(error),
        #[cfg(feature = "mysql")]
        Database::MySql => super::mysql::sort(error),
        #[allow(unreachable_patterns)] // with all three there is no other
        _ => Fault::from_sqlx(FaultSort::Permanent, error),
    }
}

/// Whether the same may succeed later, for an error of any of the databases.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    Fault::is_transient(fault::sort(error, |at| {
        #[cfg(feature = "sqlite")]
        if at.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
            return super::sqlite::sort_code(at);
        }
        #[cfg(feature = "postgres")]
        if at
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .is_some()
        {
            return super::postgres::sort_code(at);
        }
        #[cfg(feature = "mysql")]
        if at
            .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
            .is_some()
        {
            return super::mysql::sort_code(at);
        }
        FaultSort::Permanent
    }))
}

/// A connection of a pool.
pub(crate) enum Held {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::pool::PoolConnection<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::pool::PoolConnection<sqlx::Postgres>),
    #[cfg(feature = "mysql")]
    MySql(sqlx::pool::PoolConnection<sqlx::MySql>),
}

impl Held {
    pub(crate) fn link(&mut self) -> &mut dyn Link {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => &mut **connection,
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => &mut **connection,
            #[cfg(feature = "mysql")]
            Self::MySql(connection) => &mut **connection,
        }
    }

    /// Keeps it from its pool: it may be broken, or in a transaction.
    fn close(&mut self) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => connection.close_on_drop(),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.close_on_drop(),
            #[cfg(feature = "mysql")]
            Self::MySql(connection) => connection.close_on_drop(),
        }
    }
}

/// Where the engine's connections come from.
pub(crate) struct Connections {
    pub pool: Pool,
    /// For connections that are ours alone: they stay out of the pool between two calls, because a pool pings a
    /// connection each time it is returned.
    kept: Option<Kept>,
}

struct Kept {
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Held>>,
}

impl Connections {
    /// The caller's.
    pub(crate) fn shared(pool: Pool) -> Self {
        Self { pool, kept: None }
    }

    /// Ours alone, `size` of them.
    pub(crate) fn own(pool: Pool, size: usize) -> Self {
        let kept = Kept {
            permits: Arc::new(Semaphore::new(size)),
            idle: Mutex::default(),
        };
        Self {
            pool,
            kept: Some(kept),
        }
    }

    pub(crate) fn are_own(&self) -> bool {
        self.kept.is_some()
    }

    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease, Fault> {
        let Some(kept) = &self.kept else {
            let held = self.pool.acquire().await?;
            return Ok(Lease {
                held: Some(held),
                from: self.clone(),
                _permit: None,
            });
        };
        let permit = kept
            .permits
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let idle = kept.idle.lock().expect("no panic under the lock").pop();
        let held = match idle {
            Some(held) => held,
            None => self.pool.acquire().await?,
        };
        Ok(Lease {
            held: Some(held),
            from: self.clone(),
            _permit: Some(permit),
        })
    }
}

/// A connection for the time of one call. Unless it is given back as sound, it is closed.
pub(crate) struct Lease {
    held: Option<Held>,
    from: Arc<Connections>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    pub(crate) fn link(&mut self) -> &mut dyn Link {
        self.held
            .as_mut()
            .expect("it is held until it is given back")
            .link()
    }

    pub(crate) fn are_own(&self) -> bool {
        self.from.are_own()
    }

    /// Gives it back: no transaction is open, and nothing was wrong with it.
    pub(crate) fn sound(mut self) {
        let Some(held) = self.held.take() else { return };
        if let Some(kept) = &self.from.kept {
            kept.idle
                .lock()
                .expect("no panic under the lock")
                .push(held);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = &mut self.held {
            held.close();
        }
    }
}
