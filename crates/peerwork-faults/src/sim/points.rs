//! Crash points, enumerated: one small scenario in which a node crashes at each of its store calls in turn, before and
//! after the call was carried out, and a second node takes over.

use super::database::Database;
use super::history::{History, Report};
use super::store::{Faults, FaultyStore};
use super::work::Count;
use super::world::LEASE;
use peerwork::{Client, Env, Handler, Machine, Node, TaskHandle, Timestamp};
use peerwork_store::{MemoryStore, Seen, Store};
use std::sync::Arc;
use std::time::Duration;

/// Where the first node crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// Its store calls before.
    pub call: u32,
    /// Whether the call is carried out.
    pub carried_out: bool,
}

/// Virtual time in which everything is over, however the first node ends.
const BOUND: Duration = Duration::from_secs(180);

/// Runs the scenario once for each point that it reaches; returns every point with what was found.
pub fn crash_points(seed: u64) -> Vec<(CrashPoint, Report)> {
    let mut all = Vec::new();
    for call in 0.. {
        for carried_out in [false, true] {
            let point = CrashPoint { call, carried_out };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime without input and output needs nothing of the machine");
            let (reached, report) = runtime.block_on(scenario(seed, point));
            if !reached {
                return all;
            }
            all.push((point, report));
        }
    }
    all
}

/// Whether the point was reached, and what was found.
async fn scenario(seed: u64, point: CrashPoint) -> (bool, Report) {
    let env = Env::simulated(seed);
    let clock = env.clone();
    let store = MemoryStore::with_clock(move || Timestamp(clock.now().0 as i64 + 1_000_000_000));
    store.start_audit();
    let history = History::new();
    let (first, faults) = node(&env, &store, &history).await;
    faults.crash_at(point.call, point.carried_out);
    let (_second, _) = node(&env, &store, &history).await;
    let plain = Faults::new(
        env.clone(),
        Machine::default(),
        Arc::new(Database::new(LEASE)),
    );
    let people: Arc<dyn Store> = FaultyStore::new(store.clone(), history.clone(), plain);
    let client = Client::connect_in(people, env.clone())
        .await
        .expect("nothing is broken for people");
    let mut tasks: Vec<TaskHandle<Count>> = Vec::new();
    for n in 0..6 {
        let draft = Count::task(2 + n).user("ann").group("one");
        let task = client.create(draft).await.expect("a create that passes");
        history.created(task.id());
        tasks.push(task);
    }
    pause(2_000).await;
    if tasks[4].pause().await.is_ok() {
        history.pause_acknowledged(tasks[4].id());
    }
    // Refused where a task is over already; that depends on the seed alone.
    let _ = tasks[5].move_to("two").await;
    if tasks[3].delete().await.is_ok() {
        history.delete_acknowledged(tasks[3].id());
    }
    pause(2_000).await;
    history.resume_asked(tasks[4].id());
    let _ = tasks[4].resume().await;
    pause(1_000).await;
    let drain = env
        .on(&faults.machine)
        .contain(async move { first.drain().await });
    let drain = tokio::spawn(drain);
    let until = tokio::time::Instant::now() + BOUND;
    let ids: Vec<_> = tasks.iter().map(TaskHandle::id).collect();
    loop {
        let records = store
            .get(ids.clone())
            .await
            .expect("the store in memory answers");
        let over = records
            .iter()
            .flatten()
            .all(|record| record.task.status.is_final());
        if over || tokio::time::Instant::now() > until {
            let left = records.into_iter().flatten().map(|record| {
                let (task, run, node) = (record.task, record.run, record.node);
                (record.id, Seen { task, run, node })
            });
            history.ended(left);
            break;
        }
        pause(500).await;
    }
    let reached = faults.machine.is_crashed();
    if !reached {
        drain.await.expect("a drain does not panic");
    }
    (faults.machine.is_crashed(), history.report())
}

async fn node(env: &Env, store: &MemoryStore, history: &History) -> (Node, Arc<Faults>) {
    let machine = Machine::default();
    let faults = Faults::new(env.clone(), machine.clone(), Arc::new(Database::new(LEASE)));
    let faulty: Arc<dyn Store> = FaultyStore::new(store.clone(), history.clone(), faults.clone());
    let count = Count {
        env: env.clone(),
        history: history.clone(),
        margin_ms: LEASE.margin_ms,
    };
    let node = Node::builder(faulty)
        .env(env.on(&machine))
        .lease(LEASE)
        .slots(3)
        .register(count)
        .start()
        .await
        .expect("a node starts while nothing is broken yet");
    (node, faults)
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
