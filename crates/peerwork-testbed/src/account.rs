//! Which operating-system account a server runs as: servers refuse root, so root lends them their own account.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::{Error, Result};

/// The account that Debian's package created for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` where we are an ordinary user, who runs the server as itself.
    pub fn for_server(name: &str) -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        Ok(Some(Self {
            uid: id_of(name, "-u")?,
            gid: id_of(name, "-g")?,
        }))
    }

    pub fn lend_to(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    pub fn give(self, path: &Path) -> Result<()> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io(
            format_args!("give {} to uid {}", path.display(), self.uid),
        ))
    }
}

fn id_of(name: &str, flag: &str) -> Result<u32> {
    let output = Command::new("id")
        .args([flag, name])
        .output()
        .map_err(Error::io("run id"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        Error::new(format_args!(
            "no account {name:?} to run the server as (it refuses root): install its package, or run as an ordinary user"
        ))
    })
}
