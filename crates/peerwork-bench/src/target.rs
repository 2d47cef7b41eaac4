//! The databases that are measured: the one that was named, or one of each sort.

use peerwork_testbed::{MariaDb, Options, Postgres, Server};
use tempfile::TempDir;

/// A database, and what must live as long as it is used.
pub struct Target {
    pub name: &'static str,
    url: String,
    _server: Option<Server>,
    _directory: Option<TempDir>,
}

impl Target {
    /// The database with this URL, or a SQLite file and a durable throw-away server of each sort.
    pub fn all(url: Option<&str>) -> anyhow::Result<Vec<Self>> {
        if let Some(url) = url {
            let target = Self {
                name: sort_of(url),
                url: url.to_owned(),
                _server: None,
                _directory: None,
            };
            return Ok(vec![target]);
        }
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("bench.db");
        let url = format!("sqlite:{}", file.display());
        let sqlite = Self {
            name: sort_of(&url),
            url,
            _server: None,
            _directory: Some(directory),
        };
        let server = |server: Server| {
            let url = server.url().to_owned();
            Self {
                name: sort_of(&url),
                url,
                _server: Some(server),
                _directory: None,
            }
        };
        let postgres = server(Postgres::start(&Options::durable())?);
        let mariadb = server(MariaDb::start(&Options::durable())?);
        Ok(vec![sqlite, postgres, mariadb])
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

fn sort_of(url: &str) -> &'static str {
    match url.split(':').next() {
        Some("sqlite") => "sqlite",
        Some("postgres" | "postgresql") => "postgres",
        _ => "mysql",
    }
}
