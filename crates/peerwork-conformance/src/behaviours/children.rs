//! Waiting for children without a slot: no wake-up is lost, whoever is first.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// A running parent and `n` children of it that wait in line.
async fn family(f: &Fixture, n: usize) -> (Held, Vec<TaskId>) {
    let parent = f
        .running(NewTask {
            user: name("parent"),
            ..task()
        })
        .await;
    let children: Vec<_> = (0..n)
        .map(|_| NewTask {
            parent: Some(parent.id),
            ..task()
        })
        .collect();
    let ids = children.iter().map(|child| child.id).collect();
    f.store.create(children).await.expect("create");
    (parent, ids)
}

/// The parent leaves its slot until so many children are over.
async fn park(f: &Fixture, parent: &Held, awaited_children: u32) {
    let end = End {
        awaited_children,
        ..parent.end(WAIT)
    };
    assert_eq!(f.end_with(end).await, Ended::Recorded(Status::Waiting));
}

/// Claims the child and ends it by `event`.
async fn finish(f: &Fixture, child: TaskId, node: NodeId, event: Event) {
    let held = f.take(node, child).await;
    assert_ne!(f.end(&held, event).await, Ended::Lost);
}

/// Woken when the last of them is over, not before.
pub async fn a_parent_is_woken_when_its_children_are_over(f: &Fixture) {
    let (parent, children) = family(f, 3).await;
    park(f, &parent, 3).await;
    let mut woken = Vec::new();
    for child in children {
        finish(f, child, parent.node, OK).await;
        f.clock.pass_ms(1);
        woken.push((f.wake().await, f.status(parent.id).await));
    }
    let (waiting, queued) = ((0, Status::Waiting), (1, Status::Queued));
    assert_eq!(woken, [waiting, waiting, queued]);
    assert_eq!(f.record(parent.id).await.task.ready_at, f.clock.now());
    assert_eq!(f.wake().await, 0, "once");
}

/// All are over before the parent parks: it is woken none the less.
pub async fn children_that_are_over_before_their_parent_parks_wake_it(f: &Fixture) {
    let (parent, children) = family(f, 3).await;
    for child in children {
        finish(f, child, parent.node, OK).await;
    }
    assert_eq!(f.wake().await, 0, "who does not wait is not woken");
    park(f, &parent, 3).await;
    assert_eq!(f.wake().await, 1);
    assert_eq!(f.status(parent.id).await, Status::Queued);
}

/// However a child is over, it is over: finished, failed, forgotten, deleted.
pub async fn a_child_is_over_in_every_final_status(f: &Fixture) {
    let (parent, children) = family(f, 5).await;
    park(f, &parent, 5).await;
    finish(f, children[0], parent.node, OK).await;
    finish(f, children[1], parent.node, FAIL).await;
    finish(f, children[2], parent.node, Event::Ok { forget: true }).await;
    f.must(children[3], Wish::Delete).await;
    finish(f, children[3], parent.node, OK).await;
    assert_eq!(f.wake().await, 0);
    f.must(children[4], Wish::ForceDelete).await;
    f.must(children[4], Wish::ForceDelete).await;
    assert_eq!(f.wake().await, 1);
}

/// A child that is tried again is not over.
pub async fn a_child_that_fails_for_now_wakes_nobody(f: &Fixture) {
    let (parent, children) = family(f, 1).await;
    park(f, &parent, 1).await;
    finish(f, children[0], parent.node, ERR).await;
    assert_eq!(f.wake().await, 0);
    f.clock.pass_ms(60_000);
    f.promote().await;
    finish(f, children[0], parent.node, OK).await;
    assert_eq!(f.wake().await, 1);
}

/// A child counts once, however often it ends.
pub async fn a_child_that_is_run_again_counts_once(f: &Fixture) {
    let (parent, children) = family(f, 2).await;
    park(f, &parent, 2).await;
    finish(f, children[0], parent.node, OK).await;
    f.must(children[0], Wish::Rerun).await;
    finish(f, children[0], parent.node, OK).await;
    f.must(children[0], Wish::ForceDelete).await;
    f.must(children[0], Wish::ForceDelete).await;
    assert_eq!(f.wake().await, 0);
    finish(f, children[1], parent.node, OK).await;
    assert_eq!(f.wake().await, 1);
}

/// A paused parent stays paused; resumed, it is woken by what has happened meanwhile.
pub async fn a_paused_parent_is_woken_after_its_pause(f: &Fixture) {
    let (parent, children) = family(f, 1).await;
    park(f, &parent, 1).await;
    f.must(parent.id, Wish::Pause).await;
    finish(f, children[0], parent.node, OK).await;
    assert_eq!(f.wake().await, 0);
    assert_eq!(f.must(parent.id, Wish::Resume).await, Status::Waiting);
    assert_eq!(f.wake().await, 1);
}

