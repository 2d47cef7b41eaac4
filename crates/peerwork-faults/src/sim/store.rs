//! The faulty store: what a node sees of the database, with calls that fail, fail after they were carried out, stall,
//! conflict, are cut off, or in the midst of which the machine crashes; hints that are lost, doubled and late; and the
//! place where every call's changes go to the history.
//!
//! A call under way belongs to the network: it goes on while its machine is frozen or gone.

use super::database::Database;
use super::hints;
use super::history::{CLAIMS, History};
use super::limits;
use super::watching::Watching;
use async_trait::async_trait;
use peerwork::{Env, Machine};
use peerwork_core::explain::Facts;
use peerwork_core::{
    BeatAnswer, Bounds, KindKey, LaneLook, LaneView, Name, NodeId, OperationId, Pulse, Reach,
    Rules, RunId, Scope, ScopeKey, SettingChange, Status, TaskId, Timestamp,
};
use peerwork_store::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// How badly one machine's way to the database is broken. Shared with the world, which changes it.
pub(super) struct Faults {
    pub(super) env: Env,
    pub machine: Machine,
    /// Calls in a thousand that fail, in one way or another.
    pub(super) per_mille: AtomicU32,
    cut_off: AtomicBool,
    database: Arc<Database>,
    watching: Mutex<Watching>,
    /// The machine crashes at this call from now, before (false) or after (true) it was carried out.
    fuse: Mutex<Option<(u32, bool)>>,
    /// How often each call was made.
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

impl Faults {
    pub fn new(env: Env, machine: Machine, database: Arc<Database>) -> Arc<Self> {
        Arc::new(Self {
            env,
            machine,
            per_mille: AtomicU32::new(0),
            cut_off: AtomicBool::new(false),
            database,
            watching: Mutex::default(),
            fuse: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    pub fn set_rate(&self, per_mille: u32) {
        self.per_mille.store(per_mille, Ordering::Relaxed);
    }

    pub fn cut_off(&self, cut_off: bool) {
        self.cut_off.store(cut_off, Ordering::Relaxed);
    }

    /// Crashes the machine in the midst of the call number `call` from now, from 0.
    pub fn crash_at(&self, call: u32, carried_out: bool) {
        *self.fuse.lock().expect("no panic under the lock") = Some((call, carried_out));
    }

    fn count(&self, call: &'static str) {
        let mut calls = self.calls.lock().expect("no panic under the lock");
        *calls.entry(call).or_default() += 1;
    }

    /// No call crashes it any more.
    pub fn disarm(&self) {
        *self.fuse.lock().expect("no panic under the lock") = None;
    }

    /// How often each call was made since the last call of this.
    pub fn take_calls(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.calls.lock().expect("no panic under the lock"))
    }

    /// Whether the machine crashes at this call, and whether after it was carried out.
    fn burn(&self) -> Option<bool> {
        let mut fuse = self.fuse.lock().expect("no panic under the lock");
        let (left, carried_out) = fuse.take()?;
        if left == 0 {
            return Some(carried_out);
        }
        *fuse = Some((left - 1, carried_out));
        None
    }
}

/// What happens to a call.
enum Fate {
    Passes,
    FailsBefore,
    Conflicts,
    FailsAfter,
}

#[derive(Clone)]
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

    /// The simulation's time, which no clock's jump moves.
    fn time(&self) -> u64 {
        self.faults.env.now().0
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
        let mut rate = self.faults.per_mille.load(Ordering::Relaxed);
        if call == "declare dead" && rate > 0 {
            // Whoever is accused is to have time to come back.
            rate = rate.max(500);
        }
        match self.faults.env.random() % 1_000 {
            n if n >= rate => Fate::Passes,
            n if n % 4 == 0 => {
                self.history.happened("failed before", call);
                Fate::FailsBefore
            }
            n if n % 4 == 1 => {
                self.history.happened("failed after", call);
                Fate::FailsAfter
            }
            n if n % 4 == 2 => {
                self.history.happened("conflict", call);
                Fate::Conflicts
            }
            _ => {
                self.history.happened("stalled", call);
                let time = u64::from(self.faults.env.random() % 2_000);
                tokio::time::sleep(Duration::from_millis(time)).await;
                Fate::Passes
            }
        }
    }

    async fn log<T>(&self, call: &'static str, answer: Result<T>) -> Result<T> {
        let (now, changes) = (self.inner.now().await?, self.inner.audit());
        self.history.changed(call, now.0, &changes);
        if CLAIMS.contains(&call) {
            limits::judge(&self.inner, &self.history, now, &changes).await?;
        }
        answer
    }

    /// Sends a call out, and waits for its answer as long as the machine lives.
    async fn carry<T: Send + 'static>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.faults.count(call);
        let crash = self.faults.burn();
        if crash == Some(false) {
            self.crash(call);
            return std::future::pending().await;
        }
        let (answer, receiver) = oneshot::channel();
        let network = self.clone();
        tokio::spawn(async move {
            let answered = network.over_the_network(call, work).await;
            if crash == Some(true) {
                return network.crash(call);
            }
            let _ = answer.send(answered);
        });
        match receiver.await {
            Ok(answered) => answered,
            // Its machine has crashed, and hears nothing any more.
            Err(_) => std::future::pending().await,
        }
    }

