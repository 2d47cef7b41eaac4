//! The snapshot that a policy decides on.

use super::{Running, Weights};
use crate::{LaneId, Name, Rank, Timestamp, Work};
use std::ops::Deref;

/// A lane with claimable tasks, as a snapshot saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// The lane.
    pub lane: LaneId,
    /// Its group.
    pub group: Name,
    /// Its user.
    pub user: Name,
    /// What its tasks wait for.
    pub work: Work,
    /// The rank of its first task.
    pub rank: Rank,
    /// Since when its first task has been in line.
    pub since: Timestamp,
}

/// The lanes that have claimable tasks, and what is known around them. It is a slice of [`LaneView`]s.
///
/// What a policy does not [need](super::Policy::needs) may be missing: then nothing runs, and every weight is 1.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<'a> {
    views: &'a [LaneView],
    now: Timestamp,
    running: &'a Running,
    weights: &'a Weights,
    dice: u64,
}

static NOTHING_RUNS: Running = Running::new();
static ALL_EQUAL: Weights = Weights::new();

impl<'a> Lanes<'a> {
    /// A snapshot of these lanes, of which nothing else is known.
    pub fn new(views: &'a [LaneView]) -> Self {
        Self {
            views,
            now: Timestamp::default(),
            running: &NOTHING_RUNS,
            weights: &ALL_EQUAL,
            dice: 0,
        }
    }

    /// Other lanes (those that are left, say) in the same snapshot.
    pub fn only<'b>(&self, views: &'b [LaneView]) -> Lanes<'b>
    where
        'a: 'b,
    {
        Lanes { views, ..*self }
    }

    /// With the database's time, as well as it is known.
    pub fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// With what runs.
    pub fn running(self, running: &'a Running) -> Self {
        Self { running, ..self }
    }

    /// With these weights.
    pub fn weights(self, weights: &'a Weights) -> Self {
        Self { weights, ..self }
    }

    /// With this random number.
    pub fn dice(self, dice: u64) -> Self {
        Self { dice, ..self }
    }

    /// The time by the database's clock, as well as it is known.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What runs on all nodes, also in lanes where nothing waits.
    pub fn what_runs(&self) -> &'a Running {
        self.running
    }

    /// What groups and users weigh.
    pub fn weighed(&self) -> &'a Weights {
        self.weights
    }

    /// A random number, another one at each call: the seed of a [`Dice`](crate::Dice), for policies that need more of them.
    pub fn roll(&self) -> u64 {
        self.dice
    }

    /// The lanes, as long as the snapshot lives.
    pub fn views(&self) -> &'a [LaneView] {
        self.views
    }
}

impl Deref for Lanes<'_> {
    type Target = [LaneView];

    fn deref(&self) -> &[LaneView] {
        self.views
    }
}
