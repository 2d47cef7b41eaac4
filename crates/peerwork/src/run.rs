//! What a handler holds while it runs: its input, its checkpoint, and the way to save and to hear of a stop.

use crate::client::Client;
use crate::node::Core;
use crate::task_error::Waits;
use crate::{Error, Handler, Reason, SaveError, Stop, TaskError, payload};
use peerwork_core::{PAGE_MAX, RunId, Status, TaskId};
use peerwork_store::{Claimed, Filter, Progress, Save, Saved};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// One run of a task.
///
/// After the run has lost its task (its node was declared dead, say), every call answers
/// [`Reason::LeaseLost`] and nothing that it writes is accepted.
pub struct Run<H: Handler> {
    pub(crate) core: Arc<Core>,
    pub(crate) control: Arc<Control>,
    pub(crate) claimed: Claimed,
    pub(crate) input: H::Input,
    pub(crate) handler: PhantomData<fn() -> H>,
}

/// How a run hears of a stop, and how its node hears of its progress.
pub(crate) struct Control {
    /// When the future must be dropped now.
    pub killed: Killed,
    /// Held while a transaction of the run is under way.
    pub committed: tokio::sync::Mutex<Committed>,
    /// Whether it runs on while its node cannot renew its lease: see [`OnUnreachable`](peerwork_core::OnUnreachable).
    pub runs_on: bool,
    /// Told of each checkpoint that is durable.
    pub saved: Notify,
    /// Told when the reason for which it is to stop is another one.
    told_anew: Notify,
    state: Mutex<ControlState>,
}

/// Whether a run's future must be dropped. As a token would be, without one for each task.
#[derive(Default)]
pub(crate) struct Killed {
    is_so: AtomicBool,
    told: Notify,
}

impl Killed {
    pub fn kill(&self) {
        self.is_so.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    pub fn is_so(&self) -> bool {
        self.is_so.load(Ordering::Acquire)
    }

    /// Returns once it is so.
    ///
    /// Cancel safe.
    pub async fn comes(&self) {
        // Before the look: whoever is told in between is woken all the same.
        let told = self.told.notified();
        if !self.is_so() {
            told.await;
        }
    }
}

/// What a run's own transactions have done.
#[derive(Default)]
pub(crate) struct Committed {
    /// How many were committed.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres", feature = "mysql")),
        expect(dead_code)
    )]
    pub commits: u64,
    /// What the task became, if one of them has ended the run.
    pub ended: Option<Status>,
}

#[derive(Default)]
struct ControlState {
    /// Cancelled when the run is told to stop; a new one takes its place when that is withdrawn. Made for whoever asks.
    told: Option<CancellationToken>,
    reason: Option<Reason>,
    /// Who keeps the line in which it waits for a slot.
    stirs: Option<Arc<Notify>>,
    progress: Option<Progress>,
    /// Whether `progress` has not been written yet.
    unwritten: bool,
    /// Whether it has shown progress since somebody last asked.
    moved: bool,
    /// Whether it was told to stop, and that was taken back, since it saved last: its handler may be on its way out all the same.
    taken_back: bool,
    /// Whether the handler's future has ended.
    over: bool,
}

impl ControlState {
    fn tell(&self) {
        if let Some(told) = &self.told {
            told.cancel();
        }
    }
}

