//! Claims under limits: what runs, counted in the database, and starts per second.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

fn of(group: &str, user: &str) -> NewTask {
    NewTask {
        group: name(group),
        user: name(user),
        ..task()
    }
}

fn group(text: &str) -> Scope {
    Scope::Group(name(text))
}

fn limit(max: u32) -> [SettingChange; 1] {
    [SettingChange::MaxRunning(Some(max))]
}

/// Creates `n` tasks in each of these lanes.
async fn fill(f: &Fixture, lanes: &[(&str, &str)], n: usize) {
    for (group, user) in lanes {
        let tasks = (0..n).map(|_| of(group, user)).collect();
        f.store.create(tasks).await.expect("create");
    }
}

fn held(claimed: &Claimed, node: NodeId) -> Held {
    Held {
        id: claimed.id,
        run: claimed.run,
        node,
    }
}

const LANES: [(&str, &str); 3] = [("g", "ann"), ("g", "bob"), ("h", "ann")];

/// In each scope as many run as its limit allows, however often somebody claims; and again so many once they have ended.
pub async fn ga_24_no_more_run_than_a_limit_allows(f: &Fixture) {
    let node = f.node().await;
    let user_in = Scope::UserIn {
        group: name("g"),
        user: name("ann"),
    };
    let scopes = [
        (group("g"), LANES.to_vec()),
        (Scope::User(name("ann")), vec![LANES[0], LANES[2]]),
        (user_in, vec![LANES[0]]),
        (Scope::Kind(name(KIND)), LANES.to_vec()),
    ];
    for (scope, lanes) in scopes {
        fill(f, &LANES, 4).await;
        f.set(scope.clone(), limit(3)).await;
        let lanes: Vec<_> = match scope.sort() {
            ScopeSort::Group => lanes[..2].to_vec(),
            _ => lanes,
        };
        for _ in 0..2 {
            let within = f.claim_limited(node, &lanes, 4).await;
            assert_eq!(within.tasks.len(), 3, "{scope}");
            assert_eq!(within.full, [(scope.key(), None)]);
            let more = f.claim_limited(node, &lanes, 4).await;
            assert_eq!((more.tasks.len(), more.is_stale), (0, false), "{scope}");
            for claimed in &within.tasks {
                f.end(&held(claimed, node), FAIL).await;
            }
            fill(f, &lanes, 3).await;
        }
        f.set(scope, [SettingChange::Clear]).await;
        // The next scope begins with lanes that are empty.
        let mut ids = f.list(Filter::default(), 100).await;
        ids.reverse();
        f.store
            .steer(ids, Filter::default(), Wish::ForceDelete)
            .await
            .expect("delete");
    }
}

/// A task starts only where there is room under its group, its user, its user in its group and its kind.
pub async fn ga_24_a_task_counts_under_all_its_limits(f: &Fixture) {
    let node = f.node().await;
    fill(f, &LANES, 9).await;
    let user_in = Scope::UserIn {
        group: name("g"),
        user: name("ann"),
    };
    f.set(group("g"), limit(6)).await;
    f.set(Scope::User(name("ann")), limit(4)).await;
    f.set(user_in.clone(), limit(2)).await;
    f.set(Scope::Kind(name(KIND)), limit(7)).await;
    let count = async |lanes: &[(&str, &str)]| f.claim_limited(node, lanes, 9).await.tasks.len();
    assert_eq!(count(&LANES[..1]).await, 2, "ann in g");
    assert_eq!(count(&LANES[2..]).await, 2, "ann has two already");
    assert_eq!(count(&LANES[1..2]).await, 3, "seven of the kind");
    f.set(Scope::Kind(name(KIND)), limit(70)).await;
    assert_eq!(count(&LANES).await, 1, "six in g, and nothing more of ann");
    f.set(user_in, [SettingChange::Clear]).await;
    assert_eq!(count(&LANES).await, 0, "the others are as they were");
}

