//! What happens to the cluster: nodes come, drain, crash and are cut off; people create and steer; then peace.

use super::Plan;
use super::history::{History, Report};
use super::store::{Faults, FaultyStore};
use super::work::Count;
use peerwork::{Client, Draft, Env, Handler, LeaseTimes, Node, TaskHandle};
use peerwork_core::{Status, Timestamp};
use peerwork_store::{MemoryStore, Seen, Store};
use std::sync::Arc;
use std::time::Duration;

const LEASE: LeaseTimes = LeaseTimes {
    beat_ms: 1_000,
    ttl_ms: 5_000,
    margin_ms: 1_000,
};

/// How long the world gets to come to its end when the faults have stopped.
const PEACE: Duration = Duration::from_secs(600);

struct World {
    plan: Plan,
    env: Env,
    store: MemoryStore,
    history: History,
    nodes: Vec<(Node, Arc<Faults>)>,
}

pub(super) async fn run(plan: Plan) -> Report {
    let env = Env::simulated(plan.seed);
    let clock = env.clone();
    // The database's clock is its own: it started long before.
    let store = MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000_000));
    store.start_audit();
    let mut world = World {
        plan,
        env,
        store,
        history: History::new(),
        nodes: Vec::new(),
    };
    for _ in 0..plan.nodes {
        world.add_node().await;
    }
    let people = tokio::spawn(people(
        plan,
        world.env.clone(),
        world.store.clone(),
        world.history.clone(),
    ));
    world.faults().await;
    let tasks = people.await.expect("people do not panic");
    world.peace(&tasks).await;
    world.history.report()
}

impl World {
    async fn add_node(&mut self) {
        let faults = Faults::new(self.env.clone());
        let store: Arc<dyn Store> =
            FaultyStore::new(self.store.clone(), self.history.clone(), faults.clone());
        let count = Count {
            env: self.env.clone(),
            history: self.history.clone(),
        };
        let node = Node::builder(store)
            .env(self.env.clone())
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
            let victim = self.dice(self.nodes.len());
            match self.dice(8) {
                0 => {
                    let (node, _) = self.nodes.swap_remove(victim);
                    self.history.happened("crash", victim);
                    drop(node);
                    self.add_node().await;
                }
                1 => {
                    let (node, _) = self.nodes.swap_remove(victim);
                    let report = node.drain().await;
                    self.history.happened(
                        "drain",
                        (report.handed_over, report.ended, report.abandoned),
                    );
                    self.add_node().await;
                }
                2 => {
                    self.history.happened("cut off begins", victim);
                    self.nodes[victim].1.cut_off(true);
                    let time = Duration::from_millis(self.dice(3 * LEASE.ttl_ms as usize) as u64);
                    let faults = self.nodes[victim].1.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(time).await;
                        faults.cut_off(false);
                    });
                }
                _ => {}
            }
        }
    }

    /// Nothing breaks any more: everything must come to its end.
    async fn peace(&mut self, tasks: &[TaskHandle<Count>]) {
        for (_, faults) in &self.nodes {
            faults.set_rate(0);
            faults.cut_off(false);
        }
        let until = tokio::time::Instant::now() + PEACE;
        while tokio::time::Instant::now() < until && !self.is_over(tasks).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let ids = tasks.iter().map(TaskHandle::id).collect();
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

    async fn is_over(&self, tasks: &[TaskHandle<Count>]) -> bool {
        let ids = tasks.iter().map(TaskHandle::id).collect();
        let records = self
            .store
            .get(ids)
            .await
            .expect("the store in memory answers");
        records
            .iter()
            .flatten()
            .all(|record| record.task.status.is_final())
    }
}

/// Creates tasks and steers them at random, one call after the other, over a connection of its own that fails too;
/// at the end takes every pause back.
async fn people(
    plan: Plan,
    env: Env,
    inner: MemoryStore,
    history: History,
) -> Vec<TaskHandle<Count>> {
    let faults = Faults::new(env.clone());
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
        if tasks.is_empty() {
            continue;
        }
        let task = &tasks[dice(tasks.len())];
        steer(task, &history, dice(12)).await;
    }
    faults.set_rate(0);
    for task in &tasks {
        history.resume_asked(task.id());
        // Refused where it is over or being deleted; that is as good.
        let _ = task.resume().await;
    }
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
