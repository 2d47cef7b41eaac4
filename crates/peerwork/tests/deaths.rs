//! Whom deaths are blamed on, what a silent handler comes to, and what lost history does to a node.

use peerwork::*;
use peerwork_core::{Place, blame};
use peerwork_store::{MemoryStore, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

const LEASE: LeaseTimes = LeaseTimes {
    beat_ms: 1_000,
    ttl_ms: 5_000,
    margin_ms: 1_000,
};

fn simulated(seed: u64) -> (Env, MemoryStore) {
    let env = Env::simulated(seed);
    let clock = env.clone();
    let store = MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000));
    (env, store)
}

/// Runs for a minute without ever saving; the poisonous one kills its node when it has run for a while.
struct Heavy {
    poison: Arc<Notify>,
    kills_after: Duration,
    now: Arc<Mutex<BTreeMap<u32, u32>>>,
}

impl Handler for Heavy {
    const KIND: &'static str = "heavy";
    type Input = u32;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        *self.now.lock().unwrap().entry(*run.input()).or_default() += 1;
        if *run.input() == 0 {
            tokio::time::sleep(self.kills_after).await; // fault: until it kills, in virtual time
            self.poison.notify_one();
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await; // fault: the work that it does, in virtual time
        Ok(())
    }
}

/// Sixteen tasks run side by side, none ever saves, and one of them kills whatever node runs it.
#[tokio::test(start_paused = true)]
async fn ga_29_a_task_that_kills_its_process_is_stopped_and_those_beside_it_are_not() {
    for seed in 1..=6 {
        for kills_after_s in [0, 7, 15, 59] {
            one_kills_among_sixteen(seed, Duration::from_secs(kills_after_s)).await;
        }
    }
}

async fn one_kills_among_sixteen(seed: u64, kills_after: Duration) {
    let (env, store) = simulated(seed);
    let (poison, now) = (Arc::new(Notify::new()), Arc::default());
    let start = || {
        let heavy = Heavy {
            poison: poison.clone(),
            kills_after,
            now: Arc::clone(&now),
        };
        Node::builder(store.clone())
            .env(env.clone())
            .lease(LEASE)
            .slots(16)
            .register(heavy)
            .start()
    };
    let mut node = start().await.unwrap();
    let peer = Client::connect_in(Arc::new(store.clone()) as Arc<dyn Store>, env.clone());
    let client = peer.await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..16 {
        tasks.push(client.create(Heavy::task(n)).await.unwrap());
    }
    let mut deaths = 0;
    loop {
        tokio::select! {
            over = tasks[0].until_over() => {
                assert_eq!(over.unwrap().state(), State::Failed);
                break;
            }
            () = poison.notified() => {
                deaths += 1;
                drop(node);
                node = start().await.unwrap();
            }
        }
    }
    assert_eq!(deaths, Rules::default().crash_limit);
    for task in &tasks[1..] {
        let record = task.until_over().await.unwrap();
        assert_eq!(record.state(), State::Finished, "{record:?}");
        assert!(record.task.crashes < Rules::default().crash_limit);
    }
    assert_eq!(now.lock().unwrap()[&0], deaths);
    node.drain().await;
}

/// Two deaths make all of them suspects: the trials come one after the other, and each lasts ten seconds.
#[tokio::test(start_paused = true)]
async fn suspects_are_tried_one_at_a_time() {
    let (env, store) = simulated(2);
    let running = Arc::new(Semaphore::new(0));
    struct Long(Arc<Semaphore>);
    impl Handler for Long {
        const KIND: &'static str = "long";
        type Input = ();
        type Checkpoint = ();
        type Output = ();
        async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
            self.0.add_permits(1);
            Err(run.stopping().await)?
        }
    }
    let start = || {
        Node::builder(store.clone())
            .env(env.clone())
            .lease(LEASE)
            .register(Long(running.clone()))
            .start()
    };
    let began = async |runs| running.acquire_many(runs).await.unwrap().forget();
    let node = start().await.unwrap();
    for _ in 0..3 {
        node.client().create(Long::task(())).await.unwrap();
    }
    began(3).await;
    drop(node);
    let node = start().await.unwrap();
    began(3).await;
    drop(node);
    let node = start().await.unwrap();
    began(1).await;
    for _ in 0..2 {
        let since = Instant::now();
        began(1).await;
        let waited = since.elapsed();
        let trial = Duration::from_millis(blame::TRIAL_MS);
        let slack = Duration::from_secs(1);
        assert!(
            waited + slack >= trial && waited <= trial + slack,
            "{waited:?}"
        );
    }
    let report = node.drain().await;
    assert_eq!((report.handed_over, report.abandoned), (3, 0));
}

