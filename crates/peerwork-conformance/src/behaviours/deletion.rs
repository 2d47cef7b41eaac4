//! Deletion: the cleanup, its retries, its end, and the tombstone that remembers.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// A task whose cleanup is claimed.
async fn cleaning(f: &Fixture) -> Held {
    let held = f.running(task()).await;
    f.save(held.save(b"half")).await;
    f.must(held.id, Wish::Delete).await;
    f.end(&held, Event::Stopped).await;
    f.take(held.node, held.id).await
}

/// From the wish to the tombstone, step by step.
pub async fn ga_46_a_deletion_can_be_watched_until_it_is_gone(f: &Fixture) {
    let held = f.running(task()).await;
    let state = async || f.record(held.id).await.state();
    f.must(held.id, Wish::Delete).await;
    assert_eq!(state().await, State::Deleting);
    f.end(&held, Event::Stopped).await;
    assert_eq!(state().await, State::Deleting);
    let cleanup = f.take(held.node, held.id).await;
    assert_eq!(state().await, State::Deleting);
    f.clock.pass_ms(5);
    assert_eq!(f.end(&cleanup, OK).await, Ended::Recorded(Status::Deleted));
    assert_eq!(state().await, State::Deleted);
    assert_eq!(f.record(held.id).await.finished_at, Some(f.clock.now()));
}

/// A tombstone is a name and a time: the payloads are gone at once.
pub async fn a_tombstone_keeps_no_payload(f: &Fixture) {
    let held = cleaning(f).await;
    f.end(&held, OK).await;
    for which in [Payload::Input, Payload::Checkpoint, Payload::Output] {
        assert_eq!(f.payload(held.id, which).await, None);
    }
    assert_eq!(f.store.failures(held.id).await.expect("failures"), []);
    let record = f.record(held.id).await;
    assert_eq!((record.progress, record.error), (None, None));
    assert_eq!((record.user, record.group), (name("ann"), name("maths")));
}

/// A cleanup that fails is visible, tried again, and in the end left to a person.
pub async fn ga_09_a_cleanup_that_fails_is_retried_then_stays_visible(f: &Fixture) {
    let mut held = cleaning(f).await;
    let rules = Rules {
        retry: Retry {
            limit: 2,
            base_ms: 100,
            cap_ms: 100,
        },
        ..Rules::default()
    };
    let end = |held: &Held| End {
        rules: rules.clone(),
        ..held.end(ERR)
    };
    assert_eq!(
        f.end_with(end(&held)).await,
        Ended::Recorded(Status::CleanupScheduled)
    );
    assert_eq!(f.record(held.id).await.error.as_deref(), Some("it broke"));
    f.clock.pass_ms(100);
    assert_eq!(f.promote().await, 1);
    held = f.take(held.node, held.id).await;
    assert_eq!(
        f.end_with(end(&held)).await,
        Ended::Recorded(Status::CleanupFailed)
    );
    assert_eq!(f.record(held.id).await.state(), State::DeleteFailed);
    assert_eq!(f.list(Filter::default(), 10).await, [held.id]);
    f.clock.pass_ms(10 * TOMBSTONE_MS);
    assert_eq!(
        (f.promote().await, f.store.prune(10).await.expect("prune")),
        (0, 0)
    );
    assert_eq!(f.must(held.id, Wish::Delete).await, Status::CleanupQueued);
    held = f.take(held.node, held.id).await;
    assert_eq!(f.end(&held, OK).await, Ended::Recorded(Status::Deleted));
}

/// A person may give a cleanup up; a live one then finds itself lost.
pub async fn ga_09_a_cleanup_can_be_forced(f: &Fixture) {
    let held = cleaning(f).await;
    assert_eq!(f.must(held.id, Wish::ForceDelete).await, Status::Deleted);
    assert_eq!(f.save(held.save(b"late")).await, Saved::Lost);
    assert_eq!(f.end(&held, ERR).await, Ended::Lost);
    assert_eq!(f.glance(held.node).await.held, Some(0));
    f.bury(held.node).await;
    assert_eq!(f.sweep().await, []);
    assert_eq!(f.status(held.id).await, Status::Deleted);
}

