//! The databases that are measured: the one that was named, or one of each sort.

use peerwork_testbed::{MariaDb, Options, Postgres, Server};
use tempfile::TempDir;

/// Which of the three databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Sqlite,
    Postgres,
    MySql,
}

impl Sort {
    /// By the URL's scheme.
    pub fn of(url: &str) -> Self {
        match url.split(':').next() {
            Some("sqlite") => Self::Sqlite,
            Some("postgres" | "postgresql") => Self::Postgres,
            _ => Self::MySql,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }
}

/// A database, and what must live as long as it is used.
pub struct Target {
    pub sort: Sort,
    url: String,
    _server: Option<Server>,
    _directory: Option<TempDir>,
}

impl Target {
    /// The database with this URL, or a SQLite file and a durable throw-away server of each sort.
    pub fn all(url: Option<&str>) -> anyhow::Result<Vec<Self>> {
        if let Some(url) = url {
            return Ok(vec![Self::new(url.to_owned(), None, None)]);
        }
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("bench.db");
        let sqlite = format!("sqlite:{}", file.display());
        let server = |server: Server| Self::new(server.url(), Some(server), None);
        Ok(vec![
            Self::new(sqlite, None, Some(directory)),
            server(Postgres::start(&Options::durable())?),
            server(MariaDb::start(&Options::durable())?),
        ])
    }

    fn new(url: String, server: Option<Server>, directory: Option<TempDir>) -> Self {
        Self {
            sort: Sort::of(&url),
            url,
            _server: server,
            _directory: directory,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}
