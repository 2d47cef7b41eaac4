//! Queues of the user's own, for runs and for cleanups: the original's `WithPendingRunQueue` and `WithPendingDelQueue`. As a policy, in a
//! table of its own, and outside of the database, where everything is lost at random.

use crate::kit::{Lossy, Place};
use peerwork::{Fifo, Grant, LaneView, Lanes, NodeBuilder, Policy, QueueTimes, TableQueue, Work};

/// Which of a node's queues are the user's own.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    run: Own,
    delete: Own,
}

/// How the order is the user's own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Own {
    /// It is not.
    No,
    Policy,
    Table,
    Lossy,
}

/// Short ones, so that what is lost does not take long.
const TIMES: QueueTimes = QueueTimes {
    offer_ms: 50,
    patience_ms: 200,
    answer_ms: 5_000,
    rest_ms: 100,
};

impl Queues {
    /// Every combination, as the original tests them, with each sort of queue that there is on this database.
    pub fn all(place: &Place) -> Vec<Self> {
        let mut all = vec![Self {
            run: Own::No,
            delete: Own::No,
        }];
        let has_tables = place.name() != "memory";
        let sorts = [Own::Policy, Own::Table, Own::Lossy];
        for own in sorts
            .into_iter()
            .filter(|own| has_tables || *own != Own::Table)
        {
            for (run, delete) in [(own, Own::No), (Own::No, own), (own, own)] {
                all.push(Self { run, delete });
            }
        }
        all
    }

    /// Those whose queues are all the same.
    pub fn uniform(place: &Place) -> Vec<Self> {
        let all = Self::all(place).into_iter();
        all.filter(|queues| queues.run == queues.delete).collect()
    }

    /// A node of `place` with these queues.
    pub fn node(self, place: &Place) -> NodeBuilder {
        let mut node = place.node().policy(self).queue_times(TIMES);
        for (work, own) in [(Work::Run, self.run), (Work::Cleanup, self.delete)] {
            node = match own {
                Own::No | Own::Policy => node,
                Own::Table => {
                    let queue = TableQueue::new(place.database());
                    node.queue(work, queue.expect("there are tables"))
                }
                Own::Lossy => node.queue(work, Lossy::of(7)),
            };
        }
        node
    }
}

impl Policy for Queues {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let own = match lanes.first().map(|lane| lane.work) {
            Some(Work::Run) => self.run,
            Some(Work::Cleanup) => self.delete,
            None => return Vec::new(),
        };
        if own == Own::Policy {
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
