//! Claiming tasks in the transaction that creates them.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use std::collections::BTreeSet;

/// A claim by a node that can run plain tasks, on what is set at the beginning.
fn claim_by(node: NodeId) -> ClaimNew {
    ClaimNew {
        node,
        run: fresh_run(),
        kinds: vec![KindKey::new(&name(KIND))],
        reaches: Vec::new(),
        version: 0,
    }
}

async fn create(f: &Fixture, tasks: &[NewTask], claim: ClaimNew) -> (Vec<Created>, Vec<Claimed>) {
    let created = f.store.create_and_claim(tasks.to_vec(), claim).await;
    created.expect("create and claim")
}

/// Whether a task is claimed as it is created; if it is not, it is in line all the same.
async fn is_claimed(f: &Fixture, task: NewTask, claim: ClaimNew) -> bool {
    let id = task.id;
    let (created, claimed) = create(f, &[task], claim).await;
    assert_eq!(created, [Created::New]);
    let status = f.status(id).await;
    let is_claimed = !claimed.is_empty();
    let expected = match is_claimed {
        true => Status::Running,
        false => Status::Queued,
    };
    assert_eq!(status, expected);
    is_claimed
}

/// They run from the first moment, in the run that claims them, and end as others do.
pub async fn tasks_are_claimed_as_they_are_created(f: &Fixture) {
    let node = f.node().await;
    let parent = f
        .create(NewTask {
            start: false,
            ..task()
        })
        .await;
    let new = NewTask {
        priority: -7,
        parent: Some(parent),
        options: Options {
            forget_on_finish: false,
            forget_on_failure: true,
        },
        ..task()
    };
    let claim = claim_by(node);
    let run = claim.run;
    let (created, claimed) = create(f, std::slice::from_ref(&new), claim).await;
    assert_eq!(
        (created.as_slice(), claimed.len()),
        (&[Created::New][..], 1)
    );
    let now = f.clock.now();
    let begun = Task {
        status: Status::Running,
        attempt: 1,
        ..Task::new(true, None, now)
    };
    let got = &claimed[0];
    assert_eq!((got.id, got.run, got.task), (new.id, run, begun));
    assert_eq!(
        (&got.kind, &got.user, &got.group),
        (&new.kind, &new.user, &new.group)
    );
    assert_eq!(
        (got.lane, got.rank),
        (new.lane(), Rank::new(Status::Queued, -7))
    );
    assert_eq!((got.options, got.parent), (new.options, new.parent));
    assert_eq!((got.created_at, &got.input), (now, &new.input));
    assert_eq!(got.checkpoint, None);

    let record = f.record(new.id).await;
    assert_eq!((record.task, record.created_at), (begun, now));
    assert_eq!(
        (record.node, record.run, record.started_at),
        (Some(node), Some(run), Some(now))
    );
    assert_eq!(f.store.held(node, 10).await.expect("held"), [(new.id, run)]);
    assert!(
        f.claim(node, Work::Run, 1).await.is_empty(),
        "it is not in line"
    );
    let held = Held {
        id: new.id,
        run,
        node,
    };
    assert_eq!(
        f.save(held.save(b"half")).await,
        Saved::Kept(Status::Running)
    );
    assert_eq!(f.end(&held, OK).await, Ended::Recorded(Status::Finished));
    assert_eq!(f.store.held(node, 10).await.expect("held"), []);
}

/// What waits for a time or for a person does so, and keeps nobody else from being claimed.
pub async fn only_what_is_claimable_is_claimed_as_it_is_created(f: &Fixture) {
    let node = f.node().await;
    let later = Some(f.clock.now().plus_ms(60_000));
    let tasks = [
        NewTask {
            due: later,
            kind: name("other"),
            ..task()
        },
        NewTask {
            start: false,
            ..task()
        },
        task(),
    ];
    let (created, claimed) = create(f, &tasks, claim_by(node)).await;
    assert_eq!(created, [Created::New; 3]);
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.id).collect();
    assert_eq!(ids, [tasks[2].id]);
    assert_eq!(f.status(tasks[0].id).await, Status::Scheduled);
    assert_eq!(f.status(tasks[1].id).await, Status::Created);
    let none = create(f, &tasks[..0], claim_by(node)).await;
    assert!(none.0.is_empty() && none.1.is_empty());
}

/// They come in the order in which they are to start: by rank, then by id.
pub async fn tasks_that_are_claimed_as_they_are_created_come_in_order(f: &Fixture) {
    let node = f.node().await;
    let tasks = [3, 0, 3, -2].map(|priority| NewTask { priority, ..task() });
    let (_, claimed) = create(f, &tasks, claim_by(node)).await;
    let mut expected: Vec<_> = tasks.iter().map(|task| (task.priority, task.id)).collect();
    expected.sort_unstable();
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.id).collect();
    assert_eq!(ids, expected.iter().map(|(_, id)| *id).collect::<Vec<_>>());
}

