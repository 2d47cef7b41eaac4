//! Creating tasks.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// What was handed in is read back, and the rest is as at a beginning.
pub async fn a_created_task_is_read_back_as_it_was_given(f: &Fixture) {
    let parent = f.create(task()).await;
    let options = Options {
        forget_on_finish: true,
        forget_on_failure: false,
    };
    let new = NewTask {
        priority: -7,
        options,
        parent: Some(parent),
        ..task()
    };
    let id = f.create(new).await;
    let record = f.record(id).await;
    assert_eq!(
        (record.kind, record.user, record.group),
        (name(KIND), name("ann"), name("maths"))
    );
    assert_eq!(
        (record.priority, record.options, record.parent),
        (-7, options, Some(parent))
    );
    assert_eq!(record.created_at, f.clock.now());
    assert_eq!(record.task, Task::new(true, None, f.clock.now()));
    assert_eq!(
        (record.node, record.run, record.started_at),
        (None, None, None)
    );
    assert_eq!(
        (record.finished_at, record.progress, record.error),
        (None, None, None)
    );
    assert_eq!(f.payload(id, Payload::Input).await, Some(b"input".to_vec()));
    assert_eq!(f.payload(id, Payload::Checkpoint).await, None);
    assert_eq!(f.payload(id, Payload::Output).await, None);
    assert_eq!(f.store.failures(id).await.expect("failures"), []);
}

/// Whether it starts, and when, decides its first status.
pub async fn a_task_begins_created_scheduled_or_queued(f: &Fixture) {
    let later = Some(f.clock.now().plus_ms(1));
    let earlier = Some(f.clock.now().minus_ms(1));
    for (start, due, status) in [
        (false, None, Status::Created),
        (false, later, Status::Created),
        (true, None, Status::Queued),
        (true, later, Status::Scheduled),
        (true, earlier, Status::Scheduled),
    ] {
        let id = f
            .create(NewTask {
                start,
                due,
                ..task()
            })
            .await;
        let record = f.record(id).await;
        assert_eq!(record.task, Task::new(start, due, f.clock.now()));
        assert_eq!(record.task.status, status);
    }
}

/// A lost answer may be asked for again.
pub async fn ga_45_creating_again_changes_nothing(f: &Fixture) {
    let new = task();
    let held = f.running(new.clone()).await;
    let before = f.record(held.id).await;
    f.clock.pass_ms(1);
    let other = NewTask {
        user: name("bob"),
        input: b"other".to_vec(),
        priority: 9,
        ..new
    };
    assert_eq!(
        f.store.create(vec![other]).await.expect("create"),
        [Created::Existed]
    );
    let after = f.record(held.id).await;
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!(
        f.payload(held.id, Payload::Input).await,
        Some(b"input".to_vec())
    );
}

/// A repetition that arrives after the deletion brings nothing back.
pub async fn ga_45_a_deleted_task_is_not_created_again(f: &Fixture) {
    let new = NewTask {
        start: false,
        ..task()
    };
    let id = f.create(new.clone()).await;
    assert_eq!(f.must(id, Wish::Delete).await, Status::Deleted);
    assert_eq!(
        f.store.create(vec![new]).await.expect("create"),
        [Created::Existed]
    );
    assert_eq!(f.status(id).await, Status::Deleted);
}

/// Answers come in the order of what was asked, for ids in any order.
pub async fn a_batch_is_answered_in_its_order(f: &Fixture) {
    let old = [task(), task(), task()];
    f.store.create(old.to_vec()).await.expect("create");
    let [a, b, c] = old;
    let batch = vec![c, task(), a, task(), b];
    let ids: Vec<_> = batch.iter().map(|task| task.id).collect();
    let created = f.store.create(batch).await.expect("create");
    use Created::{Existed, New};
    assert_eq!(created, [Existed, New, Existed, New, Existed]);
    let found = f.store.get(ids.clone()).await.expect("get");
    assert_eq!(
        found
            .into_iter()
            .map(|r| r.expect("there").id)
            .collect::<Vec<_>>(),
        ids
    );
}

/// The first of two with the same id stands.
pub async fn an_id_that_is_twice_in_a_batch_is_created_once(f: &Fixture) {
    let first = task();
    let second = NewTask {
        user: name("bob"),
        input: b"second".to_vec(),
        ..first.clone()
    };
    let id = first.id;
    let created = f.store.create(vec![first, second]).await.expect("create");
    assert_eq!(created, [Created::New, Created::Existed]);
    assert_eq!(f.record(id).await.user, name("ann"));
    assert_eq!(f.payload(id, Payload::Input).await, Some(b"input".to_vec()));
}

/// One that cannot be stored keeps all of its batch out.
pub async fn a_batch_is_created_whole_or_not_at_all(f: &Fixture) {
    let good = task();
    let bad = NewTask {
        input: vec![0; PAYLOAD_BYTES_MAX + 1],
        ..task()
    };
    let ids = vec![good.id, bad.id];
    let error = f
        .store
        .create(vec![good, bad])
        .await
        .expect_err("a payload over the bound");
    assert!(error.is_invalid(), "{error:?}");
    let found = f.store.get(ids).await.expect("get");
    assert!(found.iter().all(Option::is_none));
}

/// A child needs no parent that is there: it may be pruned long since.
pub async fn a_child_of_nobody_is_a_task_like_others(f: &Fixture) {
    let parent = fresh_task();
    let held = f
        .running(NewTask {
            parent: Some(parent),
            ..task()
        })
        .await;
    assert_eq!(f.end(&held, OK).await, Ended::Recorded(Status::Finished));
    assert_eq!(f.record(held.id).await.parent, Some(parent));
    assert!(f.find(parent).await.is_none());
}

/// Every call takes an empty batch.
pub async fn nothing_asked_is_nothing_answered(f: &Fixture) {
    let all = Filter::scope(None);
    assert_eq!(f.store.create(vec![]).await.expect("create"), []);
    assert_eq!(
        f.store
            .steer(vec![], all, Wish::Pause)
            .await
            .expect("steer"),
        []
    );
    assert!(f.store.get(vec![]).await.expect("get").is_empty());
    assert!(f.store.outputs(vec![]).await.expect("outputs").is_empty());
    assert_eq!(f.store.save(vec![]).await.expect("save"), []);
    assert_eq!(f.store.end(vec![]).await.expect("end"), []);
    assert_eq!(f.store.verify(vec![]).await.expect("verify"), []);
    f.store.publish_kinds(vec![]).await.expect("publish kinds");
    assert_eq!(
        f.store
            .lanes(vec![], LaneLook::first(10))
            .await
            .expect("lanes"),
        []
    );
    let node = f.node().await;
    assert!(f.claim_from(node, &[], &[KIND]).await.is_empty());
    assert_eq!(f.promote().await, 0);
    assert_eq!(f.wake().await, 0);
    assert_eq!(f.sweep().await, []);
    assert_eq!(f.store.prune(BATCH_MAX).await.expect("prune"), 0);
}
