//! What becomes of the tasks of a node that is gone, and of a cleanup that fails.

use crate::kit::{Ghost, Place, Process, Puppet, Relay, STEADY, Stage, TIGHT, Tap};
use peerwork::*;
use peerwork_core::Work;
use peerwork_store::MemoryStore;
use std::time::Duration;
use tokio::time::Instant;

on_every_database!(
    ga_09_a_cleanup_that_fails_is_tried_again_and_stays_visible,
    ga_09_a_cleanup_that_has_failed_for_good_can_be_forced_or_tried_again,
    ga_13_what_a_user_does_leaves_the_lease_of_a_dead_node_alone,
    ga_14_a_node_that_restarts_gets_its_tasks_back_at_once,
    ga_14_a_node_that_crashes_and_restarts_loses_nothing,
);
on!([sqlite, postgres, mysql] ga_12_after_kill_minus_nine_a_task_goes_on_elsewhere);

fn three_tries() -> Rules {
    Rules {
        retry: Retry::at_once(3),
        ..Rules::default()
    }
}

async fn ga_09_a_cleanup_that_fails_is_tried_again_and_stays_visible(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a").with(three_tries()));
    let node = node.start().await.unwrap();
    let client = node.client();
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    stage.next().await.finish(1).await;
    task.until(State::Finished).await.unwrap();
    task.delete().await.unwrap();
    for failures in 0..2 {
        let cleanup = stage.next().await;
        assert_eq!((cleanup.work, cleanup.failures), (Work::Cleanup, failures));
        let visible = client.tasks().state(State::Deleting).all().await.unwrap();
        assert_eq!(visible.len(), 1);
        cleanup.fail("the bucket does not answer").await;
    }
    let cleanup = stage.next().await;
    let reasons = task.failures().await.unwrap();
    assert_eq!(reasons.len(), 2);
    assert!(
        reasons
            .iter()
            .all(|f| f.error == "the bucket does not answer")
    );
    cleanup.finish(0).await;
    task.until(State::Deleted).await.unwrap();
    node.drain().await;
}

async fn ga_09_a_cleanup_that_has_failed_for_good_can_be_forced_or_tried_again(place: Place) {
    let stage = Stage::new();
    let puppet = stage.puppet("a").with(crate::kit::never_again());
    let node = place.node().register(puppet).start().await.unwrap();
    let client = node.client();
    let drafts = (0..2).map(|n| Puppet::task(n.to_string()).hold());
    let tasks = client.create_many(drafts).await.unwrap();
    for task in &tasks {
        task.run().await.unwrap();
        stage.next().await.finish(1).await;
        task.until(State::Finished).await.unwrap();
        task.delete().await.unwrap();
        stage.next().await.fail("no").await;
        let record = task.until(State::DeleteFailed).await.unwrap();
        assert_eq!(record.error.as_deref(), Some("no"));
    }
    let failed = client.tasks().state(State::DeleteFailed);
    assert_eq!(failed.all().await.unwrap().len(), 2);

    tasks[0].force_delete().await.unwrap();
    tasks[0].until(State::Deleted).await.unwrap();
    tasks[1].delete().await.unwrap();
    stage.next().await.finish(0).await;
    tasks[1].until(State::Deleted).await.unwrap();
    assert!(client.tasks().all().await.unwrap().is_empty());
    node.drain().await;
}

async fn ga_12_after_kill_minus_nine_a_task_goes_on_elsewhere(place: Place) {
    let client = place.client().await;
    let tasks = (0..3).map(Relay::task);
    let tasks = client.create_many(tasks).await.unwrap();
    let process = Process::start(&place);
    for task in &tasks {
        let mut changes = task.watch();
        while changes.next().await.unwrap().progress.is_none() {}
    }
    let node = place.node().lease(TIGHT).register(Relay);
    let node = node.start().await.unwrap();
    process.kill();
    let killed = Instant::now();
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(task.result().await.unwrap(), n as i64);
        let record = task.get().await.unwrap();
        assert_eq!((record.task.attempt, record.task.failures), (2, 0));
    }
    let (took, bound) = (killed.elapsed(), TIGHT.ttl_ms + TIGHT.beat_ms + 1_000);
    println!("rescued {took:?} after the kill; the bound is {bound} ms");
    node.drain().await;
}

/// In virtual time, on one thread, where times are exact.
#[tokio::test(start_paused = true)]
async fn ga_12_a_rescue_takes_at_most_ttl_and_a_beat_and_a_second() {
    let (node, stage, ghost) = a_node_beside_a_dead_one().await;
    let died = Instant::now();
    let rescued = stage.next().await;
    assert_eq!((rescued.attempt, rescued.checkpoint), (2, Some(7)));
    assert_rescued_in_time(died);
    drop((node, ghost));
}

#[tokio::test(start_paused = true)]
async fn ga_13_what_a_user_does_meanwhile_does_not_delay_the_rescue() {
    let (node, stage, ghost) = a_node_beside_a_dead_one().await;
    let died = Instant::now();
    let client = node.client();
    let task = client.tasks().all().await.unwrap()[0].id;
    let rescued = loop {
        tokio::select! {
            rescued = stage.next() => break rescued,
            () = tokio::time::sleep(Duration::from_millis(50)) => { // fault: a user who will not wait, in virtual time
                client.task(task).pause().await.unwrap();
                client.task(task).resume().await.unwrap();
                client.task(task).move_to("elsewhere").await.unwrap();
            }
        }
    };
    assert_eq!(rescued.attempt, 2);
    assert_rescued_in_time(died);
    drop((node, ghost));
}

