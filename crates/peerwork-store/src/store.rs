//! The contract that every store keeps.

use crate::*;
use async_trait::async_trait;
use peerwork_core::explain::Facts;
use peerwork_core::{
    BeatAnswer, Bounds, Event, KindKey, LaneLook, LaneView, Name, NodeId, OperationId, Pulse,
    Reach, Refused, Rules, RunId, Scope, ScopeKey, SettingChange, Status, TaskId, Timestamp,
};
use std::fmt;

/// What a user wants of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Run now.
    Run,
    /// Take a pause back.
    Resume,
    /// Pause.
    Pause,
    /// Delete, with the cleanup of its kind.
    Delete,
    /// Delete without waiting for a cleanup that is queued, running or failed.
    ForceDelete,
    /// Start a final task again, from the beginning.
    Rerun,
    /// Move to this group.
    MoveTo(Name),
    /// Change the priority; smaller is sooner.
    Priority(i16),
}

impl Wish {
    /// The event that [`peerwork_core::decide`] knows it as.
    pub fn event(&self) -> Event {
        match self {
            Self::Run => Event::Run,
            Self::Resume => Event::Resume,
            Self::Pause => Event::Pause,
            Self::Delete => Event::Delete,
            Self::ForceDelete => Event::ForceDelete,
            Self::Rerun => Event::Rerun,
            Self::MoveTo(_) => Event::Move,
            Self::Priority(_) => Event::Edit,
        }
    }
}

impl fmt::Display for Wish {
    /// With its argument, so that two wishes with the same text are the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => f.write_str("run"),
            Self::Resume => f.write_str("resume"),
            Self::Pause => f.write_str("pause"),
            Self::Delete => f.write_str("delete"),
            Self::ForceDelete => f.write_str("force delete"),
            Self::Rerun => f.write_str("rerun"),
            Self::MoveTo(group) => write!(f, "move to {group}"),
            Self::Priority(priority) => write!(f, "set priority {priority}"),
        }
    }
}

/// What an operation over many tasks came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks that changed.
    pub changed: u64,
    /// Tasks that were so already.
    pub unchanged: u64,
    /// Tasks on which it has no effect in their status.
    pub refused: u64,
}

impl Tally {
    /// Counts one answer.
    pub fn count(&mut self, answer: Steered) {
        match answer {
            Steered::Changed(_) => self.changed += 1,
            Steered::Unchanged(_) => self.unchanged += 1,
            Steered::Refused(..) => self.refused += 1,
            Steered::NotFound => {}
        }
    }
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steered {
    /// It was written; the task is in this status now.
    Changed(Status),
    /// It was so already.
    Unchanged(Status),
    /// It has no effect in this status.
    Refused(Status, Refused),
    /// There is no such task, or it is not one that the filter means.
    NotFound,
}

/// Where tasks live. Every method is one bounded unit of work on one connection.
///
/// **Fence.** Writes of a run ([`save`](Self::save), [`end`](Self::end)) are accepted only while the task's row holds
/// the run's id; otherwise the answer is `Lost`, and nothing was written.
///
/// **Decisions.** Every change of status is one that [`peerwork_core::decide`] gave, on facts that cannot change before
/// it is written. A task is in exactly one [`Place`](peerwork_core::Place) at any time.
///
/// **Order.** Answers come in the order of what was asked, one for each.
///
/// **Time.** `now` is the database's clock, or the injected one.
///
/// **Bounds.** Batches are of at most [`BATCH_MAX`](peerwork_core::BATCH_MAX) items; longer ones are an
/// [`Invalid`](ErrorKind::Invalid) error, as is a payload over
/// [`PAYLOAD_BYTES_MAX`](peerwork_core::PAYLOAD_BYTES_MAX). Names are checked already: they are [`Name`]s.
///
/// **Errors.** Conflicts (deadlock, busy, serialization) are retried inside, a bounded number of times. An
/// [`Ambiguous`](ErrorKind::Ambiguous) error says that the call may have been carried out; every call may be repeated.
///
/// **Cancel safety.** Dropping a call's future abandons the answer, never a transaction: the call goes on to its end.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // --- schema -------------------------------------------------------------------------------------------------

    /// Brings the schema to this version's. Any number of processes may call it at once; one does it.
    async fn migrate(&self) -> Result<()>;

    /// Checks that the schema is this version's.
    ///
    /// # Errors
    /// [`Schema`](ErrorKind::Schema), saying whether it is missing, older or newer, and what to do.
    async fn check_schema(&self) -> Result<()>;

    /// The time.
    async fn now(&self) -> Result<Timestamp>;

    // --- people -------------------------------------------------------------------------------------------------

    /// Creates tasks: all of them or, on an error, none. A task whose id exists already is left as it is.
    async fn create(&self, tasks: Vec<NewTask>) -> Result<Vec<Created>>;

