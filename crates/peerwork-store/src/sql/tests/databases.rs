//! A fresh and empty database for one test. A test that fails leaves it for a look.

use crate::sql::link::Link;
use crate::{Database, Settings, SqlStore, Store};
use uuid::Uuid;

/// Enough for a script on one connection and a store's calls beside it, and for two who are in each other's way and one who watches.
const CONNECTIONS: u32 = 3;

/// A migrated store that nobody else uses, with connections as a node sets them up.
pub(super) struct TestDatabase {
    pub store: SqlStore,
    remains: Remains,
}

enum Remains {
    File(tempfile::TempDir),
    Server { url: String, drop: String },
}

impl TestDatabase {
    pub(super) async fn fresh(database: Database) -> Self {
        let name = format!("statements_{}", Uuid::now_v7().simple());
        let (url, remains) = match database {
            Database::Sqlite => {
                let folder = tempfile::tempdir().expect("a temporary directory");
                let url = format!("sqlite:{}", folder.path().join("tasks.db").display());
                (url, Remains::File(folder))
            }
            Database::Postgres => {
                let server = blocking(peerwork_testbed::postgres_url).await;
                run(&server, format!("create schema {name}")).await;
                // By the search path, so that the text of a statement does not have the schema's name in it.
                let separator = if server.contains('?') { '&' } else { '?' };
                let url = format!("{server}{separator}options[search_path]={name}");
                let drop = format!("drop schema {name} cascade");
                (url, Remains::Server { url: server, drop })
            }
            Database::MySql => {
                let server = blocking(peerwork_testbed::mysql_url).await;
                run(&server, format!("create database {name}")).await;
                let (host, _) = server.rsplit_once('/').expect("the URL names a database");
                let url = format!("{host}/{name}");
                let drop = format!("drop database {name}");
                (url, Remains::Server { url: server, drop })
            }
        };
        let store = SqlStore::connect(&url, Settings::default(), CONNECTIONS)
            .await
            .expect("connect");
        store.migrate().await.expect("migrate");
        Self { store, remains }
    }

    pub(super) async fn remove(self) {
        drop(self.store);
        match self.remains {
            Remains::File(folder) => drop(folder),
            Remains::Server { url, drop } => run(&url, drop).await,
        }
    }
}

async fn blocking(url: fn() -> String) -> String {
    tokio::task::spawn_blocking(url)
        .await
        .expect("there is a server for tests")
}

async fn run(url: &str, text: String) {
    let store = SqlStore::connect(url, Settings::default(), 1)
        .await
        .expect("connect");
    let mut lease = store.engine.connections.lease().await.expect("lease");
    let link: &mut dyn Link = lease.link();
    link.run(text).await.expect("run");
}