/// Forcing does not cut a run off: the handler is asked to stop first.
pub async fn a_forced_deletion_still_waits_for_the_run(f: &Fixture) {
    let held = f.running(task()).await;
    assert_eq!(
        f.must(held.id, Wish::ForceDelete).await,
        Status::DeletingRun
    );
    assert_eq!(
        f.save(held.save(b"half")).await,
        Saved::Kept(Status::DeletingRun)
    );
    assert_eq!(
        f.end(&held, Event::Stopped).await,
        Ended::Recorded(Status::CleanupQueued)
    );
}

/// Kinds that have no cleanup are gone when their run is.
pub async fn a_kind_without_a_cleanup_is_deleted_at_once(f: &Fixture) {
    let rules = Rules {
        cleanup: false,
        ..Rules::default()
    };
    f.publish(rules.clone()).await;
    let queued = f.create(task()).await;
    assert_eq!(f.must(queued, Wish::Delete).await, Status::Deleted);
    let held = f.running(task()).await;
    assert_eq!(f.must(held.id, Wish::Delete).await, Status::DeletingRun);
    let end = End {
        rules,
        ..held.end(Event::Stopped)
    };
    assert_eq!(f.end_with(end).await, Ended::Recorded(Status::Deleted));
    assert!(f.claim(held.node, Work::Cleanup, 5).await.is_empty());
}

/// What nobody knows is not skipped: a kind that was never published has a cleanup.
pub async fn the_rules_in_force_are_those_published_last(f: &Fixture) {
    let ids = [
        f.create(task()).await,
        f.create(task()).await,
        f.create(task()).await,
    ];
    assert_eq!(f.must(ids[0], Wish::Delete).await, Status::CleanupQueued);
    f.publish(Rules {
        cleanup: false,
        ..Rules::default()
    })
    .await;
    assert_eq!(f.must(ids[1], Wish::Delete).await, Status::Deleted);
    f.publish(Rules::default()).await;
    assert_eq!(f.must(ids[2], Wish::Delete).await, Status::CleanupQueued);
    let kinds = f.store.kinds().await.expect("kinds");
    let key = KindKey::new(&name(KIND));
    assert_eq!(
        kinds,
        [KindRow {
            kind: name(KIND),
            key,
            rules: Rules::default()
        }]
    );
}

/// For a day a tombstone answers "gone"; then it is removed, and nothing else is.
pub async fn a_tombstone_is_pruned_after_a_day_and_nothing_else(f: &Fixture) {
    let new = NewTask {
        start: false,
        ..task()
    };
    let first = f.create(new.clone()).await;
    let kept = f
        .create(NewTask {
            id: fresh_task(),
            ..new.clone()
        })
        .await;
    f.must(first, Wish::Delete).await;
    let done = f.running(task()).await;
    f.end(&done, OK).await;
    f.clock.pass_ms(TOMBSTONE_MS - 1);
    let second = f
        .create(NewTask {
            id: fresh_task(),
            ..new.clone()
        })
        .await;
    f.must(second, Wish::Delete).await;
    assert_eq!(f.store.prune(BATCH_MAX).await.expect("prune"), 0);
    assert_eq!(
        f.store.create(vec![new.clone()]).await.expect("create"),
        [Created::Existed]
    );
    f.clock.pass_ms(1);
    assert_eq!(f.store.prune(BATCH_MAX).await.expect("prune"), 1);
    assert!(f.find(first).await.is_none());
    assert_eq!(f.steer(first, Wish::Run).await, Steered::NotFound);
    assert_eq!(f.status(second).await, Status::Deleted);
    assert_eq!(
        (f.status(kept).await, f.status(done.id).await),
        (Status::Created, Status::Finished)
    );
    f.clock.pass_ms(TOMBSTONE_MS - 1);
    assert_eq!(f.store.prune(BATCH_MAX).await.expect("prune"), 1);
    assert_eq!(f.store.prune(BATCH_MAX).await.expect("prune"), 0);
    assert_eq!(
        f.store.create(vec![new]).await.expect("create"),
        [Created::New],
        "nothing is left of it"
    );
}

