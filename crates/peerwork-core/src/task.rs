//! The facts about a task on which every decision rests.

use crate::{Status, Timestamp};

/// What [`decide`](crate::decide) reads and writes of a task. The store keeps it; names and payloads are not here,
/// because no decision depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Where it is in its life.
    pub status: Status,
    /// Only while paused: what it goes on as. One of created, scheduled, queued, resuming, waiting.
    pub returns_to: Option<Status>,
    /// Claims so far, cleanups included. For people and for order; never a fence.
    pub attempt: u32,
    /// Runs that ended in an error since it was last started anew: the retry limit reads it.
    pub failures: u32,
    /// Deaths of its node since its last progress: the crash limit reads it.
    pub crashes: u32,
    /// When it is due by itself: its due time, its next try, the end of its waiting.
    pub wake_at: Option<Timestamp>,
    /// Since when it has been in line; its place among equals.
    pub ready_at: Timestamp,
    /// Only while paused: its run was dropped at the deadline, not ended by itself.
    pub forced: bool,
}

impl Task {
    /// A task as it is created at `now`: only created, or started at `due`, or started at once.
    ///
    /// One that is due is scheduled even if its time has passed: whether it has is asked of the database's clock,
    /// by the first node that looks.
    pub fn new(start: bool, due: Option<Timestamp>, now: Timestamp) -> Self {
        let status = match (start, due) {
            (false, _) => Status::Created,
            (true, Some(_)) => Status::Scheduled,
            (true, None) => Status::Queued,
        };
        Self {
            status,
            returns_to: None,
            attempt: 0,
            failures: 0,
            crashes: 0,
            wake_at: due,
            ready_at: now,
            forced: false,
        }
    }
}
