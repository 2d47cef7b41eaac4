//! What a run came to: counters that must be zero with what was found, things that happened, times.

use super::times::Spread;
use super::utilisation::Utilisation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A promise whose breaches are counted. All must be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// A task that was acknowledged is gone, or never came.
    Lost,
    /// A change of status that no event makes, or that nobody asked for.
    IllegalTransitions,
    /// A write of a run that does not hold its task.
    FencedWritesAccepted,
    /// A run started from less than was acknowledged, or a checkpoint went back.
    CheckpointRegressions,
    /// A node was declared dead that had not been silent for its whole lease, or by a peer that could not know.
    FalseTakeovers,
    /// A task that nobody created, or one that was created twice.
    Ghosts,
    /// A task failed that did nothing wrong.
    InnocentsFailed,
    /// A task that ends its process was not failed at its kind's limit.
    PoisonsSpared,
    /// An effect that was made in a run's own transaction is there twice, or is not there though it was acknowledged.
    DoubleEffectsInTransaction,
    /// A claim that raised what runs in the database above a limit in force.
    LimitExcessDb,
    /// A run that was counted in another group, or for another user or kind than its own, or not at all.
    CountedElsewhere,
    /// A claim behind a gate that was closed for everybody.
    GatesPassed,
    /// A task that is not over although nothing stood in its way any more.
    StuckAfterHeal,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Lost,
        Self::IllegalTransitions,
        Self::FencedWritesAccepted,
        Self::CheckpointRegressions,
        Self::FalseTakeovers,
        Self::Ghosts,
        Self::InnocentsFailed,
        Self::PoisonsSpared,
        Self::DoubleEffectsInTransaction,
        Self::LimitExcessDb,
        Self::CountedElsewhere,
        Self::GatesPassed,
        Self::StuckAfterHeal,
    ];

    /// Its name in a verdict.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::IllegalTransitions => "illegal_transitions",
            Self::FencedWritesAccepted => "fenced_writes_accepted",
            Self::CheckpointRegressions => "checkpoint_regressions",
            Self::FalseTakeovers => "false_takeovers",
            Self::Ghosts => "ghosts",
            Self::InnocentsFailed => "innocents_failed",
            Self::PoisonsSpared => "poisons_spared",
            Self::DoubleEffectsInTransaction => "double_effects_in_transaction",
            Self::LimitExcessDb => "limit_excess_db",
            Self::CountedElsewhere => "counted_elsewhere",
            Self::GatesPassed => "gates_passed",
            Self::StuckAfterHeal => "stuck_after_heal",
        }
    }
}

/// A breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was promised.
    pub promise: Promise,
    /// What was found.
    pub text: String,
}

/// Named numbers.
pub type Counters = BTreeMap<String, u64>;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Breaches of promises.
    pub findings: Vec<Finding>,
    /// What happened, and how often: rescues, refused zombies, faults.
    pub happened: Counters,
    /// Numbers that are not judged: tasks by their last status, doubled effects.
    pub reported: Counters,
    /// Times in milliseconds.
    pub times: BTreeMap<String, Spread>,
    /// Whose the longest of them were, the longest first.
    pub slowest: BTreeMap<String, Vec<String>>,
    /// How much of the limits was used, where a run is about that.
    pub utilisation: Option<Utilisation>,
}

impl Verdict {
    /// Notes a breach.
    pub fn find(&mut self, promise: Promise, text: impl Into<String>) {
        self.findings.push(Finding {
            promise,
            text: text.into(),
        });
    }

    /// How often a promise was broken.
    pub fn count(&self, promise: Promise) -> usize {
        let of = |finding: &&Finding| finding.promise == promise;
        self.findings.iter().filter(of).count()
    }

    /// Notes that something happened.
    pub fn saw(&mut self, what: &str) {
        *self.happened.entry(what.to_owned()).or_default() += 1;
    }

    /// Adds to a number that is reported.
    pub fn add(&mut self, what: &str, count: u64) {
        *self.reported.entry(what.to_owned()).or_default() += count;
    }
}
