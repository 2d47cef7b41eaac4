//! Rescue: what becomes of the tasks of a node that is not alive.

use super::steer::{kinds, rules_of};
use crate::population::{LIVES, Plan, populate};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// Every status and every rule, as `decide` says; nobody else's tasks are touched.
pub async fn a_sweep_takes_back_what_the_dead_hold_and_nothing_else(f: &Fixture) {
    let (dead, alive) = (f.node().await, f.node().await);
    let mut plans = Vec::new();
    for (kind, _) in kinds() {
        for life in LIVES {
            for node in [0, 1] {
                plans.push(Plan {
                    kind: kind.clone(),
                    node,
                    ..Plan::new(life)
                });
            }
        }
    }
    let all = populate(f, &plans, &[dead, alive]).await;
    f.store.publish_kinds(kinds()).await.expect("publish kinds");
    let ids: Vec<_> = all.iter().map(|one| one.id).collect();
    f.clock.pass_ms(60_000);
    assert_eq!(f.sweep().await, [], "expired is not dead");
    let before = f.store.get(ids.clone()).await.expect("get");
    f.bury(dead).await;
    let swept = f.sweep().await;
    let after = f.store.get(ids).await.expect("get");
    let mut wanted = Vec::new();
    for ((one, before), after) in all
        .iter()
        .zip(before.into_iter().flatten())
        .zip(after.into_iter().flatten())
    {
        let mut task = before.task;
        if before.status().is_held() && one.plan.node == 0 {
            let to = decide(
                &task,
                &rules_of(&one.plan.kind),
                Event::DeadOwner { on_trial: false },
                f.clock.now(),
            );
            let Ok(Transition::To(to)) = to else {
                panic!("a death changes what was held")
            };
            wanted.push((before.id, to.status));
            task = to;
        }
        assert_eq!(after.task, task, "{before:?}");
        let lost = after.status() != before.status() && !after.status().is_final();
        assert!(
            !lost || (after.node, after.run) == (None, None),
            "{after:?}"
        );
    }
    wanted.sort_unstable();
    assert_eq!(swept, wanted);
    assert_eq!(f.sweep().await, [], "once");
    let held = |node| {
        let held = all
            .iter()
            .filter(|one| one.plan.life.status.is_held() && one.plan.node == node);
        u64::try_from(held.count()).expect("few")
    };
    assert_eq!(f.glance(dead).await.held, Some(0));
    assert_eq!(f.glance(alive).await.held, Some(held(1)));
}

/// A crash while a pause or a deletion is pending leads to paused, or to the cleanup: never to an invisible task.
pub async fn ga_08_a_crash_with_a_pending_wish_leads_where_the_wish_wanted(f: &Fixture) {
    let pausing = f.running(task()).await;
    f.must(pausing.id, Wish::Pause).await;
    let deleting = f
        .running(NewTask {
            user: name("bob"),
            ..task()
        })
        .await;
    f.must(deleting.id, Wish::Delete).await;
    f.bury(pausing.node).await;
    f.bury(deleting.node).await;
    let mut wanted = [
        (pausing.id, Status::Paused),
        (deleting.id, Status::CleanupQueued),
    ];
    wanted.sort_unstable();
    assert_eq!(f.sweep().await, wanted);
    let mut listed = f.list(Filter::default(), 10).await;
    listed.sort_unstable();
    assert_eq!(listed, wanted.map(|(id, _)| id));
    assert_eq!(f.must(pausing.id, Wish::Resume).await, Status::Resuming);
    let node = f.node().await;
    let cleanup = f.take(node, deleting.id).await;
    assert_eq!(f.end(&cleanup, OK).await, Ended::Recorded(Status::Deleted));
}

/// A crash during a cleanup starts the cleanup again.
pub async fn ga_08_a_crash_during_a_cleanup_queues_it_again(f: &Fixture) {
    let id = f.create(task()).await;
    f.must(id, Wish::Delete).await;
    let node = f.node().await;
    let held = f.take(node, id).await;
    f.save(held.save(b"cleaned half")).await;
    f.bury(node).await;
    assert_eq!(f.sweep().await, [(id, Status::CleanupQueued)]);
    let node = f.node().await;
    let claimed = f.claim(node, Work::Cleanup, 1).await;
    assert_eq!(claimed[0].checkpoint.as_deref(), Some(&b"cleaned half"[..]));
}

