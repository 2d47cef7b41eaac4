//! What happens to the cluster: nodes come, drain, crash and are cut off; people create and steer; then peace.

use super::database::Database;
use super::history::{History, Report};
use super::limits;
use super::store::{Faults, FaultyStore};
use super::work::Count;
use super::{Mode, Plan};
use peerwork::{Client, Draft, Env, Handler, LeaseTimes, Machine, Node, TaskHandle, TaskId};
use peerwork_core::{Status, Timestamp};
use peerwork_store::{MemoryStore, Seen, Store};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(super) const LEASE: LeaseTimes = LeaseTimes {
    beat_ms: 1_000,
    ttl_ms: 5_000,
    margin_ms: 1_000,
};

/// How long the world gets to come to its end when the faults have stopped.
///
/// Under a limit of one everything runs one after the other.
const PEACE: Duration = Duration::from_secs(1_800);

/// More tasks than all nodes together have slots for: a node starts at once what it has claimed.
const PLENTY: usize = 40;

struct World {
    plan: Plan,
    env: Env,
    store: MemoryStore,
    history: History,
    nodes: Vec<(Node, Arc<Faults>)>,
    /// How far the database's clock has jumped, in microseconds.
    jump: Arc<AtomicI64>,
    /// The furthest that it ever was ahead.
    furthest: AtomicI64,
    database: Arc<Database>,
    /// Machines so far.
    machines: u64,
    drains: Vec<tokio::task::JoinHandle<()>>,
    /// What nodes' own clients have created.
    own: Arc<Mutex<Vec<TaskId>>>,
}

const HOUR_US: i64 = 3_600_000_000;

pub(super) async fn run(plan: Plan) -> Report {
    let env = Env::simulated(plan.seed);
    let clock = env.clone();
    // The database's clock is its own: it started long before.
    let jump = Arc::new(AtomicI64::new(0));
    let jumped = jump.clone();
    let store = MemoryStore::with_clock(move || {
        Timestamp(clock.now().0 as i64 + 10 * HOUR_US + jumped.load(Ordering::Relaxed))
    });
    store.start_audit();
    let mut world = World {
        plan,
        env,
        store,
        history: History::new(),
        nodes: Vec::new(),
        jump,
        furthest: AtomicI64::new(0),
        database: Arc::new(Database::new(LEASE)),
        machines: 0,
        drains: Vec::new(),
        own: Arc::default(),
    };
    if plan.in_words {
        world.history.in_words();
    }
    for _ in 0..plan.nodes {
        world.add_node().await;
    }
    let people = tokio::spawn(people(
        plan,
        world.env.clone(),
        world.store.clone(),
        world.history.clone(),
        world.database.clone(),
    ));
    world.faults().await;
    let tasks = people.await.expect("people do not panic");
    match plan.mode {
        Mode::Safety => {}
        Mode::Liveness => world.peace(&tasks).await,
    }
    world.history.report()
}

