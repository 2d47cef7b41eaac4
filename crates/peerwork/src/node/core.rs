//! What all parts of a node share: the store, the lease, the runs, the writers.

use super::chooser::Chooser;
use super::eager::Idle;
use super::external::Externals;
use super::lease::Lease;
use super::limits::{Limits, Names};
use super::line::Slots;
use super::registry::Registry;
use super::trial::Court;
use crate::batch::{Batcher, Room};
use crate::client::{Client, Inner};
use crate::run::{COUNT_PAGE, Control, SAVE_AGAIN};
use crate::{Error, Handler, Reason, SaveError, Stop, TaskError, TaskKind};
use futures_util::FutureExt;
use peerwork_core::crowd::{self, Restraint};
use peerwork_core::{BATCH_MAX, Mono, Name, Rules, RunId, State, TaskId, Work};
use peerwork_store::{Claimed, End, Ended, Filter, Hint, Save, Saved, Store, TaskRecord};
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The state of one node.
pub(crate) struct Core {
    pub store: Arc<dyn Store>,
    pub client: Arc<Inner>,
    pub registry: Registry,
    pub chooser: Chooser,
    pub lease: Lease,
    pub limits: Limits,
    pub idle: Idle,
    pub externals: Externals,
    pub runs: Mutex<BTreeMap<TaskId, Held>>,
    /// The claims in flight, and those whose runs are being started: their tasks are held, and not in `runs` yet.
    pub claiming: Mutex<Vec<RunId>>,
    pub run_slots: Slots,
    pub cleanup_slots: Slots,
    pub saver: Batcher<Save, Saved>,
    pub ender: Batcher<End, Ended>,
    /// Wakes the claimer: a credit came back.
    pub credited: Notify,
    /// Wakes the upkeep: somebody may want a run to stop.
    pub look: Notify,
    /// Set when the node drains: nothing is claimed any more.
    pub draining: CancellationToken,
    /// Set when the node has ended: its loops end.
    pub ended: CancellationToken,
    /// Everything the node has spawned, on the runtime on which it was started.
    pub tasks: TaskTracker,
    pub runtime: Handle,
    /// Where suspects are tried.
    pub court: Court,
    /// When the runtime last ran anything, in microseconds of this machine's clock.
    pub ticked: AtomicU64,
    /// How many nodes there are, as far as this one knows, or 0: see [`crowd`].
    pub crowd: AtomicU64,
    /// Set when the database has lost history: every run is to be verified.
    pub doubted: AtomicBool,
    /// Whether runs whose kind leaves it to the database go on without a lease.
    pub is_embedded: bool,
    pub count: Count,
    /// Connections for runs' own transactions, once one of them has asked for it.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub committer: std::sync::OnceLock<peerwork_store::Committer>,
}

/// What the node has done, for its report.
#[derive(Default)]
pub(crate) struct Count {
    pub handed_over: AtomicU64,
    pub ended: AtomicU64,
}

/// A task that this node holds.
pub(crate) struct Held {
    pub run: RunId,
    pub control: Arc<Control>,
    /// Whose it is; none of a cleanup.
    pub names: Option<Names>,
}

impl Core {
    /// Starts a part of the node.
    pub fn spawn<F>(&self, part: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        // Whoever hands a task in may do so from another runtime, which ends before this one.
        self.tasks
            .spawn_on(self.client.env.contain(part), &self.runtime)
    }

    /// Starts a part without which the node must not go on: a panic in it ends the node.
    pub fn spawn_duty(
        self: &Arc<Self>,
        name: &'static str,
        duty: impl Future<Output = ()> + Send + 'static,
    ) {
        let core = self.clone();
        self.spawn(async move { core.fulfil(name, duty).await });
    }

    /// Does a duty to its end. If it panics, so does the node: half alive it would keep its tasks from its peers.
    pub async fn fulfil(&self, name: &'static str, duty: impl Future<Output = ()>) {
        if AssertUnwindSafe(duty).catch_unwind().await.is_err() {
            tracing::error!(node = %self.lease.node(), duty = name, "panicked; this node ends, and its peers take its tasks over");
            self.fall();
        }
    }

    /// Ends the node as a crash would: it beats no more, its handlers are dropped, and nothing is recorded.
    pub fn fall(&self) {
        self.draining.cancel();
        self.ended.cancel();
        self.kill_all(Reason::LeaseLost);
    }

    /// A client of this node.
    pub fn client(&self) -> Client {
        Client::over(self.client.clone())
    }

    pub fn slots(&self, work: Work) -> &Slots {
        match work {
            Work::Run => &self.run_slots,
            Work::Cleanup => &self.cleanup_slots,
        }
    }

    /// Tasks that may be claimed now.
    pub fn credit(&self, work: Work) -> usize {
        let mut credits = self.slots(work).credits();
        credits.roll(self.client.env.now());
        credits.free()
    }

    /// Tasks that may be claimed now of what is never read ahead.
    pub fn free_slots(&self, work: Work) -> usize {
        self.slots(work).credits().free_slots()
    }