/// What a rescued task has saved is what it goes on from, before all others.
pub async fn a_rescued_task_goes_on_first_from_its_checkpoint(f: &Fixture) {
    let held = f
        .running(NewTask {
            priority: 5,
            ..task()
        })
        .await;
    f.save(held.save(b"half")).await;
    f.create(NewTask {
        priority: -5,
        ..task()
    })
    .await;
    f.bury(held.node).await;
    f.sweep().await;
    let record = f.record(held.id).await;
    assert_eq!(
        (record.node, record.run, record.started_at),
        (None, None, None)
    );
    assert_eq!(record.state(), State::Running, "people do not see a rescue");
    let node = f.node().await;
    let claimed = f.claim(node, Work::Run, 1).await;
    assert_eq!(
        (claimed[0].id, claimed[0].checkpoint.as_deref()),
        (held.id, Some(&b"half"[..]))
    );
}

/// A dead node's row stays as long as it holds something, however long ago it died: the sweep finds it.
pub async fn a_dead_node_is_remembered_while_it_holds_tasks(f: &Fixture) {
    let held = f.running(task()).await;
    f.bury(held.node).await;
    f.clock.pass_ms(TOMBSTONE_MS);
    f.store.prune(BATCH_MAX).await.expect("prune");
    assert_eq!(f.store.nodes().await.expect("nodes").len(), 1);
    assert_eq!(f.sweep().await, [(held.id, Status::Resuming)]);
    f.store.prune(BATCH_MAX).await.expect("prune");
    assert_eq!(f.store.nodes().await.expect("nodes"), []);
}

/// A pass is bounded and tells of more; what it leaves, the next takes.
pub async fn sweeping_is_bounded_and_tells_of_more(f: &Fixture) {
    f.store
        .create((0..25).map(|_| task()).collect())
        .await
        .expect("create");
    let nodes = [f.node().await, f.node().await];
    f.claim(nodes[0], Work::Run, 12).await;
    f.claim(nodes[1], Work::Run, 13).await;
    f.bury(nodes[0]).await;
    f.bury(nodes[1]).await;
    let mut seen = Vec::new();
    for wanted in [10, 10, 5] {
        let swept = f.store.sweep(10).await.expect("sweep");
        assert_eq!(swept.tasks.len(), wanted);
        assert!(swept.more || wanted < 10);
        seen.extend(swept.tasks.into_iter().map(|(id, _)| id));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 25);
    assert_eq!(f.store.sweep(10).await.expect("sweep"), Swept::default());
}

/// A glance of any node tells that there may be something to take back.
pub async fn a_glance_tells_of_the_dead(f: &Fixture) {
    let held = f.running(task()).await;
    let node = f.node().await;
    assert!(!f.glance(node).await.dead);
    f.bury(held.node).await;
    assert!(f.glance(node).await.dead);
}

/// The death of a parent's or a child's node leaves the other alone; a child that it ends is told to its parent.
pub async fn a_child_that_a_death_fails_wakes_its_parent(f: &Fixture) {
    f.publish(Rules {
        on_node_death: OnNodeDeath::Fail,
        ..Rules::default()
    })
    .await;
    let parent = f
        .running(NewTask {
            kind: name("parent"),
            ..task()
        })
        .await;
    let child = f
        .running(NewTask {
            parent: Some(parent.id),
            ..task()
        })
        .await;
    f.end_with(End {
        awaited_children: 1,
        ..parent.end(WAIT)
    })
    .await;
    f.bury(child.node).await;
    assert_eq!(f.sweep().await, [(child.id, Status::Failed)]);
    assert_eq!(f.wake().await, 1);
    assert_eq!(f.status(parent.id).await, Status::Queued);
}
