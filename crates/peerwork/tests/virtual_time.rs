//! Leases, rescue, hand-over and room under limits in virtual time, where their bounds are exact: a cluster on one clock and one seed.

#[path = "kit/tap.rs"]
#[allow(dead_code)] // others need more of it
mod tap;

use peerwork::*;
use peerwork_store::{Hints, MemoryStore, Store};
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Saves a number, says that it runs, and waits to be told to stop.
struct Hold {
    /// A permit for each run that has begun.
    running: Arc<Semaphore>,
}

impl Handler for Hold {
    const KIND: &'static str = "hold";
    type Input = ();
    type Checkpoint = u32;
    type Output = u32;

    async fn run(&self, run: &mut Run<Self>) -> Result<u32, TaskError> {
        let at = run.checkpoint().unwrap_or(0) + 1;
        run.save(&at).await?;
        self.running.add_permits(1);
        Err(run.stopping().await)?
    }
}

struct Cluster {
    env: Env,
    store: MemoryStore,
    lease: LeaseTimes,
    /// A permit for each run that has begun.
    running: Arc<Semaphore>,
}

const LEASE: LeaseTimes = LeaseTimes {
    beat_ms: 3_000,
    ttl_ms: 15_000,
    margin_ms: 2_000,
};

/// Its beats are much closer than the periodic looks of an idle node.
const TIGHT: LeaseTimes = LeaseTimes {
    beat_ms: 300,
    ttl_ms: LeaseTimes::TTL_MS_MIN,
    margin_ms: 500,
};

impl Cluster {
    fn new(seed: u64) -> Self {
        Self::with_lease(seed, LEASE)
    }

