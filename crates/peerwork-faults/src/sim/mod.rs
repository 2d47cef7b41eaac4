//! A simulated cluster: nodes' real code, a faulty store in memory, virtual time, one seed.
//!
//! Two modes in one run: first faults and steering at random (safety: every change is checked as it happens), then the
//! faults stop and everything must come to its end (liveness). Two runs of one seed make the same history.

mod history;
mod store;
mod work;
mod world;

pub use history::{Report, Violation};

use std::time::Duration;

/// What a simulation is made of.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Everything random comes from it.
    pub seed: u64,
    /// Nodes that live at any time.
    pub nodes: usize,
    /// Tasks that are created.
    pub tasks: usize,
    /// Virtual time during which faults happen and people steer.
    pub faults_for: Duration,
}

impl Plan {
    /// The usual plan for a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            nodes: 2 + (seed % 4) as usize,
            tasks: 16,
            faults_for: Duration::from_secs(60 + seed % 60),
        }
    }

    /// Runs it to its end in this thread; takes some milliseconds of real time.
    pub fn run(self) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without input and output needs nothing of the machine");
        runtime.block_on(world::run(self))
    }
}
