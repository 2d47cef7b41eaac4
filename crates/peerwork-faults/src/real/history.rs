//! What a process asked and what it was told: one JSON object a line, written before and after each call.
//!
//! A line is one `write` to the file: what a process wrote before it was killed is there, and at most its last line is cut.

use super::clock::boot_us;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// A line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Since the machine started.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum What {
    /// A node process claims tasks.
    Up {
        /// Its label, which its row in the database has as well.
        label: String,
    },
    /// A handler's `run` or `cleanup` was called.
    Began {
        /// The task.
        task: Uuid,
        /// The run that holds it.
        run: Uuid,
        /// Its kind.
        kind: String,
        /// The number of the attempt.
        attempt: u32,
        /// The step of the checkpoint that it got.
        from: Option<u64>,
        /// Whether it is the cleanup.
        cleanup: bool,
    },
    /// It asked for a checkpoint to be saved.
    Saving {
        /// The task.
        task: Uuid,
        /// The run.
        run: Uuid,
        /// The step.
        step: u64,
    },
    /// The checkpoint was acknowledged.
    Saved {
        /// The task.
        task: Uuid,
        /// The run.
        run: Uuid,
        /// The step.
        step: u64,
    },
    /// It was told to stop.
    Told {
        /// The task.
        task: Uuid,
        /// The run.
        run: Uuid,
        /// Why.
        why: Why,
    },
    /// It asked for its end to be committed with a transaction of its own.
    Finishing {
        /// The task.
        task: Uuid,
        /// The run.
        run: Uuid,
    },
    /// It did something outside of peerwork's database.
    Effect {
        /// The task.
        task: Uuid,
        /// The run.
        run: Uuid,
        /// Which of the task's effects.
        step: u64,
    },
    /// The handler returned.
    Ended {
        /// The task.
        task: Uuid,
        /// The run.
        run: Uuid,
        /// What.
        how: How,
        /// Whether it was the cleanup.
        cleanup: bool,
    },
    /// The node said something at the level of a warning or above.
    Said {
        /// Its words.
        text: String,
    },
    /// The process was not scheduled for so long, by itself or by the machine.
    Stalled {
        /// How long.
        ms: u64,
    },
    /// The node has handed everything over.
    Drained {
        /// Tasks that go on elsewhere.
        handed_over: u64,
        /// Tasks whose end could not be recorded.
        abandoned: u64,
    },
    /// A person asks for something.
    Asked {
        /// Numbers the question within its history.
        ask: u64,
        /// The task.
        task: Uuid,
        /// What is wanted.
        wish: Want,
        /// The kind, where it is created.
        kind: Option<String>,
    },
    /// What the person was told.
    Answered {
        /// The question.
        ask: u64,
        /// The answer.
        answer: Answer,
    },
    /// A write in the name of a run that is known to be over.
    Forging {
        /// The task.
        task: Uuid,
        /// The old run.
        run: Uuid,
        /// What is tried.
        what: Forgery,
    },
    /// How that went.
    Forged {
        /// The task.
        task: Uuid,
        /// The old run.
        run: Uuid,
        /// What was tried.
        what: Forgery,
        /// Whether it was accepted.
        accepted: bool,
    },
    /// A fault began.
    Fault {
        /// Which.
        sort: FaultSort,
        /// Whom it hits, where it is one node.
        node: Option<String>,
    },
    /// It ended.
    Healed {
        /// Which.
        sort: FaultSort,
        /// Whom it had hit.
        node: Option<String>,
    },
    /// The answer to a commit was lost on its way to this process.
    Swallowed {
        /// The process.
        node: String,
    },
    /// Somebody sets something for a group, a user or a kind.
    Setting {
        /// What is changed, and for whom.
        change: String,
    },
    /// How that went.
    Set {
        /// What was changed.
        change: String,
        /// Why it was not, as far as is known.
        error: Option<String>,
    },
    /// No fault comes after this.
    Peace,
    /// Everything that was asked for is over, or the bound has passed.
    Rest {
        /// Tasks that are not over.
        stuck: Vec<Uuid>,
    },
}

/// Why a run was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A user paused the task.
    Pause,
    /// A user deletes it.
    Delete,
    /// The node shuts down.
    Drain,
    /// The lease is over, or the task is another run's.
    LeaseLost,
    /// It took too long to stop.
    Deadline,
    /// It was silent for too long.
    Timeout,
    /// A gate was closed that asks runs to stop.
    Gate,
    /// A reason that this crate does not know yet.
    Other,
}

/// What a handler returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Its output.
    Ok,
    /// A failure.
    Failed,
    /// It was told to stop, and did.
    Stopped,
    /// It waits.
    Waits,
    /// It panicked.
    Panicked,
    /// Its future was dropped.
    Dropped,
}

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// That the task exists.
    Create,
    /// That it runs now.
    Run,
    /// That it pauses.
    Pause,
    /// That it goes on.
    Resume,
    /// That it goes.
    Delete,
    /// That it waits elsewhere.
    Move,
}

/// What a person was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was done; the task is in this status.
    Done(String),
    /// It has no effect in the task's status.
    Refused,
    /// There is no such task.
    NotFound,
    /// Nobody knows.
    Unknown(String),
}

/// A write that must not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// A checkpoint of a run that is over.
    Save,
    /// The end of a run that is over.
    End,
    /// The death of a node, on a beat that is not its last.
    Death,
}

