//! Statuses: what a task is doing and what its user wants, together.

use std::fmt;

/// What a task is doing and what its user wants of it. Each lives in one [`Place`] of the store.
///
/// The numbers are what the databases hold; they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// Created and not started.
    Created = 1,
    /// Due at a later time: by its due time, or before a retry.
    Scheduled = 2,
    /// Waits in its group for a free slot.
    Queued = 3,
    /// Waits for a slot to go on from its checkpoint, and goes first: it was handed over, rescued or resumed.
    Resuming = 4,
    /// A node runs it.
    Running = 5,
    /// A node runs it and was asked to stop; it is not paused yet.
    Pausing = 6,
    /// Waits for a time or for its children, and holds no slot.
    Waiting = 7,
    /// Nobody runs it until it is resumed.
    Paused = 8,
    /// A node runs it and was asked to stop, because the task is being deleted.
    DeletingRun = 9,
    /// Waits for a slot for its cleanup.
    CleanupQueued = 10,
    /// A node runs its cleanup.
    Cleaning = 11,
    /// Its cleanup failed and is tried again at a later time.
    CleanupScheduled = 12,
    /// Its cleanup failed for good: a person must look.
    CleanupFailed = 13,
    /// It ended well.
    Finished = 14,
    /// It failed for good.
    Failed = 15,
    /// It is gone; the tombstone remembers that it was.
    Deleted = 16,
}

impl Status {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 16] = [
        Self::Created,
        Self::Scheduled,
        Self::Queued,
        Self::Resuming,
        Self::Running,
        Self::Pausing,
        Self::Waiting,
        Self::Paused,
        Self::DeletingRun,
        Self::CleanupQueued,
        Self::Cleaning,
        Self::CleanupScheduled,
        Self::CleanupFailed,
        Self::Finished,
        Self::Failed,
        Self::Deleted,
    ];

    /// The status with this number in a database, if there is one.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|status| i64::from(status.code()) == code)
    }

    /// Its number in a database.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The table that holds a task in this status.
    pub fn place(self) -> Place {
        match self {
            Self::Queued | Self::Resuming | Self::CleanupQueued => Place::Ready,
            Self::Running | Self::Pausing | Self::DeletingRun | Self::Cleaning => Place::Running,
            Self::Created
            | Self::Scheduled
            | Self::Waiting
            | Self::Paused
            | Self::CleanupScheduled
            | Self::CleanupFailed => Place::Parked,
            Self::Finished | Self::Failed | Self::Deleted => Place::Done,
        }
    }

    /// Which of a node's slots it takes or waits for.
    pub fn work(self) -> Work {
        match self {
            Self::CleanupQueued | Self::Cleaning | Self::CleanupScheduled | Self::CleanupFailed => {
                Work::Cleanup
            }
            Self::Created
            | Self::Scheduled
            | Self::Queued
            | Self::Resuming
            | Self::Running
            | Self::Pausing
            | Self::Waiting
            | Self::Paused
            | Self::DeletingRun
            | Self::Finished
            | Self::Failed
            | Self::Deleted => Work::Run,
        }
    }

    /// True where a node holds the task.
    pub fn is_held(self) -> bool {
        self.place() == Place::Running
    }

    /// True where nothing more happens unless a person asks for it.
    pub fn is_final(self) -> bool {
        self.place() == Place::Done
    }

    /// True where the holder has been asked to stop.
    pub fn is_stopping(self) -> bool {
        matches!(self, Self::Pausing | Self::DeletingRun)
    }

    /// Its stable name in lower case with underscores, as the CLI and logs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Resuming => "resuming",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::DeletingRun => "deleting_run",
            Self::CleanupQueued => "cleanup_queued",
            Self::Cleaning => "cleaning",
            Self::CleanupScheduled => "cleanup_scheduled",
            Self::CleanupFailed => "cleanup_failed",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The table of the store that holds a task's row: exactly one of these at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Claimable now.
    Ready,
    /// Held by a node.
    Running,
    /// Neither claimable nor held nor over.
    Parked,
    /// Over.
    Done,
}

/// The two sorts of work a node has slots for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// A handler's `run`.
    Run,
    /// A handler's `cleanup`.
    Cleanup,
}

/// What people see of a status. Several statuses may look the same to a user; none is invisible.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Created and not started.
    Created,
    /// Starts at its due time.
    Scheduled,
    /// Failed and is tried again.
    Retrying,
    /// Waits for a slot.
    Queued,
    /// Runs, or goes on in a moment on another node.
    Running,
    /// Was asked to pause and has not stopped yet.
    Pausing,
    /// Waits for a time or for its children.
    Waiting,
    /// Is paused.
    Paused,
    /// Is being deleted.
    Deleting,
    /// Its cleanup failed for good.
    DeleteFailed,
    /// Ended well.
    Finished,
    /// Failed for good.
    Failed,
    /// Is gone.
    Deleted,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::Scheduled,
        Self::Retrying,
        Self::Queued,
        Self::Running,
        Self::Pausing,
        Self::Waiting,
        Self::Paused,
        Self::Deleting,
        Self::DeleteFailed,
        Self::Finished,
        Self::Failed,
        Self::Deleted,
    ];

    /// What people see of a task in `status` that has failed `failures` times.
    pub fn of(status: Status, failures: u32) -> Self {
        match status {
            Status::Created => Self::Created,
            Status::Scheduled if failures > 0 => Self::Retrying,
            Status::Scheduled => Self::Scheduled,
            Status::Queued => Self::Queued,
            Status::Resuming | Status::Running => Self::Running,
            Status::Pausing => Self::Pausing,
            Status::Waiting => Self::Waiting,
            Status::Paused => Self::Paused,
            Status::DeletingRun
            | Status::CleanupQueued
            | Status::Cleaning
            | Status::CleanupScheduled => Self::Deleting,
            Status::CleanupFailed => Self::DeleteFailed,
            Status::Finished => Self::Finished,
            Status::Failed => Self::Failed,
            Status::Deleted => Self::Deleted,
        }
    }

    /// Its stable name, e.g. `delete_failed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Scheduled => "scheduled",
            Self::Retrying => "retrying",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Deleting => "deleting",
            Self::DeleteFailed => "delete_failed",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }

    /// True for the states in which nothing more happens unless a person asks for it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Deleted)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for State {
    type Err = String;

    /// # Errors
    /// A text that lists the states there are.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.name() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|state| state.name()).collect();
                format!("unknown state {text:?}; use one of {}", names.join(", "))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_own_code_and_name() {
        for (i, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(status.code()), i + 1);
            assert_eq!(Status::from_code(i64::from(status.code())), Some(status));
            assert_eq!(
                Status::ALL
                    .iter()
                    .filter(|other| other.name() == status.name())
                    .count(),
                1
            );
        }
        assert_eq!(Status::from_code(0), None);
        assert_eq!(Status::from_code(17), None);
    }

    #[test]
    fn every_state_is_read_back_from_its_name() {
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        assert!("nope".parse::<State>().unwrap_err().contains("finished"));
    }
}
