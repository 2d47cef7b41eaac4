//! What a store tells of a task that does not run, and of what is around it.

use crate::population::{GONE, LIVES, Plan, populate};
use crate::*;
use peerwork_core::explain::{AHEAD_MAX, Cause, Children, Count, Facts, NodeFacts, explain};
use peerwork_core::*;
use peerwork_store::*;

async fn facts(f: &Fixture, id: TaskId) -> Facts {
    let facts = f.store.explain(id).await.expect("explain");
    facts.expect("the task is there")
}

fn of(group: &str, user: &str) -> NewTask {
    NewTask {
        group: name(group),
        user: name(user),
        ..task()
    }
}

/// Nothing is known of it; of a tombstone that it is one.
pub async fn a_task_that_is_not_there_is_not_explained(f: &Fixture) {
    let nobody = f.store.explain(fresh_task()).await.expect("explain");
    assert_eq!(nobody, None);
    f.publish(Rules {
        cleanup: false,
        ..Rules::default()
    })
    .await;
    let id = f.create(task()).await;
    f.must(id, Wish::Delete).await;
    let facts = facts(f, id).await;
    assert_eq!(
        (facts.task.status, facts.finished_at),
        (Status::Deleted, Some(f.clock.now()))
    );
}

/// By rank, time and id, and in its own lane only.
pub async fn what_is_ahead_in_line_is_what_is_claimed_before(f: &Fixture) {
    let node = f.node().await;
    // The first one comes back: it resumes, and goes first whatever its priority is.
    let resumes = NewTask {
        priority: 9,
        ..task()
    };
    let resumes = f.running(resumes).await;
    assert_eq!(
        f.end(&resumes, Event::Stopped).await,
        Ended::Recorded(Status::Resuming)
    );
    for priority in [0, -1, 1] {
        for _ in 0..2 {
            let batch = (0..3).map(|_| NewTask { priority, ..task() });
            f.store.create(batch.collect()).await.expect("create");
            f.clock.pass_ms(1);
        }
    }
    f.create(of("maths", "bob")).await;
    let cleaned = f.create(of("maths", "ann")).await;
    f.must(cleaned, Wish::Delete).await;
    let mut ids = f.list(Filter::default(), 100).await;
    ids.retain(|id| *id != cleaned);
    let mut ahead = Vec::new();
    for id in ids {
        let facts = facts(f, id).await;
        let line = facts.line.expect("it is in line");
        assert_eq!(
            line.lanes,
            Count::up_to(3, 10),
            "two of runs and one of cleanups"
        );
        if facts.user == name("ann") {
            ahead.push((line.ahead.n, id));
        }
    }
    ahead.sort_unstable();
    let claimed = f.claim(node, Work::Run, 100).await;
    let claimed: Vec<_> = (0..).zip(claimed.iter().map(|task| task.id)).collect();
    assert_eq!(claimed.len(), 19);
    assert_eq!(ahead, claimed);
    let line = facts(f, cleaned)
        .await
        .line
        .expect("its cleanup is in line");
    assert_eq!((line.ahead.n, line.lanes.n), (0, 2));
}

/// However many there are.
pub async fn what_is_ahead_is_counted_up_to_a_bound(f: &Fixture) {
    let mut last = f.create(task()).await;
    let max = usize::try_from(AHEAD_MAX).expect("it is small");
    for rank in [1, 2] {
        // In two ranges of the line, neither of which is over the bound alone.
        let count = max / 2 + rank - 1;
        for batch in 0..count.div_ceil(BATCH_MAX) {
            let n = BATCH_MAX.min(count - batch * BATCH_MAX);
            f.clock.pass_ms(1);
            let batch: Vec<_> = (0..n)
                .map(|_| NewTask {
                    priority: rank as i16,
                    ..task()
                })
                .collect();
            last = batch.iter().map(|task| task.id).max().expect("some");
            f.store.create(batch).await.expect("create");
        }
        let ahead = facts(f, last).await.line.expect("in line").ahead;
        let wanted = if rank == 1 { max as u64 / 2 } else { AHEAD_MAX };
        assert_eq!((ahead.n, ahead.is_bound), (wanted, rank == 2));
    }
}

