//! A drain hands everything over, whatever its node was about to do at that moment.

use crate::kit::{Place, Puppet, STEADY, Stage, Tap};
use peerwork::{Client, Handler, Node, Status};

on_every_database!(
    ga_14_a_node_that_drains_claims_nothing_more,
    ga_14_a_beat_under_way_at_a_drain_is_no_fault,
);

async fn ga_14_a_node_that_drains_claims_nothing_more(place: Place) {
    let tap = Tap::on(place.store());
    let stage = Stage::new();
    let client = place.client().await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    // It has seen the task, and is about to claim it.
    let seen = tap.hold_back("lanes");
    let node = Node::builder(tap.database()).lease(STEADY);
    let node = node.register(stage.puppet("a")).start().await.unwrap();
    let seen = seen.arrived().await;
    let retires = tap.hold_off("retire");
    let draining = tokio::spawn(node.drain());
    let retires = retires.arrived().await;
    seen.send(()).unwrap();
    long_enough_for_a_call(&client).await;
    assert_eq!(task.get().await.unwrap().status(), Status::Queued);
    assert!(stage.is_empty().await);
    retires.send(()).unwrap();
    assert_eq!(draining.await.unwrap().handed_over, 0);
}

async fn ga_14_a_beat_under_way_at_a_drain_is_no_fault(place: Place) {
    let tap = Tap::on(place.store());
    let stage = Stage::new();
    let node = Node::builder(tap.database()).lease(STEADY);
    let node = node.register(stage.puppet("a")).start().await.unwrap();
    // Its row goes; then a beat that it sent before finds none.
    let beats = tap.hold_off("beat").arrived().await;
    node.drain().await;
    beats.send(()).unwrap();
    long_enough_for_a_call(&place.client().await).await;
    assert_eq!(tap.calls()["register"], 1, "it did not start anew");
    assert!(place.store().nodes().await.unwrap().is_empty());
}

/// Nothing tells that a call is *not* made: others are made meanwhile, one after the other.
async fn long_enough_for_a_call(client: &Client) {
    for _ in 0..50 {
        client.now().await.unwrap();
    }
}
