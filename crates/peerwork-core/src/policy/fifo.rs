//! First in, first out by priority.

use super::{Grant, LaneView, Lanes, Policy};
use crate::LaneId;

/// First in, first out by priority: the lanes whose first task has the smallest rank share the slots, the one that
/// has waited longest first.
///
/// Exact for a single slot and for a single lane; several slots over several lanes are shared evenly, because a
/// snapshot knows a lane's first task only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fifo;

impl Policy for Fifo {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let Some(best) = lanes.iter().map(|lane| lane.rank).min() else {
            return Vec::new();
        };
        share_oldest_first(lanes.iter().filter(|lane| lane.rank == best), free)
    }

    fn name(&self) -> &str {
        "fifo"
    }
}

/// The same among the lanes of one user.
pub(super) fn first_of(lanes: &[&LaneView], free: usize) -> Vec<Grant> {
    let best = lanes.iter().map(|lane| lane.rank).min();
    let first = lanes.iter().filter(|lane| Some(lane.rank) == best);
    share_oldest_first(first.copied(), free)
}

fn share_oldest_first<'a>(lanes: impl Iterator<Item = &'a LaneView>, free: usize) -> Vec<Grant> {
    let mut first: Vec<_> = lanes.collect();
    first.sort_by_key(|lane| (lane.since, lane.lane));
    let lanes: Vec<_> = first.into_iter().map(|lane| lane.lane).collect();
    share(&lanes, free)
}

/// Shares slots evenly among lanes; what does not go even goes to the first ones.
pub(super) fn share(lanes: &[LaneId], free: usize) -> Vec<Grant> {
    let (each, rest) = match lanes.len() {
        0 => return Vec::new(),
        lanes => (free / lanes, free % lanes),
    };
    let grants = lanes.iter().enumerate().map(|(i, lane)| Grant {
        lane: *lane,
        tasks: each + usize::from(i < rest),
    });
    grants.filter(|grant| grant.tasks > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Name, Rank, Timestamp, Work};
    use uuid::Uuid;

    fn lane(n: u128, rank: i32, since: i64) -> LaneView {
        LaneView {
            lane: LaneId(Uuid::from_u128(n)),
            group: Name::default(),
            user: Name::default(),
            work: Work::Run,
            rank: Rank(rank),
            since: Timestamp(since),
        }
    }

    fn grants(lanes: &[LaneView], free: usize) -> Vec<(u128, usize)> {
        Fifo.grant(&Lanes::new(lanes), free)
            .into_iter()
            .map(|g| (g.lane.0.as_u128(), g.tasks))
            .collect()
    }

    #[test]
    fn a_single_slot_goes_to_the_oldest_of_the_smallest_rank() {
        let lanes = [lane(1, 5, 0), lane(2, 0, 20), lane(3, 0, 10)];
        assert_eq!(grants(&lanes, 1), [(3, 1)]);
    }

    #[test]
    fn several_slots_are_shared_oldest_first() {
        let lanes = [lane(1, 0, 30), lane(2, 0, 20), lane(3, 0, 10)];
        assert_eq!(grants(&lanes, 5), [(3, 2), (2, 2), (1, 1)]);
        assert_eq!(grants(&lanes[..1], 5), [(1, 5)]);
        assert_eq!(grants(&[], 5), []);
        assert_eq!(grants(&lanes, 0), []);
    }
}
