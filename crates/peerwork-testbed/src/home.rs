//! The directory of a server: its data, its log, its socket; and the tether that outlives us.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::account::Account;
use crate::tether::Tether;
use crate::{Error, Result};

/// Enough of a log to see why a server did not start.
const TAIL_LINES: usize = 15;

/// How a server's process is ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    /// Begins the name of a temporary directory.
    pub name: &'static str,
    /// Disconnects the server's clients and has it write everything out.
    pub stop: Signal,
    /// Ends a server whose data nobody wants at once.
    pub abort: Signal,
}

#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    ending: Ending,
    /// `Some` removes the directory when dropped.
    temporary: Option<tempfile::TempDir>,
    // Last: until the directory is gone, somebody has to remove it if we die.
    tether: Tether,
}

impl Home {
    /// `chosen` or a new temporary directory, owned by the server's account.
    pub fn open(chosen: Option<&Path>, ending: Ending, account: Option<Account>) -> Result<Self> {
        let (path, temporary) = match chosen {
            Some(path) => {
                let doing = format!("create {}", path.display());
                fs::create_dir_all(path).map_err(Error::io(doing))?;
                (path.to_owned(), None)
            }
            None => {
                let made = tempfile::Builder::new()
                    .prefix(&format!("peerwork-{}-", ending.name))
                    .tempdir()
                    .map_err(Error::io("create a temporary directory for a server"))?;
                (made.path().to_owned(), Some(made))
            }
        };
        // The server reports its data directory with links resolved; readiness compares the two.
        let path = path
            .canonicalize()
            .map_err(Error::io(format_args!("resolve {}", path.display())))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(Error::io(
            format_args!("close {} to others", path.display()),
        ))?;
        if let Some(account) = account {
            account.give(&path)?;
        }
        let remove = temporary.is_some().then_some(path.as_path());
        let tether = Tether::tie(signal_name(end_signal(ending, remove.is_some())), remove)?;
        Ok(Self {
            path,
            ending,
            temporary,
            tether,
        })
    }

    /// How the server ends that is asked to.
    pub fn stop_signal(&self) -> Signal {
        self.ending.stop
    }

    pub fn tether(&mut self) -> &mut Tether {
        &mut self.tether
    }

    /// How a server ends that nobody asks for any more: at once where its data go with it.
    pub fn end_signal(&self) -> Signal {
        end_signal(self.ending, self.temporary.is_some())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }

    /// Leaves the directory where it is, for a server that goes on without us.
    pub fn keep(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
    }

    /// How long the log is now; what a start writes comes after it.
    pub fn log_length(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |log| log.len())
    }

    /// The last lines written to the log after `start`.
    pub fn log_tail(&self, start: u64) -> String {
        let mut text = Vec::new();
        if let Ok(mut log) = fs::File::open(self.log()) {
            let _ = log
                .seek(SeekFrom::Start(start))
                .and_then(|_| log.read_to_end(&mut text));
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

fn end_signal(ending: Ending, is_temporary: bool) -> Signal {
    match is_temporary {
        true => ending.abort,
        false => ending.stop,
    }
}

fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "INT",
        Signal::QUIT => "QUIT",
        Signal::TERM => "TERM",
        Signal::KILL => "KILL",
        other => unreachable!("no database is stopped with {other:?}"),
    }
}
