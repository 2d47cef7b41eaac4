//! A store with a tap on it: its calls are counted, and the answer to one may be held back.

use async_trait::async_trait;
use peerwork::{
    Cursor, Database, Failure, KindRow, LaneView, NodeId, NodeRow, Page, Rules, RunId, Status,
    TaskId, TaskRecord, Timestamp,
};
use peerwork_core::{BeatAnswer, KindKey, Name, Pulse};
use peerwork_store::{
    Claim, Claimed, Created, End, Ended, Filter, Glance, Hint, Hints, NewTask, NodeCard, Payload,
    Promoted, Save, Saved, Steered, Store, Swept, Wish,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::{oneshot, watch};

/// Passes everything on to the store of a place.
pub struct Tap {
    store: Arc<dyn Store>,
    calls: watch::Sender<BTreeMap<&'static str, usize>>,
    stops: Mutex<Vec<Stop>>,
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

    fn stop(&self, call: &'static str, way: Way) -> Stopped {
        let (stopped, wait) = oneshot::channel();
        let stop = Stop { call, way, stopped };
        self.stops.lock().unwrap().push(stop);
        Stopped(wait)
    }

    async fn pass<T>(&self, call: &'static str, answer: impl Future<Output = T>) -> T {
        self.calls
            .send_modify(|calls| *calls.entry(call).or_default() += 1);
        self.wait(call, Way::There).await;
        let answer = answer.await;
        self.wait(call, Way::Back).await;
        answer
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
    ($($call:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for Tap {
            $(async fn $call(&self, $($argument: $type),*) -> peerwork_store::Result<$answer> {
                self.pass(stringify!($call), self.store.$call($($argument),*)).await
            })+
        }
    };
}

pass_on! {
    migrate() -> ();
    check_schema() -> ();
    now() -> Timestamp;
    create(tasks: Vec<NewTask>) -> Vec<Created>;
    steer(ids: Vec<TaskId>, filter: Filter, wish: Wish) -> Vec<Steered>;
    get(ids: Vec<TaskId>) -> Vec<Option<TaskRecord>>;
    list(filter: Filter, after: Option<Cursor>, limit: usize) -> Page;
    payload(id: TaskId, which: Payload) -> Option<Vec<u8>>;
    outputs(ids: Vec<TaskId>) -> Vec<Option<Vec<u8>>>;
    failures(id: TaskId) -> Vec<Failure>;
    publish_kinds(kinds: Vec<(Name, Rules)>) -> ();
    kinds() -> Vec<KindRow>;
    register(card: NodeCard) -> ();
    beat(node: NodeId, pulse: Pulse, ttl_ms: u64) -> BeatAnswer;
    retire(node: NodeId) -> bool;
    declare_dead(node: NodeId, seq: u64) -> bool;
    nodes() -> Vec<NodeRow>;
    glance(node: NodeId) -> Glance;
    lanes(kinds: Vec<KindKey>, limit: usize) -> Vec<LaneView>;
    claim(claim: Claim) -> Vec<Claimed>;
    save(saves: Vec<Save>) -> Vec<Saved>;
    end(ends: Vec<End>) -> Vec<Ended>;
    held(node: NodeId, limit: usize) -> Vec<(TaskId, RunId)>;
    verify(runs: Vec<(TaskId, RunId)>) -> Vec<Option<Status>>;
    promote(limit: usize) -> Promoted;
    wake(limit: usize) -> usize;
    sweep(limit: usize) -> Swept;
    prune(limit: usize) -> usize;
    hint(hint: Hint) -> ();
    listen() -> Option<Hints>;
}
