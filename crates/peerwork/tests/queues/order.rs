//! The order is the queue's, within what may be claimed.

use super::PATIENT;
use crate::kit::{Actor, Place, Puppet, Stage, until};
use peerwork::{Client, Handler, MemoryQueue, Node, State, Work};
use std::sync::Arc;

on_every_database!(
    with_one_slot_tasks_run_in_the_order_of_the_queue,
    cleanups_run_in_the_order_of_their_own_queue,
    ga_24_limits_and_gates_hold_with_a_queue,
    what_is_withdrawn_by_a_pause_comes_again_with_its_end,
);

/// By the users' numbers, the greatest first.
fn by_user() -> Arc<MemoryQueue> {
    let queue = MemoryQueue::by(|offer| -offer.user.as_str().parse().unwrap_or(0));
    Arc::new(queue)
}

async fn node(place: &Place, stage: &Stage, queue: &Arc<MemoryQueue>, slots: usize) -> Node {
    let node = place.node().register(stage.puppet("a")).slots(slots);
    let node = node.queue(Work::Run, queue.clone()).queue_times(PATIENT);
    node.start().await.unwrap()
}

async fn create(client: &Client, user: u32, group: &str) {
    let draft = Puppet::task(String::new())
        .user(user.to_string())
        .group(group);
    client.create(draft).await.unwrap();
}

async fn with_one_slot_tasks_run_in_the_order_of_the_queue(place: Place) {
    let (stage, queue) = (Stage::new(), by_user());
    let node = node(&place, &stage, &queue, 1).await;
    // Of another process, which nobody here hears of but through the database.
    let client = place.client().await;
    create(&client, 0, "maths").await;
    let mut running = stage.next().await;
    for (n, user) in [3, 1, 5, 2, 4].into_iter().enumerate() {
        create(&client, user, ["maths", "physics"][n % 2]).await;
    }
    until(async || queue.len() == 5).await;
    for wanted in [5, 4, 3] {
        running.finish(0).await;
        running = stage.next().await;
        assert_eq!(running.user, wanted.to_string());
    }
    // Whoever comes later goes first, if the queue says so.
    create(&client, 9, "maths").await;
    until(async || queue.len() == 3).await;
    for wanted in [9, 2, 1] {
        running.finish(0).await;
        running = stage.next().await;
        assert_eq!(running.user, wanted.to_string());
    }
    assert!(queue.is_empty());
    running.finish(0).await;
    node.drain().await;
}

async fn cleanups_run_in_the_order_of_their_own_queue(place: Place) {
    let (stage, queue) = (Stage::new(), by_user());
    let node = place.node().register(stage.puppet("a"));
    let node = node.cleanup_slots(1).queue_times(PATIENT);
    let node = node.queue(Work::Cleanup, queue.clone());
    let node = node.start().await.unwrap();
    let client = place.client().await;
    let mut tasks = Vec::new();
    for user in [0, 2, 3, 1] {
        let draft = Puppet::task(String::new())
            .user(user.to_string())
            .group("maths");
        tasks.push(client.create(draft.hold()).await.unwrap());
    }
    // What has never run needs no cleanup.
    for task in &tasks {
        task.run().await.unwrap();
        stage.next().await.finish(0).await;
        task.until(State::Finished).await.unwrap();
    }
    tasks[0].delete().await.unwrap();
    let mut running = stage.next().await;
    for task in &tasks[1..] {
        task.delete().await.unwrap();
    }
    until(async || queue.len() == 3).await;
    for wanted in ["3", "2", "1"] {
        running.finish(0).await;
        running = stage.next().await;
        assert_eq!(
            (running.user.as_str(), running.work),
            (wanted, Work::Cleanup)
        );
    }
    running.finish(0).await;
    tasks[3].until(State::Deleted).await.unwrap();
    node.drain().await;
}

async fn ga_24_limits_and_gates_hold_with_a_queue(place: Place) {
    let (stage, queue) = (Stage::new(), by_user());
    let client = place.client().await;
    client.group("maths").limit(2).await.unwrap();
    client.group("shut").gate("a test").await.unwrap();
    for user in 1..=4 {
        create(&client, user, "maths").await;
        create(&client, user, "shut").await;
        create(&client, user, "free").await;
    }
    let node = node(&place, &stage, &queue, 16).await;
    let mut running = stage.take(6).await;
    let of = |running: &[Actor], group: &str| -> Vec<String> {
        let mut users: Vec<_> = running
            .iter()
            .filter(|actor| actor.group == group)
            .map(|actor| actor.user.clone())
            .collect();
        users.sort();
        users
    };
    assert_eq!(of(&running, "maths"), ["3", "4"], "the queue's first two");
    assert_eq!(of(&running, "free").len(), 4);
    // It knows of the others, and neither names them nor is taken at its word.
    until(async || queue.len() == 6).await;
    assert!(stage.is_empty().await);
    let at = running.iter().position(|actor| actor.group == "maths");
    running.swap_remove(at.unwrap()).finish(0).await;
    let next = stage.next().await;
    assert_eq!((next.group.as_str(), next.user.as_str()), ("maths", "2"));
    client.group("shut").open().await.unwrap();
    let shut = stage.take(4).await;
    assert_eq!(of(&shut, "shut").len(), 4);
    drop((running, next, shut));
    node.drain().await;
}

async fn what_is_withdrawn_by_a_pause_comes_again_with_its_end(place: Place) {
    let (stage, queue) = (Stage::new(), by_user());
    let node = node(&place, &stage, &queue, 1).await;
    let client = place.client().await;
    create(&client, 0, "maths").await;
    let first = stage.next().await;
    let draft = Puppet::task(String::new()).user("7").group("maths");
    let task = client.create(draft).await.unwrap();
    until(async || queue.len() == 1).await;
    task.pause().await.unwrap();
    until(async || queue.is_empty()).await;
    task.resume().await.unwrap();
    until(async || queue.len() == 1).await;
    first.finish(0).await;
    let second = stage.next().await;
    assert_eq!(second.id, task.id());
    second.finish(0).await;
    node.drain().await;
}
