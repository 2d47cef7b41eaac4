//! A fresh and empty store for one test, with the clock by which it lives.

use peerwork_core::{Status, TaskId, Timestamp};
use peerwork_store::{MemoryStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The stores that the suite runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The reference, in memory.
    Memory,
}

/// A store that nobody else uses.
pub struct Fixture {
    /// Empty and migrated.
    pub store: Arc<dyn Store>,
    /// What the store takes for the time.
    pub clock: Clock,
}

impl Backend {
    /// A fresh store.
    pub async fn fixture(self) -> Fixture {
        let clock = Clock::default();
        match self {
            Self::Memory => {
                let time = clock.clone();
                Fixture {
                    store: Arc::new(MemoryStore::with_clock(move || time.now())),
                    clock,
                }
            }
        }
    }
}

impl Fixture {
    /// Further handles on the same store, each as of a process of its own.
    pub async fn handles(&self, n: usize) -> Vec<Arc<dyn Store>> {
        let mut handles = Vec::new();
        for _ in 0..n {
            handles.push(self.store.clone());
        }
        handles
    }

    /// From now on the database notes every status of every task; the reference cannot.
    pub async fn note_changes(&self) {}

    /// What was noted since, in order, and forgets it.
    pub async fn changes(&self) -> Vec<(TaskId, Status)> {
        Vec::new()
    }

    /// Removes what the test has left in a database. A test that fails does not come here: it leaves all for a look.
    pub async fn close(self) {}
}

/// The time of one store: it stands still until a test moves it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// Some day in 2026, in the middle of a second and of a millisecond: what is cut off shows.
    const START_US: i64 = 1_780_000_000_123_456;

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    /// Lets `ms` milliseconds pass.
    pub fn pass_ms(&self, ms: u64) {
        let us = i64::try_from(ms * 1_000).expect("a test lasts less than an age");
        self.0.fetch_add(us, Ordering::SeqCst);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(Self::START_US)))
    }
}
