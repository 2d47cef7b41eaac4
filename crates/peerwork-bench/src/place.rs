//! Tables of one round: made by the engine's own migrations, under a prefix of their own, and removed after it.

use crate::options::Options;
use crate::raw::Raw;
use crate::target::{Sort, Target};
use anyhow::Context;
use peerwork::{Client, Database, Settings};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Fresh tables. On SQLite a fresh file beside the one that was named: free pages of an earlier round would speed up
/// the next.
pub struct Place {
    pub sort: Sort,
    pub prefix: String,
    pub url: String,
    pub database: Database,
    pub client: Client,
    _file: Option<SqliteFile>,
}

impl Place {
    pub async fn new(target: &Target) -> anyhow::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("b{}_{number}_", std::process::id());
        let (url, file) = match target.sort {
            Sort::Sqlite => {
                let url = target.url().split('?').next().unwrap_or_default();
                let url = format!("{url}-{name}");
                let path = url.split_once(':').map_or("", |(_, path)| path);
                let file = SqliteFile(PathBuf::from(path.trim_start_matches("//")));
                (url, Some(file))
            }
            Sort::Postgres | Sort::MySql => (target.url().to_owned(), None),
        };
        let database = open(&url, &name).await?;
        let client = Client::connect(&database).await?;
        Ok(Self {
            sort: target.sort,
            prefix: name,
            url,
            database,
            client,
            _file: file,
        })
    }

    /// What a store of one's own on these tables needs.
    pub fn settings(&self) -> Settings {
        Settings::default().with_prefix(&self.prefix)
    }

    /// `text` with the tables' prefix for each `~`.
    pub fn sql(&self, text: &str) -> String {
        text.replace('~', &self.prefix)
    }

    pub async fn raw(&self) -> anyhow::Result<Raw> {
        Raw::open(&self.url).await
    }

    pub async fn count(&self, table: &str) -> anyhow::Result<usize> {
        let count = format!("select count(*) from {}{table}", self.prefix);
        Ok(usize::try_from(self.raw().await?.int(&count).await?)?)
    }

    /// Tells the planner what is there, and on PostgreSQL has what was written so far brought to its place, as the databases do by
    /// themselves after a while: nobody pays for what was filled in before.
    pub async fn analyze(&self) -> anyhow::Result<()> {
        let tables =
            ["task", "ready", "running", "done"].map(|name| format!("{}{name}", self.prefix));
        let text = match self.sort {
            Sort::Sqlite => return Ok(()),
            Sort::Postgres => format!("vacuum analyze {}", tables.join(", ")),
            Sort::MySql => format!("analyze table {}", tables.join(", ")),
        };
        let mut raw = self.raw().await?;
        raw.run(&text).await?;
        if self.sort == Sort::Postgres {
            // Whoever may not do that measures without it.
            let _ = raw.run("checkpoint").await;
        }
        Ok(())
    }

    /// Removes the tables.
    pub async fn remove(self) -> anyhow::Result<()> {
        let tables = match self.sort {
            Sort::Sqlite => return Ok(()),
            Sort::Postgres => {
                "select tablename::text from pg_tables where schemaname = current_schema() and tablename"
            }
            Sort::MySql => {
                "select cast(table_name as char) from information_schema.tables where table_schema = database() and table_name"
            }
        };
        let tables = format!("{tables} like '{}%'", self.prefix.replace('_', r"\_"));
        let mut raw = self.raw().await?;
        let tables = raw.texts(&tables).await?;
        if !tables.is_empty() {
            raw.run(&format!("drop table {}", tables.join(", ")))
                .await?;
        }
        Ok(())
    }
}

async fn open(url: &str, prefix: &str) -> anyhow::Result<Database> {
    Ok(Database::connect_with(url, Settings::default().with_prefix(prefix)).await?)
}

/// The tables of the process that has started this one.
pub async fn opened_by(options: &Options) -> anyhow::Result<Database> {
    let url = options.database_url.as_deref().context("a database")?;
    open(url, options.prefix.as_deref().context("its tables")?).await
}

/// A file that goes with its round.
struct SqliteFile(PathBuf);

impl Drop for SqliteFile {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-hints"] {
            let mut path = self.0.clone().into_os_string();
            path.push(end);
            // What is left over is in a temporary directory, or in one of the caller's.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_round_leaves_no_file_behind() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("b.db").display());
        let target = Target::all(Some(&url)).unwrap().pop().unwrap();
        let place = Place::new(&target).await.unwrap();
        assert_eq!(place.count("task").await.unwrap(), 0);
        place.remove().await.unwrap();
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    }
}
