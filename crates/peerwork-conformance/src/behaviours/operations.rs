//! Operations under an id of the caller's: repeated within a day they answer the same and change nothing more.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use uuid::Uuid;

fn operation() -> OperationId {
    OperationId(Uuid::now_v7())
}

async fn once(f: &Fixture, operation: OperationId, ids: &[TaskId], wish: Wish) -> Vec<Steered> {
    let filter = Filter::scope(None);
    let answered = f.store.steer_once(operation, ids.to_vec(), filter, wish);
    answered.await.expect("steer once")
}

/// Whatever others have wished meanwhile.
pub async fn ga_45_an_operation_that_is_repeated_answers_the_same(f: &Fixture) {
    let id = f.create(task()).await;
    let pause = operation();
    let first = once(f, pause, &[id], Wish::Pause).await;
    assert_eq!(first, [Steered::Changed(Status::Paused)]);
    f.must(id, Wish::Resume).await;
    assert_eq!(once(f, pause, &[id], Wish::Pause).await, first);
    assert_eq!(f.status(id).await, Status::Queued, "the resume stands");
    let again = once(f, operation(), &[id], Wish::Pause).await;
    assert_eq!(again, first, "another operation is another");
    assert_eq!(f.status(id).await, Status::Paused);
    let to = |group| Wish::MoveTo(name(group));
    let moved = operation();
    once(f, moved, &[id], to("there")).await;
    f.must(id, to("elsewhere")).await;
    once(f, moved, &[id], to("there")).await;
    assert_eq!(f.record(id).await.group, name("elsewhere"));
}

/// What had no effect has none later, where it would have one.
pub async fn ga_45_a_refused_operation_stays_refused(f: &Fixture) {
    let held = f.running(task()).await;
    let edit = operation();
    let refused = [Steered::Refused(Status::Running, Refused::Held)];
    assert_eq!(once(f, edit, &[held.id], Wish::Priority(9)).await, refused);
    f.end(&held, Event::Stopped).await;
    assert_eq!(once(f, edit, &[held.id], Wish::Priority(9)).await, refused);
    assert_eq!(f.record(held.id).await.priority, task().priority);
}

/// Some of a batch have been dealt with, others not yet; and a task named twice is one.
pub async fn ga_45_a_repeated_operation_finishes_what_it_left(f: &Fixture) {
    let (a, b) = (f.create(task()).await, f.create(task()).await);
    let pause = operation();
    once(f, pause, &[a], Wish::Pause).await;
    f.must(a, Wish::Resume).await;
    let paused = Steered::Changed(Status::Paused);
    let both = once(f, pause, &[b, a, b], Wish::Pause).await;
    assert_eq!(both, [paused, paused, paused]);
    assert_eq!(f.status(a).await, Status::Queued);
    assert_eq!(f.status(b).await, Status::Paused);
}

/// A mistake of the caller's, told with both wishes.
pub async fn an_operations_id_is_for_one_wish(f: &Fixture) {
    let (a, b) = (f.create(task()).await, f.create(task()).await);
    let one = operation();
    once(f, one, &[a], Wish::Priority(1)).await;
    for (id, wish) in [(a, Wish::Pause), (b, Wish::Pause), (a, Wish::Priority(2))] {
        let asked = f
            .store
            .steer_once(one, vec![id], Filter::scope(None), wish.clone());
        let error = asked.await.expect_err("two wishes under one id");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(text.contains(&wish.to_string()), "{text}");
    }
    let concluded = f.store.concluded(one, Wish::Pause).await;
    assert_eq!(concluded.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(f.status(a).await, Status::Queued);
    assert_eq!(f.status(b).await, Status::Queued);
}

/// A task that comes later is a new one to it.
pub async fn an_operation_on_nobody_is_not_noted(f: &Fixture) {
    let (new, pause) = (task(), operation());
    let id = new.id;
    assert_eq!(
        once(f, pause, &[id], Wish::Pause).await,
        [Steered::NotFound]
    );
    f.create(new).await;
    let paused = [Steered::Changed(Status::Paused)];
    assert_eq!(once(f, pause, &[id], Wish::Pause).await, paused);
}

/// The first sums stand.
pub async fn an_operation_over_a_filter_is_concluded_once(f: &Fixture) {
    let one = operation();
    let concluded = || f.store.concluded(one, Wish::Pause);
    assert_eq!(concluded().await.expect("concluded"), None);
    let tally = Tally {
        changed: 3,
        unchanged: 2,
        refused: 1,
    };
    for sums in [tally, Tally::default()] {
        let conclude = f.store.conclude(one, Wish::Pause, sums).await;
        conclude.expect("conclude");
        assert_eq!(concluded().await.expect("concluded"), Some(tally));
    }
}

/// So that the table does not grow for ever.
pub async fn operations_are_forgotten_after_a_day(f: &Fixture) {
    let id = f.create(task()).await;
    let pause = operation();
    once(f, pause, &[id], Wish::Pause).await;
    f.must(id, Wish::Resume).await;
    f.clock.pass_ms(TOMBSTONE_MS - 1);
    f.store.prune(BATCH_MAX).await.expect("prune");
    once(f, pause, &[id], Wish::Pause).await;
    assert_eq!(f.status(id).await, Status::Queued, "it is remembered");
    f.clock.pass_ms(1);
    f.store.prune(BATCH_MAX).await.expect("prune");
    once(f, pause, &[id], Wish::Pause).await;
    assert_eq!(f.status(id).await, Status::Paused, "it is forgotten");
}

/// A caller that lost its patience repeats what is still under way.
pub async fn racing_repetitions_of_an_operation_change_once(f: &Fixture) {
    for _ in 0..5 {
        let ids = [f.create(task()).await, f.create(task()).await];
        let pause = operation();
        let asked = (0..4).map(|_| once(f, pause, &ids, Wish::Pause));
        for answers in futures_util::future::join_all(asked).await {
            assert_eq!(answers, [Steered::Changed(Status::Paused); 2]);
        }
    }
}