impl Control {
    pub fn new(runs_on: bool) -> Self {
        Self {
            killed: Killed::default(),
            committed: tokio::sync::Mutex::default(),
            runs_on,
            saved: Notify::new(),
            told_anew: Notify::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, ControlState> {
        self.state.lock().expect("no panic under the lock")
    }

    /// Tells the run to stop. A later reason replaces an earlier one, except that a lost lease stays one.
    pub fn tell(&self, reason: Reason) {
        let mut state = self.state();
        if state.reason != Some(Reason::LeaseLost) {
            state.reason = Some(reason);
        }
        state.tell();
        if let Some(keeper) = &state.stirs {
            keeper.notify_one();
        }
        self.told_anew.notify_one();
    }

    /// From now on whoever keeps its line hears of it when it is told to stop, or was before.
    pub fn stirs(&self, keeper: &Arc<Notify>) {
        let mut state = self.state();
        if state.reason.is_some() {
            keeper.notify_one();
        }
        state.stirs = Some(keeper.clone());
    }

    /// It does not wait in line any more.
    pub fn begins(&self) {
        self.state().stirs = None;
    }

    /// Tells the run to stop, and has its future dropped.
    pub fn kill(&self, reason: Reason) {
        self.tell(reason);
        self.killed.kill();
    }

    /// The handler's future has ended: so does whatever it has left waiting for a stop.
    pub fn over(&self) {
        let mut state = self.state();
        state.over = true;
        state.tell();
    }

    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// Takes a pause back that the run did not heed: it runs on.
    pub fn withdraw_pause(&self) {
        self.withdraw(Reason::Pause);
    }

    /// Takes back that the run is to stop for this reason.
    pub fn withdraw(&self, reason: Reason) {
        let mut state = self.state();
        if state.reason == Some(reason) {
            state.reason = None;
            state.told = None;
            state.taken_back = true;
        }
    }

    /// Whether an error of its handler is the answer to what was taken back meanwhile.
    pub fn was_taken_back(&self) -> bool {
        self.state().taken_back
    }

    /// Waits until it is told to stop.
    pub async fn stopped(&self) {
        self.token().cancelled().await;
    }

    /// Waits until it is told to stop for another reason than this one.
    pub async fn told_more_than(&self, known: Option<Reason>) {
        while self.reason() == known {
            self.told_anew.notified().await;
        }
    }

    pub fn token(&self) -> CancellationToken {
        let mut state = self.state();
        let is_told = state.reason.is_some() || state.over;
        let token = state.told.get_or_insert_default();
        if is_told {
            token.cancel();
        }
        token.clone()
    }

    pub fn reason(&self) -> Option<Reason> {
        self.state().reason
    }

    fn check(&self) -> Result<(), Stop> {
        self.reason().map_or(Ok(()), |reason| Err(Stop { reason }))
    }

    fn set_progress(&self, progress: Progress) {
        let mut state = self.state();
        state.unwritten |= state.progress != Some(progress);
        state.moved |= state.progress != Some(progress);
        state.progress = Some(progress);
    }

    /// A checkpoint is durable.
    pub fn has_saved(&self) {
        let mut state = self.state();
        state.moved = true;
        state.taken_back = false;
        drop(state);
        self.saved.notify_one();
    }

    /// Whether it has saved or reported progress since this was last asked.
    pub fn has_moved(&self) -> bool {
        std::mem::take(&mut self.state().moved)
    }

    /// The progress, if it has not been written yet.
    pub fn take_progress(&self) -> Option<Progress> {
        let mut state = self.state();
        std::mem::take(&mut state.unwritten)
            .then_some(state.progress)
            .flatten()
    }
}

/// The reason for which a held task in this status is to stop.
pub(crate) fn wished(status: Status) -> Option<Reason> {
    match status {
        Status::Pausing => Some(Reason::Pause),
        Status::DeletingRun => Some(Reason::Delete),
        _ => None,
    }
}

impl<H: Handler> Run<H> {
    /// What the task was created with.
    pub fn input(&self) -> &H::Input {
        &self.input
    }

    /// What was saved last, by this run or an earlier one, on whatever node it was.
    pub fn checkpoint(&self) -> Option<H::Checkpoint> {
        // It was decoded once before the run began, so that one which does not decode fails there with its reason.
        self.claimed
            .checkpoint
            .as_deref()
            .and_then(|bytes| payload::decode(H::KIND, "checkpoint", bytes).ok())
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.claimed.id
    }

    /// This run's id: with the task's id it is the fence of everything that it writes.
    pub fn run_id(&self) -> RunId {
        self.claimed.run
    }

    /// Whose task it is.
    pub fn user(&self) -> &str {
        self.claimed.user.as_str()
    }

    /// The group it was in when it was claimed.
    pub fn group(&self) -> &str {
        self.claimed.group.as_str()
    }

    /// The number of this attempt, from 1; a resumed run is an attempt too.
    pub fn attempt(&self) -> u32 {
        self.claimed.task.attempt
    }

    /// Failures so far, since the task was last started anew.
    pub fn failures(&self) -> u32 {
        self.claimed.task.failures
    }

    /// A client of the node that runs this.
    pub fn client(&self) -> Client {
        self.core.client()
    }

    /// Saves a checkpoint, with the progress. Durable when it returns, also when it returns
    /// [`Stop`] for any reason but a lost lease: that is the place to end, by `?`.
    ///
    /// Waits for the database as long as the node's lease lasts. Dropping the future abandons the answer: the
    /// checkpoint may be saved or not.
    ///
    /// # Errors
    /// [`SaveError::Stop`] once the run was told to stop; [`SaveError::Invalid`] if the checkpoint cannot be stored.
    pub async fn save(&mut self, checkpoint: &H::Checkpoint) -> Result<(), SaveError> {
        let bytes = payload::encode(H::KIND, "checkpoint", checkpoint)
            .map_err(|error| SaveError::Invalid(error.to_string()))?;
        let progress = self.control.take_progress();
        let save = Save {
            id: self.id(),
            run: self.claimed.run,
            checkpoint: Some(bytes.clone()),
            progress,
        };
        match self.core.save(save, &self.control).await? {
            Saved::Kept(status) => {
                self.claimed.checkpoint = Some(bytes);
                self.control.has_saved();
                if let Some(reason) = wished(status) {
                    self.control.tell(reason);
                }
            }
            Saved::Lost => self.control.tell(Reason::LeaseLost),
        }
        Ok(self.control.check()?)
    }

    /// Says how far it is: `done` of `total` units. Returns at once; the node writes it with the next save or within a
    /// second.
    pub fn progress(&self, done: u64, total: u64) {
        self.control.set_progress(Progress { done, total });
    }

    /// Waits until the run is told to stop.
    ///
    /// Cancel safe.
    pub async fn stopping(&self) -> Stop {
        self.control.stopped().await;
        Stop {
            reason: self.control.reason().unwrap_or(Reason::Drain),
        }
    }

    /// Whether the run was told to stop, and why.
    ///
    /// # Errors
    /// [`Stop`] once it was.
    pub fn check(&self) -> Result<(), Stop> {
        self.control.check()
    }

    /// The signal as a token, for code that takes one. Also cancelled when the run is over, so that nothing waits for it
    /// for ever. Cancelling it yourself has no effect on the task.
    pub fn token(&self) -> CancellationToken {
        self.control.token().child_token()
    }

    /// Leaves the slot until `at`: return it with `Err(run.sleep_until(at))?` or `return Err(..)`. The task then waits
    /// with its checkpoint, and runs again from it.
    pub fn sleep_until(&self, at: SystemTime) -> TaskError {
        TaskError(crate::task_error::Cause::Waits(Waits {
            children: 0,
            until: Some(at),
        }))
    }

    /// Creates the children `inputs` under `label`, and returns their results once all of them are over; until then
    /// the task leaves its slot, by `?`, and comes here again later.
    ///
    /// A child's id follows from the task's, the label and the child's position: running this again, also after a
    /// crash, creates nothing twice, so `inputs` must be the same each time. Children have the task's user and
    /// group. Give each call of one task its own label.
    ///
    /// # Errors
    /// A [`TaskError`] that makes the task wait, or a failure if the children cannot be created or read.
    pub async fn children<C: Handler>(
        &mut self,
        label: &str,
        inputs: Vec<C::Input>,
    ) -> Result<Vec<Result<C::Output, Error>>, TaskError> {
        let (id, client) = (self.id(), self.client());
        let ids: Vec<_> = (0..inputs.len())
            .map(|n| id.child(&format!("{label}/{n}")))
            .collect();
        let mut records = self.core.records(&ids).await?;
        if records.iter().any(Option::is_none) {
            let mut drafts = Vec::with_capacity(inputs.len());
            for (n, input) in inputs.into_iter().enumerate() {
                let draft = C::task(input).user(self.user()).group(self.group());
                drafts.push(
                    client
                        .resolve(draft.child_of(id, &format!("{label}/{n}")))
                        .await?,
                );
            }
            client.create_resolved(drafts).await?;
            records = self.core.records(&ids).await?;
        }
        if records
            .iter()
            .flatten()
            .any(|record| !record.state().is_final())
        {
            let children = self
                .core
                .count(Filter {
                    parent: Some(id),
                    ..Filter::scope(None)
                })
                .await?;
            return Err(TaskError(crate::task_error::Cause::Waits(Waits {
                children,
                until: None,
            })));
        }
        self.core.results::<C>(&ids, &records).await
    }
}

/// How long a save waits before it asks the database again.
pub(crate) const SAVE_AGAIN: Duration = Duration::from_millis(100);

/// Tasks that one page of a count reads.
pub(crate) const COUNT_PAGE: usize = PAGE_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_was_taken_back_is_remembered_until_the_next_checkpoint() {
        let control = Control::new(false);
        assert!(!control.was_taken_back());
        control.tell(Reason::Gate);
        control.withdraw(Reason::Pause);
        assert!(!control.was_taken_back(), "that was another reason");
        control.withdraw(Reason::Gate);
        assert!(control.was_taken_back() && control.reason().is_none());
        control.has_saved();
        assert!(!control.was_taken_back(), "it has gone on");
    }
}