/// Nobody is passed over in a lane by tasks that come later and are no more urgent.
pub async fn nobody_is_passed_over_by_tasks_that_are_claimed_as_they_are_created(f: &Fixture) {
    let node = f.node().await;
    let first = f
        .create(NewTask {
            priority: 2,
            ..task()
        })
        .await;
    let of = |priority| NewTask { priority, ..task() };
    assert!(
        !is_claimed(f, of(2), claim_by(node)).await,
        "as urgent, and later"
    );
    assert!(!is_claimed(f, of(3), claim_by(node)).await, "less urgent");
    assert!(is_claimed(f, of(1), claim_by(node)).await, "more urgent");
    let bobs = NewTask {
        user: name("bob"),
        ..of(2)
    };
    assert!(
        is_claimed(f, bobs.clone(), claim_by(node)).await,
        "another lane"
    );
    // All of them or none: one of two lanes is behind somebody.
    let bobs = NewTask {
        id: fresh_task(),
        ..bobs
    };
    let both = [bobs, of(9)];
    let (created, claimed) = create(f, &both, claim_by(node)).await;
    assert_eq!((created, claimed.len()), (vec![Created::New; 2], 0));
    assert_eq!(f.claim(node, Work::Run, 1).await[0].id, first);

    // Who waits for other nodes is nobody that this one could run before.
    let others = NewTask {
        kind: name("other"),
        group: name("arts"),
        ..task()
    };
    f.create(others).await;
    let plain = NewTask {
        group: name("arts"),
        ..task()
    };
    assert!(is_claimed(f, plain, claim_by(node)).await, "another kind");
}

/// What lies before the ranges is not of those that a node knows of.
pub async fn a_claim_of_new_tasks_looks_within_its_ranges(f: &Fixture) {
    let node = f.node().await;
    f.create(task()).await;
    let seen = f.clock.now();
    let rank = Rank::new(Status::Queued, 0);
    let reach = |since| Reach {
        lane: task().lane(),
        rank,
        since,
        until: Rank(i32::MAX),
    };
    let from = |since| ClaimNew {
        reaches: vec![reach(since)],
        ..claim_by(node)
    };
    assert!(!is_claimed(f, task(), from(seen)).await);
    let beyond = NewTask {
        priority: -1,
        ..task()
    };
    let claim = from(seen);
    assert!(is_claimed(f, beyond, claim).await, "nobody is so urgent");
}

/// A node that is not alive, that has read other settings, or that cannot run all of them gets none; they are created.
pub async fn who_may_not_claim_gets_no_new_tasks(f: &Fixture) {
    let node = f.node().await;
    let lane = |user| NewTask {
        user: name(user),
        ..task()
    };
    assert!(
        !is_claimed(f, lane("a"), claim_by(fresh_node())).await,
        "never registered"
    );
    let dead = f.node().await;
    f.bury(dead).await;
    assert!(!is_claimed(f, lane("b"), claim_by(dead)).await, "dead");
    let kinds = vec![KindKey::new(&name("other"))];
    let other = ClaimNew {
        kinds,
        ..claim_by(node)
    };
    assert!(!is_claimed(f, lane("c"), other).await, "of another kind");
    let none = ClaimNew {
        kinds: Vec::new(),
        ..claim_by(node)
    };
    assert!(!is_claimed(f, lane("d"), none).await, "of no kind");
    let version = f
        .set(
            Scope::Group(name("arts")),
            [SettingChange::MaxRunning(Some(1))],
        )
        .await;
    assert!(
        !is_claimed(f, lane("e"), claim_by(node)).await,
        "on other settings"
    );
    let claim = ClaimNew {
        version,
        ..claim_by(node)
    };
    assert!(is_claimed(f, lane("f"), claim).await);
}

/// A repetition creates nothing and claims nothing, not even what it finds in line.
pub async fn ga_45_creating_and_claiming_again_changes_nothing(f: &Fixture) {
    let node = f.node().await;
    let (known, held) = (
        task(),
        NewTask {
            user: name("bob"),
            ..task()
        },
    );
    f.create(known.clone()).await;
    assert!(is_claimed(f, held.clone(), claim_by(node)).await);
    let facts = async || {
        let (known, held) = (f.record(known.id).await, f.record(held.id).await);
        [(known.task, known.run), (held.task, held.run)]
    };
    let before = facts().await;
    let fresh = NewTask {
        user: name("eve"),
        ..task()
    };
    for user in ["joe", "zoe"] {
        let another = NewTask {
            user: name(user),
            ..known.clone()
        };
        let again = [another, held.clone()];
        let (created, claimed) = create(f, &again, claim_by(node)).await;
        assert_eq!((created, claimed.len()), (vec![Created::Existed; 2], 0));
    }
    let bobs = [held.clone(), fresh.clone(), fresh.clone()];
    let (created, claimed) = create(f, &bobs, claim_by(node)).await;
    assert_eq!(created, [Created::Existed, Created::New, Created::Existed]);
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.id).collect();
    assert_eq!(ids, [fresh.id]);
    assert_eq!(facts().await, before);
}

/// Whoever creates the same tasks at the same time, one claims each of them.
pub async fn racing_creates_of_the_same_tasks_claim_each_once(f: &Fixture) {
    let handles = f.handles(4).await;
    for _ in 0..10 {
        let tasks: Vec<_> = (0..8).map(|_| task()).collect();
        let mut racing = Vec::new();
        for (n, store) in handles.iter().cloned().enumerate() {
            let claim = claim_by(f.node().await);
            let tasks = tasks[n..].to_vec();
            racing.push(tokio::spawn(async move {
                let (_, claimed) = store.create_and_claim(tasks, claim).await?;
                Ok::<_, Error>(claimed)
            }));
        }
        let mut taken = BTreeSet::new();
        for racer in racing {
            for claimed in racer.await.expect("no panic").expect("create and claim") {
                assert!(taken.insert(claimed.id), "claimed twice");
                let record = f.record(claimed.id).await;
                assert_eq!(
                    (record.task.status, record.run),
                    (Status::Running, Some(claimed.run))
                );
            }
        }
        for task in &tasks {
            let is_running = f.status(task.id).await == Status::Running;
            assert_eq!(is_running, taken.contains(&task.id));
            f.must(task.id, Wish::Delete).await;
        }
        let node = f.node().await;
        let left = f.claim(node, Work::Run, 8).await;
        assert!(left.is_empty(), "all that was new was claimed");
    }
}
