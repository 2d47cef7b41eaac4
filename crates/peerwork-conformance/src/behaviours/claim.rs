//! Claims: who gets what, in which order.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// What a handler needs comes with the claim.
pub async fn a_claim_brings_all_that_a_handler_needs(f: &Fixture) {
    let options = Options {
        forget_on_finish: false,
        forget_on_failure: true,
    };
    let id = f
        .create(NewTask {
            options,
            priority: 3,
            ..task()
        })
        .await;
    let created_at = f.clock.now();
    f.clock.pass_ms(7);
    let node = f.node().await;
    let claimed = f.claim(node, Work::Run, 10).await;
    let [one] = &claimed[..] else {
        panic!("{claimed:?}")
    };
    assert_eq!((one.id, &one.kind), (id, &name(KIND)));
    assert_eq!((&one.user, &one.group), (&name("ann"), &name("maths")));
    assert_eq!(one.lane, LaneId::new(&name("maths"), &name("ann")));
    assert_eq!((one.options, one.created_at), (options, created_at));
    assert_eq!((&one.input[..], &one.checkpoint), (&b"input"[..], &None));
    let expected = Task {
        status: Status::Running,
        attempt: 1,
        ..Task::new(true, None, created_at)
    };
    assert_eq!(one.task, expected);
    let record = f.record(id).await;
    assert_eq!(record.task, expected);
    assert_eq!((record.node, record.run), (Some(node), Some(one.run)));
    assert_eq!(
        (record.started_at, record.finished_at),
        (Some(f.clock.now()), None)
    );
}

/// The order in a lane, with every tie that there is.
pub async fn ga_23_a_claim_gives_a_lane_in_order_of_rank_time_and_id(f: &Fixture) {
    let node = f.node().await;
    let resuming = f
        .create(NewTask {
            priority: 9,
            ..task()
        })
        .await;
    let held = f.take(node, resuming).await;
    f.end(&held, Event::Stopped).await;
    let mut wanted = vec![resuming];
    // Created the wrong way round: neither the order of creation nor that of ids alone decides.
    let mut later = Vec::new();
    for priority in [i16::MAX, 1, 0, -1, i16::MIN] {
        let twins = [task(), task(), task()].map(|new| NewTask { priority, ..new });
        let ids = twins.each_ref().map(|new| new.id);
        f.store
            .create(twins.into_iter().rev().collect())
            .await
            .expect("create");
        later.push(ids.to_vec());
    }
    f.clock.pass_ms(1);
    let young: Vec<_> = [-1, 0]
        .map(|priority| NewTask { priority, ..task() })
        .to_vec();
    let [young_soon, young_plain] = [young[0].id, young[1].id];
    f.store.create(young).await.expect("create");
    later.reverse();
    later[1].push(young_soon);
    later[2].push(young_plain);
    wanted.extend(later.into_iter().flatten());
    let mut order = Vec::new();
    for n in [1, 2, 3, 100] {
        order.extend(f.claim(node, Work::Run, n).await.into_iter().map(|c| c.id));
    }
    assert_eq!(order, wanted);
}

/// Times before 1970 and ids of any version are ordered as numbers, not as whatever holds them.
pub async fn order_is_by_value_for_any_id_and_time(f: &Fixture) {
    let ids = [0_u128, 1, 1 << 64, 1 << 127, u128::MAX].map(|id| TaskId(uuid::Uuid::from_u128(id)));
    let due = [-5, 0, 1, f.clock.now().0 - 1];
    let mut wanted = Vec::new();
    let mut batch = Vec::new();
    for (i, at) in due.into_iter().enumerate() {
        let due = Some(Timestamp(at));
        let new = NewTask { due, ..task() };
        if i == 0 {
            batch.extend(
                ids.into_iter()
                    .rev()
                    .map(|id| NewTask { id, ..new.clone() }),
            );
            wanted.extend(ids);
        } else {
            wanted.push(new.id);
            batch.push(new);
        }
    }
    batch.reverse();
    f.store.create(batch).await.expect("create");
    assert_eq!(f.promote().await, wanted.len());
    let node = f.node().await;
    let order: Vec<_> = f
        .claim(node, Work::Run, 100)
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(order, wanted);
}

