//! What a node reads ahead of its slots: fast while tasks are short, and nobody's loss when they are not.

use peerwork::*;
use peerwork_store::MemoryStore;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Ends at once, or runs until it is told to stop.
struct ShortOrLong {
    /// A permit for each long one that has begun.
    begun: Arc<Semaphore>,
}

impl Handler for ShortOrLong {
    const KIND: &'static str = "short_or_long";
    type Input = bool;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        if *run.input() {
            return Ok(());
        }
        self.begun.add_permits(1);
        Err(run.stopping().await)?
    }
}

/// Nodes on one store and one clock.
struct Nodes {
    env: Env,
    store: MemoryStore,
    begun: Arc<Semaphore>,
}

impl Nodes {
    fn new() -> Self {
        let env = Env::simulated(1);
        let clock = env.clone();
        Self {
            env,
            store: MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000)),
            begun: Arc::new(Semaphore::new(0)),
        }
    }

    async fn node(&self, slots: usize) -> Node {
        let begun = self.begun.clone();
        let builder = Node::builder(self.store.clone()).env(self.env.clone());
        let builder = builder.register(ShortOrLong { begun }).slots(slots);
        builder.start().await.unwrap()
    }

    /// Waits until so many more long ones have begun.
    async fn begun(&self, tasks: u32) {
        self.begun.acquire_many(tasks).await.unwrap().forget();
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_a_slot_can_be_stopped_at_once() {
    const SHORT: usize = 400;
    let nodes = Nodes::new();
    let node = nodes.node(4).await;
    let tasks = (0..SHORT + 20).map(|n| {
        // Four of the long ones come before the others.
        let priority = if n < SHORT + 4 { 0 } else { 1 };
        ShortOrLong::task(n < SHORT).priority(priority)
    });
    let tasks = node.client().create_many(tasks).await.unwrap();
    let long = &tasks[SHORT..];
    nodes.begun(4).await;
    let begun = tokio::time::Instant::now();
    assert!(node.holds().len() > 4, "some are in line");
    // Long before they would go back by themselves.
    for paused in &long[4..] {
        paused.pause().await.unwrap();
    }
    for paused in &long[4..] {
        paused.until(State::Paused).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_millis(400));
    assert_eq!(nodes.begun.available_permits(), 0, "none of them has begun");
    // Nor have they taken a slot with them.
    for running in &long[..4] {
        running.pause().await.unwrap();
    }
    for other in &long[4..8] {
        other.resume().await.unwrap();
    }
    nodes.begun(4).await;
    node.drain().await;
}

/// Says in which order it began.
struct Numbered {
    order: Arc<Mutex<Vec<u32>>>,
    /// A permit for each that has begun.
    begun: Arc<Semaphore>,
}

impl Handler for Numbered {
    const KIND: &'static str = "numbered";
    type Input = u32;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        self.order.lock().unwrap().push(*run.input());
        self.begun.add_permits(1);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_begin_in_the_order_of_their_claims_also_those_that_waited_for_the_slot() {
    const TASKS: u32 = 5_000;
    let order = Arc::new(Mutex::new(Vec::new()));
    let begun = Arc::new(Semaphore::new(0));
    let numbered = Numbered {
        order: order.clone(),
        begun: begun.clone(),
    };
    let database = Database::memory();
    let tasks = Client::connect(&database)
        .await
        .unwrap()
        .create_many((0..TASKS).map(Numbered::task))
        .await
        .unwrap();
    let node = Node::builder(&database).register(numbered).slots(1);
    let node = node.start().await.unwrap();
    begun.acquire_many(TASKS).await.unwrap().forget();
    node.drain().await;
    let mut ids: Vec<_> = (0..TASKS).map(|n| (tasks[n as usize].id(), n)).collect();
    ids.sort_unstable();
    let expected: Vec<_> = ids.into_iter().map(|(_, n)| n).collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_ahead_behind_long_tasks_goes_to_a_peer_with_free_slots() {
    const SHORT: usize = 400;
    const LONG: u32 = 40;
    let nodes = Nodes::new();
    let small = nodes.node(4).await;
    let client = small.client();
    // Short ones teach the node to read ahead; then long ones take its slots.
    let inputs = (0..SHORT + LONG as usize).map(|n| n < SHORT);
    let tasks = client
        .create_many(inputs.map(ShortOrLong::task))
        .await
        .unwrap();
    nodes.begun(4).await;

    let large = nodes.node(100).await;
    let minute = Duration::from_secs(60);
    let rest = tokio::time::timeout(minute, nodes.begun(LONG - 4)).await;
    assert!(
        rest.is_ok(),
        "{} long tasks have begun",
        nodes.begun.available_permits()
    );
    for short in &tasks[..SHORT] {
        let result = tokio::time::timeout(minute, short.result()).await;
        result
            .expect("a short task does not wait for long ones")
            .unwrap();
    }
    assert_eq!(small.holds().len(), 4);
    small.drain().await;
    large.drain().await;
}
