//! Tasks that something else has named: what is claimable is read, and claimed by ids.

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

fn lane(group: &str, user: &str) -> LaneId {
    LaneId::new(&name(group), &name(user))
}

/// A claim of tasks of ann's in maths, each in the lane of its work.
fn these(node: NodeId, work: Work, tasks: &[TaskId]) -> ClaimThese {
    let lane = lane("maths", "ann").of(work);
    ClaimThese {
        node,
        run: fresh_run(),
        tasks: tasks.iter().map(|id| (*id, lane)).collect(),
        kinds: vec![KindKey::new(&name(KIND))],
        version: 0,
    }
}

/// What was claimed where nothing is set.
async fn claim(f: &Fixture, claim: ClaimThese) -> Vec<TaskId> {
    let within = f.store.claim_these(claim, Bounds::default()).await;
    let within = within.expect("claim");
    assert!(!within.is_stale && within.full.is_empty());
    within.tasks.iter().map(|task| task.id).collect()
}

/// The order in a lane is not asked.
pub async fn named_tasks_are_claimed_in_the_order_in_which_they_are_named(f: &Fixture) {
    let node = f.node().await;
    let mut ids = Vec::new();
    for priority in [3, -3, 0, 7, 1] {
        ids.push(f.create(NewTask { priority, ..task() }).await);
        f.clock.pass_ms(1);
    }
    let other = f.create(of("physics", "bob")).await;
    let mut wanted = these(node, Work::Run, &[ids[3], ids[0], ids[4]]);
    wanted.tasks.insert(1, (other, lane("physics", "bob")));
    let run = wanted.run;
    let within = f.store.claim_these(wanted, Bounds::default()).await;
    let within = within.expect("claim");
    let order: Vec<_> = within.tasks.iter().map(|task| task.id).collect();
    assert_eq!(order, [ids[3], other, ids[0], ids[4]]);
    assert!(within.tasks.iter().all(|task| task.run == run));
    assert_eq!(within.tasks[0].input, b"input");
    for id in order {
        let record = f.record(id).await;
        assert_eq!((record.node, record.run), (Some(node), Some(run)));
        assert_eq!(record.task.status, Status::Running);
    }
    assert_eq!(f.status(ids[1]).await, Status::Queued);
}

/// What is held, over, asleep, unknown, elsewhere, of another kind or of another sort of work is left as it is; and what is named twice is
/// claimed once.
pub async fn of_named_tasks_only_those_are_claimed_that_are_claimable_there(f: &Fixture) {
    let node = f.node().await;
    let held = f.running(task()).await;
    let over = f.running(task()).await;
    f.end(&over, OK).await;
    let paused = f.create(task()).await;
    f.must(paused, Wish::Pause).await;
    let later = Some(f.clock.now().plus_ms(1_000));
    let asleep = f
        .create(NewTask {
            due: later,
            ..task()
        })
        .await;
    let moved = f.create(task()).await;
    f.steer(moved, Wish::MoveTo(name("physics"))).await;
    let other_kind = NewTask {
        kind: name("other"),
        ..task()
    };
    let other_kind = f.create(other_kind).await;
    let cleanup = f.create(task()).await;
    f.must(cleanup, Wish::Delete).await;
    let ready = f.create(task()).await;
    let named = [
        held.id,
        ready,
        over.id,
        paused,
        asleep,
        moved,
        other_kind,
        cleanup,
        fresh_task(),
        ready,
    ];
    let mut before = Vec::new();
    for id in &named {
        before.push(f.find(*id).await);
    }
    assert_eq!(claim(f, these(node, Work::Run, &named)).await, [ready]);
    for (id, before) in named.iter().zip(before).filter(|(id, _)| **id != ready) {
        assert_eq!(format!("{:?}", f.find(*id).await), format!("{before:?}"));
    }
    assert_eq!(claim(f, these(node, Work::Run, &named)).await, []);
    assert_eq!(
        claim(f, these(node, Work::Cleanup, &named)).await,
        [cleanup]
    );
    assert_eq!(f.status(cleanup).await, Status::Cleaning);
    assert_eq!(claim(f, these(node, Work::Run, &[])).await, []);
    let no_kinds = ClaimThese {
        kinds: Vec::new(),
        ..these(node, Work::Run, &[moved])
    };
    assert_eq!(claim(f, no_kinds).await, []);
}