/// A grant is an upper bound, lane by lane.
pub async fn a_claim_takes_no_more_than_it_was_granted(f: &Fixture) {
    let users = ["ann", "bob", "eve"];
    for user in users {
        for _ in 0..3 {
            f.create(NewTask {
                user: name(user),
                ..task()
            })
            .await;
        }
    }
    let node = f.node().await;
    let grant = |user: &str, tasks| Grant {
        lane: LaneId::new(&name("maths"), &name(user)),
        tasks,
    };
    let grants = [grant("bob", 2), grant("eve", 0), grant("ann", 5)];
    let claimed = f.claim_from(node, &grants, &[KIND]).await;
    let of = |user: &str| claimed.iter().filter(|c| c.user == *user).count();
    assert_eq!(users.map(of), [3, 2, 0]);
    assert_eq!(f.store.nodes().await.expect("nodes")[0].held, 5);
    let run = claimed[0].run;
    assert!(
        claimed.iter().all(|c| c.run == run),
        "one run id for a claim"
    );
}

/// Nobody gets what is held, parked or over.
pub async fn what_is_not_ready_is_not_claimed(f: &Fixture) {
    use crate::population::{LIVES, Plan, populate};
    let node = f.node().await;
    let plans: Vec<_> = LIVES
        .into_iter()
        .filter(|life| life.status.place() != Place::Ready)
        .map(|life| Plan {
            wake_ms: 1,
            ..Plan::new(life)
        })
        .collect();
    let all = populate(f, &plans, &[node]).await;
    f.clock.pass_ms(1_000);
    let records = f
        .store
        .get(all.iter().map(|one| one.id).collect())
        .await
        .expect("get");
    for work in [Work::Run, Work::Cleanup] {
        let lane = |record: &TaskRecord| LaneId::new(&record.group, &record.user).of(work);
        let grants: Vec<_> = records
            .iter()
            .flatten()
            .map(|r| Grant {
                lane: lane(r),
                tasks: 5,
            })
            .collect();
        assert!(f.claim_from(node, &grants, &[KIND]).await.is_empty());
    }
    assert_eq!(
        f.store
            .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(100))
            .await
            .expect("lanes"),
        []
    );
}

/// A node never gets a kind that it did not name, however far ahead in line it is.
pub async fn a_claim_takes_only_kinds_that_the_node_can_run(f: &Fixture) {
    let kinds = ["other", KIND, "third", KIND, "other"];
    let mut ids = Vec::new();
    for kind in kinds {
        ids.push(
            f.create(NewTask {
                kind: name(kind),
                ..task()
            })
            .await,
        );
        f.clock.pass_ms(1);
    }
    let node = f.node().await;
    let lane = LaneId::new(&name("maths"), &name("ann"));
    let lanes = f
        .store
        .lanes(vec![KindKey::new(&name("third"))], LaneLook::first(10))
        .await
        .expect("lanes");
    assert_eq!(lanes.len(), 1);
    assert_eq!(
        lanes[0].since,
        f.record(ids[2]).await.task.ready_at,
        "the first that it could run"
    );
    let claim = async |kinds: &[&str], tasks| {
        let claimed = f.claim_from(node, &[Grant { lane, tasks }], kinds).await;
        claimed.into_iter().map(|c| c.id).collect::<Vec<_>>()
    };
    assert_eq!(claim(&[], 10).await, []);
    assert_eq!(claim(&["nobody's"], 10).await, []);
    assert_eq!(claim(&["third", KIND], 2).await, [ids[1], ids[2]]);
    assert_eq!(claim(&[KIND], 10).await, [ids[3]]);
    assert_eq!(claim(&[KIND], 10).await, []);
    assert_eq!(
        f.store
            .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(10))
            .await
            .expect("lanes"),
        []
    );
    assert_eq!(claim(&["other"], 10).await, [ids[0], ids[4]]);
}

/// A node that is dead, gone, or was never there holds nothing new.
pub async fn nothing_is_claimed_for_a_node_that_is_not_alive(f: &Fixture) {
    f.create(task()).await;
    let [dead, gone] = [f.node().await, f.node().await];
    f.bury(dead).await;
    assert!(f.store.retire(gone).await.expect("retire"));
    for node in [dead, gone, fresh_node()] {
        assert!(f.claim(node, Work::Run, 1).await.is_empty());
    }
    let node = f.node().await;
    f.clock.pass_ms(3_600_000);
    assert_eq!(
        f.claim(node, Work::Run, 1).await.len(),
        1,
        "expired is not dead"
    );
}

