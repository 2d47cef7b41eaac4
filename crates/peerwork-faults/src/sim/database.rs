//! What is broken for all machines at once: the database itself.

use peerwork::LeaseTimes;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The database of a simulation, as all its machines meet it.
pub(super) struct Database {
    /// The lease that its nodes keep.
    pub lease: LeaseTimes,
    failovers: AtomicU32,
    read_only: AtomicBool,
}

/// The calls that only read; hints do not need the disk either.
const READS: [&str; 15] = [
    "now",
    "full",
    "config",
    "concluded",
    "get",
    "list",
    "payload",
    "outputs",
    "failures",
    "kinds",
    "nodes",
    "glance",
    "lanes",
    "verify",
    "held",
];
const HINTS: [&str; 2] = ["hint", "listen"];

impl Database {
    pub fn new(lease: LeaseTimes) -> Self {
        Self {
            lease,
            failovers: AtomicU32::new(0),
            read_only: AtomicBool::new(false),
        }
    }

    /// Counts the ends of all connections: a database that fails over answers nothing that was under way.
    pub fn failovers(&self) -> u32 {
        self.failovers.load(Ordering::Relaxed)
    }

    pub fn fail_over(&self) {
        self.failovers.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on it can be read, and not written; or written again.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Relaxed);
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Whether it cannot carry out `call` now.
    pub fn refuses(&self, call: &str) -> bool {
        self.is_read_only() && !READS.contains(&call) && !HINTS.contains(&call)
    }
}
