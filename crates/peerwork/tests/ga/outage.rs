//! A database that is away, slow, hung, or whose answers are lost; and clocks that are wrong.

use crate::kit::{Actor, Ghost, Place, Puppet, STEADY, Stage, TIGHT, Tap};
use peerwork::*;
use peerwork_store::MemoryStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

on_every_database!(
    ga_27_a_hung_claim_blocks_no_claim_of_others,
    ga_28_a_finish_through_a_transient_error_is_recorded_once_with_its_own_result,
    ga_29_a_panic_fails_one_attempt,
);
on!([mysql] ga_19_no_deadlock_of_eight_nodes_reaches_a_caller);

/// A place in memory in tokio's time, whose own clock is wrong by `ahead`.
fn in_virtual_time(ahead: Duration) -> Place {
    let origin = Instant::now();
    let store = MemoryStore::with_clock(move || {
        let us = (ahead + origin.elapsed()).as_micros();
        Timestamp(i64::try_from(us).expect("a test is shorter than that"))
    });
    Place::in_memory(store)
}

/// A node with the shortest lease behind this tap, whose puppets come on this stage.
async fn tight_node(tap: &Arc<Tap>, stage: &Stage, name: &str, env: &Env) -> Node {
    let builder = Node::builder(tap.database()).lease(TIGHT).env(env.clone());
    let builder = builder.register(stage.puppet(name));
    builder.start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn ga_05_a_node_cut_off_from_the_database_stops_its_runs_by_its_lease_deadline() {
    let (place, env) = (in_virtual_time(Duration::ZERO), Env::simulated(5));
    let (tap, other) = (Tap::on(place.store()), Tap::on(place.store()));
    let (stage, elsewhere) = (Stage::new(), Stage::new());
    let a = tight_node(&tap, &stage, "a", &env).await;
    let task = a
        .client()
        .create(Puppet::task(String::new()))
        .await
        .unwrap();
    let actor = stage.next().await;
    actor.save(7).await.unwrap();
    let b = tight_node(&other, &elsewhere, "b", &env).await;

    tap.after("beat", 3).await;
    tap.cut(true);
    let cut = Instant::now();
    actor.ended().await;
    let stopped = cut.elapsed();
    let lease = Duration::from_millis(TIGHT.ttl_ms - TIGHT.margin_ms);
    assert!(stopped <= lease, "{stopped:?} of {lease:?}");
    // Not long before either: an outage that is shorter than the lease takes nothing away.
    assert!(
        stopped >= lease - Duration::from_millis(2 * TIGHT.beat_ms),
        "{stopped:?}"
    );
    assert!(elsewhere.is_empty().await, "nobody else has begun");

    let successor = elsewhere.next().await;
    assert!(cut.elapsed() > stopped);
    assert_eq!((successor.attempt, successor.checkpoint), (2, Some(7)));
    let first_life = a.id();
    tap.cut(false);
    crate::kit::until(async || {
        sleep(Duration::from_millis(10)).await; // fault: virtual time, until it hears of its death
        a.id() != first_life
    })
    .await;
    successor.finish(9).await;
    assert_eq!(
        b.client()
            .task(task.id())
            .until(State::Finished)
            .await
            .unwrap()
            .task
            .attempt,
        2
    );
    a.drain().await;
    b.drain().await;
}

/// What a kind chooses for its runs while its node cannot reach the database.
async fn unreachable(choice: OnUnreachable) -> (Place, Env, Arc<Tap>, Stage, Node, Actor) {
    let (place, env) = (in_virtual_time(Duration::ZERO), Env::simulated(6));
    let (tap, stage) = (Tap::on(place.store()), Stage::new());
    let rules = Rules {
        on_unreachable: choice,
        ..Rules::default()
    };
    let builder = Node::builder(tap.database()).lease(TIGHT).env(env.clone());
    let node = builder.register(stage.puppet("a").with(rules));
    let node = node.start().await.unwrap();
    let draft = Puppet::task(String::new());
    node.client().create(draft).await.unwrap();
    let actor = stage.next().await;
    actor.save(1).await.unwrap();
    (place, env, tap, stage, node, actor)
}

#[tokio::test(start_paused = true)]
async fn a_run_is_dropped_without_a_lease_or_goes_on_as_its_kind_says() {
    let outage = Duration::from_millis(3 * TIGHT.ttl_ms);
    // A store in memory is of one process, and still no file: what suits it is to stop.
    for choice in [OnUnreachable::Stop, OnUnreachable::Auto] {
        let (_place, _env, tap, _stage, node, actor) = unreachable(choice).await;
        tap.cut(true);
        let ended = timeout(outage, actor.ended()).await;
        assert!(ended.is_ok(), "{choice:?}: it goes on without a lease");
        tap.cut(false);
        node.drain().await;
    }
    let (_place, _env, tap, _stage, node, actor) = unreachable(OnUnreachable::RunOn).await;
    let me = node.id();
    tap.cut(true);
    let ended = timeout(outage, actor.ended()).await;
    assert!(ended.is_err(), "it goes on, however long that lasts");
    tap.cut(false);
    // Nobody was there to take it over: it is the same run still.
    actor.save(2).await.unwrap();
    let id = actor.id;
    actor.finish(3).await;
    let task = node.client().task(id).until(State::Finished).await.unwrap();
    assert_eq!((task.task.attempt, node.id()), (1, me));
    node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_without_a_lease_ends_when_its_node_hears_of_its_death() {
    let (place, env, tap, stage, node, actor) = unreachable(OnUnreachable::RunOn).await;
    let me = node.id();
    let peer = tight_node(&Tap::on(place.store()), &stage, "b", &env).await;
    tap.cut(true);
    let successor = stage.next().await;
    let next = (
        successor.on.as_str(),
        successor.attempt,
        successor.checkpoint,
    );
    assert_eq!(next, ("b", 2, Some(1)));
    let ended = timeout(Duration::from_millis(TIGHT.ttl_ms), actor.ended()).await;
    assert!(ended.is_err(), "it has heard of nothing yet");
    tap.cut(false);
    actor.ended().await;
    let id = successor.id;
    successor.finish(4).await;
    let task = peer.client().task(id).until(State::Finished).await.unwrap();
    assert_eq!(task.task.attempt, 2);
    assert_ne!(node.id(), me, "it has started anew");
    node.drain().await;
    peer.drain().await;
}

/// What a node does has nothing to do with the time of day that the database has: a rescue takes as long, to the
/// microsecond, and nobody who lives is taken for dead when that time jumps.
#[tokio::test(start_paused = true)]
async fn ga_10_a_clock_one_hour_off_changes_nothing() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut rescues = Vec::new();
    for ahead in [Duration::ZERO, HOUR, 2 * HOUR] {
        let (place, env) = (in_virtual_time(ahead), Env::simulated(10));
        let client = place.client().await;
        client.create(Puppet::task(String::new())).await.unwrap();
        let ghost = Ghost::with_ttl(&place, TIGHT.ttl_ms).await;
        ghost.claim_one().await;
        let died = Instant::now();
        let stage = Stage::new();
        let node = tight_node(&Tap::on(place.store()), &stage, "a", &env).await;
        let actor = stage.next().await;
        rescues.push(died.elapsed());
        actor.finish(1).await;
        node.drain().await;
    }
    assert!(
        rescues.iter().all(|took| *took == rescues[0]),
        "{rescues:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn ga_10_a_clock_that_jumps_by_an_hour_takes_nothing_from_the_living() {
    let jump = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (origin, ahead) = (Instant::now(), jump.clone());
    let store = MemoryStore::with_clock(move || {
        let us = u64::try_from(origin.elapsed().as_micros()).expect("a test is shorter");
        Timestamp((us + ahead.load(std::sync::atomic::Ordering::SeqCst)) as i64)
    });
    let (place, env) = (Place::in_memory(store), Env::simulated(11));
    let stage = Stage::new();
    let nodes = [
        tight_node(&Tap::on(place.store()), &stage, "a", &env).await,
        tight_node(&Tap::on(place.store()), &stage, "b", &env).await,
    ];
    let task = nodes[0]
        .client()
        .create(Puppet::task(String::new()))
        .await
        .unwrap();
    let actor = stage.next().await;
    let ids = [nodes[0].id(), nodes[1].id()];
    for _ in 0..3 {
        jump.fetch_add(3_600_000_000, std::sync::atomic::Ordering::SeqCst);
        sleep(Duration::from_millis(3 * TIGHT.ttl_ms)).await; // fault: three ttls of virtual time
    }
    assert_eq!([nodes[0].id(), nodes[1].id()], ids);
    actor.finish(1).await;
    assert_eq!(task.until(State::Finished).await.unwrap().task.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn ga_11_an_outage_of_three_ttls_takes_nothing_from_live_nodes() {
    let (place, env) = (in_virtual_time(Duration::ZERO), Env::simulated(11));
    let taps = [Tap::on(place.store()), Tap::on(place.store())];
    let stages = [Stage::new(), Stage::new()];
    let a = tight_node(&taps[0], &stages[0], "a", &env).await;
    let b = tight_node(&taps[1], &stages[1], "b", &env).await;
    let client = place.client().await;
    let drafts = (0..4).map(|n| Puppet::task(n.to_string()));
    let tasks = client.create_many(drafts).await.unwrap();
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(tokio::select! {
            actor = stages[0].next() => (0, actor),
            actor = stages[1].next() => (1, actor),
        });
    }
    let ids = [a.id(), b.id()];
    // At any point of a beat.
    for outage in 0..4 {
        sleep(Duration::from_millis(170 * outage)).await; // fault: virtual time
        taps.iter().for_each(|tap| tap.cut(true));
        sleep(Duration::from_millis(3 * TIGHT.ttl_ms)).await; // fault: three ttls of virtual time
        taps.iter().for_each(|tap| tap.cut(false));
        sleep(Duration::from_millis(2 * TIGHT.ttl_ms)).await; // fault: long enough to declare somebody dead
        assert_eq!([a.id(), b.id()], ids, "nobody was declared dead");
    }
    for (_, actor) in running {
        actor.ended().await;
    }
    let mut results = JoinSet::new();
    for task in tasks {
        results.spawn(async move {
            task.result().await.unwrap();
            task.get().await.unwrap().task
        });
    }
    while !results.is_empty() {
        tokio::select! {
            actor = stages[0].next() => actor.try_finish(1).await,
            actor = stages[1].next() => actor.try_finish(1).await,
            Some(task) = results.join_next() => {
                let task = task.unwrap();
                assert_eq!((task.crashes, task.failures), (0, 0), "no death, no failure");
            }
        }
    }
    a.drain().await;
    b.drain().await;
}

/// As short as a run can be.
struct Count;

impl Handler for Count {
    const KIND: &'static str = "count";
    type Input = u64;
    type Checkpoint = ();
    type Output = u64;

    async fn run(&self, run: &mut Run<Self>) -> Result<u64, TaskError> {
        Ok(run.input() + 1)
    }
}

async fn ga_19_no_deadlock_of_eight_nodes_reaches_a_caller(place: Place) {
    const ROUNDS: usize = 4;
    const TASKS: usize = 30;
    const GROUPS: [&str; 3] = ["a", "b", "c"];
    let mut nodes = Vec::new();
    for _ in 0..8 {
        let builder = place.node().register(Count);
        nodes.push(builder.start().await.unwrap());
    }
    let mut callers = JoinSet::new();
    for (caller, node) in nodes.iter().enumerate() {
        let client = node.client();
        callers.spawn(async move {
            let group = |n: usize| GROUPS[(caller + n) % GROUPS.len()];
            for round in 0..ROUNDS {
                // Everybody changes what everybody else runs, in different orders: each call must have its answer.
                let drafts = (0..TASKS).map(|n| Count::task(n as u64).group(group(n)));
                let tasks = client.create_many(drafts).await.unwrap();
                let all = || client.tasks();
                all().group(group(round)).pause().await.unwrap();
                all()
                    .group(group(round + 1))
                    .move_to(group(round + 2))
                    .await
                    .unwrap();
                all().group(group(round + 1)).pause().await.unwrap();
                all().resume().await.unwrap();
                if round % 3 == 0 {
                    all().group(group(round)).delete().await.unwrap();
                }
                drop(tasks);
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    let client = place.client().await;
    client.tasks().resume().await.unwrap();
    crate::kit::until(async || {
        let all = client.tasks().all().await.unwrap();
        all.iter().all(|task| task.state() == State::Finished)
    })
    .await;
    for node in nodes {
        node.drain().await;
    }
}

async fn ga_27_a_hung_claim_blocks_no_claim_of_others(place: Place) {
    let tap = Tap::on(place.store());
    let (stuck, stage) = (Stage::new(), Stage::new());
    let client = place.client().await;
    let hung = tap.hold_off("claim");
    let first = client.create(Puppet::task(String::new())).await.unwrap();
    let a = Node::builder(tap.database()).lease(STEADY);
    let a = a.register(stuck.puppet("a")).start().await.unwrap();
    let hung = hung.arrived().await;
    let b = place
        .node()
        .register(stage.puppet("b"))
        .start()
        .await
        .unwrap();
    for n in 0..20 {
        let task = match n {
            0 => first.clone(),
            _ => client.create(Puppet::task(String::new())).await.unwrap(),
        };
        stage.next().await.finish(n).await;
        assert_eq!(task.result().await.unwrap(), n);
    }
    assert!(stuck.is_empty().await);
    hung.send(()).unwrap();
    a.drain().await;
    b.drain().await;
}

/// A task that is due draws a look at once. Where nothing can be written, that must not become a look after the other.
#[tokio::test(start_paused = true)]
async fn a_due_task_that_cannot_be_woken_is_tried_again_at_the_next_look() {
    const TRIES: usize = 5;
    let (place, env) = (in_virtual_time(Duration::ZERO), Env::simulated(12));
    let (tap, stage) = (Tap::on(place.store()), Stage::new());
    let builder = Node::builder(tap.database()).lease(STEADY).env(env);
    let node = builder.register(stage.puppet("a")).start().await.unwrap();
    let due = std::time::UNIX_EPOCH + Duration::from_secs(10);
    let client = node.client();
    let draft = Puppet::task(String::new()).start_at(due);
    client.create(draft).await.unwrap();
    for _ in 0..TRIES {
        tap.fail("promote");
    }
    tap.after("promote", 1).await;
    let (first, looks) = (Instant::now(), tap.calls()["glance"]);
    let actor = stage.next().await;
    assert_eq!(tap.calls()["promote"], TRIES + 1);
    assert!(tap.calls()["glance"] - looks <= TRIES + 1);
    // A look comes with each beat here, a little early at most.
    let look = Duration::from_millis(STEADY.beat_ms * 9 / 10);
    let looks = u32::try_from(TRIES).unwrap() * look;
    assert!(first.elapsed() >= looks, "{:?}", first.elapsed());
    actor.finish(1).await;
    node.drain().await;
}

/// Whatever hangs: a drain has done what it can after its deadline and the time for the last writes.
#[tokio::test(start_paused = true)]
async fn ga_27_a_call_that_hangs_does_not_hold_up_a_drain() {
    for call in ["claim", "lanes", "glance", "beat", "save", "end", "retire"] {
        let (place, env) = (in_virtual_time(Duration::ZERO), Env::simulated(27));
        let (tap, stage) = (Tap::on(place.store()), Stage::new());
        let builder = Node::builder(tap.database()).lease(STEADY).env(env);
        let builder = builder.register(stage.puppet("a"));
        let builder = builder.drain_deadline(Duration::from_secs(3));
        let node = builder.start().await.unwrap();
        let client = node.client();
        client.create(Puppet::task(String::new())).await.unwrap();
        let actor = stage.next().await;
        let hung = tap.hold_off(call);
        match call {
            "claim" | "lanes" => {
                client.create(Puppet::task(String::new())).await.unwrap();
            }
            "save" => drop(tokio::spawn(async move { actor.save(1).await })),
            "end" => actor.finish(1).await,
            _ => {}
        }
        let began = Instant::now();
        let drained = timeout(Duration::from_secs(60), node.drain()).await;
        let report = drained.unwrap_or_else(|_| panic!("{call} holds the drain up"));
        let bound = Duration::from_secs(3 + 5 + 5 + 1);
        assert!(began.elapsed() <= bound, "{call}: {report:?}");
        drop(hung);
    }
}

async fn ga_28_a_finish_through_a_transient_error_is_recorded_once_with_its_own_result(
    place: Place,
) {
    let (tap, stage) = (Tap::on(place.store()), Stage::new());
    let node = Node::builder(tap.database()).lease(STEADY);
    let node = node.register(stage.puppet("a")).start().await.unwrap();
    let client = node.client();
    // Nothing was done, twice; the answer was lost; both.
    let faults: [&[&str]; 3] = [&["fail", "fail"], &["lose"], &["fail", "lose"]];
    for (n, faults) in faults.into_iter().enumerate() {
        let n = n as i64;
        let task = client.create(Puppet::task(String::new())).await.unwrap();
        let actor = stage.next().await;
        for fault in faults {
            match *fault {
                "fail" => tap.fail("end"),
                _ => tap.lose("end"),
            }
        }
        let ends = tap.calls().get("end").copied().unwrap_or_default();
        actor.finish(40 + n).await;
        assert_eq!(task.result().await.unwrap(), 40 + n);
        crate::kit::until(async || node.holds().is_empty()).await;
        assert_eq!(tap.calls()["end"] - ends, faults.len() + 1);
        let record = task.get().await.unwrap();
        assert_eq!(record.status(), Status::Finished);
        assert_eq!((record.task.attempt, record.task.failures), (1, 0));
        assert!(task.failures().await.unwrap().is_empty());
        assert!(stage.is_empty().await, "it did not run again");
    }
    node.drain().await;
}

async fn ga_29_a_panic_fails_one_attempt(place: Place) {
    let rules = Rules {
        retry: Retry::at_once(2),
        ..Rules::default()
    };
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a").with(rules));
    let node = node.start().await.unwrap();
    let client = node.client();
    let drafts = (0..2).map(|n| Puppet::task(n.to_string()));
    let tasks = client.create_many(drafts).await.unwrap();
    let mut actors = stage.take(2).await;
    actors.sort_by_key(|actor| actor.input.clone());
    let neighbour = actors.pop().unwrap();
    actors.pop().unwrap().panic("out of cheese").await;
    let again = stage.next().await;
    assert_eq!(
        (again.id, again.attempt, again.failures),
        (tasks[0].id(), 2, 1)
    );
    // Who runs beside it, and the node itself, have not noticed.
    neighbour.save(1).await.unwrap();
    neighbour.finish(1).await;
    assert_eq!(tasks[1].result().await.unwrap(), 1);
    again.panic("still no cheese").await;
    let record = tasks[0].until(State::Failed).await.unwrap();
    assert_eq!((record.task.attempt, record.task.crashes), (2, 0));
    let reasons = tasks[0].failures().await.unwrap();
    let reasons: Vec<_> = reasons.into_iter().map(|failure| failure.error).collect();
    assert_eq!(reasons.len(), 2);
    assert!(
        reasons
            .iter()
            .any(|reason| reason == "panicked: out of cheese"),
        "{reasons:?}"
    );
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    stage.next().await.finish(3).await;
    assert_eq!(task.result().await.unwrap(), 3);
    node.drain().await;
}

/// Reports as fast as it can, and stops when a save tells it to.
struct Storm;

impl Handler for Storm {
    const KIND: &'static str = "storm";
    type Input = ();
    type Checkpoint = u64;
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        for at in 0.. {
            for report in 0..1_000 {
                run.progress(report, 1_000);
            }
            run.save(&at).await?;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn ga_31_a_storm_of_reports_and_a_slow_database_cost_no_lease_and_hide_no_stop() {
    const STORMS: usize = 50;
    let (place, env) = (in_virtual_time(Duration::ZERO), Env::simulated(31));
    let tap = Tap::on(place.store());
    let builder = Node::builder(tap.database()).lease(TIGHT).env(env.clone());
    let node = builder.register(Storm).slots(STORMS).start().await.unwrap();
    let peer = Tap::on(place.store());
    let peer = Node::builder(peer.database()).lease(TIGHT).env(env);
    let peer = peer.handle("other", |(): ()| async { Ok::<_, TaskError>(()) });
    let peer = peer.start().await.unwrap();
    let client = place.client().await;
    let drafts = (0..STORMS).map(|_| Storm::task(()));
    client.create_many(drafts).await.unwrap();
    let (id, delay) = (node.id(), Duration::from_millis(400));
    tap.slow_down(delay);
    tap.after("save", 100).await;
    assert_eq!(node.id(), id, "a peer has watched it all the time");
    let before = client.tasks().all().await.unwrap();
    assert!(
        before
            .iter()
            .all(|task| (task.status(), task.task.attempt) == (Status::Running, 1))
    );

    let told = Instant::now();
    client.tasks().pause().await.unwrap();
    crate::kit::until(async || {
        sleep(Duration::from_millis(20)).await; // fault: virtual time
        let all = client.tasks().all().await.unwrap();
        all.iter().all(|task| task.status() == Status::Paused)
    })
    .await;
    // The save in flight, the one that tells, and the end.
    let took = told.elapsed();
    assert!(took <= 4 * delay, "{took:?}");
    assert_eq!(node.id(), id);
    node.drain().await;
    peer.drain().await;
}
