//! Trying again, sleeping, and coming back: what is due, when, and in which place in line.

use crate::population::{LIVES, Plan, populate};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// A failed run is tried again after its back-off, and not before.
pub async fn a_failed_run_is_tried_again_when_its_delay_is_over(f: &Fixture) {
    let held = f.running(task()).await;
    let rules = Rules {
        retry: Retry {
            limit: 2,
            base_ms: 500,
            cap_ms: 500,
        },
        ..Rules::default()
    };
    let end = End {
        rules: rules.clone(),
        ..held.end(ERR)
    };
    assert_eq!(f.end_with(end).await, Ended::Recorded(Status::Scheduled));
    let due = f.clock.now().plus_ms(500);
    let record = f.record(held.id).await;
    assert_eq!(
        (record.task.wake_at, record.state()),
        (Some(due), State::Retrying)
    );
    f.clock.pass_ms(499);
    assert_eq!(f.promote().await, 0);
    f.clock.pass_ms(1);
    assert_eq!(f.promote().await, 1);
    let task = f.record(held.id).await.task;
    assert_eq!(
        (task.status, task.ready_at, task.wake_at),
        (Status::Queued, due, None)
    );
    let held = f.take(held.node, held.id).await;
    let ended = f
        .end_with(End {
            rules,
            ..held.end(ERR)
        })
        .await;
    assert_eq!(
        ended,
        Ended::Recorded(Status::Failed),
        "the second of two tries"
    );
}

/// The handler's word about the delay goes before the kind's.
pub async fn a_handler_may_say_when_to_try_again(f: &Fixture) {
    let held = f.running(task()).await;
    let event = Event::Err {
        permanent: false,
        retry_after_ms: Some(1_234),
        jitter: 0,
        forget: false,
    };
    f.end(&held, event).await;
    assert_eq!(
        f.record(held.id).await.task.wake_at,
        Some(f.clock.now().plus_ms(1_234))
    );
}

/// What is late is not put behind what came later.
pub async fn a_due_task_enters_the_line_at_its_due_time(f: &Fixture) {
    let due = f.clock.now().plus_ms(10);
    let early = f
        .create(NewTask {
            due: Some(due),
            ..task()
        })
        .await;
    f.clock.pass_ms(20);
    let later = f.create(task()).await;
    f.clock.pass_ms(1_000);
    assert_eq!(f.promote().await, 1);
    assert_eq!(f.record(early).await.task.ready_at, due);
    let node = f.node().await;
    let order: Vec<_> = f
        .claim(node, Work::Run, 2)
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(order, [early, later]);
}

/// Nothing sleeps in vain: what a pass leaves, the next takes.
pub async fn promotion_is_bounded_and_tells_of_more(f: &Fixture) {
    let due = Some(f.clock.now());
    f.store
        .create((0..25).map(|_| NewTask { due, ..task() }).collect())
        .await
        .expect("create");
    f.store
        .create(
            (0..5)
                .map(|_| NewTask {
                    due: Some(f.clock.now().plus_ms(1)),
                    ..task()
                })
                .collect(),
        )
        .await
        .expect("create");
    let first = f.store.promote(10).await.expect("promote");
    assert_eq!(
        first,
        Promoted {
            tasks: 10,
            more: true
        }
    );
    let second = f.store.promote(10).await.expect("promote");
    assert_eq!(
        second,
        Promoted {
            tasks: 10,
            more: true
        }
    );
    let third = f.store.promote(10).await.expect("promote");
    assert_eq!(
        third,
        Promoted {
            tasks: 5,
            more: false
        }
    );
    assert_eq!(
        f.store.promote(10).await.expect("promote"),
        Promoted {
            tasks: 0,
            more: false
        }
    );
}

/// Exactly what `decide` calls due is promoted, whatever the status.
pub async fn only_what_sleeps_is_promoted(f: &Fixture) {
    let node = f.node().await;
    let plans: Vec<_> = LIVES
        .into_iter()
        .map(|life| Plan {
            wake_ms: 100,
            ..Plan::new(life)
        })
        .collect();
    let all = populate(f, &plans, &[node]).await;
    let ids: Vec<_> = all.iter().map(|one| one.id).collect();
    for (pass_ms, expected) in [(99, 0), (1, 4), (1_000, 0)] {
        f.clock.pass_ms(pass_ms);
        let before = f.store.get(ids.clone()).await.expect("get");
        assert_eq!(f.promote().await, expected);
        let after = f.store.get(ids.clone()).await.expect("get");
        for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
            let wanted = match decide(&before.task, &Rules::default(), Event::Due, f.clock.now()) {
                Ok(Transition::To(to)) => to,
                _ => before.task,
            };
            assert_eq!(after.task, wanted);
        }
    }
}

/// A wait with an end is over at its end.
pub async fn a_timer_ends_a_wait(f: &Fixture) {
    let held = f.running(task()).await;
    f.save(held.save(b"half")).await;
    let until = f.clock.now().plus_ms(100);
    let ended = f.end(&held, Event::Wait { until: Some(until) }).await;
    assert_eq!(ended, Ended::Recorded(Status::Waiting));
    assert_eq!((f.promote().await, f.wake().await), (0, 0));
    f.clock.pass_ms(100);
    assert_eq!((f.promote().await, f.wake().await), (1, 0));
    let claimed = f.claim(held.node, Work::Run, 1).await;
    assert_eq!(claimed[0].checkpoint.as_deref(), Some(&b"half"[..]));
}

/// A glance says when to look again, and whether to look now.
pub async fn a_glance_tells_the_next_alarm(f: &Fixture) {
    let node = f.node().await;
    let look = async || {
        let glance = f.glance(node).await;
        (glance.next_wake, glance.ready)
    };
    assert_eq!(look().await, (None, false));
    let at = |ms| f.clock.now().plus_ms(ms);
    let (soon, late) = (at(100), at(200));
    let first = f
        .create(NewTask {
            due: Some(soon),
            ..task()
        })
        .await;
    f.create(NewTask {
        due: Some(late),
        ..task()
    })
    .await;
    assert_eq!(look().await, (Some(soon), false));
    f.must(first, Wish::Pause).await;
    assert_eq!(
        look().await,
        (Some(late), false),
        "what is paused has no alarm"
    );
    f.clock.pass_ms(200);
    f.promote().await;
    assert_eq!(look().await, (None, true));
    f.claim(node, Work::Run, 5).await;
    assert_eq!(look().await, (None, false));
}