/// Of a kind that is full nothing is taken, and of the others that come after it as much as was granted, in order.
pub async fn ga_24_a_full_kind_stands_in_nobodys_way(f: &Fixture) {
    let node = f.node().await;
    let mut others = Vec::new();
    for i in 0..12 {
        let kind = if i % 3 == 0 { "other" } else { KIND };
        let id = f
            .create(NewTask {
                kind: name(kind),
                ..of("g", "ann")
            })
            .await;
        if kind == "other" {
            others.push(id);
        }
        f.clock.pass_ms(1);
    }
    f.set(Scope::Kind(name(KIND)), limit(2)).await;
    let book = f.limit_book().await;
    let kinds = [KIND, "other"];
    let (claim, bounds) = limited(&book, node, &LANES[..1], 5, &kinds, f.clock.now());
    let within = f.store.claim_within(claim, bounds).await.expect("claim");
    let of_others: Vec<_> = within
        .tasks
        .iter()
        .filter(|c| c.kind == name("other"))
        .map(|c| c.id)
        .collect();
    assert_eq!((within.tasks.len(), of_others), (5, others[..3].to_vec()));
    assert_eq!(within.full, [(Scope::Kind(name(KIND)).key(), None)]);
}

/// A look tells which of many limits are full, and keeps nobody waiting.
pub async fn a_look_tells_which_limits_are_full(f: &Fixture) {
    let node = f.node().await;
    fill(f, &LANES, 3).await;
    f.set(group("g"), limit(2)).await;
    f.set(group("h"), limit(4)).await;
    let starts = Rate::per_second(1.0, 1).expect("a rate");
    f.set(
        Scope::User(name("bob")),
        [SettingChange::Starts(Some(starts))],
    )
    .await;
    let scopes = [
        group("g"),
        group("h"),
        Scope::User(name("bob")),
        group("unknown"),
    ];
    let keys: Vec<_> = scopes.iter().map(Scope::key).collect();
    let full = async || {
        let mut full = f.store.full(keys.clone()).await.expect("look");
        full.sort_unstable_by_key(|key| keys.iter().position(|known| known == key));
        full
    };
    assert_eq!(full().await, []);
    assert_eq!(f.claim_limited(node, &LANES[1..], 2).await.tasks.len(), 3);
    assert_eq!(full().await, [keys[2]], "one of bob's has started");
    assert_eq!(f.claim_limited(node, &LANES[..1], 2).await.tasks.len(), 1);
    assert_eq!(full().await, [keys[0], keys[2]]);
    f.clock.pass_ms(1_000);
    assert_eq!(full().await, [keys[0]]);
    assert_eq!(f.store.full(Vec::new()).await.expect("look"), []);
}

/// What was claimed before there was a limit counts as if there had been one.
pub async fn what_runs_already_counts_once_a_limit_is_set(f: &Fixture) {
    let node = f.node().await;
    fill(f, &LANES, 6).await;
    let lane = |(group, user): (&str, &str)| Grant {
        lane: LaneId::new(&name(group), &name(user)),
        tasks: 2,
    };
    let claimed = f.claim_from(node, &LANES.map(lane), &[KIND]).await;
    assert_eq!(claimed.len(), 6);
    let user_in = Scope::UserIn {
        group: name("g"),
        user: name("bob"),
    };
    for (scope, runs) in [
        (group("g"), 4),
        (Scope::User(name("ann")), 4),
        (user_in, 2),
        (Scope::Kind(name(KIND)), 6),
    ] {
        f.set(scope.clone(), limit(runs + 1)).await;
        let lanes = match scope.sort() {
            ScopeSort::User => &LANES[..1],
            _ => &LANES[1..2],
        };
        let within = f.claim_limited(node, lanes, 4).await;
        assert_eq!(within.tasks.len(), 1, "{scope}");
        f.end(&held(&within.tasks[0], node), OK).await;
        f.set(scope, [SettingChange::Clear]).await;
    }
}

