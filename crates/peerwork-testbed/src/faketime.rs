//! A wall clock that is wrong, for one process: Debian's libfaketime, between the program and its C library.
//!
//! Clocks that only go on (monotonic and boot time) are left alone, as when an administrator or NTP sets the time.
//! Programs that ask the kernel without the C library are not deceived.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

const PACKAGE: &str = "libfaketime";
/// The one for programs with threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";
/// Where distributions keep it, beside Debian's folders per architecture.
const FOLDERS: [&str; 3] = ["/usr/lib64", "/usr/lib", "/usr/local/lib"];

/// A clock that processes can be started with, and that can be set while they run.
#[derive(Debug)]
pub struct Faketime {
    library: PathBuf,
    folder: tempfile::TempDir,
}

impl Faketime {
    /// A clock that is wrong by this many seconds; negative: behind. It has to outlive its processes.
    pub fn new(seconds: i64) -> Result<Self> {
        let library = library()?;
        let folder = tempfile::Builder::new()
            .prefix("peerwork-clock-")
            .tempdir()
            .map_err(Error::io("create a temporary directory for a clock"))?;
        // The servers' accounts have to read it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(Error::io("open a directory to others"))?;
        let clock = Self { library, folder };
        clock.set(seconds)?;
        Ok(clock)
    }

    /// Jumps, for all its processes. They notice within a second.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // Renamed: a process that reads it meanwhile sees the old or the new one.
        let new = self.folder.path().join("new");
        fs::write(&new, format!("{seconds:+}\n"))
            .and_then(|()| fs::set_permissions(&new, fs::Permissions::from_mode(0o644)))
            .and_then(|()| fs::rename(&new, self.file()))
            .map_err(Error::io("set a clock"))
    }

    /// The environment of a process that is to see this clock: of a child, or as
    /// [`Options::env`](crate::Options::env) of a server.
    pub fn env(&self) -> Vec<(String, String)> {
        let variable = |name: &str, value: String| (name.to_owned(), value);
        vec![
            variable("LD_PRELOAD", self.library.display().to_string()),
            variable("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            variable("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // How long a process trusts what it read, in seconds.
            variable("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ]
    }

    /// Whether it is installed; the error names the package.
    pub fn installed() -> Result<()> {
        library().map(drop)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

fn library() -> Result<PathBuf> {
    let per_architecture = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    std::iter::once(per_architecture.as_str())
        .chain(FOLDERS)
        .map(|folder| Path::new(folder).join(LIBRARY))
        .find(|library| library.is_file())
        .ok_or_else(|| {
            Error::missing_binary(format_args!(
                "find {LIBRARY}: not installed; `apt-get install {PACKAGE}`"
            ))
        })
}
