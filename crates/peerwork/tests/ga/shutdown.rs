//! A node's end: by the caller's own signal, at any moment, and beside a handler that does not care.

use crate::kit::{Place, Puppet, STEADY, Stage};
use peerwork::*;
use std::future::pending;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

on_every_database!(ga_38_cancelling_the_callers_root_token_hands_everything_over);

async fn ga_38_cancelling_the_callers_root_token_hands_everything_over(place: Place) {
    let root = CancellationToken::new();
    let (stage, elsewhere) = (Stage::new(), Stage::new());
    let a = place.node().register(stage.puppet("a"));
    let a = a.drain_on(root.child_token()).start().await.unwrap();
    let client = place.client().await;
    let drafts = (0..3).map(|n| Puppet::task(n.to_string()));
    let tasks = client.create_many(drafts).await.unwrap();
    let actors = stage.take(3).await;
    for actor in &actors {
        actor.save(7).await.unwrap();
    }
    let drained = tokio::spawn(a.drained());
    root.cancel();
    for actor in actors {
        assert_eq!(actor.stop().await, Reason::Drain);
    }
    let report = drained.await.unwrap();
    assert_eq!((report.handed_over, report.abandoned), (3, 0));
    assert!(client.nodes().await.unwrap().is_empty());
    let b = place
        .node()
        .register(elsewhere.puppet("b"))
        .start()
        .await
        .unwrap();
    for actor in elsewhere.take(3).await {
        assert_eq!((actor.attempt, actor.checkpoint), (2, Some(7)));
        actor.finish(1).await;
    }
    for task in tasks {
        let record = task.until(State::Finished).await.unwrap();
        assert_eq!((record.task.failures, record.task.crashes), (0, 0));
    }
    b.drain().await;
}

/// Takes a few turns of the runtime, and saves on the way.
struct Brief;

impl Handler for Brief {
    const KIND: &'static str = "brief";
    type Input = ();
    type Checkpoint = u32;
    type Output = u32;

    async fn run(&self, run: &mut Run<Self>) -> Result<u32, TaskError> {
        for at in run.checkpoint().unwrap_or(0)..3 {
            yield_now().await;
            run.save(&(at + 1)).await?;
        }
        Ok(3)
    }
}

/// Lets the others have so many turns: another point of a start each round.
async fn turns(round: usize) {
    for _ in 0..round * 7 % 61 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn ga_39_a_drain_that_races_a_start_loses_nothing_in_1000_rounds() {
    const ROUNDS: usize = 1_000;
    let place = Place::open("memory").await;
    let node = async || {
        let builder = place.node().env(Env::simulated(39)).register(Brief);
        builder.start().await.unwrap()
    };
    let client = place.client().await;
    let (mut untouched, mut interrupted, mut finished) = (0, 0, 0);
    for round in 0..ROUNDS {
        let task = client.create(Brief::task(())).await.unwrap();
        let racer = node().await;
        turns(round).await;
        let report = racer.drain().await;
        assert_eq!(report.abandoned, 0, "round {round}");
        let record = task.get().await.unwrap();
        match record.status() {
            Status::Queued => untouched += 1,
            Status::Resuming => interrupted += 1,
            Status::Finished => finished += 1,
            other => panic!("round {round} left it {other}"),
        }
        let last = node().await;
        assert_eq!(task.result().await.unwrap(), 3);
        let record = task.get().await.unwrap();
        assert_eq!(
            (record.task.failures, record.task.crashes),
            (0, 0),
            "round {round}"
        );
        last.drain().await;
    }
    // It was stopped before, during and after its run.
    let seen = (untouched, interrupted, finished);
    assert!(untouched > 0 && interrupted > 0 && finished > 0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn ga_39_a_pause_that_races_a_start_loses_nothing_in_1000_rounds() {
    const ROUNDS: usize = 1_000;
    let place = Place::open("memory").await;
    let builder = place.node().env(Env::simulated(39)).register(Brief);
    let node = builder.start().await.unwrap();
    let client = node.client();
    let (mut paused, mut finished) = (0, 0);
    for round in 0..ROUNDS {
        let task = client.create(Brief::task(())).await.unwrap();
        turns(round).await;
        match task.pause().await {
            Ok(_) => {}
            Err(error) if error.is_refused() => {}
            Err(error) => panic!("round {round}: {error}"),
        }
        let mut changes = task.watch();
        let settled = loop {
            let record = changes.next().await.unwrap();
            if matches!(record.state(), State::Paused | State::Finished) {
                break record;
            }
        };
        match settled.state() {
            State::Paused => paused += 1,
            _ => finished += 1,
        }
        if settled.state() == State::Paused {
            task.resume().await.unwrap();
        }
        assert_eq!(task.result().await.unwrap(), 3);
        let record = task.get().await.unwrap();
        assert_eq!(
            (record.task.failures, record.task.crashes),
            (0, 0),
            "round {round}"
        );
    }
    assert!(paused > 0 && finished > 0, "{paused} {finished}");
    assert!(node.holds().is_empty());
    node.drain().await;
}

/// Does not look at its stop signal.
struct Deaf;

impl Handler for Deaf {
    const KIND: &'static str = "deaf";
    type Input = ();
    type Checkpoint = u32;
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        if run.checkpoint().is_none() {
            run.save(&1).await?;
            pending::<()>().await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn ga_40_a_handler_that_ignores_the_stop_delays_shutdown_by_its_deadline_only() {
    const DEADLINE: Duration = Duration::from_secs(3);
    let place = Place::open("memory").await;
    let builder = place.node().lease(STEADY).env(Env::simulated(40));
    let node = builder
        .register(Deaf)
        .drain_deadline(DEADLINE)
        .start()
        .await
        .unwrap();
    let client = place.client().await;
    let task = client.create(Deaf::task(())).await.unwrap();
    while task.checkpoint::<u32>().await.unwrap().is_none() {
        yield_now().await;
    }
    let began = Instant::now();
    let report = node.drain().await;
    let took = began.elapsed();
    assert!(
        took >= DEADLINE && took <= DEADLINE + Duration::from_millis(100),
        "{took:?}"
    );
    // Its future was dropped: nothing is abandoned, and its checkpoint goes on elsewhere.
    assert_eq!((report.handed_over, report.abandoned), (1, 0));
    let node = place.node().register(Deaf).start().await.unwrap();
    let record = task.until(State::Finished).await.unwrap();
    assert_eq!((record.task.attempt, record.task.crashes), (2, 0));
    node.drain().await;
}
