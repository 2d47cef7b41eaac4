//! When a task starts at the earliest, where that can be computed.
//!
//! *Not here:* a guess at how long a line or a full limit takes. That depends on how long others run, and nothing in the database tells
//! how fast they have ended of late.

use super::{Cause, Facts};
use crate::{Scope, Timestamp};
use std::fmt;

/// When a task starts at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Not before this time, by the database's clock.
    pub earliest: Timestamp,
    /// What says so.
    pub basis: Basis,
}

/// What a prediction rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It is due then.
    Due,
    /// A gate opens then.
    Gate,
    /// A bucket holds a start for it then, if those ahead of it start before.
    Bucket {
        /// How many those are, as far as they were counted.
        ahead: u64,
    },
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it starts at {} at the earliest, ", self.earliest)?;
        match self.basis {
            Basis::Due => f.write_str("when it is due"),
            Basis::Gate => f.write_str("when a gate opens"),
            Basis::Bucket { ahead: 0 } => f.write_str("by its starts per second"),
            Basis::Bucket { ahead } => {
                write!(f, "by its starts per second if {ahead} start before it")
            }
        }
    }
}

/// When a cause ends by itself at a time that is known.
pub(super) fn ends_at(cause: &Cause) -> Option<Timestamp> {
    match cause {
        Cause::Later { at, .. } => Some(*at),
        Cause::Gate { gate, .. } => gate.until,
        Cause::Bucket { next_at, .. } => Some(*next_at),
        _ => None,
    }
}

/// The latest of all that ends at a time; nothing while something else has to happen first that nobody can foresee.
pub(super) fn predict(facts: &Facts, causes: &[Cause]) -> Option<Prediction> {
    let mut latest: Option<Prediction> = None;
    for cause in causes {
        let basis = match cause {
            Cause::Over { .. }
            | Cause::Running(_)
            | Cause::Stopping { .. }
            | Cause::Cleaning(_)
            | Cause::NotStarted
            | Cause::Paused { .. }
            | Cause::CleanupFailed { .. }
            | Cause::NoNode { .. }
            | Cause::Children { .. } => return None,
            Cause::Gate { gate, .. } if gate.until.is_none() => return None,
            Cause::Gate { .. } => Basis::Gate,
            Cause::Later { .. } => Basis::Due,
            Cause::Bucket { scope, .. } => Basis::Bucket {
                ahead: match scope {
                    // Those ahead of it may be of other kinds.
                    Scope::Kind(_) => 0,
                    Scope::Everything | Scope::Group(_) | Scope::User(_) | Scope::UserIn { .. } => {
                        facts.line.map_or(0, |line| line.ahead.n)
                    }
                },
            },
            Cause::Limit { .. } | Cause::LimitPerNode { .. } | Cause::Line { .. } => continue,
        };
        let at = match (cause, basis) {
            (Cause::Bucket { scope, rate, .. }, Basis::Bucket { ahead }) => {
                let known = facts.scopes.iter().find(|known| known.scope == *scope)?;
                rate.nth_at(known.full_at, facts.now, ahead + 1)
            }
            _ => ends_at(cause)?,
        };
        let earliest = at.max(facts.now);
        if latest.is_none_or(|latest| latest.earliest < earliest) {
            latest = Some(Prediction { earliest, basis });
        }
    }
    latest
}
