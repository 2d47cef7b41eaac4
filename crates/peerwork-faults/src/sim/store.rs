//! The faulty store: what a node sees of the database, with calls that fail, fail after they were carried out, stall,
//! or are cut off; and the place where every call's changes go to the history.

use super::history::History;
use async_trait::async_trait;
use peerwork::Env;
use peerwork_core::{
    BeatAnswer, KindKey, LaneView, Name, NodeId, OperationId, Pulse, Rules, RunId, Status, TaskId,
    Timestamp,
};
use peerwork_store::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// How badly one node's way to the database is broken. Shared with the world, which changes it.
pub(super) struct Faults {
    env: Env,
    /// Calls in a thousand that fail, in one way or another.
    per_mille: AtomicU32,
    cut_off: AtomicBool,
}

impl Faults {
    pub fn new(env: Env) -> Arc<Self> {
        Arc::new(Self {
            env,
            per_mille: AtomicU32::new(0),
            cut_off: AtomicBool::new(false),
        })
    }

    pub fn set_rate(&self, per_mille: u32) {
        self.per_mille.store(per_mille, Ordering::Relaxed);
    }

    pub fn cut_off(&self, cut_off: bool) {
        self.cut_off.store(cut_off, Ordering::Relaxed);
    }
}

/// What happens to a call.
enum Fate {
    Passes,
    FailsBefore,
    FailsAfter,
}

pub(super) struct FaultyStore {
    inner: MemoryStore,
    history: History,
    faults: Arc<Faults>,
}

impl FaultyStore {
    pub fn new(inner: MemoryStore, history: History, faults: Arc<Faults>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            history,
            faults,
        })
    }

    async fn fate(&self, call: &'static str) -> Fate {
        let dice = self.faults.env.random() % 1_000;
        if self.faults.cut_off.load(Ordering::Relaxed) {
            // A connection that is cut off hangs for a while before it fails.
            tokio::time::sleep(Duration::from_millis(200 + u64::from(dice))).await;
            self.history.happened("cut off", call);
            return Fate::FailsBefore;
        }
        // Every call takes a moment, never the same.
        tokio::time::sleep(Duration::from_micros(200 + u64::from(dice))).await;
        let rate = self.faults.per_mille.load(Ordering::Relaxed);
        match self.faults.env.random() % 1_000 {
            n if n >= rate => Fate::Passes,
            n if n % 3 == 0 => {
                self.history.happened("failed before", call);
                Fate::FailsBefore
            }
            n if n % 3 == 1 => {
                self.history.happened("failed after", call);
                Fate::FailsAfter
            }
            _ => {
                self.history.happened("stalled", call);
                tokio::time::sleep(Duration::from_millis(u64::from(
                    self.faults.env.random() % 2_000,
                )))
                .await;
                Fate::Passes
            }
        }
    }

    async fn log<T>(&self, call: &'static str, answer: Result<T>) -> Result<T> {
        let now = self.inner.now().await?;
        self.history.changed(call, now.0, &self.inner.audit());
        answer
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Transient, "simulated: the connection was lost")
}

fn lost_answer() -> Error {
    Error::new(
        ErrorKind::Ambiguous,
        "simulated: the connection was lost before the answer came",
    )
}

/// A call under its fate, with its changes in the history.
macro_rules! call {
    ($self:ident, $name:literal, $call:expr) => {{
        match $self.fate($name).await {
            Fate::Passes => {
                let answer = $call.await;
                $self.log($name, answer).await
            }
            Fate::FailsBefore => Err(lost()),
            Fate::FailsAfter => {
                let answer = $call.await;
                $self.log($name, answer).await?;
                Err(lost_answer())
            }
        }
    }};
}

#[async_trait]
impl Store for FaultyStore {
    async fn migrate(&self) -> Result<()> {
        Ok(())
    }

    async fn check_schema(&self) -> Result<()> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp> {
        call!(self, "now", self.inner.now())
    }

    async fn create(&self, tasks: Vec<NewTask>) -> Result<Vec<Created>> {
        call!(self, "create", self.inner.create(tasks))
    }

    async fn steer(&self, ids: Vec<TaskId>, filter: Filter, wish: Wish) -> Result<Vec<Steered>> {
        call!(self, "steer", self.inner.steer(ids, filter, wish))
    }

    async fn steer_once(
        &self,
        operation: OperationId,
        ids: Vec<TaskId>,
        filter: Filter,
        wish: Wish,
    ) -> Result<Vec<Steered>> {
        call!(
            self,
            "steer once",
            self.inner.steer_once(operation, ids, filter, wish)
        )
    }

    async fn concluded(&self, operation: OperationId, wish: Wish) -> Result<Option<Tally>> {
        call!(self, "concluded", self.inner.concluded(operation, wish))
    }

    async fn conclude(&self, operation: OperationId, wish: Wish, tally: Tally) -> Result<()> {
        call!(
            self,
            "conclude",
            self.inner.conclude(operation, wish, tally)
        )
    }

    async fn get(&self, ids: Vec<TaskId>) -> Result<Vec<Option<TaskRecord>>> {
        call!(self, "get", self.inner.get(ids))
    }

    async fn list(&self, filter: Filter, after: Option<Cursor>, limit: usize) -> Result<Page> {
        call!(self, "list", self.inner.list(filter, after, limit))
    }

    async fn payload(&self, id: TaskId, which: Payload) -> Result<Option<Vec<u8>>> {
        call!(self, "payload", self.inner.payload(id, which))
    }

