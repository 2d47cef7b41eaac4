//! What a node reads ahead of its slots: fast while tasks are short, and nobody's loss when they are not.

use peerwork::*;
use peerwork_store::MemoryStore;
use std::sync::Arc;
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

#[tokio::test(start_paused = true)]
async fn what_was_read_ahead_behind_long_tasks_goes_to_a_peer_with_free_slots() {
    const SHORT: usize = 400;
    const LONG: u32 = 40;
    let env = Env::simulated(1);
    let clock = env.clone();
    let store = MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000));
    let begun = Arc::new(Semaphore::new(0));
    let node = async |slots| {
        let begun = begun.clone();
        let builder = Node::builder(store.clone()).env(env.clone());
        let builder = builder.register(ShortOrLong { begun }).slots(slots);
        builder.start().await.unwrap()
    };
    let small = node(4).await;
    let client = small.client();
    // Short ones teach the node to read ahead; then long ones take its slots.
    let inputs = (0..SHORT + LONG as usize).map(|n| n < SHORT);
    let tasks = client
        .create_many(inputs.map(ShortOrLong::task))
        .await
        .unwrap();
    begun.acquire_many(4).await.unwrap().forget();

    let large = node(100).await;
    let minute = Duration::from_secs(60);
    let rest = tokio::time::timeout(minute, begun.acquire_many(LONG - 4)).await;
    assert!(
        rest.is_ok(),
        "{} long tasks have begun",
        begun.available_permits()
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