/// A pass is bounded; the next goes on.
pub async fn pruning_is_bounded(f: &Fixture) {
    let tasks: Vec<_> = (0..25)
        .map(|_| NewTask {
            start: false,
            ..task()
        })
        .collect();
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    f.store.create(tasks).await.expect("create");
    f.store
        .steer(ids.clone(), Filter::default(), Wish::Delete)
        .await
        .expect("delete");
    f.clock.pass_ms(TOMBSTONE_MS);
    let mut pruned = Vec::new();
    for _ in 0..4 {
        pruned.push(f.store.prune(10).await.expect("prune"));
    }
    assert_eq!(pruned, [10, 10, 5, 0]);
    assert!(
        f.store
            .get(ids)
            .await
            .expect("get")
            .iter()
            .all(Option::is_none)
    );
}

/// A child that is gone does not keep its parent waiting, nor its parent's tombstone.
pub async fn pruning_a_child_or_a_parent_leaves_the_other(f: &Fixture) {
    let parent = f
        .create(NewTask {
            start: false,
            ..task()
        })
        .await;
    let child = f
        .create(NewTask {
            start: false,
            parent: Some(parent),
            ..task()
        })
        .await;
    f.must(parent, Wish::Delete).await;
    f.clock.pass_ms(TOMBSTONE_MS);
    assert_eq!(f.store.prune(10).await.expect("prune"), 1);
    assert_eq!(f.record(child).await.parent, Some(parent));
    f.must(child, Wish::Run).await;
    let node = f.node().await;
    let held = f.take(node, child).await;
    assert_eq!(f.end(&held, OK).await, Ended::Recorded(Status::Finished));
    assert!(f.find(parent).await.is_none());
}

/// "Forget" leaves a tombstone, so that a repeated create does not start the task again.
pub async fn ga_04_a_forgotten_task_is_gone_but_not_reborn(f: &Fixture) {
    let fail_forget = Event::Err {
        permanent: true,
        retry_after_ms: None,
        jitter: 0,
        forget: true,
    };
    for event in [Event::Ok { forget: true }, fail_forget] {
        let new = task();
        let held = f.running(new.clone()).await;
        f.save(held.save(b"half")).await;
        assert_eq!(f.end(&held, event).await, Ended::Recorded(Status::Deleted));
        assert_eq!(f.list(Filter::default(), 10).await, []);
        assert_eq!(f.payload(held.id, Payload::Output).await, None);
        assert_eq!(f.payload(held.id, Payload::Checkpoint).await, None);
        assert_eq!(
            f.store.create(vec![new]).await.expect("create"),
            [Created::Existed]
        );
        assert_eq!(f.status(held.id).await, Status::Deleted);
    }
}

/// Only a failure for good is forgotten: one that is tried again stays.
pub async fn a_failure_that_is_retried_is_not_forgotten(f: &Fixture) {
    let held = f.running(task()).await;
    let event = Event::Err {
        permanent: false,
        retry_after_ms: None,
        jitter: 0,
        forget: true,
    };
    assert_eq!(
        f.end(&held, event).await,
        Ended::Recorded(Status::Scheduled)
    );
}

/// Neither a pause nor a run brings a task back that is being deleted.
pub async fn ga_44_nothing_supersedes_a_deletion(f: &Fixture) {
    let held = cleaning(f).await;
    for wish in [
        Wish::Run,
        Wish::Resume,
        Wish::Pause,
        Wish::Rerun,
        Wish::Priority(1),
    ] {
        let steered = f.steer(held.id, wish).await;
        assert_eq!(
            steered,
            Steered::Refused(Status::Cleaning, Refused::Deleting)
        );
    }
    assert_eq!(f.end(&held, OK).await, Ended::Recorded(Status::Deleted));
}
