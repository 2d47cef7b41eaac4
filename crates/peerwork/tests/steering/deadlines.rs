//! Handlers that do not stop when they are told to.

use crate::kit::{Place, Puppet, Stage, Tap};
use peerwork::*;
use peerwork_core::Work;
use peerwork_store::MemoryStore;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

on_every_database!(
    a_pause_is_forced_at_its_deadline_where_the_kind_says_so,
    a_pause_is_withdrawn_at_its_deadline_where_the_kind_says_so,
    a_pause_waits_beyond_its_deadline_where_the_kind_says_so,
    a_deletion_is_forced_at_the_deadline_whatever_the_kind_says,
    a_deletion_is_forced_also_after_a_pause_that_was_waited_for,
    a_run_whose_pause_was_taken_back_goes_on_beyond_the_deadline,
    a_drain_drops_what_does_not_stop_in_time,
    a_node_drains_when_the_services_token_is_cancelled,
    a_task_that_finishes_while_it_is_told_to_stop_has_finished,
);

fn within_50_ms(on_pause_deadline: OnPauseDeadline) -> Rules {
    Rules {
        on_pause_deadline,
        pause_deadline_ms: 50,
        ..Rules::default()
    }
}

/// A node with such a kind, a task that it runs, and the run, which does nothing by itself.
async fn running(
    place: &Place,
    rules: Rules,
) -> (Stage, Node, TaskHandle<Puppet>, crate::kit::Actor) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a").with(rules));
    let node = node
        .drain_deadline(Duration::from_millis(100))
        .start()
        .await
        .unwrap();
    let client = node.client();
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let actor = stage.next().await;
    actor.save(1).await.unwrap();
    (stage, node, task, actor)
}

async fn a_pause_is_forced_at_its_deadline_where_the_kind_says_so(place: Place) {
    let (stage, node, task, actor) = running(&place, within_50_ms(OnPauseDeadline::Force)).await;
    task.pause().await.unwrap();
    let paused = task.until(State::Paused).await.unwrap();
    assert!(paused.task.forced && paused.task.failures == 0);
    // Paused is a fact: its future is gone.
    actor.ended().await;
    task.resume().await.unwrap();
    let again = stage.next().await;
    assert_eq!(again.checkpoint, Some(1));
    again.finish(2).await;
    assert_eq!(task.result().await.unwrap(), 2);
    node.drain().await;
}

async fn a_pause_is_withdrawn_at_its_deadline_where_the_kind_says_so(place: Place) {
    let (_stage, node, task, actor) = running(&place, within_50_ms(OnPauseDeadline::Refuse)).await;
    let mut changes = task.watch();
    task.pause().await.unwrap();
    while changes.next().await.unwrap().status() != Status::Pausing {}
    while changes.next().await.unwrap().status() != Status::Running {}
    // It was told, and is told no more.
    actor.save(2).await.unwrap();
    actor.finish(3).await;
    assert_eq!(task.result().await.unwrap(), 3);
    assert_eq!(task.get().await.unwrap().task.attempt, 1);
    node.drain().await;
}

async fn a_pause_waits_beyond_its_deadline_where_the_kind_says_so(place: Place) {
    let (_stage, node, task, actor) = running(&place, within_50_ms(OnPauseDeadline::Wait)).await;
    task.pause().await.unwrap();
    assert_eq!(actor.told().await, Reason::Pause);
    tokio::time::sleep(Duration::from_millis(100)).await; // fault: it ignores the deadline
    assert_eq!(task.get().await.unwrap().status(), Status::Pausing);
    assert!(actor.save(2).await.is_err());
    actor.stop().await;
    let paused = task.until(State::Paused).await.unwrap();
    assert!(!paused.task.forced);
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(2));
    node.drain().await;
}

async fn a_deletion_is_forced_at_the_deadline_whatever_the_kind_says(place: Place) {
    let (stage, node, task, actor) = running(&place, within_50_ms(OnPauseDeadline::Refuse)).await;
    task.delete().await.unwrap();
    actor.ended().await;
    let cleanup = stage.next().await;
    assert_eq!((cleanup.work, cleanup.checkpoint), (Work::Cleanup, Some(1)));
    cleanup.finish(0).await;
    task.until(State::Deleted).await.unwrap();
    node.drain().await;
}

async fn a_deletion_is_forced_also_after_a_pause_that_was_waited_for(place: Place) {
    let (stage, node, task, actor) = running(&place, within_50_ms(OnPauseDeadline::Wait)).await;
    task.pause().await.unwrap();
    assert_eq!(actor.told().await, Reason::Pause);
    tokio::time::sleep(Duration::from_millis(100)).await; // fault: it ignores the deadline
    task.delete().await.unwrap();
    actor.ended().await;
    let cleanup = stage.next().await;
    assert_eq!((cleanup.work, cleanup.checkpoint), (Work::Cleanup, Some(1)));
    cleanup.finish(0).await;
    task.until(State::Deleted).await.unwrap();
    node.drain().await;
}

async fn a_run_whose_pause_was_taken_back_goes_on_beyond_the_deadline(place: Place) {
    for on_pause_deadline in [OnPauseDeadline::Force, OnPauseDeadline::Wait] {
        let rules = within_50_ms(on_pause_deadline);
        let (_stage, node, task, actor) = running(&place, rules).await;
        task.pause().await.unwrap();
        assert_eq!(actor.told().await, Reason::Pause);
        assert_eq!(task.resume().await.unwrap(), Status::Running);
        // It was told, and from the deadline on it is told no more.
        while actor.save(2).await.is_err() {}
        actor.finish(3).await;
        assert_eq!(task.result().await.unwrap(), 3);
        assert_eq!(task.get().await.unwrap().task.attempt, 1);
        node.drain().await;
    }
}

