//! What a queue can cost at most, in virtual time, where the bounds are exact.

#[path = "kit/lossy.rs"]
mod lossy;

use lossy::Lossy;
use peerwork::queue::QueueResult;
use peerwork::*;
use peerwork_store::{MemoryStore, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// A look, whatever wakes a node is lost; and what a few calls take.
const LOOK: Duration = Duration::from_millis(1_000 + 100);

/// Notes when each run began, and returns once it may.
#[derive(Clone)]
struct Noted {
    began: watch::Sender<BTreeMap<TaskId, Vec<Instant>>>,
    may_end: Arc<watch::Sender<bool>>,
}

impl Noted {
    fn new() -> Self {
        Self {
            began: watch::Sender::default(),
            may_end: Arc::new(watch::Sender::new(true)),
        }
    }

    /// Waits until so many tasks have begun.
    async fn begun(&self, tasks: usize) {
        let mut began = self.began.subscribe();
        let enough = began.wait_for(|began| began.len() >= tasks).await;
        enough.expect("the sender is ours");
    }
}

impl Handler for Noted {
    const KIND: &'static str = "noted";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        let id = run.id();
        self.began.send_modify(|began| {
            began.entry(id).or_default().push(Instant::now());
        });
        let mut may_end = self.may_end.subscribe();
        may_end
            .wait_for(|may| *may)
            .await
            .expect("the sender is ours");
        Ok(())
    }
}

struct Cluster {
    env: Env,
    store: MemoryStore,
    noted: Noted,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let env = Env::simulated(seed);
        let clock = env.clone();
        let store = MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000));
        Self {
            env,
            store,
            noted: Noted::new(),
        }
    }

    async fn node(&self, slots: usize, queue: impl ExternalQueue) -> Node {
        let node = Node::builder(self.store.clone()).env(self.env.clone());
        let node = node.register(self.noted.clone()).slots(slots);
        node.queue(Work::Run, queue).start().await.unwrap()
    }

    /// Tasks of another process, of which nobody hears.
    async fn create(&self, tasks: usize) -> Vec<TaskId> {
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        let client = Client::connect_in(store, self.env.clone()).await.unwrap();
        let drafts = (0..tasks).map(|n| {
            let user = format!("user {}", n % 5);
            Noted::task(()).user(user).group("g")
        });
        let created = client.create_many(drafts).await.unwrap();
        created.iter().map(|task| task.id()).collect()
    }

    /// How long after `created` each of these began, the last one; and each began once.
    fn longest(&self, tasks: &[TaskId], created: Instant) -> Duration {
        let began = self.noted.began.borrow();
        let waits = tasks.iter().map(|id| {
            let times = &began[id];
            assert_eq!(times.len(), 1, "task {id} ran {} times", times.len());
            times[0] - created
        });
        waits.max().unwrap_or_default()
    }
}

/// Does nothing, in one of the ways in which nothing can be done.
struct Nothing {
    hangs: bool,
}

#[async_trait]
impl ExternalQueue for Nothing {
    async fn offer(&self, _: Vec<Offer>) -> QueueResult<()> {
        Ok(())
    }

    async fn withdraw(&self, _: Vec<TaskId>) -> QueueResult<()> {
        Ok(())
    }

