//! Tasks as they are handed in and read back.

use peerwork_core::{
    LaneId, Name, NodeId, Place, Rank, RunId, State, Status, Task, TaskId, Timestamp,
};

/// A task to create. Its id is made by the caller, so that creating can be repeated.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// A fresh UUIDv7, or a child's id.
    pub id: TaskId,
    /// Its type.
    pub kind: Name,
    /// Whose it is.
    pub user: Name,
    /// The queue it waits in.
    pub group: Name,
    /// Smaller is sooner.
    pub priority: i16,
    /// False: only created.
    pub start: bool,
    /// Not before this time.
    pub due: Option<Timestamp>,
    /// What its handler gets; at most [`PAYLOAD_BYTES_MAX`](peerwork_core::PAYLOAD_BYTES_MAX) bytes.
    pub input: Vec<u8>,
    /// What becomes of its record.
    pub options: Options,
    /// The task that waits for it.
    pub parent: Option<TaskId>,
}

impl NewTask {
    /// The lane of its runs.
    pub fn lane(&self) -> LaneId {
        LaneId::new(&self.group, &self.user)
    }

    /// Its rank in that lane; none if it is not claimable as it is created.
    pub fn rank(&self) -> Option<Rank> {
        let status = Task::new(self.start, self.due, Timestamp(0)).status;
        (status.place() == Place::Ready).then(|| Rank::new(status, self.priority))
    }
}

/// What becomes of a task's record at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// It vanishes when it has finished.
    pub forget_on_finish: bool,
    /// It vanishes when it has failed for good.
    pub forget_on_failure: bool,
}

impl Options {
    /// As a number for a row.
    pub fn code(self) -> i64 {
        i64::from(self.forget_on_finish) | i64::from(self.forget_on_failure) << 1
    }

    /// From a row's number; bits that are not known are passed over.
    pub fn from_code(code: i64) -> Self {
        Self {
            forget_on_finish: code & 1 != 0,
            forget_on_failure: code & 2 != 0,
        }
    }
}

/// The answer for one task of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there now.
    New,
    /// A task with this id was there already (or was deleted within the last day): nothing was changed.
    Existed,
}

/// How far a task says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all; 0 if unknown.
    pub total: u64,
}

/// A task as it is read back, without its payloads.
#[derive(Clone, Debug)]
pub struct TaskRecord {
    /// Its id.
    pub id: TaskId,
    /// Its type.
    pub kind: Name,
    /// Whose it is.
    pub user: Name,
    /// The group it is in.
    pub group: Name,
    /// Smaller is sooner.
    pub priority: i16,
    /// What becomes of its record.
    pub options: Options,
    /// The task that waits for it.
    pub parent: Option<TaskId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// What decisions rest on: status, counters, times.
    pub task: Task,
    /// The node that holds it, or held it at its end.
    pub node: Option<NodeId>,
    /// The run that holds it, or that has ended it by itself.
    pub run: Option<RunId>,
    /// When its last run started, while it is held and after its end.
    pub started_at: Option<Timestamp>,
    /// When it finished, failed or was deleted.
    pub finished_at: Option<Timestamp>,
    /// How far its last saved or reported progress was.
    pub progress: Option<Progress>,
    /// The text of its last failure.
    pub error: Option<String>,
}

impl TaskRecord {
    /// What people see.
    pub fn state(&self) -> State {
        State::of(self.task.status, self.task.failures)
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        self.task.status
    }
}

/// A payload of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// What it was created with.
    Input,
    /// What its handler saved last.
    Checkpoint,
    /// What its handler returned.
    Output,
}

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The attempt that failed.
    pub attempt: u32,
    /// When.
    pub at: Timestamp,
    /// Why, as text.
    pub error: String,
}

/// What is recorded as the error of a task that its node's death has ended.
pub(crate) fn death_text(task: &Task) -> String {
    format!(
        "its node died while running it ({} deaths without progress)",
        task.crashes
    )
}
