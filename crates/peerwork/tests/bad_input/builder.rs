//! A node that cannot be what it was built to be.

use crate::kit::{Place, STEADY, Stage};
use peerwork::{Error, LeaseTimes, NodeBuilder};

on_every_database!(
    a_handler_that_is_registered_twice_is_refused_by_its_kind,
    a_kind_that_is_no_name_is_refused,
    a_node_without_kinds_or_slots_is_refused,
    a_lease_that_cannot_be_kept_is_refused,
);

async fn refused(node: NodeBuilder) -> Error {
    match node.start().await {
        Ok(_) => panic!("it started"),
        Err(error) => {
            assert!(error.is_invalid(), "{error:?}");
            error
        }
    }
}

async fn a_handler_that_is_registered_twice_is_refused_by_its_kind(place: Place) {
    let stage = Stage::new();
    let twice = place.node().register(stage.puppet("a"));
    let error = refused(twice.register(stage.puppet("b"))).await;
    assert!(
        error
            .to_string()
            .contains("kind \"puppet\" is registered twice")
    );
    let mixed = place.node().register(stage.puppet("a"));
    let mixed = mixed.handle("puppet", |n: u8| async move { Ok(n) });
    refused(mixed).await;
    // It was refused before anything was written.
    assert!(place.client().await.nodes().await.unwrap().is_empty());
}

async fn a_kind_that_is_no_name_is_refused(place: Place) {
    for kind in ["a\0b", &"x".repeat(256)] {
        let node = place.node().handle(kind, |n: u8| async move { Ok(n) });
        let error = refused(node).await.to_string();
        assert!(error.contains("kind name"), "{error}");
    }
}

async fn a_node_without_kinds_or_slots_is_refused(place: Place) {
    let error = refused(place.node()).await.to_string();
    assert!(error.contains("register a handler"), "{error}");
    let stage = Stage::new();
    for node in [
        place.node().register(stage.puppet("a")).slots(0),
        place.node().register(stage.puppet("a")).cleanup_slots(0),
    ] {
        let error = refused(node).await.to_string();
        assert!(error.contains("slot"), "{error}");
    }
}

async fn a_lease_that_cannot_be_kept_is_refused(place: Place) {
    let stage = Stage::new();
    let ttl_ms = 10_000;
    for (times, says) in [
        (
            LeaseTimes {
                ttl_ms: 2_999,
                ..STEADY
            },
            "ttl is 2999 ms",
        ),
        (
            LeaseTimes {
                beat_ms: 0,
                ..STEADY
            },
            "beat is 0 ms",
        ),
        (
            LeaseTimes {
                beat_ms: 6_000,
                ttl_ms,
                ..STEADY
            },
            "must fit",
        ),
        (
            LeaseTimes {
                margin_ms: u64::MAX,
                ..STEADY
            },
            "must fit",
        ),
    ] {
        let node = place.node().lease(times).register(stage.puppet("a"));
        let error = refused(node).await.to_string();
        assert!(error.contains(says), "{error}");
    }
}
