//! A task's life through the public API, on the store in memory.

use peerwork::*;
use serde::{Deserialize, Serialize};

/// Adds the numbers up, one at each step; stops where it is told to.
struct Sum;

#[derive(Serialize, Deserialize, Default)]
struct Partial {
    next: usize,
    sum: i64,
}

impl Handler for Sum {
    const KIND: &'static str = "sum";
    type Input = Vec<i64>;
    type Checkpoint = Partial;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        let mut at = run.checkpoint().unwrap_or_default();
        while at.next < run.input().len() {
            at.sum += run.input()[at.next];
            at.next += 1;
            run.progress(at.next as u64, run.input().len() as u64);
            run.save(&at).await?;
        }
        Ok(at.sum)
    }
}

#[tokio::test]
async fn a_task_finishes_with_its_result() {
    let node = Node::builder(Database::memory())
        .register(Sum)
        .start()
        .await
        .unwrap();
    let task = node
        .client()
        .create(Sum::task(vec![1, 2, 3]).user("ann").group("maths"))
        .await
        .unwrap();
    assert_eq!(task.result().await.unwrap(), 6);
    let report = node.drain().await;
    assert_eq!((report.handed_over, report.abandoned), (0, 0));
}

#[tokio::test]
async fn a_paused_task_stops_and_a_resumed_one_goes_on_from_its_checkpoint() {
    let node = Node::builder(Database::memory())
        .register(Sum)
        .start()
        .await
        .unwrap();
    let numbers: Vec<i64> = (0..200_000).collect();
    let expected: i64 = numbers.iter().sum();
    let task = node.client().create(Sum::task(numbers)).await.unwrap();
    task.until(State::Running).await.unwrap();
    task.pause().await.unwrap();
    let paused = task.until(State::Paused).await.unwrap();
    assert!(paused.progress.is_some_and(|p| p.done > 0));
    task.resume().await.unwrap();
    assert_eq!(task.result().await.unwrap(), expected);
    node.drain().await;
}
