//! A store that times its claims: what a node's claimer waits for. Everything is passed on to the store behind it.

use crate::place::Place;
use async_trait::async_trait;
use peerwork::Database;
use peerwork_core::explain::Facts;
use peerwork_core::{
    BeatAnswer, Bounds, KindKey, LaneLook, LaneView, Name, NodeId, OperationId, Pulse, Reach,
    Rules, RunId, Scope, ScopeKey, SettingChange, Status, TaskId, Timestamp,
};
use peerwork_store::{
    Applied, Claim, ClaimAnswer, ClaimNew, ClaimThese, Claimed, Config, Created, Cursor, Depth,
    End, Ended, Failure, Filter, Glance, Hint, Hints, KindRow, NewTask, NodeCard, NodeRow, Offer,
    Page, Payload, Promoted, Result, RunningIn, Save, Saved, Sought, SqlStore, Steered, Store,
    Swept, Tally, TaskRecord, Wish,
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// As many as a node opens: one claims, one writes ends, one saves, one looks, and one beats.
const CONNECTIONS: u32 = 5;

/// Claims that are kept: more than there are in the longest run.
const CLAIMS_MAX: usize = 1_000_000;

pub struct Timed {
    store: SqlStore,
    claims: Mutex<Vec<Duration>>,
}

impl Timed {
    /// Over the tables of `place`, with a node's connections.
    pub async fn over(place: &Place) -> anyhow::Result<Arc<Self>> {
        let store = SqlStore::connect(&place.url, place.settings(), CONNECTIONS).await?;
        Ok(Arc::new(Self {
            store: store.own_connections(CONNECTIONS),
            claims: Mutex::default(),
        }))
    }

    /// For a node.
    pub fn database(self: &Arc<Self>) -> Database {
        Database::from(self.clone() as Arc<dyn Store>)
    }

    /// How many claims have got tasks since they were last taken.
    pub fn claims(&self) -> usize {
        self.claims.lock().expect("no panic under the lock").len()
    }

    fn timed(&self, started: Instant, got: usize) {
        let mut claims = self.claims.lock().expect("no panic under the lock");
        if got > 0 && claims.len() < CLAIMS_MAX {
            claims.push(started.elapsed());
        }
    }

    /// How long the claims took that got tasks, since this was last asked.
    pub fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.claims.lock().expect("no panic under the lock"))
    }
}

macro_rules! pass_on {
    ($($call:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for Timed {
            async fn claim(&self, claim: Claim) -> Result<ClaimAnswer> {
                let started = Instant::now();
                let claimed = self.store.claim(claim).await?;
                self.timed(started, claimed.tasks.len());
                Ok(claimed)
            }

            async fn claim_within(&self, claim: Claim, bounds: Bounds) -> Result<ClaimAnswer> {
                let started = Instant::now();
                let answer = self.store.claim_within(claim, bounds).await?;
                self.timed(started, answer.tasks.len());
                Ok(answer)
            }

            $(async fn $call(&self, $($argument: $type),*) -> Result<$answer> {
                self.store.$call($($argument),*).await
            })+
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
    heads(kinds: Vec<KindKey>, reaches: Vec<Reach>) -> Vec<LaneView>;
    lanes(kinds: Vec<KindKey>, look: LaneLook) -> Vec<LaneView>;
    running_elsewhere(node: NodeId) -> Vec<RunningIn>;
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
}
