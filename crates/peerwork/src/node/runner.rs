//! Runs: the handler under the guard, then the end for whoever records it, then the next in line for the slot.

use super::Core;
use super::line::{self, Slot, Upcoming};
use super::registry::{Entry, Outcome};
use super::trial::{self, Trial};
use crate::Reason;
use crate::batch::Room;
use crate::run::Control;
use crate::task_error::Cause;
use peerwork_core::{Event, LaneId, Name, NodeId, OnPauseDeadline, Rules, Status, Timestamp, Work};
use peerwork_store::{Claimed, End, Ended};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// For how long runs that end at once follow each other before others of the runtime have their turn.
const BREATH: Duration = Duration::from_micros(100);

/// How a handler's future ended.
enum Ending {
    /// By itself.
    Returned(Outcome),
    /// It was dropped: by its deadline, or because the lease is over.
    Dropped(Reason),
    /// It never began: no slot (or no trial, for a suspect) was free in time, and a peer may have one.
    NotStarted,
}

/// Runs a claimed task in a slot, and then those that wait for one.
pub(super) async fn work(
    core: Arc<Core>,
    mut upcoming: Upcoming,
    mut slot: Slot,
    mut trial: Option<Trial>,
) {
    let mut since = Instant::now();
    loop {
        upcoming.control.begins();
        let (mut over, claimed, node) = Over::of(upcoming);
        over.ending = over.execute(&core, claimed, node, trial.take()).await;
        if let Some(over) = over.record_at_once(&core) {
            // The slot does not wait for that.
            if let Some((next, slot)) = slot.next() {
                line::run(&core, next, slot);
            }
            return over.record(&core).await;
        }
        (upcoming, slot) = match slot.next() {
            Some(next) => next,
            None => return,
        };
        if since.elapsed() > BREATH {
            tokio::task::yield_now().await;
            since = Instant::now();
        }
    }
}

/// Gives a task back that waited for its start, or records why it does not come to that.
pub(super) async fn leave(core: Arc<Core>, upcoming: Upcoming) {
    let (mut over, ..) = Over::of(upcoming);
    if let Some(reason) = over.control.reason() {
        over.ending = Ending::Dropped(reason);
    }
    over.record(&core).await;
}

/// Waits for what a suspect needs before it begins, its trial and then a slot, and runs it. If they do not come in time, it goes back.
pub(super) async fn try_suspect(core: Arc<Core>, upcoming: Upcoming) {
    let control = upcoming.control.clone();
    let admitted = tokio::select! {
        biased;
        () = control.stopped() => None,
        admitted = admit(&core, &upcoming.claimed) => admitted,
    };
    match admitted {
        Some((slot, trial)) => work(core, upcoming, slot, Some(trial)).await,
        None => leave(core, upcoming).await,
    }
}

async fn admit(core: &Arc<Core>, claimed: &Claimed) -> Option<(Slot, Trial)> {
    // Not in the line for a slot meanwhile: it would keep one that it cannot use.
    let trial = Trial::comes(core, claimed.task.crashes).await?;
    let slot = Slot::comes(core, claimed.task.status.work()).await?;
    Trial::begin(core, claimed).await.then_some((slot, trial))
}

/// A run that is over, and its task.
struct Over {
    facts: Facts,
    control: Arc<Control>,
    ending: Ending,
}

impl Over {
    /// As if it were over before it has begun.
    fn of(upcoming: Upcoming) -> (Self, Claimed, NodeId) {
        let Upcoming {
            claimed,
            control,
            entry,
            node,
        } = upcoming;
        let over = Self {
            facts: Facts::of(entry, &claimed),
            control,
            ending: Ending::NotStarted,
        };
        (over, claimed, node)
    }

    fn started(&self) -> bool {
        !matches!(self.ending, Ending::NotStarted)
    }

