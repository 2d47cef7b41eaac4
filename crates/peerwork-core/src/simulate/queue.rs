//! What waits in a simulated cluster, and what a look at it shows.

use crate::policy::LaneView;
use crate::{LaneId, Rank, Status, Timestamp, Work};
use std::collections::{BTreeMap, HashMap, VecDeque};

use super::Arrival;

/// The tasks that wait, by lane and rank, each in the order in which they came.
pub(super) struct Queue<'a> {
    arrivals: &'a [Arrival],
    /// Whether a lane is shown once for each rank, or with its first task only.
    by_rank: bool,
    lanes: BTreeMap<LaneId, BTreeMap<Rank, VecDeque<usize>>>,
    shown: Vec<LaneView>,
    /// Where a lane (and rank, if it is shown by rank) is among those.
    places: HashMap<(LaneId, Option<Rank>), usize>,
}

impl<'a> Queue<'a> {
    pub fn new(arrivals: &'a [Arrival], by_rank: bool) -> Self {
        Self {
            arrivals,
            by_rank,
            lanes: BTreeMap::new(),
            shown: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// The lanes with work, as a look now would show them.
    pub fn shown(&self) -> &[LaneView] {
        &self.shown
    }

    /// The rank of a task.
    pub fn rank(&self, task: usize) -> Rank {
        Rank::new(Status::Queued, self.arrivals[task].priority)
    }

    /// When a task came, by the database's clock.
    pub fn since(&self, task: usize) -> Timestamp {
        Timestamp(i64::try_from(self.arrivals[task].at_us).unwrap_or(i64::MAX))
    }

    /// A task gets in line.
    pub fn push(&mut self, task: usize, lane: LaneId) {
        let rank = self.rank(task);
        let ranks = self.lanes.entry(lane).or_default();
        ranks.entry(rank).or_default().push_back(task);
        self.show(lane, rank);
    }

    /// Takes the first `tasks` of a lane: of one rank, or in the lane's order.
    pub fn take(&mut self, lane: LaneId, only: Option<Rank>, tasks: usize) -> Vec<usize> {
        let mut taken = Vec::new();
        while taken.len() < tasks {
            let Some(ranks) = self.lanes.get_mut(&lane) else {
                break;
            };
            let first = ranks.keys().next().copied();
            let Some(rank) = only.or(first) else { break };
            let Some(line) = ranks.get_mut(&rank) else {
                break;
            };
            let count = line.len().min(tasks - taken.len());
            taken.extend(line.drain(..count));
            if line.is_empty() {
                ranks.remove(&rank);
            }
            if ranks.is_empty() {
                self.lanes.remove(&lane);
            }
            self.show(lane, rank);
        }
        taken
    }

    /// Brings what is shown of a lane up to date, after a change at `rank`.
    fn show(&mut self, lane: LaneId, rank: Rank) {
        let ranks = self.lanes.get(&lane);
        let line = match self.by_rank {
            true => ranks.and_then(|ranks| ranks.get(&rank)),
            false => ranks.and_then(|ranks| ranks.values().next()),
        };
        let key = (lane, self.by_rank.then_some(rank));
        let Some(first) = line.and_then(VecDeque::front).copied() else {
            self.hide(key);
            return;
        };
        let (rank, since) = (self.rank(first), self.since(first));
        if let Some(place) = self.places.get(&key) {
            let view = &mut self.shown[*place];
            (view.rank, view.since) = (rank, since);
            return;
        }
        let arrival = &self.arrivals[first];
        self.places.insert(key, self.shown.len());
        self.shown.push(LaneView {
            lane,
            group: arrival.group.clone(),
            user: arrival.user.clone(),
            work: Work::Run,
            rank,
            since,
        });
    }

    fn hide(&mut self, key: (LaneId, Option<Rank>)) {
        let Some(place) = self.places.remove(&key) else {
            return;
        };
        self.shown.swap_remove(place);
        if let Some(moved) = self.shown.get(place) {
            let key = (moved.lane, self.by_rank.then_some(moved.rank));
            self.places.insert(key, place);
        }
    }
}
