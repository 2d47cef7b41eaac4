//! Many nodes take tasks at once: each task goes to one of them, none is lost on the way, and nobody is in the way.

use crate::kit::{Ghost, Place, Puppet, Stage, bury, sweep};
use peerwork::*;
use peerwork_core::Work;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

on_every_database!(
    ga_15_ninety_nine_of_a_hundred_claims_of_eight_nodes_are_useful,
    ga_16_ten_thousand_concurrent_creates_from_four_nodes_with_a_queue_of_their_own_all_run,
    ga_17_a_claim_whose_answer_was_lost_loses_nothing,
    ga_17_claims_that_are_abandoned_at_any_point_lose_nothing,
    ga_20_thousands_of_starts_by_many_callers_at_once_are_all_answered_and_start_each_task_once,
    ga_22_claiming_ones_own_zombie_again_and_again_leaks_no_slot,
);
alone_on!([memory, sqlite, postgres, mysql] ga_15_eight_nodes_run_each_task_once_and_log_no_warning);

/// Counts its runs.
#[derive(Clone, Default)]
struct Tick(watch::Sender<usize>);

impl Tick {
    fn count(&self) -> usize {
        *self.0.borrow()
    }

    async fn ticks(&self, count: usize) {
        let mut ticks = self.0.subscribe();
        ticks.wait_for(|ticks| *ticks >= count).await.unwrap();
    }
}

impl Handler for Tick {
    const KIND: &'static str = "tick";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, _: &mut Run<Self>) -> Result<(), TaskError> {
        self.0.send_modify(|ticks| *ticks += 1);
        Ok(())
    }
}

/// Starts `count` nodes at once.
async fn nodes(count: usize, builder: impl Fn() -> NodeBuilder) -> Vec<Node> {
    let mut starting: JoinSet<_> = (0..count).map(|_| builder().start()).collect();
    let mut nodes = Vec::new();
    while let Some(node) = starting.join_next().await {
        nodes.push(node.unwrap().unwrap());
    }
    nodes
}

async fn drain(nodes: Vec<Node>) {
    let draining: JoinSet<_> = nodes.into_iter().map(Node::drain).collect();
    for report in draining.join_all().await {
        assert_eq!(report.abandoned, 0);
    }
}

async fn ga_15_ninety_nine_of_a_hundred_claims_of_eight_nodes_are_useful(place: Place) {
    const TASKS: usize = 2_000;
    const NODES: usize = 8;
    const GRANT: usize = 5;
    let client = place.client().await;
    let drafts = (0..TASKS).map(|n| Puppet::task(n.to_string()));
    client.create_many(drafts).await.unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut claimers = JoinSet::new();
    for _ in 0..NODES {
        let ghost = Ghost::appear_with(place.peer().await).await;
        let lanes = ghost.lanes(Work::Run).await;
        let taken = taken.clone();
        claimers.spawn(async move {
            let (mut useful, mut useless) = (0, 0);
            // While there is enough for everybody.
            while taken.load(Ordering::SeqCst) + NODES * GRANT < TASKS {
                let claimed = ghost.claim_from(ghost.id, &lanes, GRANT).await.len();
                taken.fetch_add(claimed, Ordering::SeqCst);
                match claimed {
                    0 => useless += 1,
                    _ => useful += 1,
                }
            }
            (useful, useless)
        });
    }
    let claims = claimers.join_all().await;
    let useful: usize = claims.iter().map(|(useful, _)| useful).sum();
    let useless: usize = claims.iter().map(|(_, useless)| useless).sum();
    println!("{useful} useful claims, {useless} useless ones");
    assert!(useless * 100 <= useful + useless, "{useful} {useless}");
    let running = client.tasks().running().all().await.unwrap();
    assert_eq!(running.len(), taken.load(Ordering::SeqCst));
    assert!(running.iter().all(|task| task.task.attempt == 1));
}

async fn ga_15_eight_nodes_run_each_task_once_and_log_no_warning(place: Place) {
    const TASKS: usize = 400;
    let log = crate::kit::Log::listen();
    let tick = Tick::default();
    let nodes = nodes(8, || place.node().register(tick.clone())).await;
    let client = place.client().await;
    let drafts = (0..TASKS).map(|n| Tick::task(()).user(format!("user {}", n % 3)));
    client.create_many(drafts).await.unwrap();
    tick.ticks(TASKS).await;
    drain(nodes).await;
    let finished = client.tasks().state(State::Finished).all().await.unwrap();
    assert_eq!((finished.len(), tick.count()), (TASKS, TASKS));
    for level in [" WARN ", "ERROR "] {
        let said: Vec<_> = log.with(level);
        let said: Vec<_> = said.iter().filter(|l| l.contains("peerwork")).collect();
        assert!(said.is_empty(), "{said:#?}");
    }
}

