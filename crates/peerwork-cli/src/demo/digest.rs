//! The kind `digest`: SHA-256 of every file of a subtree, as a file of lines like those of `sha256sum`.
//!
//! Shows a handler with effects outside the database. The file of sums grows by a line for each checkpoint; a run that
//! was cut off between the two leaves a line too many, so the next run first cuts the file back to what its checkpoint
//! knows of. The deletion of a task removes the file.

use super::subtrees::Subtree;
use super::tree::files_below;
use peerwork::{Handler, Run, Stop, TaskError, TaskId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Stands where a sum would, if the file cannot be read.
pub(crate) const UNREADABLE: &str = "unreadable";

pub(crate) struct Digest;

/// What to digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Input {
    pub root: PathBuf,
    pub subtree: Subtree,
    /// The folder for the file of sums.
    pub sums: PathBuf,
    /// A rest before each file, so that a person sees something.
    pub pace_ms: u64,
}

/// How far it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The last file that is in the sums.
    last: Option<String>,
    files: u64,
    /// Length of the sums so far, in bytes.
    written: u64,
}

/// What has become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Output {
    pub files: u64,
    /// SHA-256 of the file of sums itself.
    pub sums_sha256: String,
}

/// Where a task's sums are.
pub(crate) fn sums_path(folder: &Path, id: TaskId) -> PathBuf {
    folder.join(format!("{id}.sha256"))
}

impl Handler for Digest {
    const KIND: &'static str = "digest";
    type Input = Input;
    type Checkpoint = Checkpoint;
    type Output = Output;

    async fn run(&self, run: &mut Run<Self>) -> Result<Output, TaskError> {
        let input = run.input().clone();
        let mut at = run.checkpoint().unwrap_or_default();
        let files = blocking({
            let input = input.clone();
            move || files_of(&input)
        })
        .await?;
        let total = files.len() as u64;
        // Files have an order, so that "after the last one" means the same in every run.
        let first = files.partition_point(|file| at.last.as_ref().is_some_and(|last| file <= last));
        let path = sums_path(&input.sums, run.id());
        let mut sums = cut_back(&path, at.written)?;
        run.progress(at.files, total);
        run.save(&at).await?;

        for file in files.into_iter().skip(first) {
            rest(run, input.pace_ms).await?;
            let full = input.root.join(&file);
            let sum =
                blocking(move || Ok(sha256_of(&full).unwrap_or_else(|_| UNREADABLE.to_owned())))
                    .await?;
            let line = format!("{sum}  {file}\n");
            sums.write_all(line.as_bytes())?;
            at = Checkpoint {
                last: Some(file),
                files: at.files + 1,
                written: at.written + line.len() as u64,
            };
            run.progress(at.files, total.max(at.files));
            run.save(&at).await?; // durable when it returns; a pause, a deletion or a drain ends the run here
        }
        Ok(Output {
            files: at.files,
            sums_sha256: blocking(move || sha256_of(&path)).await?,
        })
    }

    async fn cleanup(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        match std::fs::remove_file(sums_path(&run.input().sums, run.id())) {
            Ok(()) => Ok(()),
            // An earlier try has removed it, or the task never wrote any.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error)?,
        }
    }
}

/// Waits, but not longer than the task is wanted here: whoever pauses it or drains its node need not wait for the rest.
pub(crate) async fn rest<H: Handler>(run: &Run<H>, pace_ms: u64) -> Result<(), Stop> {
    tokio::select! {
        stop = run.stopping() => Err(stop),
        () = tokio::time::sleep(Duration::from_millis(pace_ms)) => Ok(()),
    }
}

fn files_of(input: &Input) -> io::Result<Vec<String>> {
    let mut files = files_below(&input.root)?;
    files.retain(|file| input.subtree.holds(file));
    Ok(files)
}

/// The file of sums with its first `written` bytes, to write on from there.
fn cut_back(path: &Path, written: u64) -> Result<File, TaskError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    if file.metadata()?.len() < written {
        return Err(TaskError::permanent(
            "the file of sums is shorter than the checkpoint says: somebody changed it",
        ));
    }
    file.set_len(written)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Disks and hashes take their time: elsewhere than where the other tasks' futures are polled.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, TaskError> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_no_checkpoint_knows_of_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sums");
        cut_back(&path, 0)
            .unwrap()
            .write_all(b"one\ntwo\n")
            .unwrap();
        cut_back(&path, 4).unwrap().write_all(b"2\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n2\n");
        assert!(cut_back(&path, 100).is_err(), "the file was tampered with");
    }

    #[test]
    fn a_sum_is_that_of_the_standard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of(&path).unwrap(), expected);
    }
}
