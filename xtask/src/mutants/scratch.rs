//! The copy of the checkout in which bugs are planted. The checkout itself is never changed.
//!
//! The copy and its builds stay where they are between runs, so that a later run builds only what has changed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The workspace optimises it for the model of the lease, which is not run here: each bug would cost half a minute more to
/// build, and the simulation takes a few seconds less.
const UNOPTIMISED: &str = "profile.dev.package.peerwork-faults.opt-level=0";

pub struct Scratch {
    folder: PathBuf,
    /// Two runs in one copy would see each other's bugs.
    _lock: File,
}

impl Scratch {
    /// Makes the copy in `folder` equal to the checkout at `root`: all files that git does not ignore.
    pub fn new(root: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!(
                "another `cargo xtask mutants` is at work in {}; wait for it",
                folder.display()
            );
        }
        let scratch = Self {
            folder: folder.to_owned(),
            _lock: lock,
        };
        copy(root, &scratch.checkout(), &listed(root)?)?;
        Ok(scratch)
    }

    /// Where the logs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn checkout(&self) -> PathBuf {
        self.folder.join("checkout")
    }

    pub fn read(&self, file: &str) -> Result<String> {
        let path = self.checkout().join(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.checkout().join(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// cargo, in the copy.
    pub fn cargo(&self, command: &str) -> Command {
        let mut cargo = process::cargo(&[command, "--quiet", "--config", UNOPTIMISED]);
        cargo
            .current_dir(self.checkout())
            .env("CARGO_TARGET_DIR", self.folder.join("target"));
        cargo
    }
}

/// The files of a checkout, also new ones that were not added yet.
fn listed(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .context("run git ls-files")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!(
            "git ls-files: {}; mutants need a git checkout",
            error.trim()
        );
    }
    let names = String::from_utf8(output.stdout).context("git ls-files")?;
    Ok(names
        .split_terminator('\0')
        .map(PathBuf::from)
        .filter(|file| root.join(file).exists()) // one that was removed is listed until that is committed
        .collect())
}

/// Writes only what differs, so that cargo builds only that, and a bug that an interrupted run has left is gone.
fn copy(from: &Path, to: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for file in files {
        let (source, copy) = (from.join(file), to.join(file));
        let bytes = fs::read(&source).with_context(|| format!("read {}", source.display()))?;
        if fs::read(&copy).is_ok_and(|before| before == bytes) {
            continue;
        }
        fs::create_dir_all(copy.parent().expect("a file is in a folder"))
            .and_then(|()| fs::write(&copy, bytes))
            .with_context(|| format!("write {}", copy.display()))?;
    }
    remove_others(to, Path::new(""), files)
}

/// Removes what is below `folder` of the copy and not among `files`.
fn remove_others(copy: &Path, folder: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in copy.join(folder).read_dir()? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            remove_others(copy, &path, files)?;
        } else if !files.contains(&path) {
            fs::remove_file(entry.path())
                .with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_made_equal_and_what_is_equal_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        let files = BTreeSet::from(["a.rs".into(), "src/b.rs".into()]);
        fs::create_dir_all(from.join("src")).unwrap();
        fs::write(from.join("a.rs"), "same").unwrap();
        fs::write(from.join("src/b.rs"), "guarded").unwrap();
        copy(&from, &to, &files).unwrap();

        let written = || fs::metadata(to.join("a.rs")).unwrap().modified().unwrap();
        let before = written();
        fs::write(to.join("src/b.rs"), "a bug").unwrap();
        fs::write(to.join("src/c.rs"), "gone from the checkout").unwrap();
        copy(&from, &to, &files).unwrap();
        let text = fs::read_to_string(to.join("src/b.rs")).unwrap();
        assert_eq!(text, "guarded");
        assert!(!to.join("src/c.rs").exists());
        assert_eq!(written(), before);
    }
}