/// Of everything, its group, its user, both and its kind, with the counts that claims go by; and of nothing else.
pub async fn what_is_set_for_a_task_is_told_with_what_runs_under_it(f: &Fixture) {
    let node = f.node().await;
    let (group, user) = (Scope::Group(name("maths")), Scope::User(name("ann")));
    let user_in = Scope::UserIn {
        group: name("maths"),
        user: name("ann"),
    };
    let kind = Scope::Kind(name(KIND));
    let rate = Rate::per_second(1.0, 3).expect("a rate");
    f.set(group.clone(), [SettingChange::MaxRunning(Some(3))])
        .await;
    f.set(user.clone(), [SettingChange::MaxRunningPerNode(Some(5))])
        .await;
    f.set(user_in.clone(), [SettingChange::MaxRunning(Some(9))])
        .await;
    f.set(kind.clone(), [SettingChange::Starts(Some(rate))])
        .await;
    let close = SettingChange::Close {
        reason: "elsewhere".to_owned(),
        by: None,
        until: None,
        pauses: false,
        ramp: None,
    };
    for other in [
        Scope::Group(name("physics")),
        Scope::User(name("maths")),
        Scope::Kind(name("other")),
    ] {
        f.set(other, [close.clone()]).await;
    }
    let tasks = [
        of("maths", "ann"),
        of("maths", "ann"),
        of("maths", "bob"),
        of("maths", "bob"),
    ];
    f.store.create(tasks.to_vec()).await.expect("create");
    let lanes = [("maths", "ann"), ("maths", "bob")];
    let within = f.claim_limited(node, &lanes, 2).await;
    assert_eq!(within.tasks.len(), 3);
    let last = f.create(of("maths", "ann")).await;
    let waits = f.create(of("maths", "bob")).await;

    let told = facts(f, last).await;
    let scopes: Vec<_> = told
        .scopes
        .iter()
        .map(|told| (told.scope.clone(), told.running, told.running_on.clone()))
        .collect();
    let anns = (0..2).map(|n| tasks[n].id);
    let of_ann = within
        .tasks
        .iter()
        .filter(|claimed| anns.clone().any(|id| id == claimed.id));
    let anns = of_ann.count() as u64;
    assert_eq!(
        scopes,
        [
            (group.clone(), 3, vec![]),
            (user, 0, vec![(node, anns)]),
            (user_in, anns, vec![]),
            (kind.clone(), 0, vec![]),
        ]
    );
    let emptied = told.scopes.last().expect("that of the kind");
    assert_eq!(emptied.full_at, rate.take(Timestamp(0), f.clock.now(), 3));
    let causes = explain(&told).causes;
    assert!(
        matches!(
            causes[0],
            Cause::Limit {
                running: 3,
                max: 3,
                ..
            }
        ),
        "{causes:?}"
    );
    assert!(matches!(causes[1], Cause::Bucket { .. }), "{causes:?}");

    // Of another user's task only what is set for both.
    let told = facts(f, waits).await;
    let scopes: Vec<_> = told.scopes.iter().map(|told| told.scope.clone()).collect();
    assert_eq!(scopes, [group.clone(), kind]);
    // It counts what counts: not what has ended, nor a cleanup.
    let ended = &within.tasks[0];
    let held = Held {
        id: ended.id,
        run: ended.run,
        node,
    };
    f.end(&held, OK).await;
    f.set(group.clone(), [close]).await;
    let told = facts(f, waits).await;
    assert_eq!(told.scopes[0].running, 2);
    let gate = told.scopes[0].setting.gate.as_ref().expect("it is closed");
    assert_eq!(gate.reason, "elsewhere");
    assert!(gate.since <= told.now);
}

