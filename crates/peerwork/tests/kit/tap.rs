//! A store with a tap on it: its calls are counted, the answer to one may be held back, and calls may fail or be slow.

use async_trait::async_trait;
use peerwork::{
    Cursor, Database, Failure, KindRow, LaneView, NodeId, NodeRow, Page, Rules, RunId, Status,
    TaskId, TaskRecord, Timestamp,
};
use peerwork_core::explain::Facts;
use peerwork_core::{
    BeatAnswer, Bounds, KindKey, LaneLook, Name, OperationId, Pulse, Reach, Scope, ScopeKey,
    SettingChange,
};
use peerwork_store::{
    Applied, Claim, ClaimAnswer, ClaimNew, ClaimThese, Claimed, Config, Created, Depth, End, Ended,
    Error, ErrorKind, Filter, Glance, Hint, Hints, NewTask, NodeCard, Offer, Payload, Promoted,
    Result, RunningIn, Save, Saved, Sought, Steered, Store, Swept, Tally, Wish,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Passes everything on to the store of a place.
pub struct Tap {
    store: Arc<dyn Store>,
    calls: watch::Sender<BTreeMap<&'static str, usize>>,
    stops: Mutex<Vec<Stop>>,
    errors: Mutex<Vec<(&'static str, Way)>>,
    panics: Mutex<Vec<&'static str>>,
    is_cut: AtomicBool,
    /// How many claims are to find that others claim under the limits of all their lanes.
    others_claim: AtomicU64,
    /// What each call takes, in milliseconds.
    delay_ms: AtomicU64,
    /// What some calls take besides.
    delays: Mutex<BTreeMap<&'static str, Duration>>,
}

/// A call that is to be stopped on its way.
struct Stop {
    call: &'static str,
    way: Way,
    stopped: oneshot::Sender<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    There,
    Back,
}

/// A call that is stopped on its way.
pub struct Stopped(oneshot::Receiver<oneshot::Sender<()>>);

impl Stopped {
    /// Waits until it has come so far. What is returned lets it go on.
    pub async fn arrived(self) -> oneshot::Sender<()> {
        self.0.await.expect("the tap lives as long as its test")
    }
}

impl Tap {
    /// A tap on this store.
    pub fn on(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            calls: watch::Sender::default(),
            stops: Mutex::default(),
            errors: Mutex::default(),
            panics: Mutex::default(),
            is_cut: AtomicBool::new(false),
            others_claim: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            delays: Mutex::default(),
        })
    }

    /// For a node or a client.
    pub fn database(self: &Arc<Self>) -> Database {
        Database::from(self.clone() as Arc<dyn Store>)
    }

    /// How often each call was made.
    pub fn calls(&self) -> BTreeMap<&'static str, usize> {
        self.calls.borrow().clone()
    }

    /// Waits until a call was made `count` more times.
    pub async fn after(&self, call: &'static str, count: usize) {
        let mut calls = self.calls.subscribe();
        let made = |calls: &BTreeMap<_, _>| calls.get(call).copied().unwrap_or_default();
        let enough = made(&calls.borrow()) + count;
        let waited = calls.wait_for(|calls| made(calls) >= enough).await;
        waited.expect("the sender is ours");
    }

    /// Stops the next call of this name before it reaches the database.
    pub fn hold_off(&self, call: &'static str) -> Stopped {
        self.stop(call, Way::There)
    }

    /// Stops the answer to the next call of this name.
    pub fn hold_back(&self, call: &'static str) -> Stopped {
        self.stop(call, Way::Back)
    }

    /// Lets the next call of this name fail; nothing is done.
    pub fn fail(&self, call: &'static str) {
        self.errors.lock().unwrap().push((call, Way::There));
    }

    /// Lets the answer to the next call of this name be lost.
    pub fn lose(&self, call: &'static str) {
        self.errors.lock().unwrap().push((call, Way::Back));
    }

    /// Lets the next call of this name panic; nothing is done.
    #[allow(dead_code)] // not every program of tests needs it
    pub fn panic(&self, call: &'static str) {
        self.panics.lock().unwrap().push(call);
    }

    /// While it is cut, every call fails, and nothing is done.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// The next claims under limits find that others are claiming in all of their lanes.
    #[allow(dead_code)] // not every program of tests needs it
    pub fn others_claim(&self, claims: u64) {
        self.others_claim.store(claims, Ordering::SeqCst);
    }

    /// From now on each call takes this long.
    pub fn slow_down(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap();
        self.delay_ms.store(ms, Ordering::SeqCst);
    }

    /// From now on the answers to calls of this name take this long on their way back.
    pub fn slow_down_answers(&self, call: &'static str, delay: Duration) {
        self.delays.lock().unwrap().insert(call, delay);
    }

    fn stop(&self, call: &'static str, way: Way) -> Stopped {
        let (stopped, wait) = oneshot::channel();
        let stop = Stop { call, way, stopped };
        self.stops.lock().unwrap().push(stop);
        Stopped(wait)
    }

    async fn pass<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.calls
            .send_modify(|calls| *calls.entry(call).or_default() += 1);
        let delay_ms = self.delay_ms.load(Ordering::SeqCst);
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await; // fault: a slow database
        }
        self.wait(call, Way::There).await;
        let panics = {
            let mut panics = self.panics.lock().unwrap();
            let at = panics.iter().position(|panics| *panics == call);
            at.map(|at| panics.remove(at)).is_some()
        };
        assert!(!panics, "{call}: a panic of this test");
        self.error(call, Way::There, ErrorKind::Transient)?;
        let answer = answer.await;
        let delay = self.delays.lock().unwrap().get(call).copied();
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await; // fault: a walk over what cannot be cleared away
        }
        self.wait(call, Way::Back).await;
        self.error(call, Way::Back, ErrorKind::Ambiguous)?;
        answer
    }

    fn error(&self, call: &'static str, way: Way, kind: ErrorKind) -> Result<()> {
        let mut errors = self.errors.lock().unwrap();
        let at = errors.iter().position(|error| *error == (call, way));
        let fails = at.map(|at| errors.remove(at)).is_some();
        if fails || (way == Way::There && self.is_cut.load(Ordering::SeqCst)) {
            return Err(Error::new(kind, format!("{call}: a fault of this test")));
        }
        Ok(())
    }

    async fn wait(&self, call: &'static str, way: Way) {
        let stop = {
            let mut stops = self.stops.lock().unwrap();
            let at = stops.iter().position(|s| s.call == call && s.way == way);
            at.map(|at| stops.remove(at))
        };
        if let Some(stop) = stop {
            let (go_on, gone_on) = oneshot::channel();
            if stop.stopped.send(go_on).is_ok() {
                let _ = gone_on.await;
            }
        }
    }
}

