//! Large clusters: what each node asks of the database when nothing happens, when there is work, and when many nodes die.

use super::database::Database;
use super::history::{History, Report};
use super::store::{Faults, FaultyStore};
use super::work::Count;
use peerwork::{Client, Env, Handler, LeaseTimes, Machine, Node, NodeId, Timestamp};
use peerwork_store::{Depth, MemoryStore, NodeRow, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What the cluster does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing, for half a minute.
    Idle,
    /// Two tasks a node are created in one call, and run to their ends.
    Busy,
    /// One task is created, and runs to its end.
    OneTask,
    /// One node in ten dies at once: those that follow each other in the ring, so that most lose all their watchers.
    Deaths,
}

/// What the nodes asked of the database in a phase.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The phase.
    pub phase: Phase,
    /// Its length in virtual time.
    pub time: Duration,
    /// How often each call was made, by all nodes together.
    pub calls: BTreeMap<&'static str, u64>,
}

impl Traffic {
    /// All calls together.
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// How often `call` was made.
    pub fn of(&self, call: &str) -> u64 {
        self.calls.get(call).copied().unwrap_or_default()
    }
}

/// A cluster of `nodes` nodes with the default lease, in every phase.
pub fn large_cluster(nodes: usize, seed: u64) -> (Vec<Traffic>, Report) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without input and output needs nothing of the machine");
    runtime.block_on(async {
        let mut cluster = Cluster::new(seed).await;
        cluster.start(nodes).await;
        let mut traffic = vec![cluster.idle().await, cluster.one_task().await];
        traffic.push(cluster.busy().await);
        traffic.push(cluster.deaths().await);
        (traffic, cluster.history.report())
    })
}

struct Cluster {
    env: Env,
    store: MemoryStore,
    history: History,
    nodes: BTreeMap<NodeId, (Node, Arc<Faults>)>,
    /// What was asked by those that have died.
    left: BTreeMap<&'static str, u64>,
    people: Client,
}

const LEASE: LeaseTimes = LeaseTimes {
    beat_ms: 3_000,
    ttl_ms: 15_000,
    margin_ms: 2_000,
};
/// Long enough for every node to have looked around, and for no wake-up to be under way any more.
const REST: Duration = Duration::from_secs(10);
/// How long any phase may take.
const BOUND: Duration = Duration::from_secs(600);

impl Cluster {
    async fn new(seed: u64) -> Self {
        let env = Env::simulated(seed);
        let clock = env.clone();
        let store =
            MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000_000));
        store.start_audit();
        let history = History::new();
        let faults = Faults::new(
            env.clone(),
            Machine::default(),
            Arc::new(Database::new(LEASE)),
        );
        let their_store: Arc<dyn Store> = FaultyStore::new(store.clone(), history.clone(), faults);
        let people = Client::connect_in(their_store, env.clone()).await;
        Self {
            env,
            store,
            history,
            people: people.expect("nothing is broken"),
            nodes: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    async fn start(&mut self, nodes: usize) {
        for _ in 0..nodes {
            let machine = Machine::default();
            let env = self.env.on(&machine);
            let faults = Faults::new(self.env.clone(), machine, Arc::new(Database::new(LEASE)));
            let store: Arc<dyn Store> =
                FaultyStore::new(self.store.clone(), self.history.clone(), faults.clone());
            let count = Count {
                env: self.env.clone(),
                history: self.history.clone(),
                margin_ms: LEASE.margin_ms,
            };
            let node = Node::builder(store)
                .env(env)
                .lease(LEASE)
                .slots(4)
                .register(count)
                .start()
                .await
                .expect("nothing is broken");
            self.nodes.insert(node.id(), (node, faults));
        }
        self.rest().await;
    }

    /// Waits until all is quiet, and forgets what was asked meanwhile.
    async fn rest(&mut self) {
        tokio::time::sleep(REST).await;
        self.take_calls();
    }

    fn take_calls(&mut self) -> BTreeMap<&'static str, u64> {
        let mut all = std::mem::take(&mut self.left);
        for (_, faults) in self.nodes.values() {
            for (call, times) in faults.take_calls() {
                *all.entry(call).or_default() += times;
            }
        }
        all
    }

    async fn idle(&mut self) -> Traffic {
        let time = Duration::from_secs(30);
        tokio::time::sleep(time).await;
        let traffic = self.traffic(Phase::Idle, time);
        self.rest().await;
        traffic
    }

    fn traffic(&mut self, phase: Phase, time: Duration) -> Traffic {
        let calls = self.take_calls();
        Traffic { phase, time, calls }
    }

    async fn one_task(&mut self) -> Traffic {
        let started = Instant::now();
        self.create(1, 1).await;
        self.finish().await;
        let traffic = self.traffic(Phase::OneTask, started.elapsed());
        self.rest().await;
        traffic
    }

    async fn busy(&mut self) -> Traffic {
        let started = Instant::now();
        self.create(2 * self.nodes.len(), 3).await;
        self.finish().await;
        let traffic = self.traffic(Phase::Busy, started.elapsed());
        self.rest().await;
        traffic
    }

    /// Long tasks on every node; a tenth of the nodes dies, and their tasks are to be elsewhere in time.
    async fn deaths(&mut self) -> Traffic {
        self.create(2 * self.nodes.len(), 40).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.take_calls();
        let victims: Vec<_> = self.nodes.keys().copied().collect();
        let victims: BTreeSet<_> = victims.into_iter().take(self.nodes.len() / 10).collect();
        let started = Instant::now();
        for victim in &victims {
            let (_node, faults) = self.nodes.remove(victim).expect("it lives");
            faults.machine.crash();
            for (call, times) in faults.take_calls() {
                *self.left.entry(call).or_default() += times;
            }
        }
        let is_rescued = |rows: &[NodeRow]| {
            let mut rows = rows.iter().filter(|row| victims.contains(&row.id));
            rows.all(|row| row.held == 0)
        };
        while !is_rescued(&self.store.nodes().await.expect("it is in memory")) {
            if started.elapsed() > BOUND {
                let what = "the tasks of dead nodes were not rescued".to_owned();
                self.history.violation("I20", what);
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.traffic(Phase::Deaths, started.elapsed())
    }

    async fn create(&self, tasks: usize, steps: u64) {
        let drafts = (0..tasks).map(|n| Count::task(steps).user(format!("user{}", n % 10)));
        self.people
            .create_many(drafts)
            .await
            .expect("nothing is broken")
            .iter()
            .for_each(|task| self.history.created(task.id()));
    }

    /// Waits until no task is ready or held.
    async fn finish(&self) {
        let started = Instant::now();
        loop {
            let held = self.store.nodes().await.expect("it is in memory");
            let is_over = held.iter().all(|node| node.held == 0);
            let glance = self
                .store
                .glance(NodeId(Default::default()), 0, Depth::Full)
                .await;
            let glance = glance.expect("it is in memory");
            if is_over && !glance.ready && glance.next_wake.is_none() {
                return;
            }
            if started.elapsed() > BOUND {
                let what = "tasks are not over".to_owned();
                self.history.violation("I20", what);
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
