//! What a node knows of the lanes, and what it does next to claim from them.
//!
//! Three sources tell of work. *News*: somebody in this process created a task, and says in which lane; nothing has to be asked.
//! A *look* at all lanes, once something may be claimable and nobody says where. A look at the *heads* of known lanes, from
//! where they were claimed up to: that is asked while a look at all of them is costly, because it walks over entries that the
//! database cannot clear away; the look then goes on beside the claims, and less often.
//!
//! Invariants: after everything that was heard there is a look, or a claim that found as many tasks as were announced. A look that
//! showed nothing, or whose lanes gave nothing, is not repeated before something is heard. What a look shows is used for at most
//! [`LaneBook::AGE_MS`] without another look being due. Of more lanes than one look shows, each look shows the next ones, and a node
//! rests only when it has been through with all of them.

use crate::{Frontier, Grant, LaneId, LaneView, Mono, Pace, Rank, Reach, Timestamp, Work};
use std::collections::{BTreeMap, HashSet};

/// What the claimer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Claim work of this sort from the lanes that are shown.
    Claim(Work),
    /// Look at all lanes, and wait for it.
    Look,
    /// Look at all lanes, and go on meanwhile.
    LookBeside,
    /// Look at the heads of the known lanes, and wait for it.
    Heads,
    /// Nothing, until something is heard, a credit returns, or the time has come.
    Rest(Option<Mono>),
}

/// Which lanes a look is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLook {
    /// Only lanes behind this one.
    pub after: Option<LaneId>,
    /// A lane once for each rank in it, with the first task of that; otherwise once, with its first task.
    pub by_rank: bool,
    /// At most so many, the first ones by their ids, and then by rank.
    pub limit: usize,
}

impl LaneLook {
    /// The first task of the first lanes.
    pub fn first(limit: usize) -> Self {
        Self {
            after: None,
            by_rank: false,
            limit,
        }
    }
}

/// A lane, or if they are told apart one rank of it.
type Key = (LaneId, Option<Rank>);

/// What a node knows of the lanes.
#[derive(Clone, Debug)]
pub struct LaneBook {
    /// What one look shows at most.
    limit: usize,
    /// Whether the ranks of a lane are told apart.
    by_rank: bool,
    /// Where work is thought to be; cleanups and runs apart.
    cleanups: Vec<LaneView>,
    runs: Vec<LaneView>,
    /// Lanes that nobody has looked at since this many tasks were announced there.
    announced: BTreeMap<Key, usize>,
    /// Lanes of which something else than a look has told since the last one began.
    recent: HashSet<Key>,
    frontier: Frontier,
    /// Since when something has been shown without a look.
    as_of: Mono,
    /// The latest time that was seen: about now, by the database's clock.
    latest: Timestamp,
    /// Something was heard that no look has followed.
    wants_look: bool,
    /// Since the last look at the first lanes began something was claimed, or came to a lane that was shown.
    is_fruitful: bool,
    /// When the look began that is under way, and behind which lane.
    looking: Option<(Mono, Option<LaneId>)>,
    /// How far claims have come since then: the look may have seen what was there before.
    passed: BTreeMap<Key, (Rank, Timestamp)>,
    /// Behind which lane the next look begins: the last one did not show all.
    after: Option<LaneId>,
    pace: Pace,
    /// The known lanes were asked since something was heard or claimed.
    asked_heads: bool,
    heads_pace: Pace,
    /// Sorts of work of which the policy wants nothing now.
    declined: HashSet<Work>,
}

impl Default for LaneBook {
    fn default() -> Self {
        Self::with_limit(Self::LANES_MAX)
    }
}

impl LaneBook {
    /// How long lanes are used without another look, in milliseconds.
    pub const AGE_MS: u64 = 500;
    /// Lanes that are known from one look.
    pub const LANES_MAX: usize = 10_000;

    fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            by_rank: false,
            cleanups: Vec::new(),
            runs: Vec::new(),
            announced: BTreeMap::new(),
            recent: HashSet::new(),
            frontier: Frontier::default(),
            as_of: Mono::default(),
            latest: Timestamp::default(),
            wants_look: false,
            is_fruitful: false,
            looking: None,
            passed: BTreeMap::new(),
            after: None,
            pace: Pace::default(),
            asked_heads: false,
            heads_pace: Pace::default(),
            declined: HashSet::new(),
        }
    }

    /// Whether the policy wants the ranks of a lane told apart. What is known otherwise is forgotten.
    pub fn tell_ranks(&mut self, by_rank: bool) {
        if self.by_rank != by_rank {
            self.by_rank = by_rank;
            self.forget();
        }
    }

    fn key(&self, lane: LaneId, rank: Rank) -> Key {
        (lane, self.by_rank.then_some(rank))
    }

    /// Something may be claimable anywhere.
    pub fn heard(&mut self) {
        self.wants_look = true;
        self.asked_heads = false;
    }

    /// `tasks` tasks were created in a lane just now; `view` is what is known of them. They came after all that was seen.
    pub fn heard_of(&mut self, mut view: LaneView, tasks: usize, now: Mono) {
        let key = self.key(view.lane, view.rank);
        self.frontier.heard(view.lane, view.rank);
        self.asked_heads = false;
        self.recent.insert(key);
        let (latest, by_rank) = (self.latest, self.by_rank);
        let is_it = |known: &&mut LaneView| {
            known.lane == view.lane && (!by_rank || known.rank == view.rank)
        };
        let shown = self.lanes_mut(view.work);
        if let Some(known) = shown.iter_mut().find(is_it) {
            if view.rank < known.rank {
                // Its first task is another one now, and new.
                (known.rank, known.since) = (view.rank, view.since.max(latest));
            }
            match self.announced.get_mut(&key) {
                Some(announced) => *announced += tasks,
                None => self.is_fruitful = true,
            }
            return;
        }
        view.since = view.since.max(latest);
        self.begin_anew(now);
        self.lanes_mut(view.work).push(view);
        self.announced.insert(key, tasks);
    }

    /// The claimer begins anew: the policy may have changed its mind.
    pub fn wake(&mut self) {
        self.declined.clear();
    }

    /// What to do next. `wanted`: the sorts of work for which there are credits. Looks wait until `looks_from`.
    pub fn next(&self, wanted: &[Work], now: Mono, looks_from: Mono) -> Step {
        let shown = wanted
            .iter()
            .copied()
            .find(|work| !self.lanes(*work).is_empty() && !self.declined.contains(work));
        if wanted.is_empty() {
            return Step::Rest(None);
        }
        let is_stale = shown.is_some() && now.since(self.as_of).as_millis() as u64 >= Self::AGE_MS;
        let is_costly = self.pace.is_costly();
        let asks = is_stale || (self.wants_look && (shown.is_none() || is_costly));
        if asks && now >= looks_from && self.looking.is_none() {
            match is_costly {
                false => return Step::Look,
                true if now >= self.pace.again_at() => return Step::LookBeside,
                true => {}
            }
        }
        if let Some(work) = shown {
            return Step::Claim(work);
        }
        if !self.wants_look {
            return Step::Rest(None);
        }
        if now < looks_from {
            return Step::Rest(Some(looks_from));
        }
        let look_at = self.looking.is_none().then_some(self.pace.again_at());
        if !is_costly || self.asked_heads || self.frontier.is_empty() {
            return Step::Rest(look_at);
        }
        match self.heads_pace.again_at() {
            at if now >= at => Step::Heads,
            at => Step::Rest(Some(look_at.map_or(at, |look_at| look_at.min(at)))),
        }
    }

    /// A look begins: at these lanes.
    pub fn looking(&mut self, now: Mono) -> LaneLook {
        let after = self.after.take();
        self.looking = Some((now, after));
        self.wants_look = false;
        // It takes all looks from the first lane to the last one to see that nothing is to be had.
        self.is_fruitful &= after.is_some();
        // What is heard from now on may be later than what the look sees.
        self.announced.clear();
        self.recent.clear();
        self.passed.clear();
        LaneLook {
            after,
            by_rank: self.by_rank,
            limit: self.limit,
        }
    }

    /// A look at lanes is over.
    pub fn looked(&mut self, mut lanes: Vec<LaneView>, now: Mono) {
        let (began, after) = self.looking.take().unwrap_or((now, None));
        self.pace.took(began, now);
        self.declined.clear();
        self.after = self.leave_rest(&mut lanes);
        // Of what was shown before, something may be left.
        self.wants_look |= lanes.is_empty() && after.is_some() && self.is_fruitful;
        let mut seen: BTreeMap<Key, LaneView> = BTreeMap::new();
        for mut lane in lanes {
            self.frontier.saw(lane.lane, lane.rank, lane.since);
            self.latest = self.latest.max(lane.since);
            let key = self.key(lane.lane, lane.rank);
            if let Some((rank, passed)) = self.passed.get(&key)
                && *rank == lane.rank
            {
                lane.since = lane.since.max(*passed);
            }
            seen.entry(key).or_insert(lane);
        }
        // What it does not show is gone, or is shown by the next look, unless it came meanwhile.
        let (recent, by_rank) = (&self.recent, self.by_rank);
        for shown in [&mut self.cleanups, &mut self.runs] {
            shown.retain_mut(|known| {
                let key = (known.lane, by_rank.then_some(known.rank));
                let is_recent = recent.contains(&key);
                let Some(lane) = seen.remove(&key) else {
                    return is_recent;
                };
                let heard = is_recent.then_some(known.rank);
                *known = lane;
                known.rank = heard.map_or(known.rank, |heard| known.rank.min(heard));
                true
            });
        }
        for lane in seen.into_values() {
            self.lanes_mut(lane.work).push(lane);
        }
        self.as_of = now;
    }

    /// Where the next look begins: behind the last lane that was shown whole, if there may be more.
    fn leave_rest(&self, lanes: &mut Vec<LaneView>) -> Option<LaneId> {
        if lanes.len() < self.limit {
            return None;
        }
        let last = lanes.iter().map(|view| view.lane).max()?;
        let is_all_of_it = |view: &LaneView| view.lane == last;
        if self.by_rank && !lanes.iter().all(is_all_of_it) {
            lanes.retain(|view| view.lane != last);
        }
        lanes.iter().map(|view| view.lane).max()
    }

    /// A look has failed.
    pub fn look_failed(&mut self, now: Mono) {
        let (began, after) = self.looking.take().unwrap_or((now, None));
        self.pace.took(began, now);
        self.after = after;
        self.wants_look = true;
    }

    /// The known lanes were looked at, from `began` on.
    pub fn saw_heads(&mut self, heads: Vec<LaneView>, began: Mono, now: Mono) {
        self.asked_heads = true;
        self.heads_pace.took(began, now);
        self.begin_anew(now);
        let shown = self.cleanups.iter().chain(&self.runs);
        let shown: HashSet<_> = shown.map(|lane| self.key(lane.lane, lane.rank)).collect();
        for head in heads {
            let key = self.key(head.lane, head.rank);
            if !shown.contains(&key) {
                self.recent.insert(key);
                self.lanes_mut(head.work).push(head);
            }
        }
    }

    /// Something is about to be shown: by itself, if nothing else is.
    fn begin_anew(&mut self, now: Mono) {
        if self.cleanups.is_empty() && self.runs.is_empty() {
            self.as_of = now;
        }
    }

    /// The lanes in which work of this sort is thought to be.
    pub fn lanes(&self, work: Work) -> &[LaneView] {
        match work {
            Work::Cleanup => &self.cleanups,
            Work::Run => &self.runs,
        }
    }

    fn lanes_mut(&mut self, work: Work) -> &mut Vec<LaneView> {
        match work {
            Work::Cleanup => &mut self.cleanups,
            Work::Run => &mut self.runs,
        }
    }

    /// Whether no run is known to be claimable, and nothing was heard of which no look has told.
    pub fn is_idle(&self) -> bool {
        let has_looked = !self.wants_look && self.looking.is_none() && self.after.is_none();
        has_looked && self.runs.is_empty()
    }

    /// From where on to claim what was granted: of a lane for which a rank is given only that.
    pub fn reaches(&self, grants: &[Grant], ranks: &BTreeMap<LaneId, Rank>) -> Vec<Reach> {
        let mut reaches = Vec::with_capacity(grants.len());
        for grant in grants {
            match ranks.get(&grant.lane) {
                Some(rank) => reaches.push(self.frontier.at(grant.lane, *rank)),
                None => reaches.extend(self.frontier.of(grant.lane)),
            }
        }
        reaches
    }

    /// From where on the known lanes are to be claimed.
    pub fn known(&self) -> Vec<Reach> {
        self.frontier.all().collect()
    }

    /// The policy granted nothing of this sort.
    pub fn declined(&mut self, work: Work) {
        self.declined.insert(work);
        self.wants_look |= self.after.is_some();
    }

    /// A claim of `work` was answered: with these tasks, each with its lane, rank and time. `ranks` are those of its
    /// [reaches](Self::reaches). By the database's clock it was not before `now`.
    pub fn claimed(
        &mut self,
        work: Work,
        grants: &[Grant],
        ranks: &BTreeMap<LaneId, Rank>,
        tasks: impl Iterator<Item = (LaneId, Rank, Timestamp)>,
        now: Timestamp,
    ) {
        let mut counts: BTreeMap<LaneId, usize> = BTreeMap::new();
        let mut lasts: BTreeMap<Key, (Rank, Timestamp)> = BTreeMap::new();
        for (lane, rank, ready_at) in tasks {
            self.frontier.claimed(lane, rank, ready_at, now);
            self.latest = self.latest.max(ready_at);
            *counts.entry(lane).or_default() += 1;
            let key = self.key(lane, rank);
            lasts.insert(key, (rank, ready_at));
            if let Some(announced) = self.announced.get_mut(&key) {
                *announced = announced.saturating_sub(1);
            }
        }
        let found_some = !counts.is_empty();
        self.asked_heads &= !found_some;
        self.is_fruitful |= found_some;
        let mut emptied: HashSet<Key> = HashSet::new();
        for grant in grants {
            let count = counts.get(&grant.lane).copied().unwrap_or(0);
            if count >= grant.tasks {
                continue;
            }
            // It is empty, as far as it is within reach.
            let only = ranks.get(&grant.lane).copied();
            emptied.insert((grant.lane, only));
            let mut is_short = None;
            let is_meant = |key: &Key| {
                key.0 == grant.lane && only.is_none_or(|only| key.1.is_none_or(|rank| rank == only))
            };
            let from_lane = (grant.lane, None)..=(grant.lane, Some(Rank(i32::MAX)));
            for (_, left) in self.announced.extract_if(from_lane, |key, _| is_meant(key)) {
                is_short = Some(is_short.unwrap_or(false) || left > 0);
            }
            self.wants_look |= is_short.unwrap_or(self.is_fruitful) || self.after.is_some();
        }
        let is_empty = |key: &Key| emptied.contains(&(key.0, None)) || emptied.contains(key);
        if !emptied.is_empty() {
            self.recent.retain(|key| !is_empty(key));
        }
        if self.looking.is_some() {
            self.passed.extend(&lasts);
        }
        let by_rank = self.by_rank;
        self.lanes_mut(work).retain_mut(|lane| {
            let key = (lane.lane, by_rank.then_some(lane.rank));
            if let Some((rank, last)) = lasts.get(&key) {
                (lane.rank, lane.since) = (*rank, *last);
            }
            !is_empty(&key)
        });
    }

    /// Tasks of these lanes were taken by their ids, each of any place in its lane. What is left there is not known by that, nor from
    /// where on to claim it.
    pub fn took(&mut self, lanes: impl Iterator<Item = LaneId>) {
        for lane in lanes {
            self.asked_heads = false;
            self.is_fruitful = true;
            let of_lane = (lane, None)..=(lane, Some(Rank(i32::MAX)));
            let mut announced = self.announced.range_mut(of_lane);
            if let Some((_, left)) = announced.find(|(_, left)| **left > 0) {
                *left -= 1;
            }
        }
    }

    /// A claim has failed, and perhaps been carried out: nothing is known any more.
    pub fn claim_failed(&mut self) {
        self.forget();
    }

    /// Only a look can tell.
    fn forget(&mut self) {
        self.cleanups.clear();
        self.runs.clear();
        self.announced.clear();
        self.recent.clear();
        self.wants_look = true;
        self.asked_heads = false;
    }
}

#[cfg(test)]
mod tests;
