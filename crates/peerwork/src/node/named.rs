//! Claims of what a queue outside names.
//!
//! It is looked up and claimed by its ids, under the same guards as any other claim. Where a queue names nothing of what may be claimed, it is
//! told what there is and asked once more. Then the node waits for it, as long as its patience lasts, and claims by its policy until it names
//! something.

use super::Core;
use super::claimer::{Claimer, Got, begin};
use super::external::{External, view};
use super::limits::Part;
use crate::queue::{Offer, OpenLanes};
use peerwork_core::{
    BATCH_MAX, Bounds, Grant, KindKey, LaneId, LaneView, Name, TaskId, Timestamp, Work,
};
use peerwork_store::{ClaimThese, Result, Sought};
use std::collections::{BTreeMap, HashMap, HashSet};

impl Claimer {
    /// Claims what the queue for this work names. None: the policy is to decide, for there is no queue, it fails, or it has named nothing for
    /// too long.
    pub(super) async fn claim_next(&mut self, work: Work, free: usize) -> Result<Option<Got>> {
        let core = self.core.clone();
        let now = core.client.env.now();
        let external = core.externals.of(work).filter(|queue| !queue.rests(now));
        let Some(external) = external else {
            return Ok(None);
        };
        core.ask_about_limits().await?;
        let lanes = external.and_offered(self.book.lanes(work));
        let (open, kinds) = core.open(work, &lanes);
        if open.lanes().is_empty() || kinds.is_empty() {
            self.book.declined(work);
            return Ok(Some(Got::Nothing));
        }
        let Some(named) = external.next(&core, &open, free).await else {
            return Ok(None);
        };
        match self.claim_named(work, external, named, free).await? {
            Got::Nothing => {}
            got => return Ok(Some(got)),
        }
        // What it does not name it does not know, perhaps.
        let told = self.tell(work, external, &open, kinds).await?;
        if told.is_empty() {
            return Ok(Some(Got::Nothing));
        }
        let Some(named) = external.next(&core, &open, free).await else {
            return Ok(None);
        };
        let unnamed_since = unnamed_since(&told, &named, free);
        match self.claim_named(work, external, named, free).await? {
            Got::Nothing => {}
            got => return Ok(Some(got)),
        }
        let now = core.client.env.now();
        let time = core.limits.time(now);
        let waited_ms = unnamed_since.map_or(0, |since| time.ms_since(since));
        if external.is_dry(now) || waited_ms >= external.times.patience_ms {
            external.tell_operators(now, |queue| {
                tracing::warn!(
                    queue,
                    "a queue does not name what may be claimed; this node claims it by its policy"
                );
            });
            return Ok(None);
        }
        self.book.declined(work);
        Ok(Some(Got::Nothing))
    }

    /// Tells a queue of the first tasks of open lanes, and answers when each has become claimable.
    async fn tell(
        &mut self,
        work: Work,
        external: &External,
        open: &OpenLanes,
        kinds: Vec<KindKey>,
    ) -> Result<HashMap<TaskId, Timestamp>> {
        let core = self.core.clone();
        let lanes = external.lanes_to_tell(open);
        let first = Sought::First {
            lanes: lanes.clone(),
            kinds,
        };
        let offers = core.store.offers(first, BATCH_MAX).await?;
        let there: HashSet<LaneId> = offers.iter().map(|offer| offer.lane).collect();
        let emptied = lanes.into_iter().filter(|lane| !there.contains(lane));
        let emptied: Vec<_> = emptied.map(|lane| Grant { lane, tasks: 1 }).collect();
        external.forget(&emptied);
        let (all_ranks, none) = (BTreeMap::new(), std::iter::empty());
        let now = core.limits.time(core.client.env.now());
        self.book.claimed(work, &emptied, &all_ranks, none, now);
        let told = offers.iter().map(|offer| (offer.task, offer.since));
        let told = told.collect();
        external.offer(&core, offers).await;
        Ok(told)
    }

    /// Claims of these tasks what is claimable, and has the queue know what became of all.
    async fn claim_named(
        &mut self,
        work: Work,
        external: &External,
        named: Vec<TaskId>,
        free: usize,
    ) -> Result<Got> {
        if named.is_empty() {
            return Ok(Got::Nothing);
        }
        let core = self.core.clone();
        let there = Sought::These(named.clone());
        let mut there = core.store.offers(there, BATCH_MAX).await?;
        let mut taken = HashSet::new();
        let mut all = Got::Nothing;
        for part in core.these(work, &there, free) {
            match self.take_these(work, part, &mut taken).await? {
                Got::Tasks => all = Got::Tasks,
                Got::Nothing => {}
                Got::MayNot => all = Got::MayNot,
            }
            if matches!(all, Got::MayNot) {
                break;
            }
        }
        if !taken.is_empty() {
            external.is_useful();
        }
        // It may have let go of all that it named: what is left is offered again, and all else withdrawn.
        there.retain(|offer| !taken.contains(&offer.task));
        let left: HashSet<TaskId> = there.iter().map(|offer| offer.task).collect();
        let gone = named.into_iter().filter(|task| !left.contains(task));
        external.withdraw(&core, gone.collect()).await;
        external.offer(&core, there).await;
        Ok(all)
    }

