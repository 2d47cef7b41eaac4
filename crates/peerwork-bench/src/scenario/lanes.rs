//! `lanes`: the drain of as many users' lanes under fair sharing, beside that under FIFO.

use crate::figures::{Figure, Percentiles};
use crate::handlers::{Countdown, Noop};
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use crate::timed::Timed;
use anyhow::ensure;
use peerwork::{Client, Draft, Handler, Node, TaskKind};
use std::time::Instant;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let fifo = drain(target, options, "fifo").await?;
        let fair = drain(target, options, "fair").await?;
        let round = Round::new(fair.rate, fifo.rate)
            .with("claims", fair.claims as f64)
            .with("claim_p50_ms", fair.times.p50_ms)
            .with("claim_p99_ms", fair.times.p99_ms)
            .with("fifo_claims", fifo.claims as f64)
            .with("fifo_claim_p50_ms", fifo.times.p50_ms)
            .with("fifo_claim_p99_ms", fifo.times.p99_ms);
        rounds.push(round);
    }
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "policy=fair lanes={} tasks={} slots={}",
            options.lanes(),
            options.tasks(),
            options.slots()
        ),
        yardstick: "the same under fifo",
        rounds,
    }])
}

async fn drain(target: &Target, options: &Options, policy: &str) -> anyhow::Result<Drained> {
    let place = Place::new(target).await?;
    let drained = drained(&place, options, policy, options.lanes()).await?;
    let (done, tasks) = (place.count("done").await?, options.tasks());
    ensure!(done == tasks, "{done} of {tasks} tasks are done");
    place.remove().await?;
    Ok(drained)
}

/// What a drain came to.
pub struct Drained {
    pub rate: Figure,
    pub claims: usize,
    pub times: Percentiles,
}

/// Fills that many lanes with no-op tasks, and drains them: from the start of a node to the last recorded end.
pub async fn drained(
    place: &Place,
    options: &Options,
    policy: &str,
    lanes: usize,
) -> anyhow::Result<Drained> {
    let tasks = options.tasks();
    place.client.choose_policy(Some(policy)).await?;
    fill(&place.client, tasks, lanes, Noop::task).await?;
    place.analyze().await?;
    let timed = Timed::over(place).await?;
    let countdown = Countdown::from(tasks);
    let started = Instant::now();
    let node = Node::builder(timed.database())
        .register(Noop::counted(&countdown))
        .slots(options.slots());
    let node = node.start().await?;
    countdown.over().await;
    node.drain().await;
    let rate = Figure::rate(tasks, started.elapsed());
    let claims = timed.take();
    Ok(Drained {
        rate,
        claims: claims.len(),
        times: Percentiles::of(claims),
    })
}

/// `count` tasks of as many users as there are to be lanes, in turn.
pub async fn fill<K: TaskKind>(
    client: &Client,
    count: usize,
    lanes: usize,
    task: impl Fn(u64) -> Draft<K>,
) -> anyhow::Result<()> {
    let draft = |n: usize| task(n as u64).user(format!("user {}", n % lanes));
    client.create_many((0..count).map(draft)).await?;
    Ok(())
}
