//! `start`: many long-running tasks at once on one node: the time until all of them run, and its memory for each.
//!
//! The yardstick is the floor's claims of as many tasks, without anything that runs them.

use super::steer::Patient;
use crate::figures::{Figure, Percentiles};
use crate::fill;
use crate::floor::Scope;
use crate::handlers::{Countdown, NOOP};
use crate::options::Options;
use crate::place::Place;
use crate::process::resident_bytes;
use crate::report::{Report, Round};
use crate::target::Target;
use anyhow::{Context, ensure};
use peerwork::{Handler, Node, Run, TaskError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The floor's.
const BATCH: usize = 1_000;

/// Not all of them run after this time: something is wrong.
const START_MAX: Duration = Duration::from_secs(120);

/// Runs until it is told to stop, and tells that it has started.
struct Started(Arc<Countdown>);

impl Handler for Started {
    const KIND: &'static str = Patient::KIND;
    type Input = u64;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        self.0.count();
        Err(run.stopping().await.into())
    }
}

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let yardstick = claim_only(target, options.tasks()).await?;
        rounds.push(start(target, options.tasks(), yardstick).await?);
    }
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!("tasks={}", options.tasks()),
        yardstick: "the floor's claims of as many, run by nobody",
        rounds,
    }])
}

fn once(time: Duration) -> Figure {
    Figure::Latency(Percentiles::of(vec![time]))
}

async fn claim_only(target: &Target, tasks: usize) -> anyhow::Result<Figure> {
    let place = Place::new(target).await?;
    fill::queued_at_once(&place, NOOP, "", tasks).await?;
    let mut claims = Scope::register(&place).await?.pipeline(&place).await?;
    let started = Instant::now();
    let mut claimed = 0;
    while claimed < tasks {
        let taken = claims.claim(BATCH).await?.len();
        ensure!(taken > 0, "{claimed} of {tasks} tasks could be claimed");
        claimed += taken;
    }
    let time = started.elapsed();
    drop(claims);
    place.remove().await?;
    Ok(once(time))
}

async fn start(target: &Target, tasks: usize, yardstick: Figure) -> anyhow::Result<Round> {
    let place = Place::new(target).await?;
    let countdown = Countdown::from(tasks);
    let node = Node::builder(&place.database)
        .register(Started(countdown.clone()))
        .slots(tasks);
    let node = node.start().await?;
    let before = resident_bytes()?;
    // They appear all at once, when this is committed.
    fill::queued_at_once(&place, Patient::KIND, "", tasks).await?;
    let started = Instant::now();
    node.client().wake_nodes();
    let all = tokio::time::timeout(START_MAX, countdown.over()).await;
    all.context("not all tasks were started")?;
    let time = started.elapsed();
    let bytes = resident_bytes()?.saturating_sub(before);
    node.drain().await;
    place.remove().await?;
    let kib = bytes as f64 / tasks as f64 / 1_024.0;
    Ok(Round::new(once(time), yardstick).with("memory_kib_per_task", kib))
}
