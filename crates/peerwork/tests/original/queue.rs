//! A queue of the user's own, for runs and for cleanups: the original's `WithPendingRunQueue` and `WithPendingDelQueue`.

use crate::kit::Place;
use peerwork::{Fifo, Grant, LaneView, Lanes, NodeBuilder, Policy};
use peerwork_core::Work;

/// Which of a node's queues are the user's own.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    run: bool,
    delete: bool,
}

impl Queues {
    /// Every combination, as the original tests them.
    pub const ALL: [Self; 4] = [
        Self {
            run: false,
            delete: false,
        },
        Self {
            run: true,
            delete: false,
        },
        Self {
            run: false,
            delete: true,
        },
        Self {
            run: true,
            delete: true,
        },
    ];

    /// A node of `place` with these queues.
    pub fn node(self, place: &Place) -> NodeBuilder {
        place.node().policy(self)
    }
}

impl Policy for Queues {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let own = match lanes.first().map(|lane| lane.work) {
            Some(Work::Run) => self.run,
            Some(Work::Cleanup) => self.delete,
            None => return Vec::new(),
        };
        if own {
            one_by_one(lanes, free)
        } else {
            Fifo.grant(lanes, free)
        }
    }
}

/// A task for each lane, by the users' names from the last to the first: nobody gets two while another waits.
fn one_by_one(lanes: &[LaneView], free: usize) -> Vec<Grant> {
    let mut lanes: Vec<_> = lanes.iter().collect();
    lanes.sort_by(|a, b| b.user.cmp(&a.user));
    let grant = |lane: &LaneView| Grant {
        lane: lane.lane,
        tasks: 1,
    };
    lanes.into_iter().take(free).map(grant).collect()
}