/// A parent that was told to pause while it was about to wait keeps what it waits for.
pub async fn a_parent_that_parks_while_pausing_waits_after_its_pause(f: &Fixture) {
    let (parent, children) = family(f, 1).await;
    f.must(parent.id, Wish::Pause).await;
    let end = End {
        awaited_children: 1,
        ..parent.end(WAIT)
    };
    assert_eq!(f.end_with(end).await, Ended::Recorded(Status::Paused));
    assert_eq!(f.must(parent.id, Wish::Resume).await, Status::Waiting);
    assert_eq!(f.wake().await, 0);
    finish(f, children[0], parent.node, OK).await;
    assert_eq!(f.wake().await, 1);
}

/// What a parent waits for the second time includes what was over before.
pub async fn a_parent_may_wait_again_for_more(f: &Fixture) {
    let (parent, children) = family(f, 3).await;
    park(f, &parent, 1).await;
    finish(f, children[0], parent.node, OK).await;
    assert_eq!(f.wake().await, 1);
    let parent = f.take(parent.node, parent.id).await;
    park(f, &parent, 3).await;
    assert_eq!(f.wake().await, 0);
    finish(f, children[1], parent.node, OK).await;
    assert_eq!(f.wake().await, 0);
    finish(f, children[2], parent.node, OK).await;
    assert_eq!(f.wake().await, 1);
}

/// Waiting for nothing but a time is not ended by children.
pub async fn a_parent_that_waits_for_a_time_is_not_woken_by_children(f: &Fixture) {
    let (parent, children) = family(f, 1).await;
    park(f, &parent, 0).await;
    finish(f, children[0], parent.node, OK).await;
    assert_eq!(f.wake().await, 0);
    assert_eq!(f.status(parent.id).await, Status::Waiting);
}

/// A wait for children may have an end: whichever comes first.
pub async fn a_timer_ends_a_wait_for_children(f: &Fixture) {
    let (parent, children) = family(f, 1).await;
    let until = Some(f.clock.now().plus_ms(100));
    f.end_with(End {
        awaited_children: 1,
        ..parent.end(Event::Wait { until })
    })
    .await;
    f.clock.pass_ms(100);
    assert_eq!((f.wake().await, f.promote().await), (0, 1));
    finish(f, children[0], parent.node, OK).await;
    assert_eq!(f.wake().await, 0, "it is awake already");
}

/// A parent that is being deleted is woken by nobody.
pub async fn a_deleted_parent_is_not_woken(f: &Fixture) {
    let (parent, children) = family(f, 1).await;
    park(f, &parent, 1).await;
    f.must(parent.id, Wish::Delete).await;
    finish(f, children[0], parent.node, OK).await;
    assert_eq!(f.wake().await, 0);
    assert_eq!(f.status(parent.id).await, Status::CleanupQueued);
}

/// A thousand children end in one batch, and their parent's row is no bottleneck of correctness.
pub async fn a_batch_of_children_counts_each(f: &Fixture) {
    let (parent, children) = family(f, BATCH_MAX).await;
    park(f, &parent, u32::try_from(BATCH_MAX).expect("a batch")).await;
    let claimed = f.claim(parent.node, Work::Run, BATCH_MAX).await;
    assert_eq!(claimed.len(), children.len());
    let ends: Vec<_> = claimed
        .iter()
        .map(|c| {
            Held {
                id: c.id,
                run: c.run,
                node: parent.node,
            }
            .end(OK)
        })
        .collect();
    let (last, most) = ends.split_last().expect("a batch");
    f.store.end(most.to_vec()).await.expect("end");
    assert_eq!(f.wake().await, 0);
    f.store.end(vec![last.clone()]).await.expect("end");
    assert_eq!(f.wake().await, 1);
}

/// A pass is bounded; the next goes on.
pub async fn waking_is_bounded(f: &Fixture) {
    for i in 0..5 {
        let user = name(&format!("parent {i}"));
        let parent = f.running(NewTask { user, ..task() }).await;
        let child = f
            .create(NewTask {
                parent: Some(parent.id),
                ..task()
            })
            .await;
        finish(f, child, parent.node, OK).await;
        park(f, &parent, 1).await;
    }
    let mut woken = Vec::new();
    for _ in 0..4 {
        woken.push(f.store.wake(2).await.expect("wake"));
    }
    assert_eq!(woken, [2, 2, 1, 0]);
}

/// A glance of any node tells that there may be parents to wake, until somebody has looked.
pub async fn a_glance_tells_of_children_that_are_over(f: &Fixture) {
    let (parent, children) = family(f, 2).await;
    let look = async || f.glance(parent.node).await.inbox;
    assert!(!look().await);
    finish(f, children[0], parent.node, OK).await;
    park(f, &parent, 1).await;
    assert!(look().await);
    assert_eq!(f.wake().await, 1);
    assert!(!look().await);
    finish(f, children[1], parent.node, OK).await;
    f.wake().await;
    assert!(!look().await, "nobody waits for it, and that has been seen");
}

/// Children of parents that never were or are gone leave nothing behind.
pub async fn children_of_nobody_are_looked_at_once(f: &Fixture) {
    let child = f
        .running(NewTask {
            parent: Some(fresh_task()),
            ..task()
        })
        .await;
    f.end(&child, OK).await;
    assert_eq!(f.wake().await, 0);
    assert!(!f.glance(child.node).await.inbox);
}