/// Runs and cleanups wait in lanes of their own.
pub async fn a_cleanup_is_not_claimed_as_a_run(f: &Fixture) {
    let held = f.running(task()).await;
    f.save(held.save(b"half")).await;
    f.must(held.id, Wish::Delete).await;
    assert_eq!(
        f.end(&held, Event::Stopped).await,
        Ended::Recorded(Status::CleanupQueued)
    );
    assert!(f.claim(held.node, Work::Run, 1).await.is_empty());
    let lanes = f
        .store
        .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(10))
        .await
        .expect("lanes");
    assert_eq!(
        lanes.iter().map(|lane| lane.work).collect::<Vec<_>>(),
        [Work::Cleanup]
    );
    let claimed = f.claim(held.node, Work::Cleanup, 1).await;
    assert_eq!(claimed[0].task.status, Status::Cleaning);
    assert_eq!(claimed[0].input, b"input");
    assert_eq!(
        claimed[0].checkpoint.as_deref(),
        Some(&b"half"[..]),
        "a cleanup knows what was done"
    );
}

/// A lane shows what a policy needs of its first task.
pub async fn lanes_show_their_first_task(f: &Fixture) {
    for (user, priority) in [("ann", 5), ("bob", 2), ("ann", 1), ("ann", 1)] {
        f.create(NewTask {
            user: name(user),
            priority,
            ..task()
        })
        .await;
        f.clock.pass_ms(1);
    }
    f.create(NewTask {
        user: name("eve"),
        start: false,
        ..task()
    })
    .await;
    let start = f.clock.now().minus_ms(4);
    let mut lanes = f
        .store
        .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(10))
        .await
        .expect("lanes");
    lanes.sort_by(|a, b| a.user.cmp(&b.user));
    let lane = |user: &str, priority, ms| LaneView {
        lane: LaneId::new(&name("maths"), &name(user)),
        group: name("maths"),
        user: name(user),
        work: Work::Run,
        rank: Rank::new(Status::Queued, priority),
        since: start.plus_ms(ms),
    };
    assert_eq!(lanes, [lane("ann", 1, 2), lane("bob", 2, 1)]);
}

/// A look goes on behind a lane, and shows each rank of a lane if it is asked to.
pub async fn lanes_are_shown_in_parts_and_by_rank(f: &Fixture) {
    for (user, priority) in [("ann", 5), ("bob", 2), ("ann", 1), ("eve", 0), ("ann", 5)] {
        f.create(NewTask {
            user: name(user),
            priority,
            ..task()
        })
        .await;
        f.clock.pass_ms(1);
    }
    let start = f.clock.now().minus_ms(5);
    let shown = async |look: LaneLook| {
        let lanes = f.store.lanes(vec![KindKey::new(&name(KIND))], look).await;
        let shown = lanes.expect("lanes").into_iter();
        let shown = shown.map(|view| (view.lane, view.rank.priority(), view.since));
        shown.collect::<Vec<_>>()
    };
    let head = |user: &str, priority, ms| {
        let lane = LaneId::new(&name("maths"), &name(user));
        (lane, priority, start.plus_ms(ms))
    };
    let mut heads = vec![
        head("ann", 1, 2),
        head("ann", 5, 0),
        head("bob", 2, 1),
        head("eve", 0, 3),
    ];
    heads.sort_unstable();
    let by_rank = LaneLook {
        by_rank: true,
        ..LaneLook::first(10)
    };
    assert_eq!(shown(by_rank).await, heads);
    let first_three = LaneLook {
        limit: 3,
        ..by_rank
    };
    assert_eq!(shown(first_three).await, heads[..3]);
    for by_rank in [false, true] {
        let first = heads[0].0;
        let behind = LaneLook {
            after: Some(first),
            by_rank,
            limit: 10,
        };
        let mut rest = heads.clone();
        rest.retain(|(lane, ..)| *lane != first);
        if !by_rank {
            rest.dedup_by_key(|(lane, ..)| *lane);
        }
        assert_eq!(shown(behind).await, rest);
        let last = LaneLook {
            after: heads.last().map(|(lane, ..)| *lane),
            ..behind
        };
        assert_eq!(shown(last).await, []);
    }
}