    /// Waits until a save is durable, as long as the lease lasts.
    pub async fn save(&self, save: Save, control: &Control) -> Result<Saved, SaveError> {
        loop {
            if control.reason() == Some(Reason::LeaseLost) {
                return Err(Stop {
                    reason: Reason::LeaseLost,
                }
                .into());
            }
            match self.saver.submit(save.clone()).await {
                Ok(saved) => return Ok(saved),
                Err(error) if error.is_transient() => {
                    tracing::debug!(task = %save.id, %error, "checkpoint not saved yet");
                    tokio::time::sleep(SAVE_AGAIN).await;
                }
                Err(error) => return Err(SaveError::Invalid(error.to_string())),
            }
        }
    }

    /// Records the end of a run, however long the database is away, unless the node ends before.
    pub async fn end(&self, end: End) -> Option<Ended> {
        loop {
            match self.ender.submit(end.clone()).await {
                Ok(ended) => return Some(ended),
                Err(error) if error.is_transient() => {
                    tracing::debug!(task = %end.id, %error, "end not recorded yet");
                    tokio::select! {
                        biased;
                        () = self.ended.cancelled() => return None,
                        () = tokio::time::sleep(SAVE_AGAIN) => {}
                    }
                }
                Err(error) => {
                    // The row cannot take this end, its output say: the attempt fails with that as its reason.
                    let failed = failed_to_record(&end, &error);
                    tracing::warn!(task = %end.id, %error, "end cannot be recorded");
                    return self.ender.submit(failed).await.ok();
                }
            }
        }
    }

    /// Has the end of a run recorded as [`end`](Self::end) does it; `then` is told what came of it.
    pub fn record_end(
        self: &Arc<Self>,
        room: Room<'_, End, Ended>,
        end: End,
        then: impl FnOnce(Option<Ended>) + Send + 'static,
    ) {
        let core = self.clone();
        room.submit(end, move |end, answer| match answer {
            Ok(ended) => then(Some(ended)),
            Err(error) => {
                tracing::debug!(task = %end.id, %error, "end not recorded yet");
                let slowly = core.clone();
                core.spawn(async move {
                    tokio::time::sleep(SAVE_AGAIN).await;
                    then(slowly.end(end).await);
                });
            }
        });
    }

    /// The rules of a kind, as its handler states them.
    pub fn rules(&self, kind: &Name) -> Rules {
        let entry = self.registry.get(kind);
        entry.map(|entry| entry.rules.clone()).unwrap_or_default()
    }

