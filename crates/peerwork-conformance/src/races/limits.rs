//! Claims under limits at once: none exceeds one, whoever dies, moves or changes it meanwhile.

use super::race;
use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::yield_now;

const NODES: usize = 8;
const LANES: [(&str, &str); 3] = [("g", "ann"), ("g", "bob"), ("h", "ann")];

fn of((group, user): (&str, &str)) -> NewTask {
    NewTask {
        group: name(group),
        user: name(user),
        ..task()
    }
}

fn limit(max: u32) -> [SettingChange; 1] {
    [SettingChange::MaxRunning(Some(max))]
}

async fn fill(f: &Fixture, n: usize) {
    for lane in LANES {
        let tasks = (0..n).map(|_| of(lane)).collect();
        f.store.create(tasks).await.expect("create");
    }
}

async fn nodes(f: &Fixture) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(f.node().await);
    }
    nodes
}

/// What runs of g, of ann and of all, as far as the racers know: no more than the database knows. Each is with its limit.
#[derive(Default)]
struct Running {
    of_g: AtomicUsize,
    of_ann: AtomicUsize,
    of_all: AtomicUsize,
    claims: AtomicUsize,
}

const OF_G: usize = 5;
const OF_ANN: usize = 4;
const OF_ALL: usize = 7;

impl Running {
    fn counters(&self, task: &Claimed) -> Vec<(&AtomicUsize, usize)> {
        let mut counters = vec![(&self.of_all, OF_ALL)];
        if task.group == name("g") {
            counters.push((&self.of_g, OF_G));
        }
        if task.user == name("ann") {
            counters.push((&self.of_ann, OF_ANN));
        }
        counters
    }

    /// After the answer to a claim.
    fn claimed(&self, task: &Claimed) {
        for (counter, max) in self.counters(task) {
            let running = counter.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(
                running <= max,
                "I14: {running} run where {max} may: {task:?}"
            );
        }
        self.claims.fetch_add(1, Ordering::SeqCst);
    }

