//! Why a task is not running: its facts in, all causes out, the most binding one first.
//!
//! | to find | look at |
//! | --- | --- |
//! | what it rests on | [`Facts`] |
//! | the causes, with their figures and their words | [`Cause`] |
//! | which of them goes first | [`Explanation::causes`] |
//! | when it starts at the earliest | [`Prediction`] |
//!
//! *Not here:* reading the facts (`peerwork-store`).

mod cause;
mod facts;
mod judge;
mod predict;
#[cfg(test)]
mod tests;

pub use cause::{Cause, Health, Holder, Slots, Why};
pub use facts::{AHEAD_MAX, Children, Count, Facts, LANES_MAX, Line, NodeFacts, ScopeFacts};
pub use predict::{Basis, Prediction};

use crate::{State, Status, TaskId, Timestamp};
use std::fmt;

/// Why a task is not running; or that it runs, or is over. Its text is one sentence, about the first cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The task.
    pub id: TaskId,
    /// The database's time, by which it is so.
    pub now: Timestamp,
    /// What the task is doing.
    pub status: Status,
    /// What people see of that.
    pub state: State,
    /// All that holds, at least one, the most binding one first: what only a person ends, what waits for something else to happen,
    /// what ends at a time (the latest first), a limit, a bucket, the line.
    pub causes: Vec<Cause>,
    /// When it starts at the earliest, where that can be computed.
    pub starts: Option<Prediction>,
}

impl Explanation {
    /// The most binding cause.
    pub fn first(&self) -> &Cause {
        self.causes.first().expect("there is always a cause")
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.first();
        write!(f, "{}: {first}", self.state)?;
        match self.starts {
            Some(starts) if predict::ends_at(first) != Some(starts.earliest) => {
                write!(f, "; {starts}")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Why a task is not running.
pub fn explain(facts: &Facts) -> Explanation {
    let causes = judge::causes(facts);
    Explanation {
        id: facts.id,
        now: facts.now,
        status: facts.status(),
        state: State::of(facts.status(), facts.task.failures),
        starts: predict::predict(facts, &causes),
        causes,
    }
}