    fn crash(&self, call: &'static str) {
        self.history.happened("crash in a call", call);
        self.faults.machine.crash();
    }

    async fn over_the_network<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let database = &self.faults.database;
        let failovers = database.failovers();
        let fate = self.fate(call).await;
        if self.faults.machine.is_crashed() && self.faults.env.random().is_multiple_of(2) {
            return Err(lost());
        }
        let failed_over = || database.failovers() != failovers;
        match fate {
            Fate::FailsBefore => Err(lost()),
            Fate::Conflicts => Err(conflict()),
            Fate::Passes | Fate::FailsAfter if failed_over() => Err(lost()),
            Fate::Passes | Fate::FailsAfter if database.refuses(call) => {
                self.history.happened("read only", call);
                Err(read_only())
            }
            Fate::FailsAfter => {
                let answer = work.await;
                self.log(call, answer).await?;
                Err(lost_answer())
            }
            Fate::Passes => {
                let answer = work.await;
                let answer = self.log(call, answer).await;
                // The answer takes its time too, and may meet what has broken meanwhile.
                let back = u64::from(self.faults.env.random() % 500);
                tokio::time::sleep(Duration::from_micros(back)).await;
                if failed_over() || self.faults.cut_off.load(Ordering::Relaxed) {
                    return Err(lost_answer());
                }
                answer
            }
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Transient, "simulated: the connection was lost")
}

fn read_only() -> Error {
    Error::new(
        ErrorKind::Transient,
        "simulated: the database can be read and not written",
    )
}

fn conflict() -> Error {
    Error::new(
        ErrorKind::Transient,
        "simulated: it conflicted with others too often",
    )
}

fn lost_answer() -> Error {
    Error::new(
        ErrorKind::Ambiguous,
        "simulated: the connection was lost before the answer came",
    )
}

/// A call under its fate, with its changes in the history.
macro_rules! call {
    ($self:ident, $name:literal, $me:ident => $call:expr) => {{
        let $me = $self.clone();
        $self.carry($name, async move { $call.await }).await
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
        call!(self, "now", me => me.inner.now())
    }

    async fn create(&self, tasks: Vec<NewTask>) -> Result<Vec<Created>> {
        call!(self, "create", me => me.inner.create(tasks))
    }

    async fn create_and_claim(
        &self,
        tasks: Vec<NewTask>,
        claim: ClaimNew,
    ) -> Result<(Vec<Created>, Vec<Claimed>)> {
        call!(self, "create and claim", me => async {
            let kinds = claim.kinds.clone();
            let (created, claimed) = me.inner.create_and_claim(tasks, claim).await?;
            me.history.claimed_for(&kinds, &claimed);
            if !claimed.is_empty() {
                me.history.happened("eager start", claimed.len());
            }
            Ok((created, claimed))
        })
    }

    async fn steer(&self, ids: Vec<TaskId>, filter: Filter, wish: Wish) -> Result<Vec<Steered>> {
        call!(self, "steer", me => me.inner.steer(ids, filter, wish))
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
            me => me.inner.steer_once(operation, ids, filter, wish)
        )
    }

    async fn concluded(&self, operation: OperationId, wish: Wish) -> Result<Option<Tally>> {
        call!(self, "concluded", me => me.inner.concluded(operation, wish))
    }

    async fn conclude(&self, operation: OperationId, wish: Wish, tally: Tally) -> Result<()> {
        call!(
            self,
            "conclude",
            me => me.inner.conclude(operation, wish, tally)
        )
    }

    async fn get(&self, ids: Vec<TaskId>) -> Result<Vec<Option<TaskRecord>>> {
        call!(self, "get", me => me.inner.get(ids))
    }

    async fn list(&self, filter: Filter, after: Option<Cursor>, limit: usize) -> Result<Page> {
        call!(self, "list", me => me.inner.list(filter, after, limit))
    }

    async fn payload(&self, id: TaskId, which: Payload) -> Result<Option<Vec<u8>>> {
        call!(self, "payload", me => me.inner.payload(id, which))
    }

    async fn outputs(&self, ids: Vec<TaskId>) -> Result<Vec<Option<Vec<u8>>>> {
        call!(self, "outputs", me => me.inner.outputs(ids))
    }

    async fn failures(&self, id: TaskId) -> Result<Vec<Failure>> {
        call!(self, "failures", me => me.inner.failures(id))
    }

    async fn explain(&self, id: TaskId) -> Result<Option<Facts>> {
        call!(self, "explain", me => me.inner.explain(id))
    }

    async fn publish_kinds(&self, kinds: Vec<(Name, Rules)>) -> Result<()> {
        call!(self, "publish kinds", me => me.inner.publish_kinds(kinds))
    }

    async fn kinds(&self) -> Result<Vec<KindRow>> {
        call!(self, "kinds", me => me.inner.kinds())
    }

    async fn register(&self, card: NodeCard) -> Result<()> {
        self.history
            .register_sent(card.id, card.ttl_ms, self.time());
        call!(self, "register", me => me.inner.register(card))
    }

    async fn beat(&self, node: NodeId, pulse: Pulse, ttl_ms: u64) -> Result<BeatAnswer> {
        let me = self.clone();
        self.history
            .beat_sent(node, pulse.seq, pulse.acked, self.time());
        let written = async move {
            let answer = me.inner.beat(node, pulse, ttl_ms).await;
            if let Ok(BeatAnswer::Renewed) = answer {
                me.history.beat_written(node, pulse.seq, me.time(), ttl_ms);
            }
            answer
        };
        let answer = call!(self, "beat", _me => written);
        if let Ok(answer) = answer {
            let alive = matches!(answer, BeatAnswer::Renewed)
                || matches!(answer, BeatAnswer::Row { seq, alive: true } if seq == pulse.seq);
            self.history.beat_answered(node, pulse.seq, alive);
        }
        answer
    }

    async fn retire(&self, node: NodeId) -> Result<bool> {
        call!(self, "retire", me => me.inner.retire(node))
    }

    async fn declare_dead(&self, node: NodeId, seq: u64) -> Result<bool> {
        // What it has read counts when it says so; it is judged when it is written, whether or not the answer arrives.
        let is_justified = {
            let watching = self.faults.watching.lock();
            let watching = watching.expect("no panic under the lock");
            watching.justifies(self.faults.database.lease, self.time(), node, seq)
        };
        call!(self, "declare dead", me => async {
            let answer = me.inner.declare_dead(node, seq).await;
            if let Ok(true) = answer {
                me.history.declared_dead(node, seq, is_justified, me.time());
            }
            answer
        })
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>> {
        call!(self, "nodes", me => me.inner.nodes())
    }

    async fn glance(&self, node: NodeId, width: usize, depth: Depth) -> Result<Glance> {
        let glance = call!(self, "glance", me => me.inner.glance(node, width, depth))?;
        let peers: Vec<_> = glance
            .peers
            .iter()
            .map(|(peer, seq, ..)| (*peer, *seq))
            .collect();
        let heard = self.history.heard(node);
        let mut watching = self.faults.watching.lock().expect("no panic");
        watching.read(self.faults.database.lease, self.time(), heard, &peers);
        drop(watching);
        Ok(glance)
    }

    async fn lanes(&self, kinds: Vec<KindKey>, look: LaneLook) -> Result<Vec<LaneView>> {
        call!(self, "lanes", me => me.inner.lanes(kinds, look))
    }

    async fn running_elsewhere(&self, node: NodeId) -> Result<Vec<RunningIn>> {
        call!(self, "running elsewhere", me => me.inner.running_elsewhere(node))
    }

    async fn heads(&self, kinds: Vec<KindKey>, reaches: Vec<Reach>) -> Result<Vec<LaneView>> {
        call!(self, "heads", me => me.inner.heads(kinds, reaches))
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimAnswer> {
        call!(self, "claim", me => async {
            let kinds = claim.kinds.clone();
            let claimed = me.inner.claim(claim).await?;
            me.history.claimed_for(&kinds, &claimed.tasks);
            Ok(claimed)
        })
    }

    async fn claim_within(&self, claim: Claim, bounds: Bounds) -> Result<ClaimAnswer> {
        call!(self, "claim within", me => me.inner.claim_within(claim, bounds))
    }

    async fn claim_these(&self, claim: ClaimThese, bounds: Bounds) -> Result<ClaimAnswer> {
        call!(self, "claim these", me => me.inner.claim_these(claim, bounds))
    }

    async fn offers(&self, sought: Sought, limit: usize) -> Result<Vec<Offer>> {
        call!(self, "offers", me => me.inner.offers(sought, limit))
    }

    async fn full(&self, keys: Vec<ScopeKey>) -> Result<Vec<ScopeKey>> {
        call!(self, "full", me => me.inner.full(keys))
    }

    async fn config(&self) -> Result<Config> {
        call!(self, "config", me => me.inner.config())
    }

    async fn set(&self, scope: Scope, changes: Vec<SettingChange>) -> Result<Applied> {
        call!(self, "set", me => me.inner.set(scope, changes))
    }

    async fn settle(&self, scope: Scope) -> Result<()> {
        call!(self, "settle", me => me.inner.settle(scope))
    }

    async fn set_policy(&self, policy: Option<String>) -> Result<Applied> {
        call!(self, "set policy", me => me.inner.set_policy(policy))
    }

    async fn save(&self, saves: Vec<Save>) -> Result<Vec<Saved>> {
        let asked: Vec<_> = saves.iter().map(|save| (save.id, save.run)).collect();
        let judged = asked.clone();
        let answers = call!(self, "save", me => async {
            let answers = me.inner.save(saves).await?;
            for ((id, run), answer) in judged.iter().zip(&answers) {
                match answer {
                    Saved::Kept(_) => me.history.accepted("save", *id, *run),
                    Saved::Lost => me.history.happened("save refused", (id, run)),
                }
            }
            Ok(answers)
        })?;
        for ((id, run), answer) in asked.iter().zip(&answers) {
            if let Saved::Kept(status) = answer
                && status.is_stopping()
            {
                self.history.told(*id, *run);
            }
        }
        Ok(answers)
    }

    async fn end(&self, ends: Vec<End>) -> Result<Vec<Ended>> {
        let asked: Vec<_> = ends.iter().map(|end| (end.id, end.run)).collect();
        call!(self, "end", me => async {
            let held: Vec<_> = asked.iter().map(|(id, run)| me.history.holds(*id, *run)).collect();
            let answers = me.inner.end(ends).await?;
            for (((id, run), answer), held) in asked.iter().zip(&answers).zip(held) {
                match answer {
                    Ended::Recorded(_) if !held => {
                        let what = format!("an end of run {run} was accepted, which does not hold task {id}");
                        me.history.violation("I1", what);
                    }
                    Ended::Recorded(_) => me.history.end_recorded(*id, *run),
                    Ended::Already(_) => me.history.happened("end repeated", (id, run)),
                    Ended::Lost => me.history.end_refused(*id, *run),
                }
            }
            Ok(answers)
        })
    }

    async fn try_suspect(&self, id: TaskId, run: RunId) -> Result<bool> {
        call!(self, "try suspect", me => me.inner.try_suspect(id, run))
    }

    async fn verify(&self, runs: Vec<(TaskId, RunId)>) -> Result<Vec<Option<Status>>> {
        call!(self, "verify", me => me.inner.verify(runs))
    }

    async fn held(&self, node: NodeId, limit: usize) -> Result<Vec<(TaskId, RunId)>> {
        call!(self, "held", me => me.inner.held(node, limit))
    }

    async fn promote(&self, limit: usize) -> Result<Promoted> {
        call!(self, "promote", me => me.inner.promote(limit))
    }

    async fn wake(&self, limit: usize) -> Result<usize> {
        call!(self, "wake", me => me.inner.wake(limit))
    }

    async fn sweep(&self, limit: usize) -> Result<Swept> {
        let answer = call!(self, "sweep", me => me.inner.sweep(limit));
        if let Ok(swept) = &answer
            && !swept.tasks.is_empty()
        {
            self.history.happened("rescue", swept.tasks.len());
        }
        answer
    }

    async fn prune(&self, limit: usize) -> Result<usize> {
        call!(self, "prune", me => me.inner.prune(limit))
    }

    async fn hint(&self, hint: Hint) -> Result<()> {
        call!(self, "hint", me => me.inner.hint(hint))
    }

    async fn listen(&self) -> Result<Option<Hints>> {
        let hints = call!(self, "listen", me => me.inner.listen())?;
        Ok(hints.map(|hints| hints::over_the_network(hints, &self.faults, &self.history)))
    }
}
