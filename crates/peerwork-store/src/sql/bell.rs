//! How processes on one SQLite file tell each other to look: a file beside it, to which a line is appended for each hint.
//!
//! The database's own log would tell of every write: of each beat of each node, and of a process's own. A line tells what has
//! happened and who says so. Whoever listens looks at the file's length, one system call and no SQL, and reads what is new.
//!
//! The file holds nothing that is needed: it may be removed, cut, or not writable, and then hints are lost, which costs
//! latency only.

use super::hints::{Origin, Said};
use crate::Hint;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is appended to the database's name.
const SUFFIX: &str = "-hints";

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A longer file is begun anew, so that it does not grow for ever.
const BYTES_MAX: u64 = 64 * 1024;

/// The file beside one database, for one process.
#[derive(Clone)]
pub(crate) struct Bell {
    database: PathBuf,
    file: PathBuf,
    /// This process, which tells its own stores without the file.
    me: Origin,
}

impl Bell {
    pub(crate) fn beside(database: PathBuf) -> Self {
        let mut file = OsString::from(&database);
        file.push(SUFFIX);
        Self {
            file: PathBuf::from(file),
            database,
            me: Origin::random(),
        }
    }

    /// Tells other processes. Short enough for a thread that runs other tasks: nothing waits for the disk.
    pub(crate) fn ring(&self, hint: Hint) {
        let said = Said {
            hint,
            by: Some(self.me),
        };
        if let Err(error) = self.append(&format!("{}\n", said.to_text())) {
            tracing::debug!(%error, file = %self.file.display(), "hint not written; others will look by themselves");
        }
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let open = |create| {
            OpenOptions::new()
                .append(true)
                .create(create)
                .open(&self.file)
        };
        let mut file = match open(false) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // For whoever may write to the database; none beside one that is gone.
                let permissions = std::fs::metadata(&self.database)?.permissions();
                let file = open(true)?;
                file.set_permissions(permissions)?;
                file
            }
            file => file?,
        };
        if file.metadata()?.len() >= BYTES_MAX {
            file.set_len(0)?;
        }
        // In one call, so that the lines of two processes do not mix.
        file.write_all(line.as_bytes())
    }

    /// Calls `hear` with what other processes say, and with nothing now and then, until it answers that nobody wants to know.
    /// False if that is not possible.
    ///
    /// On a thread of its own: those who listen may be on several runtimes, any of which may end.
    pub(crate) fn watch(&self, hear: impl Fn(Option<Hint>) -> bool + Send + 'static) -> bool {
        let mut reader = Reader::at_the_end_of(&self.file, self.me);
        let look = move || {
            while hear(reader.news()) {
                std::thread::sleep(LOOK);
            }
        };
        let started = std::thread::Builder::new()
            .name("peerwork-hints".to_owned())
            .spawn(look);
        if let Err(error) = &started {
            tracing::warn!(%error, "no thread to listen for hints; looking every second");
        }
        started.is_ok()
    }
}

/// Reads what others have appended since the last time.
struct Reader {
    file: PathBuf,
    me: Origin,
    read: u64,
}

impl Reader {
    fn at_the_end_of(file: &Path, me: Origin) -> Self {
        let mut reader = Self {
            file: file.to_owned(),
            me,
            read: 0,
        };
        reader.read = reader.len();
        reader
    }

    /// Nothing is in a file that is not there.
    fn len(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |data| data.len())
    }

    /// What others have said since the last call.
    fn news(&mut self) -> Option<Hint> {
        let len = self.len();
        if len == self.read {
            return None;
        }
        if len < self.read {
            // It was begun anew, perhaps after lines that were not read yet.
            self.read = len;
            return Some(Hint::ALL);
        }
        let mut text = Vec::new();
        let from = std::mem::replace(&mut self.read, len);
        if let Err(error) = read_part(&self.file, from, len - from, &mut text) {
            tracing::debug!(%error, "hints not read; looking at everything");
            return Some(Hint::ALL);
        }
        let text = String::from_utf8_lossy(&text);
        let said = text.lines().map(Said::from_text);
        said.filter(|said| !said.is_by(Some(self.me)))
            .map(|said| said.hint)
            .reduce(Hint::and)
    }
}

fn read_part(file: &Path, from: u64, len: u64, text: &mut Vec<u8>) -> io::Result<()> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(from))?;
    file.take(len).read_to_end(text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Hint = Hint {
        ready: true,
        wish: false,
        change: false,
    };
    const WISH: Hint = Hint {
        wish: true,
        ready: false,
        change: false,
    };

    /// Two processes on one database, and what the first one reads.
    fn two() -> (tempfile::TempDir, Bell, Bell, Reader) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("t.db");
        std::fs::write(&database, "").unwrap();
        let (first, second) = (Bell::beside(database.clone()), Bell::beside(database));
        let reader = Reader::at_the_end_of(&first.file, first.me);
        (folder, first, second, reader)
    }

    #[test]
    fn a_process_reads_what_others_have_written_and_passes_over_its_own() {
        let (_folder, first, second, mut reader) = two();
        assert_eq!(reader.news(), None);
        first.ring(READY);
        assert_eq!(reader.news(), None);
        second.ring(READY);
        assert_eq!(reader.news(), Some(READY));
        assert_eq!(reader.news(), None);
        second.ring(READY);
        first.ring(Hint::ALL);
        second.ring(WISH);
        assert_eq!(reader.news(), Some(READY.and(WISH)));
    }

    #[test]
    fn a_file_that_is_removed_or_begun_anew_costs_no_more_than_a_look() {
        let (_folder, first, second, mut reader) = two();
        second.ring(READY);
        assert_eq!(reader.news(), Some(READY));
        std::fs::remove_file(&first.file).unwrap();
        assert_eq!(reader.news(), Some(Hint::ALL));
        assert_eq!(reader.news(), None);
        second.ring(WISH);
        assert_eq!(reader.news(), Some(WISH));
        let len = || std::fs::metadata(&first.file).unwrap().len();
        while len() < BYTES_MAX {
            second.ring(WISH);
        }
        assert_eq!(reader.news(), Some(WISH));
        second.ring(WISH);
        assert!(len() < BYTES_MAX);
        assert_eq!(reader.news(), Some(Hint::ALL));
        second.ring(WISH);
        assert_eq!(reader.news(), Some(WISH));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_no_error() {
        let (folder, first, ..) = two();
        drop(folder);
        first.ring(READY);
    }

    #[cfg(unix)]
    #[test]
    fn whoever_may_write_to_the_database_may_hint() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, first, ..) = two();
        let mode = std::fs::Permissions::from_mode(0o660);
        std::fs::set_permissions(&first.database, mode).unwrap();
        first.ring(READY);
        let mode = std::fs::metadata(&first.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    }
}
