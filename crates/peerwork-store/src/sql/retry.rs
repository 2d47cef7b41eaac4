//! How long a transaction that others were faster than is tried again.

use std::time::{Duration, Instant};

/// The patience of one call.
pub(crate) struct Patience {
    since: Instant,
    tries: u32,
}

impl Patience {
    /// Longest time that a call spends on conflicts: others that hold a lock for longer are stuck, and the caller
    /// should know.
    const MAX: Duration = Duration::from_secs(10);

    /// Longest pause between two tries.
    const PAUSE_MAX: Duration = Duration::from_millis(100);

    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            tries: 0,
        }
    }

    /// Waits a random time, longer each time; false when it is over.
    ///
    /// At random, because those who collided would otherwise collide again (SQLite's own busy handler sleeps fixed
    /// times and starves whoever came late).
    pub(crate) async fn again(&mut self) -> bool {
        if self.since.elapsed() >= Self::MAX {
            return false;
        }
        self.tries += 1;
        let bound = Duration::from_millis(1 << self.tries.min(7)).min(Self::PAUSE_MAX);
        tokio::time::sleep(bound.mul_f64(rand::random_range(0.0..1.0))).await;
        true
    }

    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }
}
