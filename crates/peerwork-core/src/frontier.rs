//! From where on a node claims: the remembered lower bound of each lane and rank.
//!
//! A claim takes the first tasks of a lane, and leaves dead entries where they were. Until the database has cleared them
//! away (which it cannot while anybody holds an old snapshot) every further claim that starts at the beginning of the lane
//! walks all of them again. So a node remembers how far it has come, and starts there.
//!
//! Invariants: a bound is a matter of speed only. What arrives below it (with an earlier time than others that were claimed
//! already, or passed over by a claim and claimable again) is not seen by a claim, but by a look at the whole lane, which [lowers](Frontier::saw) the bound; a node makes one
//! at bounded intervals, whatever it claims meanwhile. The ranges of a lane leave no gap above its first bound. Everything
//! forgotten costs a walk.

use crate::{LaneId, Rank, Timestamp};
use std::collections::BTreeMap;

/// A range of a lane: the ranks from `rank` to below `until`, of `rank` what has been ready at or after `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The lane.
    pub lane: LaneId,
    /// The first rank.
    pub rank: Rank,
    /// Where in the first rank the range begins.
    pub since: Timestamp,
    /// The rank at which it ends.
    pub until: Rank,
}

impl Reach {
    /// All of a lane.
    pub fn all_of(lane: LaneId) -> Self {
        Self {
            lane,
            rank: Rank(i32::MIN),
            since: Timestamp(i64::MIN),
            until: Rank(i32::MAX),
        }
    }
}

/// The bounds that a node remembers.
#[derive(Clone, Debug, Default)]
pub struct Frontier {
    lanes: BTreeMap<LaneId, BTreeMap<Rank, Timestamp>>,
}

impl Frontier {
    /// How far a bound stays behind the present, or behind what was claimed if that was later, in milliseconds: a create that is being
    /// committed has an earlier time than one that was committed before it. What takes longer than that is found by the next look.
    pub const SLACK_MS: u64 = 100;

    /// Ranks of a lane that are told apart; those beyond are part of the range before them.
    const RANKS_MAX: usize = 8;

    /// Lanes that are remembered.
    const LANES_MAX: usize = 10_000;

    /// A look at the whole lane saw its first task.
    pub fn saw(&mut self, lane: LaneId, rank: Rank, since: Timestamp) {
        let unknown = since.minus_ms(Self::SLACK_MS);
        self.bound(lane, rank, |known| match known {
            Some(known) => known.min(since),
            None => unknown,
        });
    }

    /// A task is known to be there, somewhere among those of its rank, after `since`.
    pub fn heard(&mut self, lane: LaneId, rank: Rank) {
        let is_beyond = |ranks: &BTreeMap<Rank, Timestamp>| ranks.range(..=rank).next().is_none();
        // A lane without any bound is claimed from its beginning.
        if self.lanes.get(&lane).is_some_and(is_beyond) {
            self.bound(lane, rank, |_| Timestamp(i64::MIN));
        }
    }

    /// A task was claimed, and all of its rank that were before it, as far as they were there. The claim was not made before `now`.
    pub fn claimed(&mut self, lane: LaneId, rank: Rank, ready_at: Timestamp, now: Timestamp) {
        let settled = now.max(ready_at).minus_ms(Self::SLACK_MS);
        let bound = ready_at.min(settled);
        self.bound(lane, rank, |known| {
            known.map_or(bound, |known| known.max(bound))
        });
    }

    fn bound(
        &mut self,
        lane: LaneId,
        rank: Rank,
        bound: impl FnOnce(Option<Timestamp>) -> Timestamp,
    ) {
        if self.lanes.len() >= Self::LANES_MAX && !self.lanes.contains_key(&lane) {
            self.lanes.pop_first();
        }
        let ranks = self.lanes.entry(lane).or_default();
        let known = ranks.get(&rank).copied();
        ranks.insert(rank, bound(known));
        if ranks.len() > Self::RANKS_MAX {
            ranks.pop_last();
        }
    }

    /// The ranges from which to claim of a lane, in order; none: from its beginning.
    pub fn of(&self, lane: LaneId) -> impl Iterator<Item = Reach> {
        let ranks = self.lanes.get(&lane).into_iter().flatten();
        let untils = ranks.clone().skip(1).map(|(rank, _)| *rank);
        let untils = untils.chain(std::iter::once(Rank(i32::MAX)));
        ranks.zip(untils).map(move |((rank, since), until)| Reach {
            lane,
            rank: *rank,
            since: *since,
            until,
        })
    }

    /// The range of one rank of a lane.
    pub fn at(&self, lane: LaneId, rank: Rank) -> Reach {
        let ranks = self.lanes.get(&lane);
        let since = ranks.and_then(|ranks| ranks.get(&rank)).copied();
        Reach {
            lane,
            rank,
            since: since.unwrap_or(Timestamp(i64::MIN)),
            until: Rank(rank.0.saturating_add(1)),
        }
    }

