//! The handlers that are run: they do nothing, or as little as a scenario needs.

use peerwork::{Handler, Run, TaskError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// The kind of [`Noop`].
pub const NOOP: &str = "noop";

/// Does nothing, and tells when so many are done.
#[derive(Clone)]
pub struct Noop(Arc<Countdown>);

/// Tells when it is at zero.
#[derive(Debug)]
pub struct Countdown {
    from: usize,
    left: AtomicUsize,
    over: Notify,
}

impl Countdown {
    pub fn from(count: usize) -> Arc<Self> {
        let countdown = Self {
            from: count,
            left: AtomicUsize::new(count),
            over: Notify::new(),
        };
        if count == 0 {
            countdown.over.notify_one();
        }
        Arc::new(countdown)
    }

    pub fn count(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.over.notify_one();
        }
    }

    /// How many were counted.
    pub fn counted(&self) -> usize {
        // A node may run more than are waited for: what is left then goes round.
        self.from.wrapping_sub(self.left.load(Ordering::Acquire))
    }

    /// Waits for it, as the only one who does.
    pub async fn over(&self) {
        self.over.notified().await;
    }
}

impl Noop {
    pub fn counted(countdown: &Arc<Countdown>) -> Self {
        Self(countdown.clone())
    }
}

impl Handler for Noop {
    const KIND: &'static str = NOOP;
    type Input = u64;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, _run: &mut Run<Self>) -> Result<(), TaskError> {
        self.0.count();
        Ok(())
    }
}