    /// Before a run is ended, or taken from its node.
    fn ends(&self, task: &Claimed) {
        for (counter, _) in self.counters(task) {
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Eight nodes claim under the limits of a group, a user and a kind at once; now and then one dies, and its tasks count until they
/// are taken back.
pub async fn ga_24_racing_claims_never_exceed_a_limit(f: &Fixture) {
    const TASKS: usize = 40;
    fill(f, TASKS).await;
    f.set(Scope::Group(name("g")), limit(OF_G as u32)).await;
    f.set(Scope::User(name("ann")), limit(OF_ANN as u32)).await;
    f.set(Scope::Kind(name(KIND)), limit(OF_ALL as u32)).await;
    let (all, now) = (3 * TASKS, f.clock.now());
    let (running, done) = (Arc::new(Running::default()), Arc::new(AtomicUsize::new(0)));
    let nodes = nodes(f).await;
    let racers = race(f, NODES, |n, store| {
        let (running, done, mut node) = (running.clone(), done.clone(), nodes[n]);
        async move {
            let book = limit_book(&*store).await;
            let mut round = n;
            while done.load(Ordering::SeqCst) < all {
                round += 1;
                let (claim, bounds) = limited(&book, node, &LANES, 1 + round % 4, &[KIND], now);
                let within = store.claim_within(claim, bounds).await.expect("claim");
                within.tasks.iter().for_each(|task| running.claimed(task));
                yield_now().await;
                within.tasks.iter().for_each(|task| running.ends(task));
                if round % 7 == 0 {
                    assert!(store.declare_dead(node, 0).await.expect("declare dead"));
                    while store.sweep(BATCH_MAX).await.expect("sweep").more {}
                    node = fresh_node();
                    let card = NodeCard {
                        id: node,
                        label: "the next one".to_owned(),
                        ttl_ms: 15_000,
                        slots: 4,
                        kinds: Vec::new(),
                    };
                    store.register(card).await.expect("register");
                    continue;
                }
                let end = |task: &Claimed| {
                    let (id, run) = (task.id, task.run);
                    Held { id, run, node }.end(OK)
                };
                let ends: Vec<_> = within.tasks.iter().map(end).collect();
                let ended = store.end(ends).await.expect("end").len();
                done.fetch_add(ended, Ordering::SeqCst);
            }
        }
    });
    racers.await;
    assert!(running.claims.load(Ordering::SeqCst) >= all);
}

/// Eight nodes are named the same tasks, each in another order, beside claims of the first ones of the same lanes.
pub async fn ga_24_racing_claims_of_the_same_names_take_each_once_within_limits(f: &Fixture) {
    const TASKS: usize = 20;
    fill(f, TASKS).await;
    f.set(Scope::Group(name("g")), limit(OF_G as u32)).await;
    f.set(Scope::User(name("ann")), limit(OF_ANN as u32)).await;
    f.set(Scope::Kind(name(KIND)), limit(OF_ALL as u32)).await;
    let (all, now) = (3 * TASKS, f.clock.now());
    let (running, done) = (Arc::new(Running::default()), Arc::new(AtomicUsize::new(0)));
    let nodes = nodes(f).await;
    let racers = race(f, NODES, |n, store| {
        let (running, done, node) = (running.clone(), done.clone(), nodes[n]);
        async move {
            let book = limit_book(&*store).await;
            let mut taken = Vec::new();
            let mut round = n;
            while done.load(Ordering::SeqCst) < all {
                round += 1;
                let (claim, bounds) = limited(&book, node, &LANES, 1 + round % 4, &[KIND], now);
                let within = if n % 4 == 0 {
                    store.claim_within(claim, bounds).await
                } else {
                    let offers = store.offers(Sought::After(None), BATCH_MAX).await;
                    let offers = offers.expect("read").into_iter();
                    let named = offers.map(|offer| (offer.task, offer.lane));
                    let mut named: Vec<_> = named.collect();
                    let middle = round * 7 % named.len().max(1);
                    named.rotate_left(middle);
                    named.truncate(4);
                    let these = ClaimThese {
                        node,
                        run: claim.run,
                        tasks: named,
                        kinds: claim.kinds,
                        version: claim.version,
                    };
                    store.claim_these(these, bounds).await
                };
                let within = within.expect("claim");
                within.tasks.iter().for_each(|task| running.claimed(task));
                yield_now().await;
                within.tasks.iter().for_each(|task| running.ends(task));
                let end = |task: &Claimed| {
                    let (id, run) = (task.id, task.run);
                    Held { id, run, node }.end(OK)
                };
                let ends: Vec<_> = within.tasks.iter().map(end).collect();
                let ended = store.end(ends).await.expect("end");
                assert!(
                    ended
                        .iter()
                        .all(|ended| *ended == Ended::Recorded(Status::Finished))
                );
                done.fetch_add(ended.len(), Ordering::SeqCst);
                taken.extend(within.tasks.iter().map(|task| task.id));
            }
            taken
        }
    });
    let mut taken: Vec<_> = racers.await.into_iter().flatten().collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), all, "each of them once");
}

/// Runs move to and fro between two limited groups while others are claimed and end. Afterwards each counts in its own, which a look
/// at the rows shows, and there is as much room as is left.
pub async fn ga_25_moves_that_race_claims_are_counted_where_they_are(f: &Fixture) {
    fill(f, 40).await;
    for group in ["g", "h"] {
        f.set(Scope::Group(name(group)), limit(12)).await;
    }
    let user_in = Scope::UserIn {
        group: name("h"),
        user: name("ann"),
    };
    f.set(user_in, limit(12)).await;
    let (nodes, now) = (nodes(f).await, f.clock.now());
    let held = race(f, 6, |n, store| {
        let node = nodes[n];
        async move {
            let book = limit_book(&*store).await;
            let mut held: Vec<Held> = Vec::new();
            for round in 0..12 {
                let (claim, bounds) = limited(&book, node, &LANES, 2, &[KIND], now);
                let within = store.claim_within(claim, bounds).await.expect("claim");
                let new = within.tasks.iter().map(|task| Held {
                    id: task.id,
                    run: task.run,
                    node,
                });
                held.extend(new);
                let to = Wish::MoveTo(name(["g", "h", "i"][(round + n) % 3]));
                let some = held.iter().step_by(2).map(|held| held.id).collect();
                store
                    .steer(some, Filter::default(), to)
                    .await
                    .expect("move");
                let ends = held.drain(..held.len() / 2).map(|held| held.end(OK));
                store.end(ends.collect()).await.expect("end");
            }
            held
        }
    });
    let held: Vec<_> = held.await.into_iter().flatten().collect();
    let running = Filter {
        states: vec![State::Running],
        ..Filter::default()
    };
    assert_eq!(f.list(running, 100).await.len(), held.len());
    // The place is left as it is: whoever closes it counts.
}

/// Some claim without a limit as one is set: these, too, count once it has settled.
pub async fn what_is_claimed_while_a_limit_is_set_is_counted(f: &Fixture) {
    fill(f, 100).await;
    let (nodes, is_set) = (nodes(f).await, Arc::new(AtomicBool::new(false)));
    let claimed = race(f, 6, |n, store| {
        let (node, is_set) = (nodes[n], is_set.clone());
        async move {
            let (mut claimed, mut rounds) = (0, 0);
            while rounds < 4 || !is_set.load(Ordering::SeqCst) {
                rounds += 1;
                if n == 0 && rounds == 3 {
                    let group = Scope::Group(name("g"));
                    store.set(group, limit(1).to_vec()).await.expect("set");
                    is_set.store(true, Ordering::SeqCst);
                    continue;
                }
                let grant = |(group, user): (&str, &str)| Grant {
                    lane: LaneId::new(&name(group), &name(user)),
                    tasks: 1,
                };
                let claim = Claim {
                    node,
                    run: fresh_run(),
                    grants: LANES.map(grant).to_vec(),
                    reaches: Vec::new(),
                    kinds: vec![KindKey::new(&name(KIND))],
                    version: 0,
                };
                claimed += store.claim(claim).await.expect("claim").tasks.len();
                if claimed > 30 {
                    yield_now().await;
                }
            }
            claimed
        }
    });
    assert!(claimed.await.iter().sum::<usize>() > 0);
    f.clock.pass_ms(SETTLE_MS);
    f.store
        .settle(Scope::Group(name("g")))
        .await
        .expect("settle");
    let (claim, bounds) = limited(
        &f.limit_book().await,
        nodes[0],
        &LANES[..2],
        9,
        &[KIND],
        f.clock.now(),
    );
    let within = f.store.claim_within(claim, bounds).await.expect("claim");
    assert_eq!(within.tasks.len(), 0, "more run than may");
}

/// All of them together start no more than the burst while time stands still.
pub async fn ga_20_racing_claims_never_exceed_a_rate(f: &Fixture) {
    fill(f, 60).await;
    let starts = Rate::per_second(1_000.0, 50).expect("a rate");
    let starts = [SettingChange::Starts(Some(starts))];
    f.set(Scope::Group(name("g")), starts).await;
    let (nodes, now) = (nodes(f).await, f.clock.now());
    let started = race(f, NODES, |n, store| {
        let node = nodes[n];
        async move {
            let (book, mut started) = (limit_book(&*store).await, 0);
            for _ in 0..10 {
                let (claim, bounds) = limited(&book, node, &LANES[..2], 3, &[KIND], now);
                let within = store.claim_within(claim, bounds).await.expect("claim");
                started += within.tasks.len();
            }
            started
        }
    });
    assert_eq!(started.await.iter().sum::<usize>(), 50);
}
