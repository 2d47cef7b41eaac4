//! Eager starts: what an idle node's own client creates is claimed in the transaction that creates it, and nobody is passed over.

#[path = "kit/tap.rs"]
#[allow(dead_code)] // others need more of it
mod tap;

use peerwork::policy::{Fair, Grant, Lanes, Policy};
use peerwork::*;
use peerwork_core::Name;
use peerwork_store::{MemoryStore, NewTask, Options, Store};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Says which one it is, and runs until it is told to stop, or may end.
struct Hold {
    begun: mpsc::UnboundedSender<u32>,
    may_end: Arc<Semaphore>,
}

impl Handler for Hold {
    const KIND: &'static str = "hold";
    type Input = u32;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        let _ = self.begun.send(*run.input());
        tokio::select! {
            stop = run.stopping() => Err(stop)?,
            permit = self.may_end.acquire() => permit.expect("it is not closed").forget(),
        }
        Ok(())
    }
}

/// A node with four slots that has nothing to do.
struct Stage {
    tap: Arc<Tap>,
    env: Env,
    node: Node,
    begun: mpsc::UnboundedReceiver<u32>,
    may_end: Arc<Semaphore>,
}

impl Stage {
    async fn open() -> Self {
        Self::of(|node| node.slots(4)).await
    }