    /// Whether no lane is remembered.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The ranges of all lanes that are remembered.
    pub fn all(&self) -> impl Iterator<Item = Reach> {
        self.lanes.keys().flat_map(|lane| self.of(*lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const LANE: LaneId = LaneId(Uuid::from_u128(1));
    const SLACK: i64 = Frontier::SLACK_MS as i64 * 1_000;
    /// So long ago that it tells nothing of what is being committed.
    const THEN: Timestamp = Timestamp(0);

    fn ranges(frontier: &Frontier) -> Vec<(i32, i64, i32)> {
        let range = |reach: Reach| (reach.rank.0, reach.since.0, reach.until.0);
        frontier.of(LANE).map(range).collect()
    }

    #[test]
    fn a_lane_that_is_not_known_is_claimed_from_its_beginning() {
        let mut frontier = Frontier::default();
        assert_eq!(ranges(&frontier), []);
        frontier.heard(LANE, Rank(5));
        assert_eq!(ranges(&frontier), [], "nothing is known of it yet");
    }

    #[test]
    fn a_bound_follows_what_is_claimed_at_a_distance_and_never_falls_by_itself() {
        let mut frontier = Frontier::default();
        frontier.saw(LANE, Rank(5), Timestamp(SLACK + 10));
        assert_eq!(ranges(&frontier), [(5, 10, i32::MAX)]);
        frontier.claimed(LANE, Rank(5), Timestamp(SLACK + 500), THEN);
        frontier.claimed(LANE, Rank(5), Timestamp(SLACK + 300), THEN);
        assert_eq!(ranges(&frontier), [(5, 500, i32::MAX)]);
    }

    #[test]
    fn a_bound_keeps_its_distance_from_the_present_only() {
        let mut frontier = Frontier::default();
        let mut bound_after = |ready_at: i64, now: i64| {
            frontier.claimed(LANE, Rank(5), Timestamp(ready_at), Timestamp(now));
            ranges(&frontier)[0].1
        };
        let second = 1_000_000;
        assert_eq!(bound_after(second, 9 * second), second, "long ago");
        let just_now = 9 * second - 5;
        assert_eq!(bound_after(just_now, 9 * second), 9 * second - SLACK);
        let not_yet = 9 * second + 5;
        assert_eq!(bound_after(not_yet, 9 * second), not_yet - SLACK);
    }

    #[test]
    fn what_arrives_late_is_reached_once_it_has_been_seen() {
        let mut frontier = Frontier::default();
        frontier.claimed(LANE, Rank(5), Timestamp(SLACK + 500), THEN);
        frontier.saw(LANE, Rank(5), Timestamp(20));
        assert_eq!(ranges(&frontier), [(5, 20, i32::MAX)]);
        // A more urgent one likewise.
        frontier.saw(LANE, Rank(2), Timestamp(SLACK + 7));
        assert_eq!(ranges(&frontier), [(2, 7, 5), (5, 20, i32::MAX)]);
    }

    #[test]
    fn a_newcomer_below_all_ranks_is_reached() {
        let mut frontier = Frontier::default();
        frontier.claimed(LANE, Rank(5), Timestamp(SLACK + 500), THEN);
        frontier.heard(LANE, Rank(7));
        assert_eq!(
            ranges(&frontier).len(),
            1,
            "the range goes on beyond rank 5"
        );
        frontier.heard(LANE, Rank(1));
        assert_eq!(ranges(&frontier), [(1, i64::MIN, 5), (5, 500, i32::MAX)]);
    }

    proptest! {
        #[test]
        fn the_ranges_of_a_lane_are_in_order_without_a_gap_and_bounded(
            steps in prop::collection::vec((0..3u8, 0..40i32, 0..10_000_000i64), 0..200)
        ) {
            let mut frontier = Frontier::default();
            for (step, rank, at) in steps {
                match step {
                    0 => frontier.saw(LANE, Rank(rank), Timestamp(at)),
                    1 => frontier.claimed(LANE, Rank(rank), Timestamp(at), THEN),
                    _ => frontier.heard(LANE, Rank(rank)),
                }
                let ranges = ranges(&frontier);
                prop_assert!(ranges.len() <= Frontier::RANKS_MAX);
                prop_assert!(ranges.windows(2).all(|two| two[0].2 == two[1].0 && two[0].0 < two[1].0));
                prop_assert!(ranges.last().is_none_or(|last| last.2 == i32::MAX));
                if step == 0 {
                    let is_in = |range: &(i32, i64, i32)| {
                        (rank, at) >= (range.0, range.1) && rank < range.2
                    };
                    prop_assert!(ranges.iter().any(is_in), "what was seen is within reach");
                }
            }
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut frontier = Frontier::default();
        for lane in 0..Frontier::LANES_MAX as u128 + 5 {
            frontier.claimed(LaneId(Uuid::from_u128(lane)), Rank(0), Timestamp(0), THEN);
        }
        assert_eq!(frontier.all().count(), Frontier::LANES_MAX);
    }
}