/// What runs goes on; nothing is claimed before it is fewer than the new limit.
pub async fn a_lowered_limit_blocks_claims_and_ends_nothing(f: &Fixture) {
    let node = f.node().await;
    fill(f, &LANES[..1], 8).await;
    f.set(group("g"), limit(4)).await;
    let first = f.claim_limited(node, &LANES[..1], 8).await.tasks;
    assert_eq!(first.len(), 4);
    f.set(group("g"), limit(2)).await;
    let mut left = first.iter();
    for claims in [0, 0, 1] {
        let within = f.claim_limited(node, &LANES[..1], 8).await;
        assert_eq!(within.tasks.len(), 0);
        for claimed in left.by_ref().take(1 + claims) {
            assert_eq!(f.status(claimed.id).await, Status::Running);
            f.end(&held(claimed, node), OK).await;
        }
    }
    assert_eq!(f.claim_limited(node, &LANES[..1], 8).await.tasks.len(), 2);
    f.set(group("g"), limit(0)).await;
    fill(f, &LANES[1..2], 1).await;
    assert_eq!(f.claim_limited(node, &LANES[1..2], 8).await.tasks.len(), 0);
}

/// What is set as it was keeps nobody waiting: claims go on.
pub async fn what_changes_nothing_leaves_the_version(f: &Fixture) {
    let version = async || f.store.config().await.expect("config").version;
    assert_eq!(f.set(group("g"), limit(2)).await, 1);
    assert_eq!(f.set(group("g"), limit(2)).await, 1);
    assert_eq!(f.set(group("h"), [SettingChange::Clear]).await, 1);
    assert_eq!(f.set(group("g"), limit(3)).await, 2);
    for (policy, expected) in [(None, 2), (Some("fair"), 3), (Some("fair"), 3), (None, 4)] {
        let policy = policy.map(ToOwned::to_owned);
        let applied = f.store.set_policy(policy.clone()).await.expect("policy");
        assert_eq!(applied.version, expected, "{policy:?}");
        assert_eq!(f.store.config().await.expect("config").policy, policy);
    }
    assert_eq!(version().await, 4);
    assert_eq!(f.set(group("g"), [SettingChange::Clear]).await, 5);
    assert_eq!(f.store.config().await.expect("config").settings, []);
}

/// A run counts until it has ended, whatever it was told; the cleanup after it does not.
pub async fn what_is_told_to_stop_counts_and_cleanups_do_not(f: &Fixture) {
    let rules = Rules {
        cleanup: true,
        ..Rules::default()
    };
    f.publish(rules.clone()).await;
    let node = f.node().await;
    fill(f, &LANES[..1], 4).await;
    f.set(group("g"), limit(2)).await;
    let two = f.claim_limited(node, &LANES[..1], 4).await.tasks;
    f.must(two[0].id, Wish::Pause).await;
    f.must(two[1].id, Wish::Delete).await;
    assert_eq!(f.claim_limited(node, &LANES[..1], 4).await.tasks.len(), 0);
    let end = End {
        rules,
        ..held(&two[1], node).end(Event::Stopped)
    };
    let ended = f.end_with(end).await;
    assert_eq!(ended, Ended::Recorded(Status::CleanupQueued));
    let lane = LaneId::new(&name("g"), &name("ann")).of(Work::Cleanup);
    let config = f.store.config().await.expect("config");
    let claim = Claim {
        node,
        run: fresh_run(),
        grants: vec![Grant { lane, tasks: 1 }],
        reaches: Vec::new(),
        kinds: vec![KindKey::new(&name(KIND))],
        version: config.version,
    };
    let cleanup = f.store.claim(claim).await.expect("claim");
    assert_eq!(cleanup.tasks.len(), 1, "a cleanup needs no room");
    assert_eq!(f.claim_limited(node, &LANES[..1], 4).await.tasks.len(), 1);
}