/// A node, and a ghost that has just beaten for the last time while it held a task at checkpoint 7.
async fn a_node_beside_a_dead_one() -> (Node, Stage, Ghost) {
    let origin = Instant::now();
    let clock = move || Timestamp(origin.elapsed().as_micros() as i64);
    let store = MemoryStore::with_clock(clock);
    let place = Place::in_memory(store);
    let client = place.client().await;
    client.create(Puppet::task(String::new())).await.unwrap();
    let ghost = Ghost::with_ttl(&place, TIGHT.ttl_ms).await;
    let held = ghost.claim_one().await;
    ghost.save(&held, 7).await;
    let stage = Stage::new();
    let node = place.node().lease(TIGHT).register(stage.puppet("b"));
    let node = node.env(Env::simulated(1)).start().await.unwrap();
    (node, stage, ghost)
}

/// A full disk, or somebody who holds SQLite's lock on writing: nobody's beat gets through, and everybody sees that.
#[tokio::test(start_paused = true)]
async fn ga_12_nobody_is_buried_while_the_database_can_be_read_and_not_written() {
    let origin = Instant::now();
    let store = MemoryStore::with_clock(move || Timestamp(origin.elapsed().as_micros() as i64));
    let tap = Tap::on(std::sync::Arc::new(store));
    let stage = Stage::new();
    let mut nodes = Vec::new();
    for (seed, label) in [(1, "a"), (2, "b")] {
        let builder = Node::builder(tap.database()).register(stage.puppet(label));
        let node = builder.lease(TIGHT).env(Env::simulated(seed)).start().await;
        nodes.push(node.unwrap());
    }
    let (first, second) = (tap.hold_off("beat"), tap.hold_off("beat"));
    let held = [first.arrived().await, second.arrived().await];
    let dark = Duration::from_millis(3 * TIGHT.ttl_ms);
    tokio::time::sleep(dark).await; // fault: virtual time
    for beat in held {
        beat.send(()).unwrap();
    }
    // Nor by those who come back first.
    tokio::time::sleep(dark).await; // fault: virtual time
    let client = nodes[0].client();
    let alive: Vec<_> = client.nodes().await.unwrap();
    assert!(
        alive.len() == 2 && alive.iter().all(|node| node.alive),
        "{alive:?}"
    );
}

fn assert_rescued_in_time(died: Instant) {
    let took = died.elapsed();
    let bound = Duration::from_millis(TIGHT.ttl_ms + TIGHT.beat_ms + 1_000);
    assert!(took <= bound, "{took:?} of {bound:?}");
    // A peer may not be declared dead before its ttl has passed.
    assert!(took >= Duration::from_millis(TIGHT.ttl_ms), "{took:?}");
}

async fn ga_13_what_a_user_does_leaves_the_lease_of_a_dead_node_alone(place: Place) {
    let client = place.client().await;
    let ghost = Ghost::appear(&place).await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    ghost.claim_one().await;
    let row = async || {
        let nodes = client.nodes().await.unwrap();
        nodes.into_iter().find(|row| row.id == ghost.id).unwrap()
    };
    let before = row().await;
    assert_eq!((before.held, before.seq), (1, 0));
    task.pause().await.unwrap();
    task.resume().await.unwrap();
    task.move_to("elsewhere").await.unwrap();
    client.tasks().pause().await.unwrap();
    task.delete().await.unwrap();
    assert_eq!(row().await, before);
}

async fn ga_14_a_node_that_restarts_gets_its_tasks_back_at_once(place: Place) {
    let stage = Stage::new();
    // No lease ends in this test: a task that comes back was handed over.
    let start = || {
        place
            .node()
            .lease(STEADY)
            .register(stage.puppet("a"))
            .start()
    };
    let mut node = start().await.unwrap();
    let client = place.client().await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    for restart in 0..3 {
        let actor = stage.next().await;
        assert_eq!(actor.checkpoint, (restart > 0).then_some(restart));
        actor.save(restart + 1).await.unwrap();
        let stopping = tokio::spawn(actor.stop());
        let report = node.drain().await;
        assert_eq!((report.handed_over, report.abandoned), (1, 0));
        assert_eq!(stopping.await.unwrap(), Reason::Drain);
        node = start().await.unwrap();
    }
    stage.next().await.finish(9).await;
    assert_eq!(task.result().await.unwrap(), 9);
    let record = task.get().await.unwrap();
    // A restart charges neither a failure nor a crash.
    assert_eq!((record.task.failures, record.task.crashes), (0, 0));
    node.drain().await;
}

async fn ga_14_a_node_that_crashes_and_restarts_loses_nothing(place: Place) {
    let stage = Stage::new();
    let start = || {
        place
            .node()
            .lease(TIGHT)
            .register(stage.puppet("a"))
            .start()
    };
    let node = start().await.unwrap();
    let client = place.client().await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let actor = stage.next().await;
    actor.save(1).await.unwrap();
    drop(node);
    actor.ended().await;
    let node = start().await.unwrap();
    let actor = stage.next().await;
    assert_eq!((actor.attempt, actor.checkpoint), (2, Some(1)));
    actor.finish(2).await;
    assert_eq!(task.result().await.unwrap(), 2);
    node.drain().await;
}
