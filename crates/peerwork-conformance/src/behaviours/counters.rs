//! The three counters: `attempt` counts claims, `failures` errors, `crashes` deaths without progress.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// Attempts, failures and crashes of a task.
async fn counters(f: &Fixture, id: TaskId) -> (u32, u32, u32) {
    let task = f.record(id).await.task;
    (task.attempt, task.failures, task.crashes)
}

/// Its node dies, a peer takes it back, and a new node claims it.
async fn die(f: &Fixture, held: &Held) -> Held {
    f.bury(held.node).await;
    assert_eq!(f.sweep().await, [(held.id, Status::Resuming)]);
    let node = f.node().await;
    f.take(node, held.id).await
}

/// Every claim counts, that of a cleanup too; nothing else does.
pub async fn an_attempt_is_a_claim(f: &Fixture) {
    let held = f.running(task()).await;
    assert_eq!(counters(f, held.id).await, (1, 0, 0));
    f.end(&held, Event::Stopped).await;
    let held = f.take(held.node, held.id).await;
    assert_eq!(counters(f, held.id).await, (2, 0, 0));
    f.must(held.id, Wish::Pause).await;
    f.end(&held, ERR).await;
    f.must(held.id, Wish::Resume).await;
    assert_eq!(
        counters(f, held.id).await,
        (2, 0, 0),
        "what was told to stop has not failed"
    );
    let held = f.take(held.node, held.id).await;
    f.must(held.id, Wish::Delete).await;
    f.end(&held, Event::Stopped).await;
    f.take(held.node, held.id).await;
    assert_eq!(counters(f, held.id).await, (4, 0, 0));
}

/// Only a checkpoint proves progress: a mere number does not.
pub async fn a_checkpoint_clears_the_crashes(f: &Fixture) {
    let held = f.running(task()).await;
    let held = die(f, &held).await;
    assert_eq!(counters(f, held.id).await, (2, 0, 1));
    let progress = Some(Progress { done: 1, total: 2 });
    f.save(Save {
        id: held.id,
        run: held.run,
        checkpoint: None,
        progress,
    })
    .await;
    assert_eq!(counters(f, held.id).await, (2, 0, 1));
    let held = die(f, &held).await;
    assert_eq!(counters(f, held.id).await, (3, 0, 2));
    f.save(held.save(b"")).await;
    assert_eq!(
        counters(f, held.id).await,
        (3, 0, 0),
        "an empty checkpoint is one"
    );
    let held = die(f, &held).await;
    assert_eq!(counters(f, held.id).await, (4, 0, 1));
}

/// A task that kills its process is given up after the kind's limit, with a reason.
pub async fn deaths_without_progress_are_bounded(f: &Fixture) {
    f.publish(Rules {
        crash_limit: 3,
        ..Rules::default()
    })
    .await;
    let held = f.running(task()).await;
    let held = die(f, &held).await;
    let held = die(f, &held).await;
    assert!(f.store.try_suspect(held.id, held.run).await.expect("trial"));
    f.bury(held.node).await;
    assert_eq!(f.sweep().await, [(held.id, Status::Failed)]);
    assert_eq!(counters(f, held.id).await, (3, 0, 3));
    let error = f.record(held.id).await.error.expect("a reason");
    assert!(!error.is_empty());
    let failures = f.store.failures(held.id).await.expect("failures");
    assert_eq!(
        (failures.len(), &failures[0].error, failures[0].attempt),
        (1, &error, 3)
    );
}

/// However often its node dies, a task that was never on trial is a suspect at most.
pub async fn deaths_beside_others_accuse_and_never_condemn(f: &Fixture) {
    let mut held = f.running(task()).await;
    for crashes in [1, 2, 2, 2, 2, 2, 2] {
        held = die(f, &held).await;
        assert_eq!(counters(f, held.id).await.2, crashes);
    }
    assert!(f.store.try_suspect(held.id, held.run).await.expect("trial"));
    let again = f.store.try_suspect(held.id, held.run).await;
    assert!(
        again.expect("a trial that is repeated"),
        "it still holds it"
    );
    let next = die(f, &held).await;
    assert_eq!(counters(f, held.id).await.2, 3);
    let superseded = f.store.try_suspect(held.id, held.run).await;
    assert!(!superseded.expect("an answer"), "the run is over");
    held = die(f, &next).await;
    assert_eq!(
        counters(f, held.id).await.2,
        3,
        "each run has its own trial"
    );
}

/// What saves a checkpoint is no suspect any more, in that very run.
pub async fn a_checkpoint_ends_a_trial(f: &Fixture) {
    let mut held = f.running(task()).await;
    for _ in 0..2 {
        held = die(f, &held).await;
    }
    assert!(f.store.try_suspect(held.id, held.run).await.expect("trial"));
    f.save(held.save(b"progress")).await;
    for crashes in [1, 2, 2] {
        held = die(f, &held).await;
        assert_eq!(counters(f, held.id).await.2, crashes);
    }
}

/// A release by a stopping node charges nothing.
pub async fn a_hand_over_charges_nothing(f: &Fixture) {
    let mut held = f.running(task()).await;
    for attempt in 1..6 {
        assert_eq!(counters(f, held.id).await, (attempt, 0, 0));
        assert_eq!(
            f.end(&held, Event::Stopped).await,
            Ended::Recorded(Status::Resuming)
        );
        let node = f.node().await;
        held = f.take(node, held.id).await;
    }
}

/// A person who runs a failed task gives it a fresh budget; a rerun too.
pub async fn a_person_gives_a_fresh_budget(f: &Fixture) {
    for wish in [Wish::Run, Wish::Resume, Wish::Rerun] {
        let held = f.running(task()).await;
        let held = die(f, &held).await;
        f.end(&held, FAIL).await;
        assert_eq!(counters(f, held.id).await, (2, 1, 1));
        f.must(held.id, wish).await;
        assert_eq!(counters(f, held.id).await, (2, 0, 0));
        f.take(held.node, held.id).await;
    }
}

/// A cleanup has a budget of its own.
pub async fn a_cleanup_starts_with_a_fresh_budget(f: &Fixture) {
    let held = f.running(task()).await;
    let held = die(f, &held).await;
    f.end(&held, FAIL).await;
    f.must(held.id, Wish::Delete).await;
    assert_eq!(counters(f, held.id).await, (2, 0, 0));
}