/// They may be running still, as far as anybody knows.
pub async fn a_dead_nodes_tasks_count_until_they_are_rescued(f: &Fixture) {
    let (dying, node) = (f.node().await, f.node().await);
    fill(f, &LANES[..1], 5).await;
    f.set(group("g"), limit(2)).await;
    assert_eq!(f.claim_limited(dying, &LANES[..1], 5).await.tasks.len(), 2);
    f.bury(dying).await;
    assert_eq!(f.claim_limited(node, &LANES[..1], 5).await.tasks.len(), 0);
    assert_eq!(f.claim_limited(dying, &LANES[..1], 5).await.tasks.len(), 0);
    assert_eq!(f.sweep().await.len(), 2);
    assert_eq!(f.claim_limited(node, &LANES[..1], 5).await.tasks.len(), 2);
}

/// A limit of the node is its own matter: the store takes no more than it says.
pub async fn a_claim_keeps_to_what_its_node_has_room_for(f: &Fixture) {
    let node = f.node().await;
    fill(f, &LANES, 4).await;
    let per_node = SettingChange::MaxRunningPerNode(Some(3));
    f.set(group("g"), [per_node]).await;
    let book = f.limit_book().await;
    let (claim, bounds) = limited(&book, node, &LANES[..1], 4, &[KIND], f.clock.now());
    let bound = Bound {
        key: group("g").key(),
        is_shared: false,
        here: Some(3),
    };
    assert_eq!(bounds.bounds, [bound]);
    let within = f.store.claim_within(claim, bounds).await.expect("claim");
    assert_eq!((within.tasks.len(), within.full), (3, Vec::new()));
}

/// After a quiet time a burst may start at once, then as many as the rate says; what has ended does not matter.
pub async fn ga_20_a_burst_is_followed_by_so_many_starts_a_second(f: &Fixture) {
    let node = f.node().await;
    fill(f, &LANES[..2], 40).await;
    let starts = Rate::per_second(10.0, 20).expect("a rate");
    f.set(group("g"), [SettingChange::Starts(Some(starts))])
        .await;
    let claim = async |n| {
        let within = f.claim_limited(node, &LANES[..2], n).await;
        for claimed in &within.tasks {
            f.end(&held(claimed, node), OK).await;
        }
        (within.tasks.len(), within.full)
    };
    assert_eq!(claim(5).await, (10, vec![]));
    let again_at = f.clock.now().plus_ms(100);
    let full = vec![(group("g").key(), Some(again_at))];
    assert_eq!(claim(30).await, (10, full.clone()));
    assert_eq!(claim(30).await, (0, full));
    f.clock.pass_ms(99);
    assert_eq!(claim(30).await.0, 0);
    f.clock.pass_ms(1);
    assert_eq!(claim(30).await.0, 1);
    f.clock.pass_ms(1_000);
    assert_eq!(claim(30).await.0, 10);
}

/// What waited behind a gate does not start all at once.
pub async fn a_gate_that_was_opened_lets_tasks_through_as_its_ramp_says(f: &Fixture) {
    let node = f.node().await;
    fill(f, &LANES, 30).await;
    let rate = Rate::per_second(2.0, 3).expect("a rate");
    let close = SettingChange::Close {
        reason: "maintenance".to_owned(),
        by: None,
        until: None,
        pauses: false,
        ramp: Some(Ramp { rate, ms: 5_000 }),
    };
    f.set(Scope::Everything, [close]).await;
    let applied = f
        .store
        .set(Scope::Everything, vec![SettingChange::Open])
        .await;
    let claim = async || f.claim_limited(node, &LANES, 9).await.tasks.len();
    assert_eq!(claim().await, 3);
    f.clock.pass_ms(1_000);
    assert_eq!(claim().await, 2);
    f.clock.pass_ms(4_000);
    assert!(applied.is_ok());
    let book = f.limit_book().await;
    let setting = &f.store.config().await.expect("config").settings[0].setting;
    assert!(!setting.is_shared(f.clock.now()), "it is over by itself");
    assert_eq!(book.opens_at(f.clock.now()), None);
}

