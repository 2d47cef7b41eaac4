//! Nodes with a queue beside nodes without one, and several queues at once.

use super::HASTY;
use crate::kit::{Lossy, Place};
use peerwork::{Draft, Handler, MemoryQueue, Node, Run, TaskError, TaskId, Work};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

on_every_database!(nodes_with_any_queue_or_none_run_everything_once);

/// Counts the runs of each task.
#[derive(Clone, Default)]
struct Count(Arc<Mutex<BTreeMap<TaskId, u32>>>);

impl Handler for Count {
    const KIND: &'static str = "count";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        *self.0.lock().unwrap().entry(run.id()).or_default() += 1;
        Ok(())
    }
}

async fn nodes_with_any_queue_or_none_run_everything_once(place: Place) {
    const TASKS: usize = 240;
    let count = Count::default();
    let shared = Arc::new(MemoryQueue::by(|offer| -offer.since.0));
    let node = || {
        let node = place.node().register(count.clone()).slots(4);
        node.queue_times(HASTY)
    };
    let mut builders = vec![
        node(),
        node().queue(Work::Run, shared.clone()),
        node().queue(Work::Run, shared.clone()),
        node().queue(Work::Run, Lossy::of(3)),
    ];
    if place.name() != "memory" {
        for _ in 0..2 {
            let queue = peerwork::TableQueue::new(place.database()).unwrap();
            builders.push(node().queue(Work::Run, queue));
        }
    }
    let mut nodes: Vec<Node> = Vec::new();
    for builder in builders {
        nodes.push(builder.start().await.unwrap());
    }
    let client = place.client().await;
    let drafts = (0..TASKS).map(|n| -> Draft<Count> {
        let group = format!("group {}", n % 5);
        Count::task(()).user(format!("user {}", n % 7)).group(group)
    });
    let tasks = client.create_many(drafts).await.unwrap();
    for task in &tasks {
        task.result().await.unwrap();
    }
    let counts = count.0.lock().unwrap().clone();
    assert_eq!(counts.len(), TASKS);
    assert!(counts.values().all(|runs| *runs == 1), "{counts:?}");
    for node in nodes {
        assert_eq!(node.drain().await.abandoned, 0);
    }
}