    /// Runs the handler's future until it ends or must be dropped.
    async fn execute(
        &self,
        core: &Arc<Core>,
        claimed: Claimed,
        node: NodeId,
        trial: Option<Trial>,
    ) -> Ending {
        let Self { facts, control, .. } = self;
        if let Some(reason) = control.reason() {
            return Ending::Dropped(reason);
        }
        let Some(entry) = &facts.entry else {
            // A claim asks for registered kinds only; two names with one key would come here.
            return Ending::Dropped(Reason::Drain);
        };
        let work = guarded(
            core,
            control,
            node,
            entry.start(core.clone(), control.clone(), claimed),
        );
        // The handler first: whatever ends at its first poll needs nothing of the rest. It is not polled once it was killed.
        let ending = tokio::select! {
            biased;
            ending = work => ending,
            () = control.killed.comes() => Ending::Dropped(control.reason().unwrap_or(Reason::LeaseLost)),
            () = past_deadline(core, control, facts) => Ending::Dropped(Reason::Deadline),
            () = silent(control, facts) => Ending::Dropped(Reason::Timeout),
            () = trial::last(trial, control) => unreachable!("it never returns"),
        };
        if matches!(ending, Ending::Dropped(_)) {
            // Whatever of it is still under way.
            control.killed.kill();
        }
        ending
    }

    /// Hands its end in to be recorded, if nobody has to wait for that.
    fn record_at_once(self, core: &Arc<Core>) -> Option<Self> {
        let committed = self.control.committed.try_lock();
        let is_left_to_us = committed.is_ok_and(|committed| committed.ended.is_none());
        match core.ender.try_room() {
            Some(room) if is_left_to_us && !core.ended.is_cancelled() => {
                self.hand_in(core, room);
                None
            }
            _ => Some(self),
        }
    }

    /// Hands its end in to be recorded, when nothing else of it is under way.
    async fn record(self, core: &Arc<Core>) {
        if let Some(status) = ended_by_commit(core, &self.control).await {
            self.control.over();
            let started = self.started();
            let Self { facts, ending, .. } = self;
            if !matches!(ending, Ending::Returned(Ok(_))) {
                tracing::warn!(task = %facts.id, kind = %facts.kind, "the run was ended by its own transaction before; how it ended otherwise is not recorded");
            }
            core.release(facts.id, facts.run, facts.work, started);
            core.chooser.let_go(facts.lane);
            conclude(core, Ended::Recorded(status), &facts, started, false);
            return;
        }
        tokio::select! {
            biased;
            // A node that was dropped has crashed: its peers find out by themselves.
            () = core.ended.cancelled() => {}
            room = core.ender.room() => if let Some(room) = room {
                self.hand_in(core, room);
            }
        }
    }

    /// Hands its end in, and leaves the rest to whoever records it.
    fn hand_in(self, core: &Arc<Core>, room: Room<'_, End, Ended>) {
        let started = self.started();
        let Self {
            facts,
            control,
            ending,
        } = self;
        let end = facts.end(core, &control, ending);
        control.over();
        let stopped = matches!(end.event, Event::Stopped);
        let recorder = core.clone();
        core.record_end(room, end, move |ended| match ended {
            Some(Ended::Recorded(status)) if status.is_held() => {
                // Its pause was taken back as it was forced, say: its future is gone, and it goes on from its checkpoint.
                let core = recorder.clone();
                recorder.spawn(async move {
                    let ended = core.end(facts.as_end(Event::Stopped)).await;
                    let_go(&core, ended, &facts, started, true);
                });
            }
            ended => let_go(&recorder, ended, &facts, started, stopped),
        });
    }
}

/// Waits until no transaction of the run is under way. What the task became, if one of them has ended the run.
async fn ended_by_commit(core: &Core, control: &Control) -> Option<Status> {
    tokio::select! {
        biased;
        committed = control.committed.lock() => committed.ended,
        () = core.ended.cancelled() => None,
    }
}

/// Gives a task back that was claimed and not started.
pub(super) async fn give_back(core: Arc<Core>, entry: Option<Arc<Entry>>, claimed: Claimed) {
    let facts = Facts::of(entry, &claimed);
    let end = facts.as_end(Event::Stopped);
    core.end(end).await;
    let now = core.client.env.now();
    core.slots(facts.work).credits().ended(1, now);
    core.chooser.let_go(facts.lane);
}

/// What is still needed of a task when its run has ended.
struct Facts {
    id: peerwork_core::TaskId,
    run: peerwork_core::RunId,
    work: Work,
    /// Where it was claimed.
    lane: LaneId,
    kind: Name,
    /// None: the node does not have the kind.
    entry: Option<Arc<Entry>>,
    options: peerwork_store::Options,
    is_child: bool,
}