/// A claim that reaches one rank of a lane takes nothing of the others.
pub async fn a_claim_takes_only_the_ranks_that_it_reaches(f: &Fixture) {
    let mut ids = Vec::new();
    for priority in [0, 3, 3, 7] {
        let new = NewTask { priority, ..task() };
        ids.push(f.create(new).await);
    }
    let node = f.node().await;
    let lane = LaneId::new(&name("maths"), &name("ann"));
    let claim = |priority: i16, until: i16| Claim {
        node,
        run: fresh_run(),
        grants: vec![Grant { lane, tasks: 10 }],
        reaches: vec![Reach {
            lane,
            rank: Rank::new(Status::Queued, priority),
            since: Timestamp(i64::MIN),
            until: Rank::new(Status::Queued, until),
        }],
        kinds: vec![KindKey::new(&name(KIND))],
        version: 0,
    };
    for (claim, expected) in [
        (claim(3, 4), &ids[1..3]),
        (claim(4, 7), &[]),
        (claim(7, 8), &ids[3..]),
        (claim(0, 9), &ids[..1]),
    ] {
        let claimed = f.store.claim(claim).await.expect("claim").tasks;
        let mut claimed: Vec<_> = claimed.into_iter().map(|task| task.id).collect();
        claimed.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(claimed, expected);
    }
}

/// What runs on other nodes is told by lane, without cleanups.
pub async fn what_runs_elsewhere_is_counted_by_lane(f: &Fixture) {
    let [ours, theirs, dead] = [f.node().await, f.node().await, f.node().await];
    let elsewhere = async |node| {
        let running = f.store.running_elsewhere(node).await.expect("running");
        let running = running.into_iter();
        let mut running: Vec<_> = running
            .map(|it| {
                assert_eq!(it.lane, LaneId::new(&it.group, &it.user));
                (it.user.to_string(), it.tasks)
            })
            .collect();
        running.sort_unstable();
        running
    };
    assert_eq!(elsewhere(ours).await, []);
    for (user, node, tasks) in [("ann", ours, 2), ("bob", theirs, 1), ("ann", dead, 3)] {
        for _ in 0..tasks {
            let user = name(user);
            f.create(NewTask { user, ..task() }).await;
        }
        let lane = LaneId::new(&name("maths"), &name(user));
        let claimed = f.claim_from(node, &[Grant { lane, tasks }], &[KIND]).await;
        assert_eq!(claimed.len(), tasks);
    }
    f.bury(dead).await;
    let told = |user: &str, tasks| (user.to_owned(), tasks);
    assert_eq!(elsewhere(ours).await, [told("ann", 3), told("bob", 1)]);
    assert_eq!(elsewhere(theirs).await, [told("ann", 5)]);
    let held = f.running(task()).await;
    f.must(held.id, Wish::Delete).await;
    f.end(&held, Event::Stopped).await;
    f.claim(theirs, Work::Cleanup, 1).await;
    assert_eq!(elsewhere(ours).await, [told("ann", 3), told("bob", 1)]);
}

/// A snapshot of lanes is bounded; each lane is in it once.
pub async fn lanes_are_bounded(f: &Fixture) {
    let tasks = (0..60).map(|i| NewTask {
        user: name(&format!("user {}", i % 20)),
        ..task()
    });
    f.store.create(tasks.collect()).await.expect("create");
    let lanes = async |limit| {
        let lanes = f
            .store
            .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(limit))
            .await
            .expect("lanes");
        let mut ids: Vec<_> = lanes.into_iter().map(|lane| lane.lane).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };
    assert_eq!(
        (
            lanes(1).await,
            lanes(7).await,
            lanes(20).await,
            lanes(100).await
        ),
        (1, 7, 20, 20)
    );
}

/// One claim of a whole batch, from many lanes.
pub async fn a_claim_may_be_as_large_as_a_batch(f: &Fixture) {
    let tasks: Vec<_> = (0..BATCH_MAX)
        .map(|i| NewTask {
            user: name(&format!("user {}", i % 50)),
            ..task()
        })
        .collect();
    f.store.create(tasks).await.expect("create");
    let node = f.node().await;
    let lanes = f
        .store
        .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(100))
        .await
        .expect("lanes");
    let grants: Vec<_> = lanes
        .iter()
        .map(|lane| Grant {
            lane: lane.lane,
            tasks: BATCH_MAX,
        })
        .collect();
    let mut claimed: Vec<_> = f
        .claim_from(node, &grants, &[KIND])
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), BATCH_MAX);
}
