//! A simulated cluster: nodes' real code, a faulty store in memory, virtual time, one seed.
//!
//! Every change is checked as it happens. Two runs of one seed make the same history. Frozen and crashed machines stop at an
//! `.await`: what a machine does between two of them is not torn apart here (`real` does that).

mod database;
mod hints;
mod history;
mod limits;
mod panics;
mod points;
mod scale;
mod store;
mod watching;
mod work;
mod world;

pub use history::{Report, Violation};
pub use points::{CrashPoint, crash_points};
pub use scale::{Phase, Traffic, large_cluster};

use std::time::Duration;

/// What is asked of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Faults never stop while it runs, and nothing bad may happen.
    Safety,
    /// Faults stop, and everything must come to its end within a bound of virtual time.
    Liveness,
}

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
    /// What is asked of it.
    pub mode: Mode,
    /// Whether the database loses acknowledged commits now and then.
    pub loses_history: bool,
    /// Whether everything that happens is kept in words.
    pub in_words: bool,
}

impl Plan {
    /// The usual plan for a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            nodes: 2 + (seed % 4) as usize,
            tasks: 16,
            faults_for: Duration::from_secs(60 + seed % 60),
            mode: if seed % 4 == 3 {
                Mode::Safety
            } else {
                Mode::Liveness
            },
            loses_history: seed % 8 == 5,
            in_words: false,
        }
    }

    /// Runs it to its end in this thread; takes some milliseconds of real time.
    pub fn run(self) -> Report {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without input and output needs nothing of the machine");
        let (mut report, panics) = panics::seen_in(|| runtime.block_on(world::run(self)));
        // Nothing excuses one, lost history neither.
        let violations = panics.into_iter().map(|what| Violation {
            invariant: "panic",
            what,
        });
        report.violations.extend(violations);
        report
    }
}
