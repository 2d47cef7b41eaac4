//! `starts`: tasks that 64 callers start at the same time, one after the other each, on nodes that run them meanwhile: from the first call
//! to the last task's first line. Every call is answered without an error, and every task starts once.

use crate::figures::{Figure, Percentiles};
use crate::handlers::Countdown;
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use crate::yardstick::Commits;
use anyhow::ensure;
use peerwork::{Client, Handler, Node, Run, TaskError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CALLERS: usize = 64;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let place = Place::new(target).await?;
        let yardstick = Commits::Inserts.rate(&place, options.tasks()).await?;
        rounds.push(round(&place, options, yardstick).await?);
        place.remove().await?;
    }
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "tasks={} callers={CALLERS} nodes={} slots={}",
            options.tasks(),
            options.nodes(),
            options.slots()
        ),
        yardstick: Commits::Inserts.name(),
        rounds,
    }])
}

async fn round(place: &Place, options: &Options, yardstick: Figure) -> anyhow::Result<Round> {
    let tasks = options.tasks();
    let starts = Arc::new(Starts {
        began: Instant::now(),
        asked_us: (0..tasks).map(|_| AtomicU64::new(0)).collect(),
        started_us: (0..tasks).map(|_| AtomicU64::new(0)).collect(),
        again: AtomicUsize::new(0),
        all: Countdown::from(tasks),
    });
    let mut nodes = Vec::new();
    for _ in 0..options.nodes() {
        let node = Node::builder(&place.database)
            .register(Startled(starts.clone()))
            .slots(options.slots());
        nodes.push(node.start().await?);
    }
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let client = nodes[caller % nodes.len()].client();
            tokio::spawn(call(client, starts.clone(), caller))
        })
        .collect();
    let mut calls = Vec::new();
    for caller in callers {
        // One refused call ends all of this with its error.
        calls.extend(caller.await??);
    }
    let called = began.elapsed();
    starts.all.over().await;
    let time = began.elapsed();
    for node in nodes {
        node.drain().await;
    }
    let again = starts.again.load(Ordering::Acquire);
    ensure!(again == 0, "{again} tasks were started twice");
    let done = place.count("done").await?;
    ensure!(done == tasks, "{done} of {tasks} tasks are done");
    let (calls, waits) = (Percentiles::of(calls), Percentiles::of(starts.waits()));
    Ok(Round::new(Figure::rate(tasks, time), yardstick)
        .with("calls_per_second", tasks as f64 / called.as_secs_f64())
        .with("call_p50_ms", calls.p50_ms)
        .with("call_p99_ms", calls.p99_ms)
        .with("to_start_p50_ms", waits.p50_ms)
        .with("to_start_p99_ms", waits.p99_ms))
}

/// One caller's part of the tasks, and how long each call took.
async fn call(
    client: Client,
    starts: Arc<Starts>,
    caller: usize,
) -> peerwork::Result<Vec<Duration>> {
    let mut calls = Vec::new();
    for n in (caller..starts.asked_us.len()).step_by(CALLERS) {
        let called = Instant::now();
        starts.asked_us[n].store(starts.now_us(), Ordering::Release);
        client.create(Startled::task(n as u64)).await?;
        calls.push(called.elapsed());
    }
    Ok(calls)
}

/// When each task was asked for and started, in microseconds since it began; 0 for not yet.
struct Starts {
    began: Instant,
    asked_us: Vec<AtomicU64>,
    started_us: Vec<AtomicU64>,
    /// Starts of tasks that had been started.
    again: AtomicUsize,
    all: Arc<Countdown>,
}

impl Starts {
    fn now_us(&self) -> u64 {
        crate::play::micros(self.began.elapsed()).max(1)
    }

    fn waits(&self) -> Vec<Duration> {
        let tasks = self.asked_us.iter().zip(&self.started_us);
        let waits = tasks.map(|(asked, started)| {
            let asked = asked.load(Ordering::Acquire);
            Duration::from_micros(started.load(Ordering::Acquire).saturating_sub(asked))
        });
        waits.collect()
    }
}

/// Tells that it has started: its input is its number.
struct Startled(Arc<Starts>);

impl Handler for Startled {
    const KIND: &'static str = "startled";
    type Input = u64;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        let n = usize::try_from(*run.input())?;
        match self.0.started_us[n].swap(self.0.now_us(), Ordering::AcqRel) {
            0 => self.0.all.count(),
            _ => {
                self.0.again.fetch_add(1, Ordering::AcqRel);
            }
        }
        Ok(())
    }
}
