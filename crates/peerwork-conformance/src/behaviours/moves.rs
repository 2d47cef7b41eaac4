//! Moving between groups and changing priorities.

use crate::population::{GONE, LIVES, Plan, populate};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// A move is legal in every status but the last, and changes the group alone.
pub async fn ga_25_a_move_changes_the_group_and_nothing_else(f: &Fixture) {
    let node = f.node().await;
    let plans: Vec<_> = LIVES.into_iter().chain([GONE]).map(Plan::new).collect();
    let all = populate(f, &plans, &[node]).await;
    let ids: Vec<_> = all.iter().map(|one| one.id).collect();
    let before = f.store.get(ids.clone()).await.expect("get");
    f.clock.pass_ms(5);
    let to = Wish::MoveTo(name("elsewhere"));
    f.store
        .steer(ids.clone(), Filter::scope(None), to)
        .await
        .expect("move");
    let after = f.store.get(ids).await.expect("get");
    for (before, after) in before
        .into_iter()
        .flatten()
        .zip(after.into_iter().flatten())
    {
        let group = if before.status() == Status::Deleted {
            before.group.clone()
        } else {
            name("elsewhere")
        };
        let wanted = TaskRecord { group, ..before };
        assert_eq!(format!("{after:?}"), format!("{wanted:?}"));
    }
}

/// A task is counted in exactly one group, from one moment to the next.
pub async fn ga_25_a_moved_task_is_in_one_lane_only(f: &Fixture) {
    let id = f.create(task()).await;
    f.must(id, Wish::MoveTo(name("physics"))).await;
    let lanes = f
        .store
        .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(10))
        .await
        .expect("lanes");
    assert_eq!(
        lanes.iter().map(|lane| &lane.group).collect::<Vec<_>>(),
        [&name("physics")]
    );
    let node = f.node().await;
    assert!(
        f.claim(node, Work::Run, 5).await.is_empty(),
        "nothing is left in the old lane"
    );
    assert_eq!(f.take(node, id).await.id, id);
    let list = |group| {
        f.list(
            Filter {
                group: Some(name(group)),
                ..Filter::default()
            },
            10,
        )
    };
    assert_eq!(
        (list("maths").await, list("physics").await),
        (vec![], vec![id])
    );
}

/// In its new group it is as old as it is.
pub async fn ga_25_a_queued_task_is_moved_with_its_age(f: &Fixture) {
    let moved = f.create(task()).await;
    let since = f.clock.now();
    f.clock.pass_ms(10);
    let there = f
        .create(NewTask {
            group: name("physics"),
            ..task()
        })
        .await;
    f.clock.pass_ms(10);
    f.must(moved, Wish::MoveTo(name("physics"))).await;
    assert_eq!(f.record(moved).await.task.ready_at, since);
    let node = f.node().await;
    let grants = [Grant {
        lane: LaneId::new(&name("physics"), &name("ann")),
        tasks: 5,
    }];
    let order: Vec<_> = f
        .claim_from(node, &grants, &[KIND])
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(order, [moved, there]);
}

/// A run goes on while its task moves; what follows happens in the new group.
pub async fn ga_25_a_running_task_moves_without_noticing(f: &Fixture) {
    let held = f.running(task()).await;
    f.must(held.id, Wish::MoveTo(name("physics"))).await;
    assert_eq!(
        f.save(held.save(b"half")).await,
        Saved::Kept(Status::Running)
    );
    f.end(&held, Event::Stopped).await;
    let lane = LaneId::new(&name("physics"), &name("ann"));
    let claimed = f
        .claim_from(held.node, &[Grant { lane, tasks: 1 }], &[KIND])
        .await;
    assert_eq!(
        (&claimed[0].group, claimed[0].lane),
        (&name("physics"), lane)
    );
}

/// A cleanup moves from one cleanup lane to the other.
pub async fn ga_25_a_queued_cleanup_moves_too(f: &Fixture) {
    let id = f.create(task()).await;
    f.must(id, Wish::Delete).await;
    f.must(id, Wish::MoveTo(name("physics"))).await;
    let node = f.node().await;
    assert!(f.claim(node, Work::Cleanup, 5).await.is_empty());
    let held = f.take(node, id).await;
    assert_eq!(f.end(&held, OK).await, Ended::Recorded(Status::Deleted));
}

/// To move where one is already is nothing new.
pub async fn ga_45_a_move_that_is_repeated_changes_nothing(f: &Fixture) {
    let id = f.create(task()).await;
    let to = |group| f.steer(id, Wish::MoveTo(name(group)));
    assert_eq!(to("maths").await, Steered::Unchanged(Status::Queued));
    assert_eq!(to("physics").await, Steered::Changed(Status::Queued));
    assert_eq!(to("physics").await, Steered::Unchanged(Status::Queued));
    assert_eq!(
        to("Physics").await,
        Steered::Changed(Status::Queued),
        "another group"
    );
    assert_eq!(
        to("physics ").await,
        Steered::Changed(Status::Queued),
        "another group"
    );
}

/// A new priority counts from the next claim on.
pub async fn a_new_priority_changes_the_order(f: &Fixture) {
    let tasks = [task(), task(), task()];
    let [a, b, c] = tasks.each_ref().map(|task| task.id);
    f.store.create(tasks.to_vec()).await.expect("create");
    assert_eq!(
        f.steer(c, Wish::Priority(-1)).await,
        Steered::Changed(Status::Queued)
    );
    assert_eq!(
        f.steer(c, Wish::Priority(-1)).await,
        Steered::Unchanged(Status::Queued)
    );
    assert_eq!(
        f.steer(a, Wish::Priority(1)).await,
        Steered::Changed(Status::Queued)
    );
    assert_eq!(f.record(c).await.priority, -1);
    let node = f.node().await;
    let order: Vec<_> = f
        .claim(node, Work::Run, 5)
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(order, [c, b, a]);
}

/// A priority that was changed while a task slept or was paused counts when it is back in line.
pub async fn a_priority_is_kept_while_a_task_is_parked(f: &Fixture) {
    let paused = f.create(task()).await;
    f.must(paused, Wish::Pause).await;
    let asleep = f
        .create(NewTask {
            due: Some(f.clock.now()),
            ..task()
        })
        .await;
    let plain = f.create(task()).await;
    f.must(paused, Wish::Priority(-2)).await;
    f.must(asleep, Wish::Priority(-1)).await;
    f.must(paused, Wish::Resume).await;
    f.promote().await;
    let node = f.node().await;
    let order: Vec<_> = f
        .claim(node, Work::Run, 5)
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(order, [paused, asleep, plain]);
}

/// What resumes goes first, whatever its priority becomes.
pub async fn a_resuming_task_stays_first_with_any_priority(f: &Fixture) {
    let held = f.running(task()).await;
    f.end(&held, Event::Stopped).await;
    let soon = f
        .create(NewTask {
            priority: i16::MIN,
            ..task()
        })
        .await;
    f.must(held.id, Wish::Priority(i16::MAX)).await;
    let order: Vec<_> = f
        .claim(held.node, Work::Run, 5)
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(order, [held.id, soon]);
}

/// The order of what a node holds cannot be changed.
pub async fn a_held_tasks_priority_cannot_be_changed(f: &Fixture) {
    let held = f.running(task()).await;
    let refused = Steered::Refused(Status::Running, Refused::Held);
    assert_eq!(f.steer(held.id, Wish::Priority(5)).await, refused);
    assert_eq!(f.record(held.id).await.priority, 0);
}