impl World {
    async fn add_node(&mut self) {
        while self.database.is_read_only() {
            // A node has to be written down before it is one.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // No two machines' clocks agree.
        self.machines += 1;
        let machine = Machine::new(Duration::from_secs(1_000 * self.machines));
        let env = self.env.on(&machine);
        let faults = Faults::new(self.env.clone(), machine, self.database.clone());
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
            .slots(1 + self.dice(4))
            .drain_deadline(Duration::from_secs(5))
            .register(count)
            .start()
            .await
            .expect("a node starts while nothing is broken yet");
        faults.set_rate([0, 5, 50, 200][self.dice(4)]);
        self.nodes.push((node, faults));
    }

    fn dice(&self, sides: usize) -> usize {
        self.env.random() as usize % sides
    }

    /// Breaks something every few seconds.
    async fn faults(&mut self) {
        let until = tokio::time::Instant::now() + self.plan.faults_for;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(self.dice(4_000) as u64)).await;
            self.replace_crashed().await;
            let victim = self.dice(self.nodes.len());
            match self.dice(12) {
                0 => {
                    self.history.happened("crash", victim);
                    self.nodes[victim].1.machine.crash();
                    self.replace_crashed().await;
                }
                1 => {
                    let (node, faults) = self.nodes.swap_remove(victim);
                    self.drain(node, &faults.machine);
                    self.add_node().await;
                }
                2 => self.cut_off(&[victim]),
                3 => self.freeze(victim),
                4 => {
                    let (call, carried_out) = (self.dice(10) as u32, self.dice(2) == 0);
                    self.nodes[victim].1.crash_at(call, carried_out);
                }
                5 if self.dice(2) == 0 => self.jump(),
                6 if self.dice(3) == 0 => {
                    self.history.happened("outage", ());
                    self.cut_off(&(0..self.nodes.len()).collect::<Vec<_>>());
                }
                8 if self.dice(3) == 0 => self.read_only(),
                7 if self.plan.loses_history => self.lose_history().await,
                9..11 => self.create_on(victim),
                _ => {}
            }
        }
    }

    /// A node's own client creates a task, which the node may start at once. It may crash meanwhile, so nobody waits for it.
    fn create_on(&self, node: usize) {
        let (node, faults) = &self.nodes[node];
        let (client, own, history) = (node.client(), self.own.clone(), self.history.clone());
        let draft = Count::task(1 + self.dice(20) as u64)
            .user("own")
            .group(format!("group{}", self.dice(2)));
        let create = self.env.on(&faults.machine).contain(async move {
            if let Ok(task) = client.create(draft).await {
                history.created(task.id());
                own.lock().expect("no panic").push(task.id());
            }
        });
        tokio::spawn(create);
    }

    async fn replace_crashed(&mut self) {
        let nodes = std::mem::take(&mut self.nodes);
        let (crashed, alive): (Vec<_>, Vec<_>) = nodes
            .into_iter()
            .partition(|(_, faults)| faults.machine.is_crashed());
        self.nodes = alive;
        for _ in crashed {
            self.add_node().await;
        }
    }

    /// Its machine may freeze or crash meanwhile, so nobody waits for it.
    fn drain(&mut self, node: Node, machine: &Machine) {
        let history = self.history.clone();
        let drain = self.env.on(machine).contain(async move {
            let report = node.drain().await;
            let report = (report.handed_over, report.ended, report.abandoned);
            history.happened("drain", report);
        });
        self.drains.push(tokio::spawn(drain));
    }

    fn cut_off(&self, victims: &[usize]) {
        let time = Duration::from_millis(self.dice(3 * LEASE.ttl_ms as usize) as u64);
        for victim in victims {
            self.history.happened("cut off begins", victim);
            let faults = self.nodes[*victim].1.clone();
            faults.cut_off(true);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                faults.cut_off(false);
            });
        }
    }

    /// The database can be read and not written for a while.
    fn read_only(&self) {
        if self.database.is_read_only() {
            return;
        }
        self.history.happened("read only begins", ());
        self.database.set_read_only(true);
        let time = Duration::from_millis(self.dice(3 * LEASE.ttl_ms as usize) as u64);
        let database = self.database.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            database.set_read_only(false);
        });
    }

    fn freeze(&self, victim: usize) {
        let time = Duration::from_millis(self.dice(3 * LEASE.ttl_ms as usize) as u64);
        self.history.happened("freeze", (victim, time));
        let machine = self.nodes[victim].1.machine.clone();
        machine.freeze();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            machine.thaw();
        });
    }

    /// The database's clock goes an hour forth or back; no further back than where it began.
    fn jump(&self) {
        let by = if self.dice(2) == 0 || self.jump.load(Ordering::Relaxed) < 0 {
            HOUR_US
        } else {
            -HOUR_US
        };
        let before = self.jump.fetch_add(by, Ordering::Relaxed);
        self.furthest.fetch_max(before + by, Ordering::Relaxed);
        self.history.happened("clock jump", by);
    }

    /// The database fails over to a copy that is up to three seconds behind.
    async fn lose_history(&self) {
        let snapshot = self.store.snapshot();
        let nodes = self
            .store
            .nodes()
            .await
            .expect("the store in memory answers");
        let alive = nodes.iter().filter(|node| node.alive);
        let alive = alive.map(|node| node.id).collect();
        let beats: BTreeMap<_, _> = nodes.iter().map(|node| (node.id, node.seq)).collect();
        tokio::time::sleep(Duration::from_millis(self.dice(3_000) as u64)).await;
        let rows = self.store.restore(&snapshot);
        self.database.fail_over();
        self.history.restored(&beats, &alive, rows);
    }

    /// Nothing breaks any more: everything must come to its end.
    async fn peace(&mut self, tasks: &[TaskHandle<Count>]) {
        self.database.set_read_only(false);
        self.replace_crashed().await;
        for (_, faults) in &self.nodes {
            faults.set_rate(0);
            faults.cut_off(false);
            faults.machine.thaw();
        }
        // A clock that was set back is put right: what was to be due by the old one waits for that.
        let furthest = self.furthest.load(Ordering::Relaxed);
        self.jump.fetch_max(furthest, Ordering::Relaxed);
        limits::open(&self.store)
            .await
            .expect("the store in memory answers");
        for task in tasks {
            self.history.resume_asked(task.id());
            // Refused where it is over or being deleted; that is as good.
            let _ = task.resume().await;
        }
        let mut ids: Vec<_> = tasks.iter().map(TaskHandle::id).collect();
        ids.extend(self.own.lock().expect("no panic").iter());
        let until = tokio::time::Instant::now() + PEACE;
        while tokio::time::Instant::now() < until && !self.is_over(&ids).await {
            // A fuse may still burn down.
            self.replace_crashed().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if self.is_over(&ids).await {
            ids.extend(self.plenty().await);
        }
        let records = self
            .store
            .get(ids)
            .await
            .expect("the store in memory answers");
        let seen = |record: peerwork::TaskRecord| {
            (
                record.id,
                Seen {
                    task: record.task,
                    run: record.run,
                    node: record.node,
                },
            )
        };
        self.history.ended(records.into_iter().flatten().map(seen));
        for (node, _) in self.nodes.drain(..) {
            let report = node.drain().await;
            if report.abandoned > 0 {
                self.history.violation(
                    "I20",
                    format!("{} tasks abandoned by a drain in peace", report.abandoned),
                );
            }
        }
    }

    /// Every node that lives is known to be alive, and claims where there is work for all of them.
    async fn plenty(&mut self) -> Vec<TaskId> {
        for (_, faults) in &self.nodes {
            faults.disarm();
        }
        self.replace_crashed().await;
        // Whoever was declared dead hears of it at its next beat.
        tokio::time::sleep(Duration::from_millis(4 * LEASE.ttl_ms)).await;
        let rows = self.store.nodes().await;
        let rows = rows.expect("the store in memory answers");
        for (node, _) in &self.nodes {
            let id = node.id();
            if !rows.iter().any(|row| row.id == id && row.alive) {
                let what = format!("node {id} lives, and is not alive in the database");
                self.history.violation("I20", what);
            }
        }
        limits::clear(&self.store)
            .await
            .expect("the store in memory answers");
        let claims = |world: &Self| -> Vec<_> {
            let nodes = world.nodes.iter();
            nodes
                .map(|(node, _)| world.history.claims(node.id()))
                .collect()
        };
        let before = claims(self);
        let faults = Faults::new(self.env.clone(), Machine::default(), self.database.clone());
        let store: Arc<dyn Store> =
            FaultyStore::new(self.store.clone(), self.history.clone(), faults);
        let client = Client::connect_in(store, self.env.clone()).await;
        let client = client.expect("nothing is broken any more");
        let drafts = (0..PLENTY).map(|_| Count::task(1).user("ann").group("plenty"));
        let tasks = client.create_many(drafts).await;
        let tasks = tasks.expect("nothing is broken any more");
        let ids: Vec<_> = tasks.iter().map(TaskHandle::id).collect();
        ids.iter().for_each(|id| self.history.created(*id));
        let until = tokio::time::Instant::now() + PEACE;
        while tokio::time::Instant::now() < until && !self.is_over(&ids).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for ((node, _), (before, after)) in
            self.nodes.iter().zip(before.into_iter().zip(claims(self)))
        {
            if before == after {
                let what = format!("node {} claims nothing of {PLENTY} tasks", node.id());
                self.history.violation("I17", what);
            }
        }
        ids
    }

    async fn is_over(&self, ids: &[TaskId]) -> bool {
        let records = self
            .store
            .get(ids.to_vec())
            .await
            .expect("the store in memory answers");
        records
            .iter()
            .flatten()
            .all(|record| record.task.status.is_final())
    }
}