    /// As [`create`](Self::create), and those of the tasks that are new and claimable are claimed in the same transaction: all of them, or none, if
    /// the node is not alive, what is set is not what the claim was decided on, one of them is of a kind that the claim does not name, or a task
    /// of its kinds is before one of them in its lane. They answer in the order in which they are to start. A store may claim none at any time.
    async fn create_and_claim(
        &self,
        tasks: Vec<NewTask>,
        claim: ClaimNew,
    ) -> Result<(Vec<Created>, Vec<Claimed>)>;

    /// Applies a wish to those of `ids` that `filter` means at the moment of writing.
    async fn steer(&self, ids: Vec<TaskId>, filter: Filter, wish: Wish) -> Result<Vec<Steered>>;

    /// As [`steer`](Self::steer), once: a task for which `operation` has been carried out within the last day answers what it
    /// answered then, and is not changed again.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if `operation` was used for another wish.
    async fn steer_once(
        &self,
        operation: OperationId,
        ids: Vec<TaskId>,
        filter: Filter,
        wish: Wish,
    ) -> Result<Vec<Steered>>;

    /// The sums of an operation that was [concluded](Self::conclude) within the last day.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if `operation` was used for another wish.
    async fn concluded(&self, operation: OperationId, wish: Wish) -> Result<Option<Tally>>;

    /// Notes that an operation over a filter has been through with all of it. A repetition keeps the first sums.
    async fn conclude(&self, operation: OperationId, wish: Wish, tally: Tally) -> Result<()>;

    /// The tasks that exist (or were deleted within the last day) among `ids`.
    async fn get(&self, ids: Vec<TaskId>) -> Result<Vec<Option<TaskRecord>>>;

    /// A page of at most `limit` (at most [`PAGE_MAX`](peerwork_core::PAGE_MAX)) tasks, newest first, that come after `after`. Stable
    /// under inserts: no task that was there throughout is shown twice or left out.
    async fn list(&self, filter: Filter, after: Option<Cursor>, limit: usize) -> Result<Page>;

    /// A payload; none if the task or the payload is not there.
    async fn payload(&self, id: TaskId, which: Payload) -> Result<Option<Vec<u8>>>;

    /// The outputs of the finished ones among `ids`, in order.
    async fn outputs(&self, ids: Vec<TaskId>) -> Result<Vec<Option<Vec<u8>>>>;

    /// The last failures of a task, oldest first, at most [`ERRORS_KEPT_MAX`](peerwork_core::ERRORS_KEPT_MAX).
    async fn failures(&self, id: TaskId) -> Result<Vec<Failure>>;

    /// What there is around a task that may keep it from running: [`explain`](peerwork_core::explain::explain) says which of it does. None if
    /// there is no such task, nor was within the last day.
    ///
    /// For people: some ten short statements, one after the other, so that what they tell may be milliseconds apart. What is ahead of
    /// it in line is counted up to [`AHEAD_MAX`](peerwork_core::explain::AHEAD_MAX), lanes up to
    /// [`LANES_MAX`](peerwork_core::explain::LANES_MAX).
    async fn explain(&self, id: TaskId) -> Result<Option<Facts>>;

    // --- nodes --------------------------------------------------------------------------------------------------

    /// Publishes a node's kinds and their rules.
    async fn publish_kinds(&self, kinds: Vec<(Name, Rules)>) -> Result<()>;

    /// All kinds that any node has published.
    async fn kinds(&self) -> Result<Vec<KindRow>>;

    /// Writes the node's row with beat 0. Repeating it is harmless.
    async fn register(&self, card: NodeCard) -> Result<()>;

    /// Renews a lease: sets the row to `pulse.seq` if it is alive and at `pulse.acked` or later, but before
    /// `pulse.seq`.
    async fn beat(&self, node: NodeId, pulse: Pulse, ttl_ms: u64) -> Result<BeatAnswer>;

    /// Removes the row of a node that has ended, unless it still holds tasks. False: it does.
    async fn retire(&self, node: NodeId) -> Result<bool>;

    /// Declares a node dead if it is alive and still at beat `seq`. False: it is not.
    async fn declare_dead(&self, node: NodeId, seq: u64) -> Result<bool>;

    /// All nodes, the dead of the last day included.
    async fn nodes(&self) -> Result<Vec<NodeRow>>;

    /// Everything that concerns `node`, in one statement, with the `width` peers that follow it.
    async fn glance(&self, node: NodeId, width: usize, depth: Depth) -> Result<Glance>;

    // --- limits and gates -----------------------------------------------------------------------------------------

    /// Those of `keys` (at most [`BATCH_MAX`](peerwork_core::BATCH_MAX)) that are set and under which nothing is left to claim, as far as can be seen
    /// without keeping anybody waiting.
    async fn full(&self, keys: Vec<ScopeKey>) -> Result<Vec<ScopeKey>>;

    /// All that is set.
    async fn config(&self) -> Result<Config>;

    /// Changes what is set for a scope, all of it or, on an error, nothing. What runs there already counts from then on.
    ///
    /// Claims that are under way may pass it over for as long as the answer says; [`settle`](Self::settle) has to be called after that.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a change that makes no sense, and for a setting beyond
    /// [`SETTINGS_MAX`](peerwork_core::SETTINGS_MAX).
    async fn set(&self, scope: Scope, changes: Vec<SettingChange>) -> Result<Applied>;