/// A task from each lane in turn, the newest lane first.
struct NewestLaneFirst;

impl Policy for NewestLaneFirst {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let mut lanes: Vec<_> = lanes.iter().collect();
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.since));
        let tasks = free.div_ceil(lanes.len().max(1));
        let grant = |lane: &LaneView| Grant {
            lane: lane.lane,
            tasks,
        };
        lanes.into_iter().map(grant).collect()
    }
}

async fn ga_16_ten_thousand_concurrent_creates_from_four_nodes_with_a_queue_of_their_own_all_run(
    place: Place,
) {
    // The store in memory looks at all tasks at every turn.
    let tasks = if place.name() == "memory" {
        2_000
    } else {
        10_000
    };
    let tick = Tick::default();
    let node = || place.node().register(tick.clone()).policy(NewestLaneFirst);
    let nodes = nodes(4, || node().slots(64)).await;
    let mut creates = JoinSet::new();
    for n in 0..tasks {
        let client = nodes[n % nodes.len()].client();
        creates.spawn(async move {
            let draft = Tick::task(()).user(format!("user {}", n % 7));
            client.create(draft).await.map(|task| task.id())
        });
    }
    let mut ids: Vec<_> = creates.join_all().await;
    ids.sort_by_key(|id| *id.as_ref().unwrap());
    ids.dedup_by_key(|id| *id.as_ref().unwrap());
    assert_eq!(ids.len(), tasks);
    tick.ticks(tasks).await;
    drain(nodes).await;
    let client = place.client().await;
    let finished = client.tasks().state(State::Finished).all().await.unwrap();
    assert_eq!((finished.len(), tick.count()), (tasks, tasks));
}

async fn ga_17_a_claim_whose_answer_was_lost_loses_nothing(place: Place) {
    const TASKS: usize = 5;
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).slots(1);
    let node = node.start().await.unwrap();
    let client = node.client();
    client.create(Puppet::task("first".into())).await.unwrap();
    let first = stage.next().await;
    let drafts = (0..TASKS).map(|n| Puppet::task(n.to_string()));
    client.create_many(drafts).await.unwrap();
    // Its only slot is taken. This claim in its name has come back to nobody.
    let ghost = Ghost::appear(&place).await;
    let lost = ghost.claim_as(node.id(), Work::Run, TASKS).await;
    assert_eq!(lost.len(), TASKS);
    first.finish(0).await;
    for _ in 0..TASKS {
        let actor = stage.next().await;
        assert_eq!(actor.attempt, 2);
        actor.finish(0).await;
    }
    node.drain().await;
}

async fn ga_17_claims_that_are_abandoned_at_any_point_lose_nothing(place: Place) {
    const TASKS: usize = 60;
    let client = place.client().await;
    let drafts = (0..TASKS).map(|n| Puppet::task(n.to_string()));
    let tasks = client.create_many(drafts).await.unwrap();
    let ghost = Arc::new(Ghost::appear(&place).await);
    let lanes = ghost.lanes(Work::Run).await;
    for yields in 0..TASKS / 2 {
        let (ghost, lanes) = (ghost.clone(), lanes.clone());
        let claim = async move { ghost.claim_from(ghost.id, &lanes, 1).await };
        let claim = tokio::spawn(claim);
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        claim.abort();
        let _ = claim.await;
    }
    // What is still under way in the store comes to its end; then the process is gone.
    let records = client.tasks().all().await.unwrap();
    assert_eq!(records.len(), TASKS);
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).slots(TASKS);
    let node = node.start().await.unwrap();
    bury(&*place.store(), ghost.id).await;
    sweep(&*place.store()).await;
    for actor in stage.take(TASKS).await {
        actor.finish(0).await;
    }
    for task in tasks {
        task.result().await.unwrap();
    }
    node.drain().await;
}

/// Counts the starts of each task, by its number, and ends when all calls were answered.
struct Tally {
    starts: Arc<Vec<AtomicUsize>>,
    all: Tick,
    answered: watch::Receiver<bool>,
}

impl Handler for Tally {
    const KIND: &'static str = "tally";
    type Input = usize;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        self.starts[*run.input()].fetch_add(1, Ordering::SeqCst);
        self.all.0.send_modify(|starts| *starts += 1);
        self.answered.clone().wait_for(|answered| *answered).await?;
        Ok(())
    }
}