/// Creates tasks, steers them and sets limits at random, one call after the other, over a connection of its own that fails too;
/// at the end takes every pause back.
async fn people(
    plan: Plan,
    env: Env,
    inner: MemoryStore,
    history: History,
    database: Arc<Database>,
) -> Vec<TaskHandle<Count>> {
    let machine = Machine::default();
    let faults = Faults::new(env.clone(), machine, database);
    let store: Arc<dyn Store> = FaultyStore::new(inner, history.clone(), faults.clone());
    let client = Client::connect_in(store, env.clone())
        .await
        .expect("nothing is broken yet");
    faults.set_rate(50);
    let dice = |sides: usize| env.random() as usize % sides;
    let mut tasks = Vec::new();
    let until = tokio::time::Instant::now() + plan.faults_for;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(dice(3_000) as u64)).await;
        if tasks.len() < plan.tasks {
            tasks.extend(create(&client, &history, tasks.len(), 1 + dice(20) as u64).await);
        }
        if dice(4) == 0 {
            limits::set(&client, &history, dice).await;
        }
        if tasks.is_empty() {
            continue;
        }
        let task = &tasks[dice(tasks.len())];
        steer(task, &history, dice(12)).await;
    }
    faults.set_rate(0);
    tasks
}

/// Creates a task under an id of its own, again and again until it is acknowledged.
async fn create(
    client: &Client,
    history: &History,
    n: usize,
    steps: u64,
) -> Option<TaskHandle<Count>> {
    let id = client.new_task_id();
    for _ in 0..20 {
        let draft: Draft<Count> = Count::task(steps)
            .id(id)
            .user(format!("user{}", n % 3))
            .group(format!("group{}", n % 2));
        if let Ok(task) = client.create(draft).await {
            history.created(id);
            history.happened("created", id);
            return Some(task);
        }
    }
    None
}

async fn steer(task: &TaskHandle<Count>, history: &History, what: usize) {
    let id = task.id();
    match what {
        0 | 1 => {
            if let Ok(status) = task.pause().await {
                history.pause_acknowledged(id);
                history.happened("paused", status.code());
            }
        }
        2..=4 => {
            history.resume_asked(id);
            let resumed = task.resume().await.is_ok();
            history.happened("resumed", resumed);
        }
        5 => {
            let moved = task
                .move_to(["group0", "group1", "group2"][(id.0.as_u128() % 3) as usize])
                .await
                .is_ok();
            history.happened("moved", moved);
        }
        6 => {
            if let Ok(status) = task.delete().await {
                history.delete_acknowledged(id);
                history.happened("deleted", status == Status::Deleted);
            }
        }
        _ => {}
    }
}
