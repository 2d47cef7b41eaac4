//! Queues that keep the order of tasks elsewhere, as a node uses them.
//!
//! What a queue names is looked up and claimed by its ids, under the same guards as any other claim. Where it names nothing of what may be
//! claimed, it is told what there is and asked once more. Then the node waits for it, as long as its patience lasts, and claims by its policy until it names something.
//! A queue that fails rests for a while, and the policy does its work.
//!
//! *Not here:* what a queue is told besides, and what becomes of its mistakes (`reconcile.rs`).

use super::Core;
use super::claimer::{Claimer, Got, begin};
use super::limits::Part;
use crate::queue::{ExternalQueue, Offer, OpenLanes, QueueResult, QueueTimes};
use futures_util::FutureExt;
use peerwork_core::{
    BATCH_MAX, Grant, KindKey, LaneId, LaneView, Mono, Name, TaskId, Timestamp, Work,
};
use peerwork_store::{ClaimThese, Result, Sought};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// From one report of a queue's failures to the next, in milliseconds.
const REPORT_MS: u64 = 10_000;
/// Lanes whose first tasks a queue is told of when it names nothing; of more the others have their turn the next time.
const LANES_TOLD: usize = 64;

/// The queues of a node.
#[derive(Default)]
pub(crate) struct Externals {
    run: Option<External>,
    cleanup: Option<External>,
}

impl Externals {
    /// Takes the order of this work from `queue`.
    pub fn set(&mut self, work: Work, queue: Arc<dyn ExternalQueue>, times: QueueTimes) {
        let state = Mutex::default();
        let external = External {
            queue,
            times,
            state,
        };
        match work {
            Work::Run => self.run = Some(external),
            Work::Cleanup => self.cleanup = Some(external),
        }
    }

    /// The queue for this work.
    pub fn of(&self, work: Work) -> Option<&External> {
        match work {
            Work::Run => self.run.as_ref(),
            Work::Cleanup => self.cleanup.as_ref(),
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Work, &External)> {
        let both = [Work::Cleanup, Work::Run].into_iter();
        both.filter_map(|work| Some((work, self.of(work)?)))
    }

    /// When the patience with a queue ends.
    pub fn gives_up_at(&self, now: Mono) -> Option<Mono> {
        let given_up = self
            .all()
            .filter_map(|(_, external)| external.gives_up_at());
        given_up.filter(|at| *at > now).min()
    }
}

/// A queue of a node.
pub(crate) struct External {
    pub queue: Arc<dyn ExternalQueue>,
    pub times: QueueTimes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// After a failure.
    rests_until: Mono,
    /// Since when it has named nothing that could be claimed, though there was something and slots were free.
    dry_since: Option<Mono>,
    /// When failures may be told again.
    tells_from: Mono,
    /// How many lanes it was told of when it was dry: the next time others have their turn.
    told: usize,
}

impl External {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// Whether it is left alone after a failure.
    pub fn rests(&self, now: Mono) -> bool {
        now < self.state().rests_until
    }

    fn gives_up_at(&self) -> Option<Mono> {
        let since = self.state().dry_since?;
        Some(since.plus_ms(self.times.patience_ms))
    }

    /// It named something that could be claimed.
    fn is_useful(&self) {
        self.state().dry_since = None;
    }

    /// It named nothing of what may be claimed. Whether it has been so for too long.
    fn is_dry(&self, now: Mono) -> bool {
        self.state().dry_since.get_or_insert(now);
        self.gives_up_at().is_some_and(|at| now >= at)
    }

    /// Waits for a call of the queue, for a while. None: it failed, and rests; or the node drains.
    ///
    /// Cancel safe, as far as the queue's call is.
    pub async fn ask<T>(
        &self,
        core: &Core,
        what: &'static str,
        call: impl Future<Output = QueueResult<T>>,
    ) -> Option<T> {
        let answer = Duration::from_millis(self.times.answer_ms);
        let call = tokio::time::timeout(answer, AssertUnwindSafe(call).catch_unwind());
        let answered = tokio::select! {
            biased;
            () = core.draining.cancelled() => return None,
            answered = call => answered,
        };
        let why = match answered {
            Ok(Ok(Ok(answer))) => return Some(answer),
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(_panic)) => "it panicked".to_owned(),
            Err(_) => format!("no answer within {} ms", self.times.answer_ms),
        };
        let now = core.client.env.now();
        let rest_ms = self.times.rest_ms;
        self.state().rests_until = now.plus_ms(rest_ms);
        self.tell_operators(now, |queue| {
            tracing::warn!(queue, what, %why, rest_ms, "a queue fails; this node claims by its policy while it rests");
        });
        None
    }

    /// Says something about the queue, unless something has been said just before.
    fn tell_operators(&self, now: Mono, say: impl FnOnce(&str)) {
        let mut state = self.state();
        if now >= state.tells_from {
            state.tells_from = now.plus_ms(REPORT_MS);
            drop(state);
            say(self.queue.name());
        }
    }

    /// Has the queue forget tasks.
    pub async fn withdraw(&self, core: &Core, tasks: Vec<TaskId>) {
        if !tasks.is_empty() {
            let call = async { self.queue.withdraw(tasks).await };
            self.ask(core, "withdraw", call).await;
        }
    }

    /// Tells the queue of tasks.
    pub async fn offer(&self, core: &Core, tasks: Vec<Offer>) {
        if !tasks.is_empty() {
            let call = async { self.queue.offer(tasks).await };
            self.ask(core, "offer", call).await;
        }
    }

    /// Asks for the next tasks, each once.
    async fn next(&self, core: &Core, open: &OpenLanes, n: usize) -> Option<Vec<TaskId>> {
        let call = async { self.queue.next(open, n).await };
        let named = self.ask(core, "next", call).await?;
        let mut seen = HashSet::new();
        let distinct = named.into_iter().filter(|task| seen.insert(*task));
        Some(distinct.take(BATCH_MAX).collect())
    }

    /// The lanes of which it is told this time.
    fn lanes_to_tell(&self, open: &OpenLanes) -> Vec<LaneId> {
        let lanes = open.lanes();
        let mut state = self.state();
        let first = state.told % lanes.len().max(1);
        state.told = state.told.wrapping_add(LANES_TOLD);
        let lanes = lanes[first..].iter().chain(&lanes[..first]);
        lanes.take(LANES_TOLD).map(|lane| lane.lane).collect()
    }
}

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
        let (open, kinds) = core.open(work, self.book.lanes(work));
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
        let all_ranks = BTreeMap::new();
        self.book
            .claimed(work, &emptied, &all_ranks, std::iter::empty());
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
        let within = match core.store.claim_these(claim, bounds).await {
            Ok(within) => within,
            Err(error) => {
                // Perhaps it was carried out: the upkeep finds what this node holds without knowing, and gives it back.
                core.claim_is_over(run);
                self.book.claim_failed();
                return Err(error);
            }
        };
        if within.is_stale {
            core.claim_is_over(run);
            core.load_config().await?;
            self.book.heard();
            return Ok(Got::Nothing);
        }
        core.limits.found_full(within.full);
        taken.extend(within.tasks.iter().map(|task| task.id));
        self.book.took(within.tasks.iter().map(|task| task.lane));
        Ok(begin(&core, work, node, run, within.tasks, is_bounded))
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
    bounds: Option<peerwork_core::Bounds>,
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
            let view = || LaneView {
                lane: offer.lane,
                group: offer.group.clone(),
                user: offer.user.clone(),
                work,
                rank: offer.rank,
                since: offer.since,
            };
            views.entry(offer.lane).or_insert_with(view);
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
