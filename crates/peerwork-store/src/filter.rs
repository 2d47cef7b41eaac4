//! Which tasks: filters and pages.

use crate::TaskRecord;
use peerwork_core::{Name, State, TaskId, Timestamp};

/// Which tasks are meant. Every field that is given must match; the empty filter matches all tasks that are not
/// deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this user's.
    pub user: Option<Name>,
    /// Only those in this group.
    pub group: Option<Name>,
    /// Only those of one of these kinds; empty: of any.
    pub kinds: Vec<Name>,
    /// Only those in one of these states; empty: in any but [`State::Deleted`].
    pub states: Vec<State>,
    /// Only the children of this task.
    pub parent: Option<TaskId>,
}

impl Filter {
    /// Those of `user` alone, if one is given: the scope of an operation on tasks that are named by their ids.
    /// Unlike the empty filter it includes deleted ones.
    pub fn scope(user: Option<Name>) -> Self {
        Self {
            user,
            states: State::ALL.to_vec(),
            ..Self::default()
        }
    }

    /// Whether `task` is meant. The one definition; SQL may only narrow down what is then asked of it.
    pub fn matches(&self, task: &TaskRecord) -> bool {
        let state = task.state();
        self.user.as_ref().is_none_or(|user| *user == task.user)
            && self.group.as_ref().is_none_or(|group| *group == task.group)
            && (self.kinds.is_empty() || self.kinds.contains(&task.kind))
            && self.parent.is_none_or(|parent| task.parent == Some(parent))
            && if self.states.is_empty() {
                state != State::Deleted
            } else {
                self.states.contains(&state)
            }
    }
}

/// The place of a task in a list: lists run from the newest to the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// When the task was created.
    pub created_at: Timestamp,
    /// Tells apart what was created in the same microsecond.
    pub id: TaskId,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The tasks, newest first.
    pub tasks: Vec<TaskRecord>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<Cursor>,
}