/// As any claim.
pub async fn named_tasks_are_claimed_only_for_a_live_node_that_knows_what_is_set(f: &Fixture) {
    let (node, dead) = (f.node().await, f.node().await);
    f.bury(dead).await;
    let id = f.create(task()).await;
    assert_eq!(claim(f, these(dead, Work::Run, &[id])).await, []);
    assert_eq!(claim(f, these(fresh_node(), Work::Run, &[id])).await, []);
    let gate = SettingChange::Weight(Some(3));
    let version = f.set(Scope::Group(name("maths")), [gate]).await;
    let old = these(node, Work::Run, &[id]);
    let within = f.store.claim_these(old.clone(), Bounds::default()).await;
    let within = within.expect("claim");
    assert!(within.is_stale && within.tasks.is_empty());
    assert_eq!(f.status(id).await, Status::Queued);
    assert_eq!(claim(f, ClaimThese { version, ..old }).await, [id]);
}

/// Also a limit of the node that claims, and one of starts; and what was taken counts for those that come after it.
pub async fn ga_24_named_tasks_keep_to_limits(f: &Fixture) {
    let node = f.node().await;
    let lanes = [("g", "ann"), ("g", "bob"), ("h", "ann")];
    let mut named = Vec::new();
    for _ in 0..3 {
        for (group, user) in lanes {
            named.push((f.create(of(group, user)).await, lane(group, user)));
        }
    }
    f.set(
        Scope::Group(name("g")),
        [SettingChange::MaxRunning(Some(2))],
    )
    .await;
    let starts = Rate::per_second(1.0, 2).expect("a rate");
    let of_ann = [SettingChange::Starts(Some(starts))];
    f.set(Scope::User(name("ann")), of_ann).await;
    let book = f.limit_book().await;
    let claim = async || {
        let (like, bounds) = limited(&book, node, &lanes, 3, &[KIND], f.clock.now());
        let claim = ClaimThese {
            node,
            run: like.run,
            tasks: named.clone(),
            kinds: like.kinds,
            version: like.version,
        };
        f.store.claim_these(claim, bounds).await.expect("claim")
    };
    let within = claim().await;
    let got: Vec<_> = within.tasks.iter().map(|task| task.id).collect();
    assert_eq!(got, [named[0].0, named[1].0, named[2].0]);
    let full: Vec<_> = within.full.iter().map(|(key, _)| *key).collect();
    assert_eq!(full.len(), 2);
    assert!(full.contains(&Scope::Group(name("g")).key()));
    f.clock.pass_ms(1_000);
    let got: Vec<_> = claim().await.tasks.iter().map(|task| task.id).collect();
    assert_eq!(got, [named[5].0], "one more of ann's, not in g");
    // They count under their limits, as others do.
    let within = f.claim_limited(node, &[("g", "bob")], 3).await;
    assert_eq!(within.tasks.len(), 0);
}