macro_rules! pass_on {
    ($($call:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+ @ $own:item) => {
        #[async_trait]
        impl Store for Tap {
            $(async fn $call(&self, $($argument: $type),*) -> Result<$answer> {
                self.pass(stringify!($call), self.store.$call($($argument),*)).await
            })+
            $own
        }
    };
}

pass_on! {
    migrate() -> ();
    check_schema() -> ();
    now() -> Timestamp;
    create(tasks: Vec<NewTask>) -> Vec<Created>;
    create_and_claim(tasks: Vec<NewTask>, claim: ClaimNew) -> (Vec<Created>, Vec<Claimed>);
    steer(ids: Vec<TaskId>, filter: Filter, wish: Wish) -> Vec<Steered>;
    steer_once(operation: OperationId, ids: Vec<TaskId>, filter: Filter, wish: Wish) -> Vec<Steered>;
    concluded(operation: OperationId, wish: Wish) -> Option<Tally>;
    conclude(operation: OperationId, wish: Wish, tally: Tally) -> ();
    get(ids: Vec<TaskId>) -> Vec<Option<TaskRecord>>;
    list(filter: Filter, after: Option<Cursor>, limit: usize) -> Page;
    payload(id: TaskId, which: Payload) -> Option<Vec<u8>>;
    outputs(ids: Vec<TaskId>) -> Vec<Option<Vec<u8>>>;
    failures(id: TaskId) -> Vec<Failure>;
    explain(id: TaskId) -> Option<Facts>;
    publish_kinds(kinds: Vec<(Name, Rules)>) -> ();
    kinds() -> Vec<KindRow>;
    register(card: NodeCard) -> ();
    beat(node: NodeId, pulse: Pulse, ttl_ms: u64) -> BeatAnswer;
    retire(node: NodeId) -> bool;
    declare_dead(node: NodeId, seq: u64) -> bool;
    nodes() -> Vec<NodeRow>;
    glance(node: NodeId, width: usize, depth: Depth) -> Glance;
    lanes(kinds: Vec<KindKey>, look: LaneLook) -> Vec<LaneView>;
    running_elsewhere(node: NodeId) -> Vec<RunningIn>;
    heads(kinds: Vec<KindKey>, reaches: Vec<Reach>) -> Vec<LaneView>;
    claim(claim: Claim) -> ClaimAnswer;
    claim_these(claim: ClaimThese, bounds: Bounds) -> ClaimAnswer;
    offers(sought: Sought, limit: usize) -> Vec<Offer>;
    full(keys: Vec<ScopeKey>) -> Vec<ScopeKey>;
    config() -> Config;
    set(scope: Scope, changes: Vec<SettingChange>) -> Applied;
    settle(scope: Scope) -> ();
    set_policy(policy: Option<String>) -> Applied;
    save(saves: Vec<Save>) -> Vec<Saved>;
    try_suspect(id: TaskId, run: RunId) -> bool;
    end(ends: Vec<End>) -> Vec<Ended>;
    held(node: NodeId, limit: usize) -> Vec<(TaskId, RunId)>;
    verify(runs: Vec<(TaskId, RunId)>) -> Vec<Option<Status>>;
    promote(limit: usize) -> Promoted;
    wake(limit: usize) -> usize;
    sweep(limit: usize) -> Swept;
    prune(limit: usize) -> usize;
    hint(hint: Hint) -> ();
    listen() -> Option<Hints>;
    @
    async fn claim_within(&self, claim: Claim, bounds: Bounds) -> Result<ClaimAnswer> {
        let one_less = |claims: u64| claims.checked_sub(1);
        let others = &self.others_claim;
        let passes_over = others.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        let answer = async {
            match passes_over {
                Ok(_) => Ok(ClaimAnswer {
                    unseen: claim.grants.iter().map(|grant| grant.lane).collect(),
                    ..ClaimAnswer::default()
                }),
                Err(_) => self.store.claim_within(claim, bounds).await,
            }
        };
        self.pass("claim_within", answer).await
    }
}