    async fn next(&self, _: &OpenLanes, _: usize) -> QueueResult<Vec<TaskId>> {
        match self.hangs {
            true => std::future::pending().await,
            false => Ok(Vec::new()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_loses_everything_costs_the_patience_of_its_node_once() {
    let patience = Duration::from_millis(QueueTimes::default().patience_ms);
    let cluster = Cluster::new(1);
    let node = cluster.node(8, Nothing { hangs: false }).await;
    for round in 1..=3 {
        let created = Instant::now();
        let tasks = cluster.create(8).await;
        cluster.noted.begun(8 * round).await;
        let longest = cluster.longest(&tasks, created);
        if round == 1 {
            assert!(longest <= patience + LOOK, "{longest:?}");
            assert!(longest >= patience, "it was not waited for: {longest:?}");
        } else {
            assert!(longest <= LOOK, "it is given up: {longest:?}");
        }
        tokio::time::advance(Duration::from_millis(7_321)).await;
    }
    node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_hangs_costs_the_time_of_an_answer() {
    let answer = Duration::from_millis(QueueTimes::default().answer_ms);
    let cluster = Cluster::new(2);
    let node = cluster.node(8, Nothing { hangs: true }).await;
    let created = Instant::now();
    let tasks = cluster.create(8).await;
    cluster.noted.begun(8).await;
    let longest = cluster.longest(&tasks, created);
    assert!(longest <= answer + LOOK, "{longest:?}");
    assert!(longest >= answer, "it was not waited for: {longest:?}");
    // It rests meanwhile.
    let created = Instant::now();
    let tasks = cluster.create(8).await;
    cluster.noted.begun(16).await;
    let longest = cluster.longest(&tasks, created);
    assert!(longest <= LOOK, "{longest:?}");
    node.drain().await;
}

/// A hang is left as soon as the node drains.
#[tokio::test(start_paused = true)]
async fn a_queue_that_hangs_does_not_hold_up_a_drain() {
    let cluster = Cluster::new(3);
    let node = cluster.node(8, Nothing { hangs: true }).await;
    cluster.create(1).await;
    tokio::time::advance(LOOK).await;
    let report = node.drain().await;
    assert!(report.took < Duration::from_millis(100), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn whatever_queues_lose_every_task_runs_once_and_within_the_bound() {
    const TASKS: usize = 30;
    let patience = Duration::from_millis(QueueTimes::default().patience_ms);
    let mut waited = Duration::ZERO;
    for seed in 0..24 {
        let cluster = Cluster::new(seed);
        let keeps_one_in = [2, 30, 3_000][seed as usize % 3];
        let lossy = |seed| Lossy::of(seed).keeping_one_in(keeps_one_in);
        let first = cluster.node(4 * TASKS, lossy(2 * seed)).await;
        let second = cluster.node(4 * TASKS, lossy(2 * seed + 1)).await;
        for wave in 1..=4 {
            let created = Instant::now();
            let tasks = cluster.create(TASKS).await;
            let all = cluster.noted.begun(wave * TASKS);
            let in_time = tokio::time::timeout(2 * patience, all).await;
            assert!(in_time.is_ok(), "seed {seed}, wave {wave}: some are lost");
            let longest = cluster.longest(&tasks, created);
            assert!(
                longest <= patience + LOOK,
                "seed {seed}, wave {wave}: {longest:?}"
            );
            waited = waited.max(longest);
        }
        first.drain().await;
        second.drain().await;
    }
    assert!(waited > LOOK, "nothing was ever lost: {waited:?}");
}

/// What is offered: by whom, and when all of it was.
#[derive(Default)]
struct Listed {
    tasks: MemoryQueue,
    offered: Notify,
}

#[async_trait]
impl ExternalQueue for Listed {
    async fn offer(&self, tasks: Vec<Offer>) -> QueueResult<()> {
        self.tasks.offer(tasks).await?;
        self.offered.notify_one();
        Ok(())
    }

    async fn withdraw(&self, tasks: Vec<TaskId>) -> QueueResult<()> {
        self.tasks.withdraw(tasks).await?;
        self.offered.notify_one();
        Ok(())
    }

    async fn next(&self, open: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>> {
        self.tasks.next(open, n).await
    }

    async fn known(&self, after: Option<TaskId>, n: usize) -> QueueResult<Vec<TaskId>> {
        self.tasks.known(after, n).await
    }
}

impl Listed {
    async fn knows(&self, tasks: usize) {
        while self.tasks.len() != tasks {
            self.offered.notified().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_learns_of_all_that_waits_behind_busy_slots_and_forgets_what_is_gone() {
    const MANY: usize = 4_500;
    let offer = Duration::from_millis(QueueTimes::default().offer_ms);
    // Where there is more than a page of a thousand, a further one comes every 200 ms; those of the first tour begin somewhere.
    let pages = Duration::from_millis(200) * (2 + 2 * MANY as u32 / 1_000);
    let cluster = Cluster::new(4);
    let queue = Arc::new(Listed::default());
    cluster.noted.may_end.send_replace(false);
    let node = cluster.node(1, queue.clone()).await;
    cluster.create(1).await;
    cluster.noted.begun(1).await;
    let mut known = 0;
    for (more, bound) in [(10, offer + LOOK), (MANY, offer + pages + LOOK)] {
        for batch in (0..more).step_by(1_000) {
            cluster.create(1_000.min(more - batch)).await;
        }
        known += more;
        let told = tokio::time::timeout(bound, queue.knows(known)).await;
        assert!(told.is_ok(), "it knows {} of {known}", queue.tasks.len());
    }
    // Somebody else has them now.
    let store: Arc<dyn Store> = Arc::new(cluster.store.clone());
    let client = Client::connect_in(store, cluster.env.clone())
        .await
        .unwrap();
    client.tasks().user("user 1").force_delete().await.unwrap();
    let left = known * 4 / 5;
    let rounds = offer * (2 + known as u32 / 1_000);
    let told = tokio::time::timeout(rounds + LOOK, queue.knows(left)).await;
    assert!(told.is_ok(), "it knows {} of {left}", queue.tasks.len());
    cluster.noted.may_end.send_replace(true);
    node.drain().await;
}
