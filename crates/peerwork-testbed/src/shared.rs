//! The servers that many tests share: where tests find them, and how `cargo xtask db` keeps them.
//!
//! Two ways to a URL: an environment variable, which `cargo xtask test` sets, or the state file of `cargo xtask db up`.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::server::{Server, is_running, send, wait_until};
use crate::{Database, Error, Result};

/// Names the PostgreSQL server that tests use.
pub const POSTGRES_URL_VAR: &str = "PEERWORK_TEST_POSTGRES_URL";
/// Names the MySQL or MariaDB server that tests use.
pub const MYSQL_URL_VAR: &str = "PEERWORK_TEST_MYSQL_URL";

const STATE_FILE: &str = "peerwork-db.json";

/// The PostgreSQL server for tests. Panics, with the command to run, when there is none: a test is never skipped silently.
pub fn postgres_url() -> String {
    url(Database::Postgres).unwrap_or_else(|error| panic!("{error}"))
}

/// The MySQL or MariaDB server for tests. Panics, with the command to run, when there is none.
pub fn mysql_url() -> String {
    url(Database::MariaDb).unwrap_or_else(|error| panic!("{error}"))
}

/// What the state file says of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedServer {
    /// Which database it is.
    pub database: Database,
    /// Its URL, as in [`Server::url`].
    pub url: String,
    /// Its main process.
    pub pid: u32,
    /// Its directory, removed when it is stopped.
    pub directory: PathBuf,
}

impl SharedServer {
    /// Whether this very server still runs: its process exists and works on its directory.
    pub fn is_up(&self) -> bool {
        // A pid alone proves nothing: after a reboot it may be anybody's.
        let directory = self.directory.to_string_lossy();
        is_running(self.pid)
            && fs::read(format!("/proc/{}/cmdline", self.pid))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*directory))
    }
}

/// The servers in the state file of a target directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedServers {
    /// Them all, up or not.
    pub servers: Vec<SharedServer>,
}

impl SharedServers {
    /// What the state file says; none where there is no file.
    pub fn load(target: &Path) -> Result<Self> {
        let path = target.join(STATE_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                Error::new(format_args!(
                    "read {}: {error}; remove it and run `cargo xtask db up`",
                    path.display()
                ))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io(format_args!("read {}", path.display()))(error)),
        }
    }

    /// Leaves a server running for everybody and notes it in the state file, in place of one that is gone.
    pub fn share(&mut self, target: &Path, server: Server) -> Result<()> {
        let pid = server
            .pid()
            .ok_or_else(|| Error::new(format_args!("share {}: it is not running", server.url())))?;
        self.servers
            .retain(|known| known.database != server.database());
        self.servers.push(SharedServer {
            database: server.database(),
            url: server.url(),
            pid,
            directory: server.directory().to_owned(),
        });
        // Noted first: a server that nobody knows of could not be stopped.
        self.save(target)?;
        server.detach();
        Ok(())
    }

    /// Stops them all, removes their data and the state file. Returns how many were up.
    pub fn stop_all(&mut self, target: &Path) -> Result<usize> {
        let mut stopped = 0;
        for server in self.servers.drain(..) {
            if server.is_up() {
                stopped += 1;
                send(server.pid, server.database.ending().stop);
                if !wait_until(|| !is_running(server.pid)) {
                    send(server.pid, Signal::KILL);
                }
            }
            absent(fs::remove_dir_all(&server.directory), &server.directory)?;
        }
        let path = target.join(STATE_FILE);
        absent(fs::remove_file(&path), &path)?;
        Ok(stopped)
    }

    fn save(&self, target: &Path) -> Result<()> {
        let path = target.join(STATE_FILE);
        let text = serde_json::to_string_pretty(self).expect("plain data always encodes");
        fs::create_dir_all(target)
            .and_then(|()| fs::write(&path, text))
            .map_err(Error::io(format_args!("write {}", path.display())))
    }
}

/// Where cargo builds this workspace: `CARGO_TARGET_DIR`, else `target` at the workspace's root.
pub fn target_dir() -> PathBuf {
    let root = workspace_root();
    match env::var_os("CARGO_TARGET_DIR") {
        // A relative one is relative to where cargo was started, which is the root for our commands.
        Some(chosen) if !chosen.is_empty() => root.join(chosen),
        _ => root.join("target"),
    }
}

fn workspace_root() -> PathBuf {
    // Set by cargo and nextest at run time; the built-in one is for binaries that are run by hand.
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = package
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").exists());
    root.unwrap_or(&package).to_owned()
}

fn url(database: Database) -> Result<String> {
    find_url(database, env::var(database.url_var()).ok(), &target_dir())
}

fn find_url(database: Database, chosen: Option<String>, target: &Path) -> Result<String> {
    if let Some(url) = chosen.filter(|url| !url.is_empty()) {
        return Ok(url);
    }
    let servers = SharedServers::load(target)?.servers;
    let noted = servers
        .into_iter()
        .find(|server| server.database == database);
    let problem = match noted {
        Some(server) if server.is_up() => return Ok(server.url),
        Some(server) => format!("the one that {STATE_FILE} names ({}) is gone", server.url),
        None => format!(
            "{} is not set, and {} names none",
            database.url_var(),
            target.join(STATE_FILE).display()
        ),
    };
    Err(Error::new(format_args!(
        "this test needs a {} server: {problem}\n\
         start them once with `cargo xtask db up`, or run the tests through `cargo xtask test`",
        database.title()
    )))
}

fn absent(removed: std::io::Result<()>, path: &Path) -> Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io(format_args!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins() {
        let target = tempfile::tempdir().unwrap();
        let url = find_url(
            Database::Postgres,
            Some("postgres://elsewhere".into()),
            target.path(),
        )
        .unwrap();
        assert_eq!(url, "postgres://elsewhere");
    }

    #[test]
    fn without_a_server_the_message_names_the_commands() {
        let target = tempfile::tempdir().unwrap();
        let error = find_url(Database::MariaDb, None, target.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("PEERWORK_TEST_MYSQL_URL"), "{error}");
        assert!(error.contains("cargo xtask db up"), "{error}");
        assert!(error.contains("cargo xtask test"), "{error}");
    }

    #[test]
    fn a_process_that_took_over_the_pid_is_not_the_server() {
        let target = tempfile::tempdir().unwrap();
        let server = SharedServer {
            database: Database::Postgres,
            url: "postgres://gone".into(),
            pid: std::process::id(),
            directory: target.path().join("nobody-works-here"),
        };
        assert!(!server.is_up());
        SharedServers {
            servers: vec![server],
        }
        .save(target.path())
        .unwrap();
        let error = find_url(Database::Postgres, None, target.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("is gone"), "{error}");
    }
}
