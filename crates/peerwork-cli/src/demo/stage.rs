//! Where the demo takes place: a folder of its own, a database, tables with a prefix that nobody else has.

use crate::args::{Connection, DemoArgs};
use crate::exit::{Exit, Trouble};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The matrices, as they are in the repository.
const LEFT: &str = include_str!("../../data/left.csv");
const RIGHT: &str = include_str!("../../data/right.csv");

/// The place of one demo. Its folder goes with it.
pub(crate) struct Stage {
    folder: TempDir,
    pub url: String,
    pub prefix: String,
    pub schema: Option<String>,
    /// Whether the database is the demo's own file, or somebody's.
    pub is_own_database: bool,
    /// The folder to digest.
    pub input: PathBuf,
}

impl Stage {
    /// Makes the folder, and chooses the database and the tables.
    ///
    /// # Errors
    /// If `--prefix` was given, the folder to digest is none, or no file can be written.
    pub fn set(args: &DemoArgs, connection: &Connection) -> Result<Self, Trouble> {
        if connection.prefix.is_some() {
            return Err(Trouble::new(
                Exit::Usage,
                "cannot run the demo",
                "--prefix was given, but each demo makes tables with a prefix of its own",
                "leave --prefix out",
            ));
        }
        let input = args.input.clone().unwrap_or_else(|| PathBuf::from("."));
        let input = input.canonicalize().map_err(|error| {
            let why = format!("{}: {error}", input.display());
            Trouble::new(
                Exit::Usage,
                "cannot digest the input",
                why,
                "give an existing folder with --input",
            )
        })?;
        Self::make(input, connection).map_err(|error| {
            let advice = "check the space and the rights of the folder for temporary files";
            Trouble::new(
                Exit::Failed,
                "cannot set the demo up",
                format!("{error:#}"),
                advice,
            )
        })
    }

    fn make(input: PathBuf, connection: &Connection) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("peerwork-demo-")
            .tempdir()?;
        for folder in [folder.path().join("sums"), folder.path().join("logs")] {
            std::fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        }
        std::fs::write(folder.path().join("left.csv"), LEFT)?;
        std::fs::write(folder.path().join("right.csv"), RIGHT)?;
        // Not that of the environment: it may well be one that people work with.
        let url = connection
            .database_url
            .clone()
            .filter(|_| connection.url_was_given);
        let is_own_database = url.is_none();
        let file = folder.path().join("demo.db");
        Ok(Self {
            url: url.unwrap_or_else(|| format!("sqlite:{}", file.display())),
            prefix: format!("pwdemo_{:08x}_", rand::random::<u32>()),
            schema: connection.schema.clone(),
            is_own_database,
            input,
            folder,
        })
    }

    /// Where digest tasks write their sums to.
    pub fn sums(&self) -> PathBuf {
        self.folder.path().join("sums")
    }

    /// The files with the matrices.
    pub fn matrices(&self) -> (PathBuf, PathBuf) {
        (
            self.folder.path().join("left.csv"),
            self.folder.path().join("right.csv"),
        )
    }

    /// Where a node's log goes to.
    pub fn log(&self, label: &str) -> PathBuf {
        self.folder
            .path()
            .join("logs")
            .join(label)
            .with_extension("log")
    }

    /// The nodes' logs, in order.
    pub fn logs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.folder.path().join("logs"));
        let mut logs: Vec<_> = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        logs.sort_by_key(|log| (log.as_os_str().len(), log.clone()));
        logs
    }

    /// For people.
    pub fn database(&self) -> String {
        let scheme = self.url.split(':').next().unwrap_or_default();
        match (self.is_own_database, scheme) {
            (true, _) => "a fresh SQLite file".to_owned(),
            (false, "postgres" | "postgresql") => format!("PostgreSQL, in tables {}*", self.prefix),
            (false, "mysql" | "mariadb") => format!("MariaDB/MySQL, in tables {}*", self.prefix),
            (false, _) => format!("SQLite, in tables {}*", self.prefix),
        }
    }
}

/// A path for people: relative, where it is below the current folder.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    let relative = here
        .ok()
        .and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    match relative {
        Some(relative) if relative.as_os_str().is_empty() => "the current folder".to_owned(),
        Some(relative) => relative.display().to_string(),
        None => path.display().to_string(),
    }
}
