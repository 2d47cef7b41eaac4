//! Queues that keep the order of tasks elsewhere, as a node uses them.
//!
//! A call of a queue is bounded, and one that fails has the queue rest for a while: then the node's policy does its work.
//!
//! *Not here:* the claims of what a queue names (`named.rs`), and what a queue is told besides (`reconcile.rs`).

use super::Core;
use crate::queue::{ExternalQueue, Offer, OpenLanes, QueueResult, QueueTimes};
use futures_util::FutureExt;
use peerwork_core::{BATCH_MAX, Grant, LaneId, LaneView, Mono, TaskId, Work};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// From one report of a queue's failures to the next, in milliseconds.
const REPORT_MS: u64 = 10_000;
/// Lanes that are remembered of what a queue was offered.
const LANES_MAX: usize = 10_000;
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
    /// The lanes of the tasks that it was offered: in this round through all that is claimable, and in the one before.
    lanes: [HashMap<LaneId, LaneView>; 2],
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
    pub fn is_useful(&self) {
        self.state().dry_since = None;
    }

    /// It named nothing of what may be claimed. Whether it has been so for too long.
    pub fn is_dry(&self, now: Mono) -> bool {
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
    pub fn tell_operators(&self, now: Mono, say: impl FnOnce(&str)) {
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
            self.remember(&tasks);
            let call = async { self.queue.offer(tasks).await };
            self.ask(core, "offer", call).await;
        }
    }

    /// Takes note of the lanes of offered tasks: what the queue knows of must not be shut for it because this node has not looked since.
    fn remember(&self, offers: &[Offer]) {
        let lanes = &mut self.state().lanes[0];
        for offer in offers {
            let is_room = lanes.len() < LANES_MAX;
            match lanes.get_mut(&offer.lane) {
                Some(view) if (offer.rank, offer.since) < (view.rank, view.since) => {
                    (view.rank, view.since) = (offer.rank, offer.since);
                }
                None if is_room => drop(lanes.insert(offer.lane, view(offer))),
                Some(_) | None => {}
            }
        }
    }

    /// A round through all that is claimable is over.
    pub fn round_is_over(&self) {
        let lanes = &mut self.state().lanes;
        lanes[1] = std::mem::take(&mut lanes[0]);
    }

    /// These lanes, and those of the tasks that it was offered.
    pub fn and_offered(&self, known: &[LaneView]) -> Vec<LaneView> {
        let state = self.state();
        let mut lanes: HashMap<LaneId, LaneView> =
            known.iter().map(|view| (view.lane, view.clone())).collect();
        for view in state.lanes.iter().flat_map(HashMap::values) {
            let known = lanes.entry(view.lane).or_insert_with(|| view.clone());
            (known.rank, known.since) = (known.rank, known.since).min((view.rank, view.since));
        }
        let mut lanes: Vec<_> = lanes.into_values().collect();
        // The same for the same, whatever a map does with it.
        lanes.sort_unstable_by_key(|view| view.lane);
        lanes
    }

    /// There is nothing in this lane.
    pub fn forget(&self, emptied: &[Grant]) {
        let lanes = &mut self.state().lanes;
        for grant in emptied {
            lanes
                .iter_mut()
                .for_each(|lanes| drop(lanes.remove(&grant.lane)));
        }
    }

    /// Asks for the next tasks, each once.
    pub async fn next(&self, core: &Core, open: &OpenLanes, n: usize) -> Option<Vec<TaskId>> {
        let call = async { self.queue.next(open, n).await };
        let named = self.ask(core, "next", call).await?;
        let mut seen = HashSet::new();
        let distinct = named.into_iter().filter(|task| seen.insert(*task));
        Some(distinct.take(BATCH_MAX).collect())
    }

    /// The lanes of which it is told this time.
    pub fn lanes_to_tell(&self, open: &OpenLanes) -> Vec<LaneId> {
        let lanes = open.lanes();
        let mut state = self.state();
        let first = state.told % lanes.len().max(1);
        state.told = state.told.wrapping_add(LANES_TOLD);
        let lanes = lanes[first..].iter().chain(&lanes[..first]);
        lanes.take(LANES_TOLD).map(|lane| lane.lane).collect()
    }
}

/// A lane with this task as its first one.
pub(super) fn view(offer: &Offer) -> LaneView {
    LaneView {
        lane: offer.lane,
        group: offer.group.clone(),
        user: offer.user.clone(),
        work: offer.work,
        rank: offer.rank,
        since: offer.since,
    }
}