/// Page by page, in one order, with all that a queue has to know; and only what is claimable.
pub async fn what_is_claimable_is_read_page_by_page(f: &Fixture) {
    let node = f.node().await;
    let mut wanted = Vec::new();
    for n in 0..7_i16 {
        for (group, user) in [("g", "ann"), ("g", "bob"), ("h", "ann")] {
            let new = NewTask {
                priority: n % 3,
                ..of(group, user)
            };
            wanted.push(f.create(new).await);
        }
        f.clock.pass_ms(u64::from(n % 2 == 0));
    }
    let cleanup = f.create(of("g", "ann")).await;
    f.must(cleanup, Wish::Delete).await;
    wanted.push(cleanup);
    let paused = f.create(of("g", "bob")).await;
    f.must(paused, Wish::Pause).await;
    f.running(of("i", "ann")).await;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = f.store.offers(Sought::After(after), 4).await.expect("read");
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(last.spot());
        all.extend(page);
    }
    assert!(all.is_sorted_by(|a, b| a.spot() < b.spot()));
    let mut ids: Vec<_> = all.iter().map(|offer| offer.task).collect();
    ids.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(ids, wanted);
    for offer in &all {
        let record = f.record(offer.task).await;
        let work = record.task.status.work();
        assert_eq!((&offer.kind, offer.work), (&record.kind, work));
        assert_eq!((&offer.group, &offer.user), (&record.group, &record.user));
        assert_eq!(
            offer.lane,
            LaneId::new(&record.group, &record.user).of(work)
        );
        assert_eq!(offer.rank, Rank::new(record.task.status, record.priority));
        assert_eq!(offer.since, record.task.ready_at);
    }
    // From somewhere between them on.
    let from = Spot::before(all[9].lane);
    let behind = f.store.offers(Sought::After(Some(from)), 100).await;
    let first = all.iter().position(|offer| offer.lane == all[9].lane);
    assert_eq!(behind.expect("read"), all[first.expect("it is there")..]);
    // By their ids, as they are named.
    let named = vec![all[5].task, paused, all[2].task, fresh_task(), all[5].task];
    let read = f.store.offers(Sought::These(named), 100).await;
    assert_eq!(read.expect("read"), [all[5].clone(), all[2].clone()]);
    let _ = node;
}

/// Of each lane the same number, of the kinds that are asked for.
pub async fn the_first_tasks_of_lanes_are_read(f: &Fixture) {
    let lanes = [("g", "ann"), ("g", "bob"), ("h", "ann")];
    for n in 0..8 {
        for (group, user) in lanes {
            let kind = if n % 2 == 0 { "other" } else { KIND };
            let new = NewTask {
                kind: name(kind),
                ..of(group, user)
            };
            f.create(new).await;
            f.clock.pass_ms(1);
        }
    }
    let ids =
        |lanes: &[(&str, &str)]| -> Vec<_> { lanes.iter().map(|(g, u)| lane(g, u)).collect() };
    let first = async |lanes, kinds: &[&str], limit| {
        let kinds = kinds.iter().map(|kind| KindKey::new(&name(kind))).collect();
        let sought = Sought::First { lanes, kinds };
        f.store.offers(sought, limit).await.expect("read")
    };
    let two = ids(&[lanes[0], lanes[2], ("nobody's", "ann")]);
    let read = first(two.clone(), &[KIND], 9).await;
    assert_eq!(read.len(), 6);
    assert!(read.is_sorted_by(|a, b| a.spot() < b.spot()));
    assert!(
        read.iter()
            .all(|offer| offer.kind == name(KIND) && two.contains(&offer.lane))
    );
    // The first ones.
    let all = f
        .store
        .offers(Sought::After(None), 100)
        .await
        .expect("read");
    let of_kind = all
        .iter()
        .filter(|offer| offer.kind == name(KIND) && offer.lane == two[0]);
    let wanted: Vec<_> = of_kind.take(3).collect();
    let got: Vec<_> = read.iter().filter(|offer| offer.lane == two[0]).collect();
    assert_eq!(got, wanted);
    assert_eq!(first(ids(&lanes), &[KIND, "other"], 100).await.len(), 24);
    assert_eq!(first(ids(&lanes), &[], 100).await, []);
    assert_eq!(first(Vec::new(), &[KIND], 100).await, []);
    // More than one statement asks about where each lane is written out.
    let many = (0..40).map(|n| lane("many", &n.to_string()));
    let many: Vec<_> = many.chain(ids(&lanes)).collect();
    assert_eq!(first(many, &[KIND, "other"], 86).await.len(), 6);
}