    async fn outputs(&self, ids: Vec<TaskId>) -> Result<Vec<Option<Vec<u8>>>> {
        call!(self, "outputs", self.inner.outputs(ids))
    }

    async fn failures(&self, id: TaskId) -> Result<Vec<Failure>> {
        call!(self, "failures", self.inner.failures(id))
    }

    async fn publish_kinds(&self, kinds: Vec<(Name, Rules)>) -> Result<()> {
        call!(self, "publish kinds", self.inner.publish_kinds(kinds))
    }

    async fn kinds(&self) -> Result<Vec<KindRow>> {
        call!(self, "kinds", self.inner.kinds())
    }

    async fn register(&self, card: NodeCard) -> Result<()> {
        call!(self, "register", self.inner.register(card))
    }

    async fn beat(&self, node: NodeId, pulse: Pulse, ttl_ms: u64) -> Result<BeatAnswer> {
        let answer = call!(self, "beat", self.inner.beat(node, pulse, ttl_ms));
        if let Ok(BeatAnswer::Renewed) = answer {
            let now = self.inner.now().await?;
            self.history.beat_acknowledged(node, now.0, ttl_ms);
        }
        answer
    }

    async fn retire(&self, node: NodeId) -> Result<bool> {
        call!(self, "retire", self.inner.retire(node))
    }

    async fn declare_dead(&self, node: NodeId, seq: u64) -> Result<bool> {
        // Judged when it is written, whether or not the answer arrives.
        let judged = async {
            let answer = self.inner.declare_dead(node, seq).await;
            if let Ok(true) = answer {
                let now = self.inner.now().await?;
                self.history.declared_dead(node, now.0);
            }
            answer
        };
        call!(self, "declare dead", judged)
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>> {
        call!(self, "nodes", self.inner.nodes())
    }

    async fn glance(&self, node: NodeId) -> Result<Glance> {
        call!(self, "glance", self.inner.glance(node))
    }

    async fn lanes(&self, kinds: Vec<KindKey>, limit: usize) -> Result<Vec<LaneView>> {
        call!(self, "lanes", self.inner.lanes(kinds, limit))
    }

    async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>> {
        call!(self, "claim", self.inner.claim(claim))
    }

    async fn save(&self, saves: Vec<Save>) -> Result<Vec<Saved>> {
        let asked: Vec<_> = saves.iter().map(|save| (save.id, save.run)).collect();
        let judged = async {
            let answers = self.inner.save(saves).await?;
            let held = self.inner.verify(asked.clone()).await?;
            for (((id, run), answer), held) in asked.iter().zip(&answers).zip(held) {
                match answer {
                    Saved::Kept(_) if held.is_none() => {
                        self.history.violation(
                            "I1",
                            format!(
                                "a save of run {run} was accepted, which does not hold task {id}"
                            ),
                        );
                    }
                    Saved::Kept(_) => {}
                    Saved::Lost => self.history.happened("save refused", (id, run)),
                }
            }
            Ok(answers)
        };
        call!(self, "save", judged)
    }

    async fn end(&self, ends: Vec<End>) -> Result<Vec<Ended>> {
        let asked: Vec<_> = ends.iter().map(|end| (end.id, end.run)).collect();
        let judged = async {
            let held = self.inner.verify(asked.clone()).await?;
            let answers = self.inner.end(ends).await?;
            for (((id, run), answer), held) in asked.iter().zip(&answers).zip(held) {
                match answer {
                    Ended::Recorded(_) if held.is_none() => {
                        self.history.violation(
                            "I1",
                            format!(
                                "an end of run {run} was accepted, which does not hold task {id}"
                            ),
                        );
                    }
                    Ended::Recorded(_) => {}
                    Ended::Already(_) => self.history.happened("end repeated", (id, run)),
                    Ended::Lost => self.history.happened("end refused", (id, run)),
                }
            }
            Ok(answers)
        };
        call!(self, "end", judged)
    }

    async fn try_suspect(&self, id: TaskId, run: RunId) -> Result<bool> {
        call!(self, "try suspect", self.inner.try_suspect(id, run))
    }

    async fn verify(&self, runs: Vec<(TaskId, RunId)>) -> Result<Vec<Option<Status>>> {
        call!(self, "verify", self.inner.verify(runs))
    }

    async fn held(&self, node: NodeId, limit: usize) -> Result<Vec<(TaskId, RunId)>> {
        call!(self, "held", self.inner.held(node, limit))
    }

    async fn promote(&self, limit: usize) -> Result<Promoted> {
        call!(self, "promote", self.inner.promote(limit))
    }

    async fn wake(&self, limit: usize) -> Result<usize> {
        call!(self, "wake", self.inner.wake(limit))
    }

    async fn sweep(&self, limit: usize) -> Result<Swept> {
        let answer = call!(self, "sweep", self.inner.sweep(limit));
        if let Ok(swept) = &answer
            && !swept.tasks.is_empty()
        {
            self.history.happened("rescue", swept.tasks.len());
        }
        answer
    }

    async fn prune(&self, limit: usize) -> Result<usize> {
        call!(self, "prune", self.inner.prune(limit))
    }

    async fn hint(&self, hint: Hint) -> Result<()> {
        call!(self, "hint", self.inner.hint(hint))
    }

    async fn listen(&self) -> Result<Option<Hints>> {
        call!(self, "listen", self.inner.listen())
    }
}
