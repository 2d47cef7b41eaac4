//! Where a run takes place: a database of its own, and a folder of histories.

use super::args::DatabaseArg;
use anyhow::{Context, Result};
use peerwork_testbed::{MariaDb, Options, Postgres, Server};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The database and the folder of one run.
#[derive(Debug)]
pub struct Stage {
    database: DatabaseArg,
    url: String,
    server: Option<Arc<Mutex<Server>>>,
    program: PathBuf,
    folder: TempDir,
}

/// What the tables' names begin with.
const PREFIX: &str = "faults_";

impl Stage {
    /// Makes the folder and starts the database. Blocks.
    ///
    /// # Errors
    /// If the database cannot be started.
    pub fn set(database: DatabaseArg) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("peerwork-faults-")
            .tempdir();
        let folder = folder.context("make a folder for histories")?;
        let start = |server: Result<Server, peerwork_testbed::Error>| -> Result<_> {
            let server = server?;
            let url = server.create_database("faults")?;
            Ok((url, Some(Arc::new(Mutex::new(server)))))
        };
        let (url, server) = match database {
            DatabaseArg::Sqlite => {
                let path = folder.path().join("tasks.db");
                (format!("sqlite:{}?mode=rwc", path.display()), None)
            }
            DatabaseArg::Postgres => start(Postgres::start(&Options::default()))?,
            DatabaseArg::Mysql => start(MariaDb::start(&Options::default()))?,
        };
        Ok(Self {
            database,
            url,
            server,
            program: std::env::current_exe().context("find the own program")?,
            folder,
        })
    }

    /// Which database it is.
    pub fn database(&self) -> DatabaseArg {
        self.database
    }

    /// Where the database is reached without a detour.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the tables' names begin with.
    pub fn prefix(&self) -> &str {
        PREFIX
    }

    /// This program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where histories are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Does something to the server, on a thread that may block. None where there is none.
    ///
    /// # Errors
    /// If that fails.
    pub async fn with_server(
        &self,
        act: impl FnOnce(&mut Server) -> Result<(), peerwork_testbed::Error> + Send + 'static,
    ) -> Result<()> {
        let Some(server) = self.server.clone() else {
            return Ok(());
        };
        let acting = tokio::task::spawn_blocking(move || {
            act(&mut server.lock().expect("no panic under the lock"))
        });
        acting.await.context("act on the server")??;
        Ok(())
    }

    /// Leaves the histories where they are, and says where that is.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}
