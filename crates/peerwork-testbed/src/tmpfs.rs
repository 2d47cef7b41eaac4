//! A small file system of its own, so that a disk can be full without anybody else's being so.
//!
//! Mounting needs root. Where it is not permitted, the error says so ([`Error::is_not_permitted`]).

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::tether::Tether;
use crate::{Error, Result};

const BALLAST: &str = "ballast";
/// Written at a time; then, when that no longer fits, a page.
const CHUNK_BYTES: usize = 64 * 1024;
const PAGE_BYTES: usize = 4 * 1024;

/// A mounted tmpfs, unmounted when dropped, or when this process dies. Drop the servers on it first.
///
/// PostgreSQL refuses what it has no room for. MariaDB gives up at the first write of its log: after
/// [`empty`](Self::empty) it has to be [restarted](crate::Server::restart).
#[derive(Debug)]
pub struct Tmpfs {
    path: PathBuf,
    // Last: the folder goes after what was mounted on it.
    _folder: tempfile::TempDir,
    _tether: Tether,
}

impl Tmpfs {
    /// Mounts one with room for `bytes`. A new PostgreSQL needs 64 MiB, a new MariaDB 160 MiB.
    pub fn mount(bytes: u64) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("peerwork-tmpfs-")
            .tempdir()
            .map_err(Error::io("create a temporary directory for a tmpfs"))?;
        // The servers' accounts have to get in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(Error::io("open a directory to others"))?;
        let path = folder
            .path()
            .canonicalize()
            .map_err(Error::io("resolve a temporary directory"))?
            .join("disk");
        fs::create_dir(&path).map_err(Error::io(format_args!("create {}", path.display())))?;
        let tether = Tether::tie_mount(&path)?;
        let data = std::ffi::CString::new(format!("size={bytes},mode=1777"))
            .expect("a number contains no NUL");
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("peerwork", &path, "tmpfs", flags, data.as_c_str()).map_err(|errno| {
            let doing = format!("mount a tmpfs on {}", path.display());
            match errno {
                Errno::PERM | Errno::ACCESS => Error::not_permitted(format_args!(
                    "{doing}: run as root, with CAP_SYS_ADMIN where this is a container"
                )),
                _ => Error::io(doing)(errno.into()),
            }
        })?;
        Ok(Self {
            path,
            _folder: folder,
            _tether: tether,
        })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills what is left: from now on nobody can write anything more. Harmless when it is full.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.path.join(BALLAST))
            .map_err(Error::io("create a file that fills the disk"))?;
        for size in [CHUNK_BYTES, PAGE_BYTES] {
            let chunk = vec![0; size];
            loop {
                match ballast.write_all(&chunk) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(Error::io("fill the disk")(error)),
                }
            }
        }
        Ok(())
    }

    /// Makes room again. Harmless when there is.
    pub fn empty(&self) -> Result<()> {
        match fs::remove_file(self.path.join(BALLAST)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("remove the file that fills the disk")(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Detached: it goes at once from the tree, and for good when the last file is closed.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}