/// A node that has not heard of a change takes nothing, under limits or not, and hears of it when it looks.
pub async fn a_claim_on_other_settings_takes_nothing(f: &Fixture) {
    let node = f.node().await;
    fill(f, &LANES, 3).await;
    assert_eq!(f.glance(node).await.version, 0);
    f.set(group("g"), limit(5)).await;
    let old = f.limit_book().await;
    let of_h = LaneId::new(&name("h"), &name("ann"));
    let unlimited = [Grant {
        lane: of_h,
        tasks: 1,
    }];
    // It knows of no setting.
    let claim = Claim {
        node,
        run: fresh_run(),
        grants: unlimited.to_vec(),
        reaches: Vec::new(),
        kinds: vec![KindKey::new(&name(KIND))],
        version: 0,
    };
    let answer = f.store.claim(claim.clone()).await.expect("claim");
    assert_eq!((answer.tasks.len(), answer.is_stale), (0, true));
    let nobody = Claim {
        node: fresh_node(),
        version: 1,
        ..claim
    };
    let answer = f.store.claim(nobody).await.expect("claim");
    assert_eq!((answer.tasks.len(), answer.is_stale), (0, false));
    f.set(Scope::User(name("ann")), limit(5)).await;
    let (claim, bounds) = limited(&old, node, &LANES[..1], 3, &[KIND], f.clock.now());
    let within = f.store.claim_within(claim.clone(), bounds.clone()).await;
    let within = within.expect("claim");
    assert_eq!((within.tasks.len(), within.is_stale), (0, true));
    // A limit that is gone makes it look again, too.
    f.set(group("g"), [SettingChange::Clear]).await;
    let version = f.glance(node).await.version;
    assert_eq!(version, 3);
    let claim = Claim { version, ..claim };
    let within = f.store.claim_within(claim, bounds).await.expect("claim");
    assert!(within.tasks.is_empty() && within.is_stale);
    let version = f
        .set(Scope::User(name("ann")), [SettingChange::Clear])
        .await;
    let claim = Claim {
        node,
        run: fresh_run(),
        grants: unlimited.to_vec(),
        reaches: Vec::new(),
        kinds: vec![KindKey::new(&name(KIND))],
        version,
    };
    assert_eq!(f.store.claim(claim).await.expect("claim").tasks.len(), 1);
}

/// It brings what handlers need, in the order of the lane, and takes only what is ready and of its kinds.
pub async fn a_claim_under_limits_is_like_others(f: &Fixture) {
    let node = f.node().await;
    f.set(group("maths"), limit(100)).await;
    let lanes = [("maths", "ann")];
    let first = f.create(task()).await;
    let claimed = f.claim_limited(node, &lanes, 1).await.tasks;
    assert_eq!((claimed.len(), claimed[0].id), (1, first));
    let run = held(&claimed[0], node);
    f.save(run.save(b"half")).await;
    f.end(&run, Event::Stopped).await;
    f.clock.pass_ms(1);
    let urgent = NewTask {
        priority: -5,
        ..task()
    };
    let (late, other) = (f.create(task()).await, f.create(urgent).await);
    f.create(NewTask {
        kind: name("other"),
        ..task()
    })
    .await;
    f.create(NewTask {
        start: false,
        ..task()
    })
    .await;
    let claimed = f.claim_limited(node, &lanes, 9).await.tasks;
    let ids: Vec<_> = claimed.iter().map(|c| c.id).collect();
    assert_eq!(ids, [first, other, late]);
    let again = &claimed[0];
    assert_eq!(
        (
            again.input.as_slice(),
            again.checkpoint.as_deref(),
            again.task.attempt
        ),
        (&b"input"[..], Some(&b"half"[..]), 2)
    );
    let record = f.record(late).await;
    assert_eq!(
        (record.status(), record.node, record.run),
        (Status::Running, Some(node), Some(claimed[2].run))
    );
    assert_eq!(record.started_at, Some(f.clock.now()));
}