    fn with_lease(seed: u64, lease: LeaseTimes) -> Self {
        let env = Env::simulated(seed);
        let clock = env.clone();
        let store = MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000));
        Self {
            env,
            store,
            lease,
            running: Arc::new(Semaphore::new(0)),
        }
    }

    /// Waits until so many more runs have begun.
    async fn begun(&self, runs: u32) {
        self.running.acquire_many(runs).await.unwrap().forget();
    }

    fn builder(&self, label: &str) -> NodeBuilder {
        self.builder_on(self.store.clone(), label)
    }

    fn builder_on(&self, database: impl Into<Database>, label: &str) -> NodeBuilder {
        let hold = Hold {
            running: self.running.clone(),
        };
        Node::builder(database)
            .env(self.env.clone())
            .register(hold)
            .label(label)
            .lease(self.lease)
            .slots(4)
    }

    async fn client(&self) -> Client {
        let client = Client::connect_in(self.store.clone(), self.env.clone());
        client.await.unwrap()
    }

    async fn node(&self, label: &str) -> Node {
        self.builder(label).start().await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn ga_12_a_killed_nodes_task_goes_on_elsewhere_within_ttl_and_a_beat_and_a_second() {
    rescue_in_time(Cluster::new(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_claimer_panics_leaves_its_tasks_to_its_peers() {
    let cluster = Cluster::new(1);
    let tap = Tap::on(Arc::new(cluster.store.clone()));
    let first = cluster.builder_on(tap.database(), "first");
    let first = first.start().await.unwrap();
    let client = cluster.client().await;
    client.create(Hold::task(())).await.unwrap();
    cluster.begun(1).await;
    tap.panic("claim");
    let claim = tap.hold_off("claim");
    client.create(Hold::task(())).await.unwrap();
    drop(claim.arrived().await);
    let second = cluster.node("second").await;
    let bound = Duration::from_millis(LEASE.ttl_ms + LEASE.beat_ms + 1_000);
    let begun = tokio::time::timeout(bound, cluster.begun(2)).await;
    assert!(begun.is_ok(), "it goes on half alive");
    assert_eq!(second.holds().len(), 2);
    let report = first.drain().await;
    assert!(report.took < Duration::from_secs(1), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_a_rescue_holds_for_the_tightest_lease() {
    rescue_in_time(Cluster::with_lease(1, TIGHT)).await;
}

async fn rescue_in_time(cluster: Cluster) {
    let lease = cluster.lease;
    let first = cluster.node("first").await;
    let task = first.client().create(Hold::task(())).await.unwrap();
    cluster.begun(1).await;
    let second = cluster.node("second").await;
    // It has to have been up at the time of the crash; and the crash comes at any point of a beat.
    tokio::time::advance(Duration::from_millis(4_321)).await;
    let killed = Instant::now();
    drop(first);
    let bound = Duration::from_millis(lease.ttl_ms + lease.beat_ms + 1_000);
    let begun = tokio::time::timeout(bound, cluster.begun(1)).await;
    let took = killed.elapsed();
    assert!(begun.is_ok(), "not rescued after {took:?}");
    assert!(
        took >= Duration::from_millis(lease.ttl_ms - lease.beat_ms),
        "rescued before its lease was over: {took:?}"
    );
    let task = second.client().task(task.id());
    assert_eq!(
        task.checkpoint::<u32>().await.unwrap(),
        Some(2),
        "it went on from its checkpoint"
    );
    assert_eq!(task.get().await.unwrap().task.attempt, 2);
    second.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_drained_nodes_tasks_go_on_elsewhere_within_a_second_at_no_charge() {
    let cluster = Cluster::new(2);
    let first = cluster.node("first").await;
    let client = first.client();
    for _ in 0..4 {
        client.create(Hold::task(())).await.unwrap();
    }
    cluster.begun(4).await;
    let second = cluster.node("second").await;
    let told = Instant::now();
    let report = first.drain().await;
    assert_eq!((report.handed_over, report.abandoned), (4, 0));
    cluster.begun(4).await;
    assert!(
        told.elapsed() <= Duration::from_secs(1),
        "{:?}",
        told.elapsed()
    );
    for record in second.client().tasks().all().await.unwrap() {
        assert_eq!(
            (
                record.task.failures,
                record.task.crashes,
                record.task.attempt
            ),
            (0, 0, 2)
        );
    }
    second.drain().await;
}

/// Saves after every ten milliseconds of its work.
struct Steps {
    running: Arc<Semaphore>,
}

const STEP: Duration = Duration::from_millis(10);

impl Handler for Steps {
    const KIND: &'static str = "steps";
    type Input = ();
    type Checkpoint = u32;
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        self.running.add_permits(1);
        for at in 0.. {
            tokio::time::sleep(STEP).await; // fault: the work that it does, in virtual time
            run.save(&at).await?;
        }
        Ok(())
    }
}

/// From the acknowledgement of a pause until the task is paused, asked for by another process at any point of a second.
async fn longest_pause<H: Handler<Input = ()>>(cluster: Cluster, hints: bool) -> Duration {
    let steps = Steps {
        running: cluster.running.clone(),
    };
    let node = cluster.builder("first").register(steps).start();
    let node = node.await.unwrap();
    let store: Arc<dyn Store> = Arc::new(cluster.store.clone());
    let client = Client::connect_in(store.clone(), cluster.env.clone());
    let client = client.await.unwrap();
    let mut longest = Duration::ZERO;
    for n in 0..40 {
        let task = client.create(H::task(())).await.unwrap();
        cluster.begun(1).await;
        // No fraction of a look or a step.
        tokio::time::advance(Duration::from_micros(1_000 + n * 26_713)).await;
        if hints {
            task.pause().await.unwrap();
        } else {
            // Whoever did this has died before he told anybody.
            let all = peerwork_store::Filter::scope(None);
            let wish = peerwork_store::Wish::Pause;
            store.steer(vec![task.id()], all, wish).await.unwrap();
        }
        let asked = Instant::now();
        let is_paused = async || task.get().await.unwrap().status() == Status::Paused;
        while !is_paused().await {
            tokio::time::sleep(Duration::from_millis(1)).await; // fault: virtual time, until it is paused
        }
        longest = longest.max(asked.elapsed());
    }
    node.drain().await;
    longest
}

#[tokio::test(start_paused = true)]
async fn a_pause_takes_a_handler_that_saves_until_its_next_save() {
    for hints in [true, false] {
        let longest = longest_pause::<Steps>(Cluster::new(7), hints).await;
        assert!(longest <= 2 * STEP, "{longest:?}, hints: {hints}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_takes_a_handler_that_listens_one_wake_up_and_a_second_where_that_is_lost() {
    // A process sends at most twenty hints a second.
    let wake_up = Duration::from_millis(50 + 10);
    let look = Duration::from_millis(1_000 + 10);
    for (hints, bound) in [(true, wake_up), (false, look)] {
        let longest = longest_pause::<Hold>(Cluster::new(8), hints).await;
        assert!(longest <= bound, "{longest:?} of {bound:?}");
        // Where there is nothing to hear it, the look does it, and not much earlier.
        assert_eq!(longest > wake_up, !hints, "{longest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lives_keeps_its_tasks() {
    let cluster = Cluster::new(3);
    let first = cluster.node("first").await;
    let task = first.client().create(Hold::task(())).await.unwrap();
    cluster.begun(1).await;
    let second = cluster.node("second").await;
    let mut watch = task.watch();
    watch.next().await.unwrap();
    tokio::select! {
        changed = watch.next() => panic!("{changed:?}"),
        () = tokio::time::sleep(Duration::from_secs(1_800)) => {} // fault: virtual time
    }
    assert_eq!(task.get().await.unwrap().task.attempt, 1);
    first.drain().await;
    second.drain().await;
}

/// Its lanes show work that it may not claim: it must not ask for it without end, and so never hear that it is dead.
#[tokio::test(start_paused = true)]
async fn a_node_that_was_declared_dead_does_not_claim_in_circles() {
    let cluster = Cluster::new(5);
    let node = cluster.node("a").await;
    let me = node.id();
    assert!(cluster.store.declare_dead(me, 0).await.unwrap());
    let task = node.client().create(Hold::task(())).await.unwrap();
    cluster.begun(1).await;
    assert_ne!(node.id(), me, "it has started anew");
    assert_eq!(task.get().await.unwrap().node, Some(node.id()));
    node.drain().await;
}

/// Whether others are told within half a second that something may be claimed.
async fn told_of_room(hints: &mut Hints) -> bool {
    let until = Instant::now() + Duration::from_millis(500);
    while let Ok(hint) = tokio::time::timeout_at(until, hints.next()).await {
        if hint.is_some_and(|hint| hint.ready) {
            return true;
        }
    }
    false
}

/// Two nodes, of which the first, with so many slots, runs what may run of a limited group; a task of it waits. Then that run is over.
/// Whether the others are told of the room.
async fn is_told_of_room(slots: usize) -> bool {
    let cluster = Cluster::new(1);
    let may_end = Arc::new(Semaphore::new(0));
    let limited = |builder: NodeBuilder| {
        let (running, may_end) = (cluster.running.clone(), may_end.clone());
        builder.handle("limited", move |(): ()| {
            let (running, may_end) = (running.clone(), may_end.clone());
            async move {
                running.add_permits(1);
                may_end.acquire().await.expect("it is not closed").forget();
                Ok::<(), TaskError>(())
            }
        })
    };
    let busy = |(): ()| std::future::pending::<Result<(), TaskError>>();
    let first = cluster.builder("first").slots(slots).handle("busy", busy);
    let _first = limited(first).start().await.unwrap();
    let client = cluster.client().await;
    client.group("maths").limit(1).await.unwrap();
    let task = || Draft::of_kind("limited", &()).group("maths");
    client.create(task()).await.unwrap();
    cluster.begun(1).await;
    let _second = limited(cluster.builder("second")).start().await.unwrap();
    client.create(task()).await.unwrap();
    // It goes first once the first node has a slot; the second one has nobody to run it.
    let goes_first = Draft::of_kind("busy", &()).priority(-9);
    client.create(goes_first).await.unwrap();
    let mut hints = cluster.store.listen().await.unwrap().unwrap();
    // Until all that is to be told of this has been told.
    while told_of_room(&mut hints).await {}
    may_end.add_permits(1);
    let ended = Instant::now();
    let is_told = told_of_room(&mut hints).await;
    cluster.begun(1).await;
    assert!(ended.elapsed() < Duration::from_secs(1), "the room is used");
    is_told
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_slots_are_all_taken_tells_others_of_room_under_a_limit() {
    assert!(is_told_of_room(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_uses_the_room_under_a_limit_itself_tells_nobody() {
    assert!(!is_told_of_room(3).await);
}

#[tokio::test(start_paused = true)]
async fn a_lane_under_whose_limit_others_are_claiming_is_claimed_again_at_once() {
    let cluster = Cluster::new(1);
    let tap = Tap::on(Arc::new(cluster.store.clone()));
    let node = cluster.builder_on(tap.database(), "node");
    let node = node.start().await.unwrap();
    let client = cluster.client().await;
    client.group("maths").limit(1).await.unwrap();
    tap.others_claim(3);
    client.create(Hold::task(()).group("maths")).await.unwrap();
    let created = Instant::now();
    cluster.begun(1).await;
    assert_eq!(created.elapsed(), Duration::ZERO);
    assert_eq!(tap.calls()["claim_within"], 4);
    drop(node);
}
