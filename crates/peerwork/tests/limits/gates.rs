//! Gates: nothing passes while they are closed, and everything afterwards.

use crate::kit::{Place, Puppet, Stage};
use peerwork::{Client, Handler, Node, Reason, State};
use std::time::{Duration, SystemTime};

on_every_database!(
    nothing_passes_a_gate_before_it_is_opened,
    a_gate_on_everything_holds_everything_but_cleanups,
    a_gate_opens_by_itself,
    a_gate_that_asks_for_it_pauses_what_runs_and_lets_it_go_on,
    a_gate_that_opens_takes_its_request_back,
);

async fn node(place: &Place, stage: &Stage) -> Node {
    let node = place.node().register(stage.puppet("a"));
    node.start().await.unwrap()
}

fn draft(group: &str) -> peerwork::Draft<Puppet> {
    Puppet::task(group.to_owned()).user("ann").group(group)
}

async fn create(client: &Client, group: &str) -> peerwork::TaskHandle<Puppet> {
    client.create(draft(group)).await.unwrap()
}

async fn nothing_passes_a_gate_before_it_is_opened(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage).await;
    let client = place.client().await;
    client
        .group("shut")
        .gate("the disk is full")
        .by("ann")
        .await
        .unwrap();
    let waits = create(&client, "shut").await;
    create(&client, "open").await;
    assert_eq!(stage.next().await.group, "open");
    assert_eq!(waits.get().await.unwrap().state(), State::Queued);
    let settings = client.settings().await.unwrap().settings;
    let gate = settings[0].setting.gate.as_ref().unwrap();
    assert_eq!(
        (gate.reason.as_str(), gate.by.as_deref()),
        ("the disk is full", Some("ann"))
    );
    client.group("shut").open().await.unwrap();
    let passed = stage.next().await;
    assert_eq!(passed.group, "shut");
    assert_eq!(client.settings().await.unwrap().settings, []);
    drop(passed);
    node.drain().await;
}

async fn a_gate_on_everything_holds_everything_but_cleanups(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage).await;
    let client = place.client().await;
    let running = create(&client, "maths").await;
    let actor = stage.next().await;
    client.everything().gate("maintenance").await.unwrap();
    create(&client, "maths").await;
    create(&client, "physics").await;
    running.delete().await.unwrap();
    assert_eq!(actor.stop().await, Reason::Delete);
    let cleanup = stage.next().await;
    assert_eq!(
        (cleanup.id, cleanup.work),
        (running.id(), peerwork_core::Work::Cleanup)
    );
    cleanup.finish(0).await;
    running.until(State::Deleted).await.unwrap();
    assert!(stage.is_empty().await);
    client.everything().open().await.unwrap();
    let rest = stage.take(2).await;
    drop(rest);
    node.drain().await;
}

async fn a_gate_opens_by_itself(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage).await;
    let client = place.client().await;
    let until = SystemTime::from(client.now().await.unwrap()) + Duration::from_millis(300);
    let gate = client.group("maths").gate("a moment").until(until);
    let closing = tokio::spawn(async move { gate.await });
    while client.settings().await.unwrap().settings.is_empty() {
        tokio::task::yield_now().await;
    }
    create(&client, "maths").await;
    let passed = stage.next().await;
    assert!(SystemTime::from(client.now().await.unwrap()) >= until);
    closing.await.unwrap().unwrap();
    drop(passed);
    node.drain().await;
}

async fn a_gate_that_asks_for_it_pauses_what_runs_and_lets_it_go_on(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage).await;
    let client = place.client().await;
    let (asked, other) = (
        create(&client, "maths").await,
        create(&client, "physics").await,
    );
    let mut actors = stage.take(2).await;
    actors.sort_by(|a, b| a.group.cmp(&b.group));
    let (goes_on, stops) = (actors.pop().unwrap(), actors.pop().unwrap());
    stops.save(7).await.unwrap();
    let gate = client.group("maths").gate("maintenance").pausing();
    let closing = tokio::spawn(async move { gate.await });
    assert_eq!(stops.stop().await, Reason::Gate);
    closing.await.unwrap().unwrap();
    assert!(!goes_on.token.is_cancelled());
    assert!(stage.is_empty().await);
    client.group("maths").open().await.unwrap();
    let again = stage.next().await;
    assert_eq!(
        (again.id, again.checkpoint, again.failures),
        (asked.id(), Some(7), 0)
    );
    again.finish(1).await;
    goes_on.finish(2).await;
    assert_eq!(asked.result().await.unwrap(), 1);
    assert_eq!(other.result().await.unwrap(), 2);
    node.drain().await;
}

async fn a_gate_that_opens_takes_its_request_back(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage).await;
    let client = place.client().await;
    let task = create(&client, "maths").await;
    let actor = stage.next().await;
    client
        .kind("puppet")
        .gate("a moment")
        .pausing()
        .await
        .unwrap();
    assert_eq!(actor.told().await, Reason::Gate);
    client.kind("puppet").open().await.unwrap();
    // It has not heeded it: until the node has heard that the gate is open a save tells it to stop.
    while actor.save(1).await.is_err() {
        tokio::task::yield_now().await;
    }
    actor.finish(5).await;
    assert_eq!(task.result().await.unwrap(), 5);
    node.drain().await;
}