/// Neither saves nor says how far it is; heeds the stop, or not.
struct Silent {
    heeds: bool,
    told: Arc<Mutex<Vec<Reason>>>,
}

impl Handler for Silent {
    const KIND: &'static str = "silent";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        for done in 0..5 {
            run.progress(done, 5);
            tokio::time::sleep(Duration::from_secs(8)).await; // fault: the work that it does, in virtual time
        }
        let stop = run.stopping().await;
        self.told.lock().unwrap().push(stop.reason);
        if self.heeds {
            Err(stop)?
        }
        std::future::pending().await
    }

    fn rules(&self) -> Rules {
        Rules {
            progress_timeout_ms: Some(10_000),
            pause_deadline_ms: 5_000,
            retry: Retry::NEVER,
            ..Rules::default()
        }
    }
}

/// Found after its time, told why, dropped if it does not listen; the attempt fails with that reason.
#[tokio::test(start_paused = true)]
async fn ga_30_a_handler_without_progress_is_found() {
    for heeds in [true, false] {
        let (env, store) = simulated(3);
        let told = Arc::default();
        let silent = Silent {
            heeds,
            told: Arc::clone(&told),
        };
        let builder = Node::builder(store).env(env).lease(LEASE).register(silent);
        let node = builder.start().await.unwrap();
        let task = node.client().create(Silent::task(())).await.unwrap();
        let since = Instant::now();
        let record = task.until_over().await.unwrap();
        let took = since.elapsed().as_secs();
        assert_eq!(record.state(), State::Failed);
        assert_eq!(
            record.error.as_deref(),
            Some("no checkpoint and no progress for 10000 ms")
        );
        assert_eq!(told.lock().unwrap().as_slice(), [Reason::Timeout]);
        // It reported every 8 s, the last time at 32 s; it is asked at the latest two timeouts after that.
        let deadline = if heeds { 0 } else { 5 };
        assert!((42 + deadline..=53 + deadline).contains(&took), "{took} s");
        assert_eq!(node.drain().await.abandoned, 0);
    }
}

/// Holds on until it is told to stop.
struct Hold(Arc<Semaphore>);

impl Handler for Hold {
    const KIND: &'static str = "hold";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        self.0.add_permits(1);
        Err(run.stopping().await)?
    }
}

/// A node's newest beats are gone with a failover, and its run is still its own: it runs on.
#[tokio::test(start_paused = true)]
async fn lost_beats_cost_no_run_that_is_still_held() {
    let (env, store) = simulated(4);
    let running = Arc::new(Semaphore::new(0));
    let builder = Node::builder(store.clone()).env(env).lease(LEASE);
    let node = builder.register(Hold(running.clone())).start();
    let node = node.await.unwrap();
    let me = node.id();
    let task = node.client().create(Hold::task(())).await.unwrap();
    running.acquire().await.unwrap().forget();
    let (before, then) = (task.get().await.unwrap(), store.snapshot());
    tokio::time::sleep(Duration::from_millis(3_500)).await; // fault: three beats are acknowledged, then the database forgets them
    store.restore(&then);
    tokio::time::sleep(Duration::from_millis(2_500)).await; // fault: two more beats, in virtual time
    assert_eq!(node.id(), me, "it is the same node");
    let after = task.get().await.unwrap();
    assert_eq!((after.run, after.status()), (before.run, Status::Running));
    assert!(store.nodes().await.unwrap().iter().any(|row| row.seq > 4));
    node.drain().await;
}

/// The database forgets a claim with the beats: the run that it has lost is stopped, and the task runs again.
#[tokio::test(start_paused = true)]
async fn a_lost_claim_is_found_when_beats_are_missed() {
    let (env, store) = simulated(5);
    let running = Arc::new(Semaphore::new(0));
    let builder = Node::builder(store.clone()).env(env).lease(LEASE);
    let node = builder.register(Hold(running.clone())).start();
    let node = node.await.unwrap();
    let draft = Hold::task(()).hold();
    let task = node.client().create(draft).await.unwrap();
    let then = store.snapshot();
    task.run().await.unwrap();
    running.acquire().await.unwrap().forget();
    let run = task.get().await.unwrap().run;
    tokio::time::sleep(Duration::from_millis(3_500)).await; // fault: three beats are acknowledged, in virtual time
    store.restore(&then);
    task.run().await.unwrap();
    running.acquire().await.unwrap().forget();
    let again = task.get().await.unwrap();
    assert_ne!(again.run, run, "it was claimed anew");
    assert_eq!(again.status().place(), Place::Running);
    node.drain().await;
}