/// The dead are left out; a run counts on its node, a cleanup does not.
pub async fn nodes_tell_their_kinds_and_what_they_run(f: &Fixture) {
    f.publish(Rules::default()).await;
    let other = name("other");
    let kinds = vec![
        (other.clone(), Rules::default()),
        (name("third"), Rules::default()),
    ];
    f.store.publish_kinds(kinds).await.expect("publish");
    let id = fresh_node();
    let card = NodeCard {
        id,
        label: "both".to_owned(),
        ttl_ms: 9_000,
        slots: 7,
        kinds: vec![KindKey::new(&name(KIND)), KindKey::new(&other)],
    };
    f.store.register(card.clone()).await.expect("register");
    let again = NodeCard {
        kinds: Vec::new(),
        ..card.clone()
    };
    f.store.register(again).await.expect("register");
    let dead = f.node().await;
    f.bury(dead).await;
    let cleaned = f.create(task()).await;
    f.must(cleaned, Wish::Delete).await;
    assert_eq!(f.claim(id, Work::Cleanup, 1).await.len(), 1);
    f.create(task()).await;
    assert_eq!(f.claim(id, Work::Run, 1).await.len(), 1);
    let waits = f.create(task()).await;
    let told = facts(f, waits).await;
    let wanted = NodeFacts {
        id,
        label: "both".to_owned(),
        lease_until: f.clock.now().plus_ms(9_000),
        alive: true,
        slots: 7,
        running: 1,
        kinds: Some(card.kinds),
    };
    assert_eq!(told.nodes, [wanted]);
    let mut names = [name(KIND), other].map(|name| (KindKey::new(&name), name));
    names.sort_unstable();
    assert_eq!(told.kinds, names);
    let strange = NewTask {
        kind: name("third"),
        ..task()
    };
    let strange = f.create(strange).await;
    let causes = explain(&facts(f, strange).await).causes;
    assert!(
        matches!(causes[0], Cause::NoNode { live: 1, .. }),
        "{causes:?}"
    );
    f.store
        .set_policy(Some("fair".to_owned()))
        .await
        .expect("set");
    assert_eq!(facts(f, waits).await.policy.as_deref(), Some("fair"));
}

/// What is set and who waits matters no more.
pub async fn a_held_task_tells_of_its_node_alone(f: &Fixture) {
    f.node().await;
    let held = f.running(task()).await;
    f.create(task()).await;
    f.set(
        Scope::Everything,
        [SettingChange::Starts(Some(
            Rate::per_second(1.0, 1).expect("a rate"),
        ))],
    )
    .await;
    let told = facts(f, held.id).await;
    assert_eq!((told.node, told.nodes.len()), (Some(held.node), 1));
    assert_eq!(told.nodes[0].id, held.node);
    assert_eq!((told.line, &told.scopes[..]), (None, &[][..]));
    // Also while it is dead.
    f.bury(held.node).await;
    assert!(!facts(f, held.id).await.nodes[0].alive);
}

/// Until the last one is over.
pub async fn a_waiting_parent_tells_how_many_children_are_over(f: &Fixture) {
    let parent = f.running(of("maths", "parent")).await;
    let children: Vec<_> = (0..3)
        .map(|_| NewTask {
            parent: Some(parent.id),
            ..task()
        })
        .collect();
    f.store.create(children.clone()).await.expect("create");
    assert_eq!(facts(f, parent.id).await.children, None, "it runs");
    let end = End {
        awaited_children: 2,
        ..parent.end(WAIT)
    };
    f.end_with(end).await;
    for over in 0..2 {
        let told = facts(f, parent.id).await;
        assert_eq!(told.children, Some(Children { over, of: 2 }));
        assert_eq!(f.wake().await, 0);
        let held = f.take(parent.node, children[over as usize].id).await;
        f.end(&held, OK).await;
    }
    assert_eq!(f.wake().await, 1);
    assert_eq!(facts(f, parent.id).await.children, None, "it is in line");
}

/// There is a cause of every status, whatever has led there.
pub async fn every_status_can_be_explained(f: &Fixture) {
    let node = f.node().await;
    let plans: Vec<_> = LIVES.into_iter().chain([GONE]).map(Plan::new).collect();
    for one in populate(f, &plans, &[node]).await {
        let told = facts(f, one.id).await;
        let explanation = explain(&told);
        let status = one.plan.life.status;
        assert_eq!((explanation.id, explanation.status), (one.id, status));
        let is_in_line = matches!(explanation.first(), Cause::Line { .. });
        assert_eq!(
            is_in_line,
            status.place() == Place::Ready,
            "{status:?}: {explanation}"
        );
    }
}
