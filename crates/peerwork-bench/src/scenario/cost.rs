//! `cost`: log bytes, commits and statements for each finished task, beside what the floor needs.

use super::drain;
use crate::counters::{Counting, Counts};
use crate::figures::Figure;
use crate::fill;
use crate::floor::{self, Shape};
use crate::handlers::NOOP;
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;

/// The floor's, which is the same on all databases here: what it costs depends on its batches only.
const SHAPE: Shape = Shape::PLAIN;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let ours = measure(target, options, None).await?;
        let floor = measure(target, options, Some(SHAPE)).await?;
        let per_task = |count: f64| count / options.tasks() as f64;
        let bytes =
            |counts: Counts| Figure::Amount("log_bytes_per_task", per_task(counts.log_bytes));
        let round = Round::new(bytes(ours), bytes(floor))
            .with("commits_per_task", per_task(ours.commits))
            .with("statements_per_task", per_task(ours.statements))
            .with("floor_commits_per_task", per_task(floor.commits))
            .with("floor_statements_per_task", per_task(floor.statements));
        rounds.push(round);
    }
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "tasks={} nodes={} slots={}; floor: {SHAPE}",
            options.tasks(),
            options.nodes(),
            options.slots()
        ),
        yardstick: drain::FLOOR,
        rounds,
    }])
}

/// From the claim to the recorded end: creating is not counted.
async fn measure(
    target: &Target,
    options: &Options,
    floor: Option<Shape>,
) -> anyhow::Result<Counts> {
    let place = Place::new(target).await?;
    fill::queued(&place, NOOP, "", options.tasks()).await?;
    place.analyze().await?;
    let counting = Counting::start(&place).await?;
    match floor {
        Some(shape) => floor::drain(&place, options.tasks(), shape).await?,
        None => drain::by_nodes(&place, options).await?,
    };
    let counts = counting.end().await?;
    place.remove().await?;
    Ok(counts)
}
