//! Claimable tasks, as a queue outside of the claim path is told of them, and a claim of tasks that such a queue has named.

use crate::Claim;
use peerwork_core::{KindKey, LaneId, Name, NodeId, Rank, RunId, TaskId, Timestamp, Work};
use std::collections::HashSet;

/// A task that was claimable when this was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub task: TaskId,
    /// Its type.
    pub kind: Name,
    /// Whose it is.
    pub user: Name,
    /// The group it is in.
    pub group: Name,
    /// The lane it waits in; that of cleanups is another one than that of runs.
    pub lane: LaneId,
    /// Whether it waits to be run or to be cleaned up.
    pub work: Work,
    /// Its place in the lane, smaller first: resuming tasks, then by [priority](Rank::priority).
    pub rank: Rank,
    /// Since when it has been claimable, by the database's clock.
    pub since: Timestamp,
}

impl Offer {
    /// Where it is among all that is claimable.
    pub fn spot(&self) -> Spot {
        Spot {
            lane: self.lane,
            rank: self.rank,
            since: self.since,
            task: self.task,
        }
    }
}

/// A place in the order in which all that is claimable is kept: by lane, rank, time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The lane.
    pub lane: LaneId,
    /// The place in the lane.
    pub rank: Rank,
    /// The time within the rank.
    pub since: Timestamp,
    /// Breaks ties.
    pub task: TaskId,
}

impl Spot {
    /// Before all that waits in a lane.
    pub fn before(lane: LaneId) -> Self {
        Self {
            lane,
            rank: Rank(i32::MIN),
            since: Timestamp(i64::MIN),
            task: TaskId(uuid::Uuid::nil()),
        }
    }
}

/// Which claimable tasks are asked for.
#[derive(Clone, Debug)]
pub enum Sought {
    /// All, in the order of their spots, from behind one on.
    After(Option<Spot>),
    /// The first ones of these lanes that are of one of these kinds: of each lane the same number, lane by lane.
    First {
        /// The lanes, at most [`BATCH_MAX`](peerwork_core::BATCH_MAX).
        lanes: Vec<LaneId>,
        /// The kinds.
        kinds: Vec<KindKey>,
    },
    /// Those of these, at most [`BATCH_MAX`](peerwork_core::BATCH_MAX), in this order.
    These(Vec<TaskId>),
}

/// A claim by `node` of tasks that something else has named, all under one fresh run id.
#[derive(Clone, Debug)]
pub struct ClaimThese {
    /// Who claims.
    pub node: NodeId,
    /// Fresh and random.
    pub run: RunId,
    /// The tasks in the order in which they are to start, each with the lane in which it was seen: one that is claimable no more, or in
    /// another lane by now, is left where it is.
    pub tasks: Vec<(TaskId, LaneId)>,
    /// The kinds that the node can run; nothing else is claimed.
    pub kinds: Vec<KindKey>,
    /// The version of what is set on which this was decided: under another one nothing is claimed.
    pub version: u64,
}

impl ClaimThese {
    /// The tasks, each once.
    pub(crate) fn distinct(&self) -> Vec<(TaskId, LaneId)> {
        let mut seen = HashSet::with_capacity(self.tasks.len());
        let tasks = self.tasks.iter().copied();
        tasks.filter(|(id, _)| seen.insert(*id)).collect()
    }

    /// Who claims what, without the tasks.
    pub(crate) fn to_claim(&self) -> Claim {
        Claim {
            node: self.node,
            run: self.run,
            grants: Vec::new(),
            reaches: Vec::new(),
            kinds: self.kinds.clone(),
            version: self.version,
        }
    }
}
