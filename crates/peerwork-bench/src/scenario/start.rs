//! `start`: many long-running tasks at once on one node: the time until all of them run, and its memory for each.
//!
//! The node is in a process of its own, fresh for each round: memory that an earlier round has used would not be seen. The
//! yardstick is the floor's claims of as many tasks, without anything that runs them.

use super::clock::now_us;
use crate::figures::Figure;
use crate::fill;
use crate::floor::Scope;
use crate::handlers::{Countdown, NOOP};
use crate::options::Options;
use crate::place::{self, Place};
use crate::process::{Child, resident_bytes};
use crate::report::{Report, Round};
use crate::target::Target;
use anyhow::{Context, ensure};
use peerwork::{Handler, Node, Run, TaskError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};

/// The floor's.
const BATCH: usize = 1_000;

/// Not all of them run after this time: something is wrong.
const START_MAX: Duration = Duration::from_secs(120);

/// Runs until it is told to stop, and tells that it has started.
struct Started(Arc<Countdown>);

impl Handler for Started {
    const KIND: &'static str = "started";
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

fn until_all_run(ms: f64) -> Figure {
    Figure::Amount("ms_until_all_run", ms)
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
    Ok(until_all_run(time.as_secs_f64() * 1_000.0))
}

async fn start(target: &Target, tasks: usize, yardstick: Figure) -> anyhow::Result<Round> {
    let place = Place::new(target).await?;
    let mut child = Child::start("start-child", &place, tasks)?;
    ensure!(
        child.line().await? == "ready",
        "the node's process did not start"
    );
    // They appear all at once, when this is committed.
    fill::queued_at_once(&place, Started::KIND, "", tasks).await?;
    child.tell(&now_us().to_string()).await?;
    place.client.wake_nodes();
    let answer = child.line().await?;
    child.end().await?;
    place.remove().await?;
    let (us, bytes) = answer.split_once(' ').context("a time and a size")?;
    let (us, bytes): (f64, f64) = (us.parse()?, bytes.parse()?);
    let kib_per_task = bytes / tasks as f64 / 1_024.0;
    Ok(
        Round::new(until_all_run(us / 1_000.0), yardstick)
            .with("memory_kib_per_task", kib_per_task),
    )
}

/// The other process: a node. It is told when its tasks were there, and tells how long it took until all of them ran, and what
/// that took of its memory.
pub async fn child(options: &Options) -> anyhow::Result<()> {
    let countdown = Countdown::from(options.tasks());
    let node = Node::builder(&place::opened_by(options).await?)
        .register(Started(countdown.clone()))
        .slots(options.tasks());
    let node = node.start().await?;
    let before = resident_bytes()?;
    println!("ready");
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let since: u64 = orders.next_line().await?.context("the time")?.parse()?;
    node.client().wake_nodes();
    let all = tokio::time::timeout(START_MAX, countdown.over()).await;
    all.context("not all tasks were started")?;
    let us = now_us().saturating_sub(since);
    let bytes = resident_bytes()?.saturating_sub(before);
    println!("{us} {bytes}");
    node.drain().await;
    Ok(())
}