    /// Connections for a run's own transaction.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) in memory, where there are no transactions.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub fn committer(&self) -> Result<peerwork_store::Committer, Error> {
        if let Some(committer) = self.committer.get() {
            return Ok(committer.clone());
        }
        let Some(store) = self.client.database.sql_store()? else {
            return Err(Error::invalid(
                "a store in memory has no transactions to commit; use save, or a database in a temporary SQLite file",
            ));
        };
        let committer = self.committer.get_or_init(|| store.committer());
        Ok(committer.clone())
    }

    /// Tells the run of a task to stop, if this node still holds it.
    pub fn tell(&self, id: TaskId, run: RunId, reason: Reason) {
        let runs = self.runs.lock().expect("no panic under the lock");
        if let Some(held) = runs.get(&id).filter(|held| held.run == run) {
            held.control.tell(reason);
        }
    }

    /// Whether the node's runtime has run nothing for a whole lease.
    pub fn is_wedged(&self) -> bool {
        let ticked = Mono(self.ticked.load(Ordering::Relaxed));
        self.lease.times.is_wedged(ticked, self.client.env.now())
    }

    /// Takes note of how many nodes there are.
    pub fn is_among(&self, nodes: u64) {
        self.crowd.store(nodes, Ordering::Relaxed);
        self.client.hub.space_out(crowd::pause_ms(nodes));
    }

    /// A random part of the time for which this node leaves to others what concerns all, in milliseconds.
    pub fn some_delay_ms(&self) -> u64 {
        let longest = crowd::hold_back_ms(self.crowd.load(Ordering::Relaxed));
        longest * u64::from(self.client.env.random()) / u64::from(u32::MAX)
    }

    /// Notes in `restraint` that a wake-up was followed just now.
    pub fn followed(&self, restraint: &mut Restraint, led_to_something: bool) {
        let nodes = self.crowd.load(Ordering::Relaxed);
        let env = &self.client.env;
        restraint.followed(env.now(), led_to_something, nodes, env.random());
    }

    /// Has every run verified at the next look, which is at once.
    pub fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
        self.look.notify_one();
    }

    /// Drops the futures of the runs that must not outlive the lease; answers how many.
    pub fn fence(&self) -> usize {
        let runs = self.runs.lock().expect("no panic under the lock");
        let fenced = runs.values().filter(|held| !held.control.runs_on);
        fenced
            .inspect(|held| held.control.kill(Reason::LeaseLost))
            .count()
    }

    /// Drops the futures of all runs: the node may not believe any more that it holds them.
    pub fn kill_all(&self, reason: Reason) {
        for held in self.runs.lock().expect("no panic under the lock").values() {
            held.control.kill(reason);
        }
    }

    /// Tells all runs to stop.
    pub fn tell_all(&self, reason: Reason) {
        for held in self.runs.lock().expect("no panic under the lock").values() {
            held.control.tell(reason);
        }
    }

    /// Whether a claim is in flight, or its runs are being started.
    pub fn is_claiming(&self) -> bool {
        !self.claiming().is_empty()
    }

    /// The runs of such claims.
    pub fn claiming(&self) -> MutexGuard<'_, Vec<RunId>> {
        self.claiming.lock().expect("no panic under the lock")
    }

    /// How many tasks the node holds.
    pub fn held(&self) -> usize {
        self.runs.lock().expect("no panic under the lock").len()
    }

    /// A claim begins.
    pub fn claims(&self, run: RunId) {
        self.claiming().push(run);
    }

    /// A claim has failed, or its runs are started.
    pub fn claim_is_over(&self, run: RunId) {
        self.claiming().retain(|claiming| *claiming != run);
    }

    /// Takes note of a claimed task. False if the future of an earlier run of it is still here; one whose end is only
    /// being recorded is in nobody's way.
    pub fn hold(&self, claimed: &Claimed, control: Arc<Control>) -> bool {
        let mut runs = self.runs.lock().expect("no panic under the lock");
        let held = Held {
            run: claimed.run,
            control,
            names: Names::of(claimed),
        };
        if runs
            .get(&claimed.id)
            .is_some_and(|earlier| !earlier.control.is_over())
        {
            return false;
        }
        runs.insert(claimed.id, held);
        true
    }

    /// Forgets a run whose end is acknowledged, and takes its credit back: of one that had been started, for another
    /// like it.
    pub fn release(&self, id: TaskId, run: RunId, work: Work, started: bool) {
        let mut runs = self.runs.lock().expect("no panic under the lock");
        // The task may have been claimed again meanwhile.
        let is_it = runs.get(&id).is_some_and(|held| held.run == run);
        let held = is_it.then(|| runs.remove(&id)).flatten();
        drop(runs);
        if let Some(held) = held {
            self.makes_room(&held);
        }
        let now = self.client.env.now();
        let mut credits = self.slots(work).credits();
        if started {
            credits.ended(1, now);
        } else {
            credits.given_back(1, now);
        }
        drop(credits);
        self.credited.notify_one();
    }

    /// Wakes the claimers of this process: something may be claimable.
    pub fn claimable_anywhere(&self) {
        self.client.hub.tell_here(Hint {
            ready: true,
            ..Hint::default()
        });
    }

    /// Tells everyone that statuses have changed, and whether something became claimable.
    pub fn announce(&self, ready: bool) {
        self.client.hub.tell(Hint {
            ready,
            wish: false,
            change: true,
        });
    }

    /// The tasks with these ids, in order.
    pub async fn records(&self, ids: &[TaskId]) -> Result<Vec<Option<TaskRecord>>, Error> {
        let mut all = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH_MAX) {
            all.extend(self.store.get(ids.to_vec()).await?);
        }
        Ok(all)
    }

    /// How many tasks a filter means.
    pub async fn count(&self, filter: Filter) -> Result<u32, Error> {
        let (mut count, mut after) = (0usize, None);
        loop {
            let page = self.store.list(filter.clone(), after, COUNT_PAGE).await?;
            count += page.tasks.len();
            after = page.next;
            if after.is_none() {
                return Ok(u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
    }

    /// The results of tasks that are over.
    pub async fn results<C: Handler>(
        &self,
        ids: &[TaskId],
        records: &[Option<TaskRecord>],
    ) -> Result<Vec<Result<C::Output, Error>>, TaskError> {
        let mut results = Vec::with_capacity(ids.len());
        for (ids, records) in ids.chunks(BATCH_MAX).zip(records.chunks(BATCH_MAX)) {
            let outputs = self.store.outputs(ids.to_vec()).await?;
            for ((id, record), output) in ids.iter().zip(records).zip(outputs) {
                results.push(match (record.as_ref().map(TaskRecord::state), output) {
                    (Some(State::Finished), Some(output)) => {
                        <C as TaskKind>::decode_output(&output)
                    }
                    (Some(State::Failed), _) => {
                        let why = record.as_ref().and_then(|record| record.error.as_deref());
                        Err(Error::task_failed(*id, why))
                    }
                    _ => Err(Error::gone(*id)),
                });
            }
        }
        Ok(results)
    }

    pub fn count_end(&self, handed_over: bool) {
        let counter = if handed_over {
            &self.count.handed_over
        } else {
            &self.count.ended
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The same end as a failure, for an end that the database does not take.
fn failed_to_record(end: &End, error: &peerwork_store::Error) -> End {
    End {
        event: peerwork_core::Event::Err {
            permanent: true,
            retry_after_ms: None,
            jitter: 0,
            forget: false,
        },
        output: None,
        error: Some(format!("its end could not be recorded: {error}")),
        ..end.clone()
    }
}