impl Facts {
    fn of(entry: Option<Arc<Entry>>, claimed: &Claimed) -> Self {
        Self {
            id: claimed.id,
            run: claimed.run,
            work: claimed.task.status.work(),
            lane: claimed.lane,
            kind: claimed.kind.clone(),
            entry,
            options: claimed.options,
            is_child: claimed.parent.is_some(),
        }
    }

    /// The choices of its kind.
    fn rules(&self) -> Rules {
        let entry = self.entry.as_ref();
        entry.map(|entry| entry.rules.clone()).unwrap_or_default()
    }

    fn as_end(&self, event: Event) -> End {
        End {
            id: self.id,
            run: self.run,
            event,
            rules: self.rules(),
            output: None,
            error: None,
            awaited_children: 0,
        }
    }

    /// What is recorded of an ending.
    fn end(&self, core: &Core, control: &Control, ending: Ending) -> End {
        let outcome = match ending {
            Ending::Dropped(Reason::Deadline) => return self.as_end(Event::Deadline),
            Ending::Dropped(Reason::Timeout) => return self.timed_out(core),
            Ending::Dropped(_) | Ending::NotStarted => return self.as_end(Event::Stopped),
            Ending::Returned(outcome) => outcome,
        };
        let cause = match outcome {
            Ok(output) => {
                let event = Event::Ok {
                    forget: self.options.forget_on_finish,
                };
                return End {
                    output,
                    ..self.as_end(event)
                };
            }
            Err(error) => error.0,
        };
        match cause {
            Cause::Waits(waits) => {
                let event = Event::Wait {
                    until: waits.until.map(Timestamp::from),
                };
                End {
                    awaited_children: waits.children,
                    ..self.as_end(event)
                }
            }
            _ if control.reason() == Some(Reason::Timeout) => self.timed_out(core),
            // Once it was told to stop, whatever error that led to is no failure.
            _ if control.reason().is_some() => self.as_end(Event::Stopped),
            // The gate was opened, or the pause refused, as it stopped.
            _ if control.was_taken_back() => self.as_end(Event::Stopped),
            Cause::Stopped(stop) => {
                self.failed(core, format!("{stop}, but nobody told it to"), false, None)
            }
            Cause::Failed {
                text,
                permanent,
                retry_after,
            } => self.failed(core, text, permanent, retry_after),
        }
    }

    fn timed_out(&self, core: &Core) -> End {
        let timeout_ms = self.rules().progress_timeout_ms.unwrap_or_default();
        let text = format!("no checkpoint and no progress for {timeout_ms} ms");
        self.failed(core, text, false, None)
    }

    fn failed(
        &self,
        core: &Core,
        text: String,
        permanent: bool,
        retry_after: Option<Duration>,
    ) -> End {
        let event = Event::Err {
            permanent,
            retry_after_ms: retry_after
                .map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            jitter: core.client.env.random(),
            forget: self.options.forget_on_failure,
        };
        End {
            error: Some(text),
            ..self.as_end(event)
        }
    }
}

/// Checks before each poll that the run was not killed, and the lease: past its deadline the future is not polled any more,
/// unless its kind runs on.
async fn guarded(
    core: &Core,
    control: &Control,
    node: NodeId,
    work: impl Future<Output = Outcome>,
) -> Ending {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        let is_over = if control.runs_on {
            // Not after a suspension either, whichever is polled first then: this or the pulse.
            core.lease.node() != node || core.is_wedged()
        } else {
            core.lease.is_fenced(node, core.client.env.now())
        };
        if is_over {
            return Poll::Ready(Ending::Dropped(Reason::LeaseLost));
        }
        if control.killed.is_so() {
            let reason = control.reason().unwrap_or(Reason::LeaseLost);
            return Poll::Ready(Ending::Dropped(reason));
        }
        work.as_mut().poll(context).map(Ending::Returned)
    })
    .await
}

