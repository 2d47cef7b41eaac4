//! The servers of one run: throw-away ones, or those that the caller names in the environment.

use std::env;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use peerwork_testbed::{Database, Error, MariaDb, Options, Postgres, Server};

/// A PostgreSQL and a MariaDB, stopped when dropped.
pub struct Servers {
    postgres: Source,
    mariadb: Source,
}

enum Source {
    Ours(Box<Server>),
    Theirs(String),
}

impl Servers {
    /// Starts those that the environment does not name, both at once.
    pub fn start() -> Result<Self> {
        std::thread::scope(|scope| {
            let postgres = scope.spawn(|| Source::start(Database::Postgres, Postgres::start));
            let mariadb = scope.spawn(|| Source::start(Database::MariaDb, MariaDb::start));
            let joined = |handle: std::thread::ScopedJoinHandle<'_, Result<Source>>| {
                handle
                    .join()
                    .map_err(|_| anyhow!("starting a server panicked"))?
            };
            // Both are joined before either error returns: a server that started is dropped, and so stopped.
            let (postgres, mariadb) = (joined(postgres), joined(mariadb));
            Ok(Self {
                postgres: postgres?,
                mariadb: mariadb?,
            })
        })
    }

    /// Names the servers to a command's tests.
    pub fn tell<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env(Database::Postgres.url_var(), self.postgres.url())
            .env(Database::MariaDb.url_var(), self.mariadb.url())
    }

    /// A database of its own for one program; on a server that is not ours, the one that its URL names.
    pub fn fresh_url(&self, database: Database, name: &str) -> Result<String> {
        match self.source(database) {
            Source::Theirs(url) => Ok(url.clone()),
            Source::Ours(server) => Ok(server.create_database(name)?),
        }
    }

    fn source(&self, database: Database) -> &Source {
        match database {
            Database::Postgres => &self.postgres,
            Database::MariaDb => &self.mariadb,
        }
    }
}

impl Source {
    fn start(
        database: Database,
        start: impl Fn(&Options) -> Result<Server, Error>,
    ) -> Result<Self> {
        if let Some(url) = env::var(database.url_var())
            .ok()
            .filter(|url| !url.is_empty())
        {
            println!(
                "{}: the one that {} names",
                database.title(),
                database.url_var()
            );
            return Ok(Self::Theirs(url));
        }
        let started = Instant::now();
        let server =
            start(&Options::default()).with_context(|| format!("start {}", database.title()))?;
        println!(
            "{}: {} after {:.1} s",
            database.title(),
            server.url(),
            started.elapsed().as_secs_f64()
        );
        Ok(Self::Ours(Box::new(server)))
    }

    fn url(&self) -> String {
        match self {
            Self::Ours(server) => server.url(),
            Self::Theirs(url) => url.clone(),
        }
    }
}