/// As the original does it: a task is created, and then started by a call of its own. Here two callers start each, while nodes claim what
/// others have started.
async fn ga_20_thousands_of_starts_by_many_callers_at_once_are_all_answered_and_start_each_task_once(
    place: Place,
) {
    const CALLERS_OF_EACH: usize = 2;
    const CALLERS: usize = 32;
    // The store in memory looks at all tasks at every turn.
    let tasks = if place.name() == "memory" { 500 } else { 2_000 };
    let starts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
    let (starts, all) = (Arc::new(starts), Tick::default());
    let (let_end, answered) = watch::channel(false);
    let tally = || Tally {
        starts: starts.clone(),
        all: all.clone(),
        answered: answered.clone(),
    };
    let nodes = nodes(4, || place.node().register(tally()).slots(tasks)).await;
    let client = place.client().await;
    // Every other one starts by its creation, among the starts of the others.
    let held = (0..tasks).step_by(2).map(|n| Tally::task(n).hold());
    let held = Arc::new(client.create_many(held).await.unwrap());
    assert_eq!(all.count(), 0);
    let mut calls = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, held) = (nodes[caller % nodes.len()].client(), held.clone());
        let turn = caller / CALLERS_OF_EACH;
        calls.spawn(async move {
            let mut answers = Vec::new();
            for n in (turn..tasks / 2).step_by(CALLERS / CALLERS_OF_EACH) {
                if caller % CALLERS_OF_EACH == 0 {
                    let created = client.create(Tally::task(2 * n + 1)).await;
                    answers.push(created.map(|_| ()));
                }
                let started = client.task(held[n].id()).run().await;
                answers.push(started.map(|_| ()));
            }
            answers
        });
    }
    let answers: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(answers.len(), tasks / 2 * (1 + CALLERS_OF_EACH));
    let refused: Vec<_> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert!(
        refused.is_empty(),
        "{} errors: {:?}",
        refused.len(),
        refused[0]
    );
    all.ticks(tasks).await;
    let_end.send(true).unwrap();
    drain(nodes).await;
    let counts = starts.iter().map(|starts| starts.load(Ordering::SeqCst));
    let wrong: Vec<_> = counts
        .enumerate()
        .filter(|(_, starts)| *starts != 1)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let finished = client.tasks().state(State::Finished).all().await.unwrap();
    assert_eq!(finished.len(), tasks);
    assert!(finished.iter().all(|task| task.task.attempt == 1));
}

/// Its first run does not yield before it is let go; nobody can drop such a future.
struct Stubborn {
    begun: Arc<Notify>,
    gate: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Handler for Stubborn {
    const KIND: &'static str = "stubborn";
    type Input = ();
    type Checkpoint = ();
    type Output = u32;

    async fn run(&self, run: &mut Run<Self>) -> Result<u32, TaskError> {
        if run.attempt() == 1 {
            let gate = self.gate.clone();
            self.begun.notify_one();
            tokio::task::block_in_place(move || gate.lock().unwrap().recv())?;
        }
        Ok(run.attempt())
    }
}

async fn ga_22_claiming_ones_own_zombie_again_and_again_leaks_no_slot(place: Place) {
    const SLOTS: usize = 3;
    let rounds = if place.name() == "memory" { 1_000 } else { 100 };
    let (let_go, gate) = mpsc::channel();
    let begun = Arc::new(Notify::new());
    let stubborn = Stubborn {
        begun: begun.clone(),
        gate: Arc::new(Mutex::new(gate)),
    };
    let stage = Stage::new();
    let node = place.node().register(stubborn).register(stage.puppet("a"));
    let node = node.slots(SLOTS).start().await.unwrap();
    let client = node.client();
    let zombie = client.create(Stubborn::task(())).await.unwrap();
    begun.notified().await;

    // Its node is declared dead, comes back under another id, and finds the task free. Its own old run still goes on.
    bury(&*place.store(), node.id()).await;
    sweep(&*place.store()).await;
    let mut claims = 1;
    while claims < rounds {
        client.wake_nodes();
        claims = zombie.get().await.unwrap().task.attempt;
    }
    // All slots but the zombie's are still there, and then that one too.
    let drafts = (0..SLOTS).map(|n| Puppet::task(n.to_string()));
    client.create_many(drafts).await.unwrap();
    let mut actors = stage.take(SLOTS - 1).await;
    let_go.send(()).unwrap();
    actors.push(stage.next().await);
    for actor in actors {
        actor.finish(0).await;
    }
    assert!(zombie.result().await.unwrap() > 1, "its last run counts");
    node.drain().await;
}