/// Returns when a run has been silent for longer than its kind allows, and has not ended after it was told so.
async fn silent(control: &Control, facts: &Facts) {
    let rules = facts.rules();
    let Some(timeout_ms) = rules.progress_timeout_ms else {
        return std::future::pending().await;
    };
    loop {
        control.has_moved();
        tokio::time::sleep(Duration::from_millis(timeout_ms)).await;
        // Whoever was told to stop has another deadline.
        if !control.has_moved() && control.reason().is_none() {
            break;
        }
    }
    tracing::warn!(task = %facts.id, kind = %facts.kind, timeout_ms, "no progress in time; told to stop");
    control.tell(Reason::Timeout);
    tokio::time::sleep(Duration::from_millis(rules.pause_deadline_ms)).await
}

/// Returns when a run must be dropped, because it was told to stop and has had its kind's time to do so.
async fn past_deadline(core: &Core, control: &Control, facts: &Facts) {
    control.stopped().await;
    // Most runs are never told to: the rest is not kept in each of them.
    Box::pin(past_told_deadline(core, control, facts)).await;
}

async fn past_told_deadline(core: &Core, control: &Control, facts: &Facts) {
    let rules = facts.rules();
    loop {
        control.stopped().await;
        tokio::time::sleep(Duration::from_millis(rules.pause_deadline_ms)).await;
        let reason = control.reason();
        if reason == Some(Reason::Pause) {
            // The node is not told of a pause that was taken back, and of a deletion perhaps a little later.
            match standing(core, facts).await {
                Some(Status::Running) => {
                    control.withdraw_pause();
                    continue;
                }
                Some(Status::DeletingRun) => {
                    control.tell(Reason::Delete);
                    continue;
                }
                _ => {}
            }
        }
        match (reason, rules.on_pause_deadline) {
            (Some(Reason::Delete | Reason::LeaseLost), _)
            | (Some(Reason::Pause | Reason::Gate), OnPauseDeadline::Force) => return,
            (Some(Reason::Pause), OnPauseDeadline::Refuse) => {
                let ended = core.end(facts.as_end(Event::Deadline)).await;
                if ended != Some(Ended::Recorded(Status::Running)) {
                    // A deletion was faster, and the run is over: so must be its future.
                    return;
                }
                tracing::info!(task = %facts.id, kind = %facts.kind, "did not pause in time; the pause is withdrawn");
                control.withdraw_pause();
                core.announce(false);
            }
            // It may take as long as it likes, unless a deletion comes on top; a drain has a deadline of its own.
            _ => control.told_more_than(reason).await,
        }
    }
}

/// In which status the run holds its task, as far as the database answers.
async fn standing(core: &Core, facts: &Facts) -> Option<Status> {
    let standing = core.store.verify(vec![(facts.id, facts.run)]).await;
    standing.ok()?.into_iter().next()?
}

/// Forgets a run whose end is recorded, or never will be.
fn let_go(core: &Arc<Core>, ended: Option<Ended>, facts: &Facts, started: bool, stopped: bool) {
    core.release(facts.id, facts.run, facts.work, started);
    core.chooser.let_go(facts.lane);
    if let Some(ended) = ended {
        conclude(core, ended, facts, started, stopped);
    }
}

/// What an end that is recorded leads to. `stopped`: the run gave its task back.
fn conclude(core: &Arc<Core>, ended: Ended, facts: &Facts, started: bool, stopped: bool) {
    match ended {
        Ended::Recorded(status) | Ended::Already(status) => {
            tracing::debug!(task = %facts.id, kind = %facts.kind, %status, "run ended");
            if started {
                core.count_end(stopped && status == Status::Resuming);
            }
            let ready = matches!(
                status,
                Status::Resuming | Status::CleanupQueued | Status::Queued
            );
            if (facts.is_child && status.is_final()) || status == Status::Waiting {
                let waker = core.clone();
                core.spawn(async move { wake_waiting(&waker).await });
            }
            core.announce(ready);
        }
        Ended::Lost => {
            tracing::info!(task = %facts.id, kind = %facts.kind, "run was superseded; its end changed nothing")
        }
    }
}

/// Wakes parents whose children are over. If it fails, the upkeep does it a little later.
async fn wake_waiting(core: &Core) {
    match core.store.wake(peerwork_core::BATCH_MAX).await {
        Ok(0) | Err(_) => {}
        Ok(_) => core.announce(true),
    }
}
