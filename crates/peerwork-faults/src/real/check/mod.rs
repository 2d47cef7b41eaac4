//! The checker: what the processes wrote down and what the database audited, against the promises. Pure.
//!
//! Two records that know nothing of each other must agree. The audit says what became of every task, in an order that is
//! certain for each; the histories say who asked for what and what he was told. Their clocks are of one machine.
//!
//! *Not here:* what a run must have met to count at all, which depends on the database: [`crate::real::report`].

mod ambiguous;
mod deaths;
mod facts;
mod held;
mod limits;
#[cfg(test)]
mod limits_tests;
mod lives;
mod poison;
mod replay;
#[cfg(test)]
mod tests;
mod times;
mod utilisation;
mod verdict;

pub use times::Spread;
pub use utilisation::Utilisation;
pub use verdict::{Counters, Finding, Promise, Verdict};

use super::audit::Change;
use super::history::History;
use super::ledger::Effect;
use facts::Facts;

/// What a run has left.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What every process wrote down.
    pub histories: Vec<History>,
    /// What the database wrote down, in its order.
    pub audit: Vec<Change>,
    /// The rows of the user's table.
    pub ledger: Vec<Effect>,
    /// What turns a time of the histories into one of the audit.
    pub boot_to_day_us: u64,
    /// From a beat to the end of a lease.
    pub ttl_us: u64,
    /// The longest time between two readings of a peer that still counts as watching it: two beats.
    pub gap_us: u64,
    /// Whether groups are limited, filled and left alone, so that it can be told how much of their limits was used.
    pub fills_limits: bool,
}

/// Judges a run.
pub fn judge(evidence: &Evidence) -> Verdict {
    let facts = Facts::gather(evidence);
    let mut verdict = Verdict::default();
    deaths::check(&facts, &mut verdict);
    replay::check(&facts, &mut verdict);
    lives::check(&facts, &mut verdict);
    poison::check(&facts, &mut verdict);
    ambiguous::check(&facts, evidence, &mut verdict);
    limits::check(evidence, &mut verdict);
    times::measure(&facts, &mut verdict);
    if evidence.fills_limits {
        verdict.utilisation = utilisation::measure(&facts, evidence);
    }
    verdict
}
