//! Which database: the caller's pool, a URL's, or memory.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use crate::Error;
use crate::Result;
use peerwork_store::{MemoryStore, Store};
use std::sync::Arc;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
use peerwork_store::{Created, NewTask, Settings, SqlStore, Transactional};

/// The database in which peers meet. Made from a pool of the caller's, from a URL, or in memory.
#[derive(Clone)]
pub struct Database(Backing);

#[derive(Clone)]
enum Backing {
    Memory(MemoryStore),
    /// A store of somebody's own, such as one that injects faults.
    Other(Arc<dyn Store>),
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    Sql(SqlStore),
    /// A pool that cannot be used, with the reason; told when it is used.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    Unusable(String),
}

impl Database {
    /// A fresh store in memory: for tests. Clones share it; nothing survives the process.
    pub fn memory() -> Self {
        Self(Backing::Memory(MemoryStore::new()))
    }

    /// Opens a small pool of its own for `sqlite:`, `postgres:` and `mysql:` URLs. A SQLite file that is not there is made.
    ///
    /// # Errors
    /// [`is_invalid`](crate::Error::is_invalid) for a URL that is none of these, and
    /// [`is_transient`](crate::Error::is_transient) if the database cannot be reached.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, Settings::default()).await
    }

    /// The same with settings: the tables' prefix, a schema.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub async fn connect_with(url: &str, settings: Settings) -> Result<Self> {
        /// A command or a producer needs few; a node opens its own.
        const CONNECTIONS: u32 = 4;
        Ok(Self(Backing::Sql(
            SqlStore::connect(url, settings, CONNECTIONS).await?,
        )))
    }

    /// The store for a client: on the caller's connections.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>> {
        match &self.0 {
            Backing::Memory(store) => Ok(Arc::new(store.clone())),
            Backing::Other(store) => Ok(store.clone()),
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            Backing::Sql(store) => Ok(Arc::new(store.clone())),
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            Backing::Unusable(why) => Err(Error::invalid(why)),
        }
    }

    /// A store for a node: on `connections` connections of its own, made on the current runtime.
    pub(crate) fn own_store(&self, connections: u32) -> Result<Arc<dyn Store>> {
        #[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
        let _ = connections;
        match &self.0 {
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            Backing::Sql(store) => Ok(Arc::new(store.own_connections(connections))),
            _ => self.store(),
        }
    }

    /// Creates a task in the caller's transaction on `connection`.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub(crate) async fn create_in<C: Transactional>(
        &self,
        connection: &mut C,
        task: NewTask,
    ) -> Result<Created> {
        match &self.0 {
            Backing::Memory(_) | Backing::Other(_) => Err(Error::invalid(
                "a store in memory has no transactions; use create",
            )),
            Backing::Unusable(why) => Err(Error::invalid(why)),
            Backing::Sql(store) => Ok(connection.create_in(store, task).await?),
        }
    }

    /// The store with a schema; none in memory.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub(crate) fn sql_store(&self) -> Result<Option<&SqlStore>> {
        match &self.0 {
            Backing::Memory(_) | Backing::Other(_) => Ok(None),
            Backing::Sql(store) => Ok(Some(store)),
            Backing::Unusable(why) => Err(Error::invalid(why)),
        }
    }

    /// Whether all its processes are on one machine, as with SQLite.
    pub(crate) fn is_embedded(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backing::Sql(store) => store.database() == peerwork_store::Database::Sqlite,
            _ => false,
        }
    }

    /// Whether the store lives on the node's own runtime, so that the beat must live there too.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.0, Backing::Memory(_) | Backing::Other(_))
    }
}

impl From<MemoryStore> for Database {
    fn from(store: MemoryStore) -> Self {
        Self(Backing::Memory(store))
    }
}

impl From<Arc<dyn Store>> for Database {
    fn from(store: Arc<dyn Store>) -> Self {
        Self(Backing::Other(store))
    }
}

impl From<&Database> for Database {
    fn from(database: &Database) -> Self {
        database.clone()
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
impl From<SqlStore> for Database {
    fn from(store: SqlStore) -> Self {
        Self(Backing::Sql(store))
    }
}

macro_rules! from_pool {
    ($feature:literal, $pool:ty, $make:ident) => {
        #[cfg(feature = $feature)]
        impl From<&$pool> for Database {
            fn from(pool: &$pool) -> Self {
                Self(match SqlStore::$make(pool.clone(), Settings::default()) {
                    Ok(store) => Backing::Sql(store),
                    Err(error) => Backing::Unusable(error.to_string()),
                })
            }
        }
    };
}

from_pool!("sqlite", sqlx::SqlitePool, sqlite);
from_pool!("postgres", sqlx::PgPool, postgres);
from_pool!("mysql", sqlx::MySqlPool, mysql);