    async fn take_these(
        &mut self,
        work: Work,
        part: These,
        taken: &mut HashSet<TaskId>,
    ) -> Result<Got> {
        let core = self.core.clone();
        let node = core.lease.node();
        if core.lease.is_fenced(node, core.client.env.now()) {
            return Ok(Got::MayNot);
        }
        let run = core.client.env.new_run_id();
        let claim = ClaimThese {
            node,
            run,
            tasks: part.tasks,
            kinds: part.kinds,
            version: part.version,
        };
        core.claims(run);
        // Only now: a drain that began before has not seen this claim, and would not wait for it.
        if core.draining.is_cancelled() {
            core.claim_is_over(run);
            return Ok(Got::MayNot);
        }
        let is_bounded = part.bounds.is_some();
        let bounds = part.bounds.unwrap_or_default();
        let answer = match core.store.claim_these(claim, bounds).await {
            Ok(answer) => answer,
            Err(error) => {
                // Perhaps it was carried out: the upkeep finds what this node holds without knowing, and gives it back.
                core.claim_is_over(run);
                self.book.claim_failed();
                return Err(error);
            }
        };
        if answer.is_stale {
            core.claim_is_over(run);
            core.load_config().await?;
            self.book.heard();
            return Ok(Got::Nothing);
        }
        core.limits.found_full(answer.full, answer.tasks.len());
        taken.extend(answer.tasks.iter().map(|task| task.id));
        self.book.took(answer.tasks.iter().map(|task| task.lane));
        Ok(begin(&core, work, node, run, answer.tasks, is_bounded))
    }
}

/// Since when the oldest task has been claimable of which a queue was told, and that it does not name, though there is a slot for it. One
/// that it names and another node is faster to claim is no fault of its.
fn unnamed_since(
    told: &HashMap<TaskId, Timestamp>,
    named: &[TaskId],
    free: usize,
) -> Option<Timestamp> {
    let named: HashSet<_> = named
        .iter()
        .filter(|task| told.contains_key(task))
        .collect();
    if named.len() >= free {
        return None;
    }
    let unnamed = told.iter().filter(|(task, _)| !named.contains(task));
    unnamed.map(|(_, since)| *since).min()
}

/// A claim of named tasks to make, with the limits that they are under.
struct These {
    tasks: Vec<(TaskId, LaneId)>,
    bounds: Option<Bounds>,
    kinds: Vec<KindKey>,
    version: u64,
}

impl Core {
    /// What may be claimed of these lanes, for a queue, and the kinds by their keys.
    fn open(&self, work: Work, lanes: &[LaneView]) -> (OpenLanes, Vec<KindKey>) {
        let offer = self.offer(work, lanes);
        let names = self.registry.rules().into_iter().map(|(name, _)| name);
        let is_open = |name: &Name| offer.kinds.contains(&KindKey::new(name));
        let names = names.filter(is_open).collect();
        (OpenLanes::new(offer.lanes.into_owned(), names), offer.kinds)
    }

    /// The claims by which named tasks are taken: in their order as many as there are free slots for, of what is open.
    fn these(&self, work: Work, named: &[Offer], free: usize) -> Vec<These> {
        let named = named.iter().filter(|offer| offer.work == work);
        let mut views: HashMap<LaneId, LaneView> = HashMap::new();
        for offer in named.clone() {
            views.entry(offer.lane).or_insert_with(|| view(offer));
        }
        let views: Vec<_> = views.into_values().collect();
        let open = self.offer(work, &views);
        let open_lanes: HashSet<_> = open.lanes.iter().map(|view| view.lane).collect();
        let is_open = |offer: &&Offer| {
            open_lanes.contains(&offer.lane) && open.kinds.contains(&KindKey::new(&offer.kind))
        };
        let chosen: Vec<_> = named
            .filter(is_open)
            .take(free)
            .map(|offer| (offer.task, offer.lane))
            .collect();
        let mut grants: Vec<Grant> = Vec::new();
        for (_, lane) in &chosen {
            match grants.iter_mut().find(|grant| grant.lane == *lane) {
                Some(grant) => grant.tasks += 1,
                None => grants.push(Grant {
                    lane: *lane,
                    tasks: 1,
                }),
            }
        }
        let these = |Part { grants, bounds }: Part| {
            let mut left: HashMap<_, _> = grants.iter().map(|g| (g.lane, g.tasks)).collect();
            let mut take = |(_, lane): &&(TaskId, LaneId)| match left.get_mut(lane) {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    true
                }
                _ => false,
            };
            let mut tasks = Vec::new();
            for task in &chosen {
                if take(&task) {
                    tasks.push(*task);
                }
            }
            These {
                tasks,
                bounds,
                kinds: open.kinds.clone(),
                version: open.version,
            }
        };
        let parts = self.parts(work, &open, grants).into_iter();
        parts
            .map(these)
            .filter(|part| !part.tasks.is_empty())
            .collect()
    }
}