    async fn of(with: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let env = Env::simulated(1);
        let clock = env.clone();
        let store = MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000));
        let tap = Tap::on(Arc::new(store));
        let (sender, begun) = mpsc::unbounded_channel();
        let may_end = Arc::new(Semaphore::new(0));
        let hold = Hold {
            begun: sender,
            may_end: may_end.clone(),
        };
        let node = Node::builder(tap.database())
            .env(env.clone())
            .register(hold);
        let node = with(node).start().await.unwrap();
        let stage = Self {
            tap,
            env,
            node,
            begun,
            may_end,
        };
        stage.rests().await;
        stage
    }

    /// Time goes by in which the node does all that it has to do.
    async fn rests(&self) {
        tokio::time::sleep(Duration::from_secs(3)).await; // fault: virtual time
    }

    async fn create(&self, n: u32) -> TaskHandle<Hold> {
        self.node.client().create(Hold::task(n)).await.unwrap()
    }

    async fn create_many(&self, tasks: u32) {
        let drafts = (0..tasks).map(Hold::task);
        self.node.client().create_many(drafts).await.unwrap();
    }

    /// Creates a task of which nobody tells the node.
    async fn create_in_secret(&self, n: u32) {
        let task = NewTask {
            id: self.node.client().new_task_id(),
            kind: Name::new("kind", Hold::KIND).unwrap(),
            user: Name::default(),
            group: Name::default(),
            priority: 0,
            start: true,
            due: None,
            input: n.to_string().into_bytes(),
            options: Options::default(),
            parent: None,
        };
        self.tap.create(vec![task]).await.unwrap();
    }

    async fn begins(&mut self, n: u32) {
        assert_eq!(self.begun.recv().await, Some(n));
    }

    /// These begin, in any order.
    async fn begin(&mut self, all: impl IntoIterator<Item = u32>) {
        let all: BTreeSet<u32> = all.into_iter().collect();
        let mut begun = BTreeSet::new();
        while begun.len() < all.len() {
            begun.insert(self.begun.recv().await.unwrap());
        }
        assert_eq!(begun, all);
    }

    fn calls(&self, call: &str) -> usize {
        self.tap.calls().get(call).copied().unwrap_or_default()
    }

    /// How many tasks were created to be claimed at once, created in line, and claimed from there.
    fn counts(&self) -> (usize, usize, usize) {
        let claims = self.calls("claim") + self.calls("claim_within");
        (self.calls("create_and_claim"), self.calls("create"), claims)
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_node_starts_what_its_client_creates_in_one_transaction() {
    let mut stage = Stage::open().await;
    let task = stage.create(7).await;
    stage.begins(7).await;
    assert_eq!(stage.counts(), (1, 0, 0));
    let record = task.get().await.unwrap();
    assert_eq!((record.status(), record.task.attempt), (Status::Running, 1));
    assert_eq!(record.node, Some(stage.node.id()));
    assert_eq!(stage.node.holds(), [task.id()]);
    stage.may_end.add_permits(1);
    task.until_over().await.unwrap();
    stage.create_many(4).await;
    stage.begin(0..4).await;
    assert_eq!(stage.counts(), (2, 0, 0));
    let report = stage.node.drain().await;
    assert_eq!((report.handed_over, report.abandoned), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_the_free_slots_waits_in_line() {
    let mut stage = Stage::open().await;
    stage.create_many(5).await;
    assert_eq!(stage.counts().0, 0, "more than there are slots");
    stage.rests().await;
    stage.create(5).await;
    assert_eq!(stage.counts().0, 0, "there is no slot");
    stage.may_end.add_permits(2);
    stage.begin(0..6).await;
    stage.node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_behind_another_waits_for_its_turn() {
    let mut stage = Stage::of(|node| node.slots(1)).await;
    stage.create_in_secret(1).await;
    tokio::time::advance(Duration::from_millis(1)).await;
    let second = stage.create(2).await;
    assert_eq!(stage.counts().0, 1, "it does not know of the first one");
    stage.begins(1).await;
    assert_eq!(second.get().await.unwrap().status(), Status::Queued);
    stage.may_end.add_permits(1);
    stage.begins(2).await;
    stage.node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_under_a_limit_is_counted_before_it_starts() {
    let mut stage = Stage::open().await;
    let client = stage.node.client();
    client.kind(Hold::KIND).limit(1).await.unwrap();
    stage.rests().await;
    stage.create(1).await;
    stage.create(2).await;
    stage.begins(1).await;
    assert_eq!(stage.counts().0, 0);
    stage.rests().await;
    assert!(stage.begun.try_recv().is_err(), "one at a time");
    stage.node.drain().await;
}

/// Wants what has been in line for ten seconds.
struct Patient;

impl Policy for Patient {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let has_waited = |lane: &&LaneView| lane.since.plus_ms(10_000) <= lanes.now();
        let first = lanes.iter().find(has_waited);
        let grant = first.map(|lane| Grant {
            lane: lane.lane,
            tasks: free,
        });
        grant.into_iter().collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_policy_does_not_grant_waits_in_line() {
    let mut stage = Stage::of(|node| node.slots(4).policy(Patient)).await;
    let task = stage.create(1).await;
    stage.rests().await;
    assert_eq!(stage.counts(), (0, 1, 0));
    assert_eq!(task.get().await.unwrap().status(), Status::Queued);
    tokio::time::sleep(Duration::from_secs(8)).await; // fault: virtual time
    stage.create(2).await;
    stage.begin([1, 2]).await;
    assert_eq!(stage.counts().0, 0);
    stage.node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_needs_to_know_what_runs_is_asked_where_that_is_known() {
    let mut stage = Stage::of(|node| node.slots(4).policy(Fair)).await;
    stage.create(1).await;
    stage.begins(1).await;
    assert_eq!(stage.counts(), (1, 0, 0), "it is the only node");
    let (begun, may_end) = (mpsc::unbounded_channel().0, stage.may_end.clone());
    let hold = Hold { begun, may_end };
    let other = Node::builder(stage.tap.database()).register(hold);
    let other = other.env(stage.env.clone()).start().await.unwrap();
    stage.rests().await;
    stage.create(2).await;
    assert_eq!(
        stage.counts().0,
        1,
        "nobody has asked what runs on the other"
    );
    other.drain().await;
    stage.node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_is_about_to_start_and_hands_it_over() {
    let stage = Stage::open().await;
    let answer = stage.tap.hold_back("create_and_claim");
    let client = stage.node.client();
    let create = tokio::spawn(async move { client.create(Hold::task(1)).await });
    let go_on = answer.arrived().await;
    let node = stage.node;
    let drain = tokio::spawn(async move { node.drain().await });
    tokio::task::yield_now().await;
    go_on.send(()).unwrap();
    let task = create.await.unwrap().unwrap();
    let report = drain.await.unwrap();
    assert_eq!((report.handed_over, report.abandoned), (1, 0));
    let record = task.get().await.unwrap();
    assert_eq!((record.node, record.task.failures), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_leaves_a_task_that_starts() {
    let mut stage = Stage::open().await;
    let answer = stage.tap.hold_back("create_and_claim");
    let client = stage.node.client();
    let create = tokio::spawn(async move { client.create_many([Hold::task(1)]).await });
    let go_on = answer.arrived().await;
    create.abort();
    assert!(create.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    stage.begins(1).await;
    let report = stage.node.drain().await;
    assert_eq!((report.handed_over, report.abandoned), (1, 0));
}

/// A thread of its own, with a runtime that ends at once: the handler must not end with it.
#[tokio::test(start_paused = true)]
async fn what_another_runtime_creates_runs_on_that_of_the_node() {
    let mut stage = Stage::open().await;
    let (client, (created, is_created)) = (stage.node.client(), oneshot::channel());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let task = runtime.block_on(client.create_many([Hold::task(1)]));
        drop(runtime);
        let _ = created.send(task.unwrap().remove(0));
    });
    let task = is_created.await.unwrap();
    assert_eq!(stage.counts(), (1, 0, 0));
    stage.begins(1).await;
    stage.may_end.add_permits(1);
    let task = stage.node.client().task(task.id());
    let over = tokio::time::timeout(Duration::from_secs(60), task.until_over());
    over.await
        .expect("its handler has ended with a runtime")
        .unwrap();
    stage.node.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_loses_no_task_and_no_slot() {
    let mut stage = Stage::open().await;
    stage.tap.lose("create_and_claim");
    let error = stage.node.client().create(Hold::task(1)).await;
    assert!(error.unwrap_err().is_ambiguous());
    stage.begins(1).await;
    stage.tap.fail("create_and_claim");
    stage.rests().await;
    let error = stage.node.client().create(Hold::task(2)).await;
    assert!(error.unwrap_err().is_transient());
    stage.rests().await;
    stage.create_many(3).await;
    stage.begin(0..3).await;
    assert_eq!(stage.node.holds().len(), 4);
    stage.node.drain().await;
}
