//! How soon others are told, in virtual time, and how little is asked when much is told.

use peerwork::*;
use peerwork_store::{Hints, MemoryStore, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

struct Nothing;

impl Handler for Nothing {
    const KIND: &'static str = "nothing";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, _: &mut Run<Self>) -> Result<(), TaskError> {
        unreachable!("nobody runs it")
    }
}

/// A client that is alone in its process, and what other processes hear of it.
async fn client_and_others() -> (Client, Hints) {
    let env = Env::simulated(1);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let hints = store.listen().await.unwrap().unwrap();
    let client = Client::connect_in(store, env).await.unwrap();
    (client, hints)
}

#[tokio::test(start_paused = true)]
async fn other_processes_are_told_of_a_few_creates_at_once() {
    let (client, mut hints) = client_and_others().await;
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..4 {
            client.create(Nothing::task(())).await.unwrap();
            let created = Instant::now();
            assert!(hints.next().await.unwrap().ready);
            assert_eq!(created.elapsed(), Duration::ZERO);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_processes_are_told_of_many_creates_twenty_times_a_second() {
    let (client, mut hints) = client_and_others().await;
    let creating = tokio::spawn(async move {
        for _ in 0..1_000 {
            client.create(Nothing::task(())).await.unwrap();
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        client
    });
    let started = Instant::now();
    let mut told = Vec::new();
    let ten_seconds = started + Duration::from_secs(10);
    while let Ok(hint) = tokio::time::timeout_at(ten_seconds, hints.next()).await {
        assert!(hint.unwrap().ready);
        told.push(started.elapsed());
    }
    assert!((190..=204).contains(&told.len()), "{}", told.len());
    // The last create is told, too.
    let last = Duration::from_millis(9_990 - 60);
    assert!(told.last().is_some_and(|told| *told >= last));
    drop(creating.await.unwrap());
}
