//! Strict priority, where waiting makes more urgent.

use super::fifo::share;
use super::{Grant, LaneView, Lanes, Needs, Policy};
use crate::Rank;
use std::collections::HashSet;

/// Strict priority with ageing: a task becomes one priority more urgent for each `step` that it waits. Then first in, first out.
///
/// So a task goes before another one, which is p priorities more urgent, if that came more than p steps later. Nobody starves: **a
/// task waits at most p steps longer than the most urgent task that comes p steps after it**, where p is the difference
/// of their priorities. (Up to one step more when several slots are granted at once over several lanes, since a snapshot
/// knows first tasks only.) Resuming tasks go first, as in a lane.
///
/// Lanes are [shown with their heads by rank](Needs::heads_by_rank), so that older, less urgent tasks do not wait for ever behind a steady
/// stream of urgent ones of the same lane. A claim takes one rank of a lane, and what is behind the tasks that were claimed last is known
/// from the next look on: until then up to one claim more may go before. Users are not told apart.
#[derive(Clone, Debug)]
pub struct PriorityAgeing {
    step_us: i64,
    name: String,
}

impl PriorityAgeing {
    /// The shortest step, in milliseconds.
    pub const STEP_MS_MIN: u64 = 1;
    /// The longest step, in milliseconds (a day): 65,536 priorities times it are still a time.
    pub const STEP_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

    /// One priority for each `step_ms` milliseconds, taken into the bounds.
    pub fn new(step_ms: u64) -> Self {
        let step_ms = step_ms.clamp(Self::STEP_MS_MIN, Self::STEP_MS_MAX);
        let name = match step_ms % 1_000 {
            0 => format!("priority-ageing={}s", step_ms / 1_000),
            _ => format!("priority-ageing={step_ms}ms"),
        };
        let step_us = i64::try_from(step_ms * 1_000).expect("a day");
        Self { step_us, name }
    }

    /// Smaller is sooner: whether it is no resuming task, and when a task of priority 0 would have had to come.
    fn key(&self, view: &LaneView) -> (bool, i64) {
        let priority = i64::from(view.rank.priority());
        let ahead = priority * self.step_us;
        (!view.rank.is_resuming(), view.since.0.saturating_add(ahead))
    }
}

impl Default for PriorityAgeing {
    /// A minute.
    fn default() -> Self {
        Self::new(60_000)
    }
}

impl Policy for PriorityAgeing {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let Some(first) = lanes.iter().map(|view| self.key(view)).min() else {
            return Vec::new();
        };
        // Within a step of the first they count as equals: how many come behind a head is not known.
        let last = (first.0, first.1.saturating_add(self.step_us));
        let heads = lanes.iter().map(|view| (self.key(view), view.lane));
        let mut equals: Vec<_> = heads
            .filter(|(key, _)| *key < last || *key == first)
            .collect();
        equals.sort_unstable();
        let mut seen = HashSet::new();
        equals.retain(|(_, lane)| seen.insert(*lane));
        let lanes = equals.into_iter().map(|(_, lane)| lane);
        share(&lanes.collect::<Vec<_>>(), free)
    }

    fn rank_of(&self, heads: &[&LaneView]) -> Option<Rank> {
        let first = heads.iter().min_by_key(|view| self.key(view))?;
        Some(first.rank)
    }

    fn needs(&self) -> Needs {
        Needs {
            heads_by_rank: true,
            ..Needs::default()
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{shares, view};
    use super::*;
    use crate::Status;

    const STEP: i64 = 1_000_000;

    fn fresh(group: &str, priority: i16, since: i64) -> LaneView {
        let rank = Rank::new(Status::Queued, priority);
        view(group, "ann", rank.0, since)
    }

    fn first(views: &[LaneView]) -> String {
        let lanes = Lanes::new(views);
        let grants = PriorityAgeing::new(1_000).grant(&lanes, 1);
        shares(&lanes, &grants)[0].1.clone()
    }

    #[test]
    fn a_priority_is_worth_a_step_of_waiting() {
        let old = fresh("old", 3, 0);
        let young = |since| fresh("young", 0, since);
        assert_eq!(first(&[old.clone(), young(3 * STEP - 1)]), "young");
        assert_eq!(first(&[old.clone(), young(3 * STEP + 1)]), "old");
        let resuming = Rank::new(Status::Resuming, 9);
        let resuming = view("resuming", "ann", resuming.0, 99 * STEP);
        assert_eq!(first(&[old, young(0), resuming]), "resuming");
    }

    #[test]
    fn it_reaches_past_an_urgent_stream_in_the_same_lane() {
        let heads = [fresh("g", -1, 9 * STEP), fresh("g", 5, 0)];
        let policy = PriorityAgeing::new(1_000);
        let lanes = Lanes::new(&heads);
        let granted = policy.grant(&lanes, 2);
        assert_eq!(granted.len(), 1, "one lane, one grant");
        assert_eq!(policy.rank_of(&[&heads[0], &heads[1]]), Some(heads[1].rank));
        assert_eq!(policy.rank_of(&[&heads[0]]), Some(heads[0].rank));
    }

    #[test]
    fn the_extremes_of_priorities_and_times_are_ordered() {
        let policy = PriorityAgeing::new(u64::MAX);
        assert_eq!(policy.name(), "priority-ageing=86400s");
        let views = [
            fresh("a", i16::MAX, i64::MAX),
            fresh("b", i16::MIN, i64::MAX),
        ];
        let lanes = Lanes::new(&views);
        assert_eq!(shares(&lanes, &policy.grant(&lanes, 1))[0].1, "b");
        assert_eq!(policy.grant(&Lanes::new(&views[..1]), 1).len(), 1);
    }
}
