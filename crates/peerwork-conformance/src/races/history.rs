//! What racers asked and were told, with the order of their calls in real time.

use peerwork_core::{RunId, Status, TaskId};
use peerwork_store::Steered;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers the beginnings and the ends of calls: a call whose end has a smaller number than another's beginning was
/// over before that began.
#[derive(Clone, Debug, Default)]
pub struct Ticks(Arc<AtomicU64>);

impl Ticks {
    /// The next number.
    pub fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// When a call was made.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// Before it was sent.
    pub asked: u64,
    /// After its answer had come.
    pub told: u64,
}

/// What a call meant for one task.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub when: When,
    /// Which task.
    pub id: TaskId,
    /// What.
    pub what: What,
}

/// The answers that the invariants are about.
#[derive(Clone, Debug)]
pub enum What {
    /// It was claimed: this run, this attempt, for this.
    Claimed(RunId, u32, Status),
    /// A save of this run: kept, or lost.
    Saved(RunId, Vec<u8>, bool),
    /// An end of this run: its status, or lost.
    Ended(RunId, Option<Status>),
    /// A wish.
    Steered(Steered),
    /// It was taken back.
    Swept,
}