    /// Counts what was claimed in a scope while its setting was being changed. Harmless at any time, and done by any node if whoever
    /// has changed it is gone.
    async fn settle(&self, scope: Scope) -> Result<()>;

    /// Chooses the policy of all nodes; none: each has its own. It is kept as it is.
    async fn set_policy(&self, policy: Option<String>) -> Result<Applied>;

    // --- runs ---------------------------------------------------------------------------------------------------

    /// The lanes in which a task of one of `kinds` is claimable: those that `look` means.
    async fn lanes(&self, kinds: Vec<KindKey>, look: LaneLook) -> Result<Vec<LaneView>>;

    /// Of the lanes that these ranges are in, those in which a task of one of `kinds` is claimable within them, each with the
    /// first one. As [`lanes`](Self::lanes), without walking through what lies before the ranges.
    async fn heads(&self, kinds: Vec<KindKey>, reaches: Vec<Reach>) -> Result<Vec<LaneView>>;

    /// How many tasks run (or wait for a slot) of each user in each group, on all nodes but this one. Cleanups are nobody's.
    async fn running_elsewhere(&self, node: NodeId) -> Result<Vec<RunningIn>>;

    /// Takes the first tasks of the granted lanes, in the order of each lane. Concurrent claims never get the same
    /// task; a claim may get less than is there. Nothing is claimed for a node that is not alive, nor where what is set is not what
    /// the claim was decided on: that is told.
    async fn claim(&self, claim: Claim) -> Result<ClaimAnswer>;

    /// As [`claim`](Self::claim), of what is under limits: no more than they leave room for, counted in the database in the
    /// transaction that takes it. The tasks count under the limits that are given for their lane and kind.
    async fn claim_within(&self, claim: Claim, bounds: Bounds) -> Result<ClaimAnswer>;

    /// Takes those of the named tasks that are claimable, in the lanes in which they were seen, and of one of the kinds, as far as the limits
    /// leave room: as [`claim_within`](Self::claim_within), whose limits may be none here. What is not there, or there twice, is passed
    /// over. The answer is in the order in which the tasks were named.
    async fn claim_these(&self, claim: ClaimThese, bounds: Bounds) -> Result<ClaimAnswer>;

    /// Tasks that are claimable now, at most `limit` (at most [`BATCH_MAX`](peerwork_core::BATCH_MAX)). It locks nothing, and costs by what
    /// it answers, not by what is claimable.
    async fn offers(&self, sought: Sought, limit: usize) -> Result<Vec<Offer>>;

    /// Saves checkpoints and progress. A saved checkpoint is progress: it clears the task's `crashes`.
    async fn save(&self, saves: Vec<Save>) -> Result<Vec<Saved>>;

    /// Marks a run as that of a suspect who is on trial, until a checkpoint is saved: see [`blame`](peerwork_core::blame).
    /// False: the run does not hold the task any more.
    async fn try_suspect(&self, id: TaskId, run: RunId) -> Result<bool>;

    /// Ends runs. A finished or failed child is recorded for its parent in the same transaction. A repetition after a lost
    /// answer is known by the run's id, until the task is claimed again.
    async fn end(&self, ends: Vec<End>) -> Result<Vec<Ended>>;

    /// What `node` holds, at most `limit`.
    async fn held(&self, node: NodeId, limit: usize) -> Result<Vec<(TaskId, RunId)>>;

    /// For each run: the status of its task, if it still holds it.
    async fn verify(&self, runs: Vec<(TaskId, RunId)>) -> Result<Vec<Option<Status>>>;

    // --- upkeep: by any node, at any time, as often as one likes ---------------------------------------------------

    /// Makes sleeping tasks claimable whose time has come, at most `limit`.
    async fn promote(&self, limit: usize) -> Result<Promoted>;

    /// Wakes waiting tasks whose children are over, at most `limit`; returns how many.
    async fn wake(&self, limit: usize) -> Result<usize>;

    /// Takes tasks back from nodes that are declared dead or have no row, at most `limit`.
    async fn sweep(&self, limit: usize) -> Result<Swept>;

    /// Removes tombstones and operations that are older than a day, at most `limit` of each, and the rows of nodes that died
    /// before and hold nothing any more; returns how many of the more numerous sort.
    async fn prune(&self, limit: usize) -> Result<usize>;

    // --- hints --------------------------------------------------------------------------------------------------

    /// Tells other processes to look. Best effort.
    async fn hint(&self, hint: Hint) -> Result<()>;

    /// Subscribes to hints of other processes (and perhaps its own). None if the database cannot carry hints.
    async fn listen(&self) -> Result<Option<Hints>>;
}

/// The error of an operation's id that is used for two wishes.
pub(crate) fn other_wish(id: OperationId, before: &str, now: &Wish) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "operation {id} was to {before}, and cannot be to {now} as well; give each operation an id of its own"
        ),
    )
}