/// A node with such a kind behind a tap, in virtual time.
async fn tapped(tap: &Arc<Tap>, stage: &Stage, rules: Rules) -> Node {
    let node = Node::builder(tap.database()).env(Env::simulated(9));
    let node = node.register(stage.puppet("a").with(rules)).start();
    node.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_deletion_as_a_pause_is_withdrawn_leaves_no_run_beside_the_cleanup() {
    let (place, stage) = (Place::in_memory(MemoryStore::new()), Stage::new());
    let tap = Tap::on(place.store());
    let rules = Rules {
        pause_deadline_ms: 5_000,
        ..within_50_ms(OnPauseDeadline::Refuse)
    };
    let node = tapped(&tap, &stage, rules).await;
    let draft = Puppet::task(String::new());
    let task = node.client().create(draft).await.unwrap();
    let actor = stage.next().await;
    let peer = place.node().register(stage.puppet("b"));
    let peer = peer.start().await.unwrap();
    let withdraws = tap.hold_off("end");
    task.pause().await.unwrap();
    let go_on = withdraws.arrived().await;
    // The cleanup is for the peer.
    let kept_off = tap.hold_off("claim");
    task.delete().await.unwrap();
    drop(go_on);
    let cleanup = stage.next().await;
    assert_eq!((cleanup.on.as_str(), cleanup.work), ("b", Work::Cleanup));
    let ended = tokio::time::timeout(Duration::from_millis(20), actor.ended()).await;
    assert!(ended.is_ok(), "its run goes on beside the cleanup");
    cleanup.finish(0).await;
    task.until(State::Deleted).await.unwrap();
    drop(kept_off);
    node.drain().await;
    peer.drain().await;
}

/// Taken back when it was too late, its future being gone: it goes on from its checkpoint at once.
#[tokio::test(start_paused = true)]
async fn a_run_whose_pause_is_taken_back_as_it_is_forced_starts_again_at_once() {
    let (place, stage) = (Place::in_memory(MemoryStore::new()), Stage::new());
    let tap = Tap::on(place.store());
    let node = tapped(&tap, &stage, within_50_ms(OnPauseDeadline::Force)).await;
    let draft = Puppet::task(String::new());
    let task = node.client().create(draft).await.unwrap();
    let actor = stage.next().await;
    actor.save(1).await.unwrap();
    let asked = tap.hold_back("verify");
    task.pause().await.unwrap();
    let go_on = asked.arrived().await;
    assert_eq!(task.resume().await.unwrap(), Status::Running);
    drop(go_on);
    let since = tokio::time::Instant::now();
    let again = stage.next().await;
    assert_eq!((again.attempt, again.checkpoint), (2, Some(1)));
    assert!(since.elapsed() < Duration::from_millis(500));
    again.finish(2).await;
    assert_eq!(task.result().await.unwrap(), 2);
    node.drain().await;
}

async fn a_drain_drops_what_does_not_stop_in_time(place: Place) {
    let (stage, node, task, actor) = running(&place, Rules::default()).await;
    let other = place
        .node()
        .register(stage.puppet("b"))
        .start()
        .await
        .unwrap();
    let report = node.drain().await;
    assert_eq!((report.handed_over, report.abandoned), (1, 0));
    actor.ended().await;
    let again = stage.next().await;
    assert_eq!((again.on.as_str(), again.checkpoint), ("b", Some(1)));
    again.finish(2).await;
    let client = other.client();
    assert_eq!(
        client
            .task_of::<Puppet>(task.id())
            .await
            .unwrap()
            .result()
            .await
            .unwrap(),
        2
    );
    let record = task.get().await.unwrap();
    assert_eq!((record.task.failures, record.task.crashes), (0, 0));
    other.drain().await;
}

async fn a_node_drains_when_the_services_token_is_cancelled(place: Place) {
    let shutdown = CancellationToken::new();
    let stage = Stage::new();
    let node = place
        .node()
        .register(stage.puppet("a"))
        .drain_on(shutdown.child_token());
    let node = node.start().await.unwrap();
    let task = node
        .client()
        .create(Puppet::task(String::new()))
        .await
        .unwrap();
    let actor = stage.next().await;
    let service = tokio::spawn(node.drained());
    actor.save(1).await.unwrap();
    shutdown.cancel();
    assert_eq!(actor.stop().await, Reason::Drain);
    assert_eq!(service.await.unwrap().handed_over, 1);
    assert_eq!(task.get().await.unwrap().status(), Status::Resuming);
    assert!(place.store().nodes().await.unwrap().is_empty());
}

async fn a_task_that_finishes_while_it_is_told_to_stop_has_finished(place: Place) {
    let (_stage, node, task, actor) = running(&place, Rules::default()).await;
    task.pause().await.unwrap();
    assert_eq!(actor.told().await, Reason::Pause);
    actor.finish(9).await;
    assert_eq!(task.result().await.unwrap(), 9);
    assert!(task.resume().await.unwrap_err().is_refused());
    node.drain().await;
}
