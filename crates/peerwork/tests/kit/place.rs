//! A place where nodes meet: a fresh database, or fresh tables in one that tests share.

use super::STEADY;
use peerwork::{Client, Database, Node, NodeBuilder, Settings, SqlStore};
use peerwork_store::{MemoryStore, Store};
use sqlx::any::AnyPoolOptions;
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

/// Connections for what a test does behind the nodes' backs.
const STORE_CONNECTIONS: u32 = 2;

/// Tables that nobody else uses. Clones are the same place.
#[derive(Clone)]
pub struct Place(Arc<Inner>);

struct Inner {
    name: String,
    database: Database,
    store: Arc<dyn Store>,
    /// None in memory.
    sql: Option<Sql>,
}

/// Where the tables of a place are.
#[derive(Clone)]
pub struct Sql {
    /// Of the server, or of the file.
    pub url: String,
    /// With a schema or a prefix of its own.
    pub settings: Settings,
    /// The file's folder.
    _folder: Option<Arc<TempDir>>,
}

impl Place {
    /// A fresh place on the database called `name`: `memory`, `sqlite`, `postgres` or `mysql`.
    pub async fn open(name: &str) -> Self {
        if name == "memory" {
            return Self::in_memory(MemoryStore::new());
        }
        let sql = Sql::fresh(name);
        let store = sql.store(STORE_CONNECTIONS).await;
        store
            .migrate()
            .await
            .expect("a fresh place takes our tables");
        Self::of(name, store.clone().into(), Arc::new(store), Some(sql))
    }

    /// A place in this store.
    pub fn in_memory(store: MemoryStore) -> Self {
        Self::of("memory", store.clone().into(), Arc::new(store), None)
    }

    fn of(name: &str, database: Database, store: Arc<dyn Store>, sql: Option<Sql>) -> Self {
        let name = name.to_owned();
        Self(Arc::new(Inner {
            name,
            database,
            store,
            sql,
        }))
    }

    /// What the test's name says.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// For a client or a node.
    pub fn database(&self) -> Database {
        self.0.database.clone()
    }

    /// For what goes on behind the nodes' backs.
    pub fn store(&self) -> Arc<dyn Store> {
        self.0.store.clone()
    }

    /// Where the tables are; panics in memory.
    pub fn sql(&self) -> &Sql {
        self.0.sql.as_ref().expect("the test is for SQL databases")
    }

    /// The same tables over a connection of its own, as a peer has it.
    pub async fn peer(&self) -> Arc<dyn Store> {
        match &self.0.sql {
            Some(sql) => Arc::new(sql.store(1).await),
            None => self.store(),
        }
    }

    /// A client that is no part of a node.
    pub async fn client(&self) -> Client {
        Client::connect(self.database()).await.expect("it is there")
    }

    /// A node whose lease outlasts the test.
    pub fn node(&self) -> NodeBuilder {
        Node::builder(self.database()).lease(STEADY)
    }

    /// Removes what is not removed by itself.
    pub async fn close(self) {
        if let Some(sql) = &self.0.sql {
            sql.drop_tables().await;
        }
    }
}

impl Sql {
    /// A place whose tables nobody has made yet.
    pub fn fresh(name: &str) -> Self {
        // The random end of the id: its beginning is the time.
        let mark = format!("t{}", &Uuid::now_v7().simple().to_string()[20..]);
        let settings = Settings::default();
        match name {
            "sqlite" => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let url = format!("sqlite:{}", folder.path().join("tasks.db").display());
                Self {
                    url,
                    settings,
                    _folder: Some(Arc::new(folder)),
                }
            }
            "postgres" => Self {
                url: peerwork_testbed::postgres_url(),
                // The prefix too: it is part of the channel on which hints travel.
                settings: settings.with_prefix(format!("{mark}_")).with_schema(mark),
                _folder: None,
            },
            "mysql" => Self {
                url: peerwork_testbed::mysql_url(),
                settings: settings.with_prefix(format!("{mark}_")),
                _folder: None,
            },
            other => panic!("no database is called {other}"),
        }
    }

    /// A store of its own on these tables.
    pub async fn store(&self, connections: u32) -> SqlStore {
        SqlStore::connect(&self.url, self.settings.clone(), connections)
            .await
            .expect("the database is there")
    }

    /// The full name of one of our tables in SQL text.
    pub fn table(&self, table: &str) -> String {
        let table = match self.settings.prefix.as_str() {
            "" => format!("peerwork_{table}"),
            prefix => format!("{prefix}{table}"),
        };
        match &self.settings.schema {
            Some(schema) => format!("{schema}.{table}"),
            None => table,
        }
    }

    /// Runs a statement of the test's own.
    pub async fn execute(&self, statement: &str) {
        let done = self.try_execute(statement).await;
        done.expect("the test's own statement runs");
    }

    async fn try_execute(&self, statement: &str) -> sqlx::Result<()> {
        let pool = self.any_pool().await;
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let done = sqlx::raw_sql(statement).execute(&pool).await;
        pool.close().await;
        done.map(drop)
    }

    /// The number that a statement of the test's own finds.
    pub async fn number(&self, statement: &str) -> i64 {
        let pool = self.any_pool().await;
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let found = sqlx::query_scalar(statement)
            .fetch_one(&pool)
            .await
            .expect("the test's own statement finds a number");
        pool.close().await;
        found
    }

    async fn any_pool(&self) -> sqlx::AnyPool {
        sqlx::any::install_default_drivers();
        AnyPoolOptions::new()
            .max_connections(1)
            .connect(&self.url)
            .await
            .expect("the database is there")
    }

    /// Removes all that peerwork has made.
    pub async fn drop_tables(&self) {
        let statements = match &self.settings.schema {
            Some(schema) => vec![format!("drop schema if exists {schema} cascade")],
            None if self.url.starts_with("mysql") => {
                let tables = TABLES.map(|table| self.table(table));
                vec![format!("drop table if exists {}", tables.join(", "))]
            }
            None => {
                let tables = TABLES.map(|table| self.table(table));
                tables
                    .map(|table| format!("drop table if exists {table}"))
                    .into()
            }
        };
        for statement in statements {
            // A node's last look may still be under way, and in its way.
            while let Err(error) = self.try_execute(&statement).await {
                let code = error.as_database_error().and_then(|error| error.code());
                assert!(matches!(code.as_deref(), Some("40P01" | "1213")), "{error}");
            }
        }
    }
}

const TABLES: [&str; 15] = [
    "queue",
    "config",
    "setting",
    "task",
    "ready",
    "running",
    "parked",
    "done",
    "checkpoint",
    "failure",
    "inbox",
    "op",
    "node",
    "kind",
    "migration",
];