/// A node that knows up to where it has claimed begins there.
pub async fn a_claim_under_limits_keeps_to_its_ranges(f: &Fixture) {
    let node = f.node().await;
    f.create(of("g", "ann")).await;
    f.clock.pass_ms(1_000);
    let since = f.clock.now();
    let late = f.create(of("g", "ann")).await;
    f.set(group("g"), limit(5)).await;
    let book = f.limit_book().await;
    let (mut claim, bounds) = limited(&book, node, &LANES[..1], 1, &[KIND], f.clock.now());
    claim.reaches = vec![Reach {
        lane: claim.grants[0].lane,
        rank: Rank::new(Status::Queued, 0),
        since,
        until: Rank(i32::MAX),
    }];
    let within = f.store.claim_within(claim, bounds).await.expect("claim");
    let ids: Vec<_> = within.tasks.iter().map(|c| c.id).collect();
    assert_eq!(ids, [late]);
}

/// A run that is moved leaves room behind it and takes it where it comes to: also more than there is, but then nobody follows.
pub async fn ga_25_a_moved_run_counts_in_its_new_group(f: &Fixture) {
    let node = f.node().await;
    let lanes = [("g", "ann"), ("h", "ann")];
    fill(f, &lanes, 6).await;
    let user_in = |group: &str| Scope::UserIn {
        group: name(group),
        user: name("ann"),
    };
    for scopes in [["g", "h"].map(group), ["g", "h"].map(user_in)] {
        f.set(scopes[0].clone(), limit(3)).await;
        f.set(scopes[1].clone(), limit(1)).await;
        let claim = async |lane: usize| f.claim_limited(node, &lanes[lane..=lane], 9).await.tasks;
        let mut runs = claim(0).await;
        assert_eq!(runs.len(), 3);
        for run in &runs[..2] {
            f.must(run.id, Wish::MoveTo(name("h"))).await;
        }
        assert_eq!(claim(1).await.len(), 0, "two run where one may");
        let more = claim(0).await;
        assert_eq!(more.len(), 2, "it left room");
        f.end(&held(&runs[0], node), OK).await;
        assert_eq!(claim(1).await.len(), 0, "one runs where one may");
        f.must(runs[1].id, Wish::MoveTo(name("g"))).await;
        let last = claim(1).await;
        assert_eq!((last.len(), claim(0).await.len()), (1, 0));
        runs.extend(more.into_iter().chain(last));
        for run in &runs[1..] {
            f.end(&held(run, node), Event::Stopped).await;
        }
        for scope in scopes {
            f.set(scope, [SettingChange::Clear]).await;
        }
    }
}

/// From a group without a limit to one with a limit and back.
pub async fn ga_25_a_run_that_was_nowhere_limited_counts_after_a_move(f: &Fixture) {
    let node = f.node().await;
    f.set(group("g"), limit(2)).await;
    let lane = LaneId::new(&name("h"), &name("ann"));
    let id = f.create(of("h", "ann")).await;
    fill(f, &LANES[..1], 5).await;
    let version = f.store.config().await.expect("config").version;
    let claim = Claim {
        node,
        run: fresh_run(),
        grants: vec![Grant { lane, tasks: 1 }],
        reaches: Vec::new(),
        kinds: vec![KindKey::new(&name(KIND))],
        version,
    };
    assert_eq!(f.store.claim(claim).await.expect("claim").tasks.len(), 1);
    f.must(id, Wish::MoveTo(name("g"))).await;
    assert_eq!(f.claim_limited(node, &LANES[..1], 9).await.tasks.len(), 1);
    f.must(id, Wish::MoveTo(name("h"))).await;
    assert_eq!(f.claim_limited(node, &LANES[..1], 9).await.tasks.len(), 1);
}
