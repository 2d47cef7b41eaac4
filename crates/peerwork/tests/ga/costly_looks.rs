//! While a look at all lanes is costly, a node claims without it: in virtual time, where a look takes as long as a test says.

use crate::kit::{Puppet, STEADY, Stage, Tap};
use peerwork::*;
use peerwork_store::{MemoryStore, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// What a look takes. The next one comes ten times as long after it.
const LOOK: Duration = Duration::from_millis(300);
/// Until everything was seen by a look, from any moment on: one under way that is too early, the pause, and the look. What no
/// hint tells of is noticed by the periodic look of the node, a second later.
const BOUND: Duration = Duration::from_millis(2 * 300 + 3_000 + 1_000);

/// One node on a store with costly looks, and a client of another process.
struct Scene {
    tap: Arc<Tap>,
    node: Node,
    /// Of the node's process.
    here: Client,
    elsewhere: Client,
    stage: Stage,
}

impl Scene {
    async fn open(builder: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let env = Env::simulated(1);
        let clock = env.clone();
        let store = MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000));
        let store: Arc<dyn Store> = Arc::new(store);
        let tap = Tap::on(store.clone());
        tap.slow_down_answers("lanes", LOOK);
        let stage = Stage::new();
        let node = Node::builder(tap.database())
            .env(env.clone())
            .lease(STEADY)
            .register(stage.puppet("node"));
        let node = builder(node).start().await.unwrap();
        let elsewhere = Client::connect_in(Database::from(store), env).await;
        let scene = Self {
            here: node.client().clone(),
            elsewhere: elsewhere.unwrap(),
            tap,
            node,
            stage,
        };
        // The first look is waited for; only then it is known to be costly.
        scene
            .here
            .create(Puppet::task("first".into()))
            .await
            .unwrap();
        assert_eq!(scene.next().await.0, "first");
        scene
    }

    /// Waits for the next run, and lets it finish; how long it took to come.
    async fn next(&self) -> (String, Duration) {
        let began = Instant::now();
        let actor = timeout(BOUND, self.stage.next()).await;
        let actor = actor.unwrap_or_else(|_| panic!("nobody comes within {BOUND:?}"));
        let input = actor.input.clone();
        actor.finish(0).await;
        (input, began.elapsed())
    }
}

#[tokio::test(start_paused = true)]
async fn what_this_process_creates_waits_for_no_costly_look() {
    let scene = Scene::open(|node| node).await;
    for n in 0..30 {
        let draft = Puppet::task(n.to_string()).user(format!("user {}", n % 3));
        scene.here.create(draft).await.unwrap();
        let (input, took) = scene.next().await;
        assert_eq!(input, n.to_string());
        assert!(took < Duration::from_millis(20), "{n} came after {took:?}");
    }
    scene.node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_others_create_is_claimed_in_bounded_time_while_looks_are_costly() {
    let scene = Scene::open(|node| node).await;
    for n in 0..10i16 {
        // Known lanes and new ones, more and less urgent than all before; with a hint, and every other time without one.
        let draft = Puppet::task(n.to_string())
            .user(format!("user {}", n / 2))
            .priority(if n % 3 == 0 { -n } else { n });
        scene.elsewhere.create(draft).await.unwrap();
        if n % 2 == 0 {
            scene.here.wake_nodes();
        }
        assert_eq!(scene.next().await.0, n.to_string());
    }
    scene.node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_arrives_below_the_bound_is_claimed_in_bounded_time_while_looks_are_costly() {
    let scene = Scene::open(|node| node).await;
    // Its time is when it was due; it is promoted after others were claimed whose time is later.
    let promotion = scene.tap.hold_off("promote");
    let late = Puppet::task("late".into()).start_in(Duration::from_millis(100));
    scene.elsewhere.create(late).await.unwrap();
    let go_on = promotion.arrived().await;
    for n in 0..5 {
        tokio::time::advance(Duration::from_secs(1)).await;
        let draft = Puppet::task(n.to_string());
        scene.here.create(draft).await.unwrap();
        assert_eq!(scene.next().await.0, n.to_string());
    }
    go_on.send(()).unwrap();
    assert_eq!(scene.next().await.0, "late");
    scene.node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn in_a_known_lane_a_hint_is_enough_while_looks_are_costly() {
    let scene = Scene::open(|node| node).await;
    scene.here.create(Puppet::task("0".into())).await.unwrap();
    scene.next().await;
    scene.here.wake_nodes();
    scene.tap.after("lanes", 1).await;
    for n in 1..5 {
        let draft = Puppet::task(n.to_string());
        scene.elsewhere.create(draft).await.unwrap();
        scene.here.wake_nodes();
        let (_, took) = scene.next().await;
        assert!(took < Duration::from_millis(20), "{n} came after {took:?}");
    }
    scene.node.drain().await;
}

/// Says that it ran.
struct Steady {
    runs: Arc<Semaphore>,
}

impl Handler for Steady {
    const KIND: &'static str = "steady";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, _: &mut Run<Self>) -> Result<(), TaskError> {
        self.runs.add_permits(1);
        Ok(())
    }
}

/// Never wants all that the node could take.
struct Modest;

impl Policy for Modest {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        Fifo.grant(lanes, free.min(10))
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_beside_is_heeded_by_a_node_that_never_rests() {
    const TASKS: usize = 10_000;
    let runs = Arc::new(Semaphore::new(0));
    let steady = Steady { runs: runs.clone() };
    let scene = Scene::open(|node| node.register(steady).slots(100).policy(Modest)).await;
    // Whenever a claim is answered, there is a credit, and more to claim.
    let claim = Duration::from_millis(20);
    scene.tap.slow_down_answers("claim", claim);
    let drafts = (0..TASKS).map(|_| Steady::task(()));
    scene.here.create_many(drafts).await.unwrap();
    runs.acquire_many(100).await.unwrap().forget();
    let urgent = Puppet::task("urgent".into()).priority(-5).user("other");
    scene.elsewhere.create(urgent).await.unwrap();
    assert_eq!(scene.next().await.0, "urgent");
    assert!(runs.available_permits() < TASKS / 2, "it has never rested");
    scene.node.drain().await;
}
