//! `idle`: what one node without work, and ten, ask of the database and of the processor.

use crate::counters::Counting;
use crate::figures::Figure;
use crate::handlers::{Countdown, Noop};
use crate::options::Options;
use crate::place::Place;
use crate::process::cpu_time;
use crate::report::{Report, Round};
use crate::target::Target;
use peerwork::Node;
use std::time::{Duration, Instant};

/// Nodes of this process.
const NODES: [usize; 2] = [1, 10];

/// Until the nodes know each other, each has beaten once, and their statements are prepared.
const SETTLES_IN: Duration = Duration::from_secs(5);

/// A look a second, and a beat every three: what one node asks if it does nothing besides.
const LEAST: f64 = 1.0 + 1.0 / 3.0;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for count in NODES {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds() {
            rounds.push(measure(target, options, count).await?);
        }
        reports.push(Report {
            scenario: options.scenario.name().into(),
            database: target.sort.name(),
            settings: format!("nodes={count} seconds={}", options.time().as_secs()),
            yardstick: "a look a second and a beat every three",
            rounds,
        });
    }
    Ok(reports)
}

async fn measure(target: &Target, options: &Options, count: usize) -> anyhow::Result<Round> {
    let place = Place::new(target).await?;
    let countdown = Countdown::from(usize::MAX);
    let mut nodes = Vec::new();
    for _ in 0..count {
        let node = Node::builder(&place.database).register(Noop::counted(&countdown));
        nodes.push(node.start().await?);
    }
    tokio::time::sleep(SETTLES_IN.min(2 * options.time())).await;
    let counting = Counting::start(&place).await?;
    let (cpu, started) = (cpu_time(), Instant::now());
    tokio::time::sleep(options.time()).await;
    let (cpu, seconds) = (cpu_time() - cpu, started.elapsed().as_secs_f64());
    let (counts, counted) = counting.end_with_time().await?;
    for node in nodes {
        node.drain().await;
    }
    place.remove().await?;
    let per_node = |number: f64, seconds: f64| number / seconds / count as f64;
    let statements = Figure::Amount(
        "statements_per_second_and_node",
        per_node(counts.statements, seconds),
    );
    Ok(Round::new(
        statements,
        Figure::Amount("statements_per_second_and_node", LEAST),
    )
    .with(
        "server_commits_per_second_and_node",
        per_node(counts.commits, counted.as_secs_f64()),
    )
    .with(
        "cpu_percent_and_node",
        per_node(100.0 * cpu.as_secs_f64(), seconds),
    ))
}