/// What is done to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultSort {
    /// SIGKILL to a node.
    Kill,
    /// SIGSTOP for longer than the ttl, then SIGCONT.
    Freeze,
    /// SIGTERM: the node drains.
    Drain,
    /// The node ended by itself: a task aborted it.
    Crash,
    /// The node does not reach the database.
    Partition,
    /// The node's connections answer late.
    Latency,
    /// What the node says arrives; what it is told does not.
    HalfOpen,
    /// The answers to some commits of the node are lost.
    SwallowCommits,
    /// The database is away for three ttls.
    DatabaseStopped,
    /// Somebody holds the one lock on writing of SQLite's file for three ttls; it can be read meanwhile.
    DatabaseLocked,
    /// The database is killed, and started again.
    DatabaseKilled,
    /// The server dies, and a replica takes its place that lacks its last commits.
    Failover,
    /// All connections are ended by the database, several times.
    ConnectionsKilled,
    /// The disk that the database is on has no room left for two ttls.
    DiskFull,
    /// The server gave up on a full disk, and is started again.
    DatabaseGaveUp,
    /// The service around the node holds all connections of the pool that it shares with it.
    PoolExhausted,
    /// Code of a task blocks every thread of the node's runtime, for far longer than the ttl.
    Wedge,
    /// Many tasks that save as fast as they can.
    ReportStorm,
    /// A killed member of a cluster comes back, and copies what it lacks from one that is held up by it.
    MemberRejoins,
}

impl FaultSort {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Kill,
        Self::Freeze,
        Self::Drain,
        Self::Crash,
        Self::Partition,
        Self::Latency,
        Self::HalfOpen,
        Self::SwallowCommits,
        Self::DatabaseStopped,
        Self::DatabaseLocked,
        Self::DatabaseKilled,
        Self::Failover,
        Self::ConnectionsKilled,
        Self::DiskFull,
        Self::DatabaseGaveUp,
        Self::PoolExhausted,
        Self::Wedge,
        Self::ReportStorm,
        Self::MemberRejoins,
    ];

    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Drain => "drain",
            Self::Crash => "crash",
            Self::Partition => "partition",
            Self::Latency => "latency",
            Self::HalfOpen => "half_open",
            Self::SwallowCommits => "swallow_commits",
            Self::DatabaseStopped => "database_stopped",
            Self::DatabaseLocked => "database_locked",
            Self::DatabaseKilled => "database_killed",
            Self::Failover => "failover",
            Self::ConnectionsKilled => "connections_killed",
            Self::DiskFull => "disk_full",
            Self::DatabaseGaveUp => "database_gave_up",
            Self::PoolExhausted => "pool_exhausted",
            Self::Wedge => "wedge",
            Self::ReportStorm => "report_storm",
            Self::MemberRejoins => "member_rejoins",
        }
    }

    /// Whether it is the database that it hits.
    pub fn hits_database(self) -> bool {
        matches!(
            self,
            Self::DatabaseStopped
                | Self::DatabaseLocked
                | Self::DatabaseKilled
                | Self::Failover
                | Self::DiskFull
                | Self::DatabaseGaveUp
        )
    }
}

/// The file that a process writes its history to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Mutex<File>>);

impl Journal {
    /// Opens the history of the process named `name` in `folder`.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.{EXTENSION}"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("open the history {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// Appends a line. It is in the file when this returns.
    pub fn write(&self, what: What) {
        // The time is taken under the lock: lines are in the order of their times.
        let mut file = self.0.lock().expect("no panic under the lock");
        let entry = Entry {
            at_us: boot_us(),
            what,
        };
        let mut line = serde_json::to_vec(&entry).expect("our own types are JSON");
        line.push(b'\n');
        // A history that cannot be written proves nothing: the run must not pass.
        file.write_all(&line).expect("a history can be written");
    }
}

const EXTENSION: &str = "history";

/// One process's history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The process.
    pub name: String,
    /// Its lines.
    pub entries: Vec<Entry>,
}

/// Reads all histories in `folder`.
///
/// # Errors
/// If one cannot be read, or if a line that is not the last of its file is no entry.
pub fn read_all(folder: &Path) -> Result<Vec<History>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|is| is == EXTENSION));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// Reads one history.
///
/// # Errors
/// As [`read_all`].
pub fn read(path: &Path) -> Result<History> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    // What follows the last line end was cut off when its writer was killed.
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let lines = bytes[..whole].split(|byte| *byte == b'\n');
    let entries = lines
        .filter(|line| !line.is_empty())
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_slice(line)
                .with_context(|| format!("line {} of {}", number + 1, path.display()))
        })
        .collect::<Result<_>>()?;
    Ok(History {
        name: name.into_owned(),
        entries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read_as_it_was_written_without_its_cut_end() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), "node-1").unwrap();
        let task = Uuid::from_u128(7);
        journal.write(What::Answered {
            ask: 3,
            answer: Answer::Done("queued".into()),
        });
        journal.write(What::Fault {
            sort: FaultSort::Kill,
            node: Some("node-1".into()),
        });
        journal.write(What::Effect {
            task,
            run: task,
            step: 1,
        });
        let path = folder.path().join("node-1.history");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 4);
        std::fs::write(&path, bytes).unwrap();
        let read = read_all(folder.path()).unwrap();
        assert_eq!(read[0].name, "node-1");
        assert_eq!(read[0].entries.len(), 2);
        assert!(matches!(
            &read[0].entries[1].what,
            What::Fault {
                sort: FaultSort::Kill,
                ..
            }
        ));
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node-1.history");
        std::fs::write(&path, "{\"at_us\":1}\n{}\n").unwrap();
        assert!(read_all(folder.path()).is_err());
    }
}
