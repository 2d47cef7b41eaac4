//! `drain`: no-op tasks to their recorded ends, beside `floor`; and `floor` by itself, beside one-row commits.

use crate::figures::Figure;
use crate::fill;
use crate::floor::{self, Shape};
use crate::handlers::{Countdown, NOOP, Noop};
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use crate::yardstick::Commits;
use anyhow::ensure;
use peerwork::Node;
use std::time::{Duration, Instant};

/// What is drained once in each of the floor's shapes, before the best one is measured: a part of the tasks.
const TUNING_PART: usize = 4;

pub const FLOOR: &str = "the floor in raw SQL";

/// Fewer tasks tell nothing about a shape.
const TUNED_MIN: usize = 2_000;

async fn tuned(target: &Target, options: &Options) -> anyhow::Result<Shape> {
    if options.tasks() < TUNED_MIN {
        return Ok(Shape::PLAIN);
    }
    floor::tune(target, options.tasks() / TUNING_PART).await
}

pub async fn floor(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let shape = tuned(target, options).await?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let place = Place::new(target).await?;
        let yardstick = Commits::Inserts.rate(&place, options.tasks()).await?;
        let floor = floor_rate(&place, options.tasks(), shape).await?;
        place.remove().await?;
        rounds.push(Round::new(floor, yardstick));
    }
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!("tasks={} {shape}", options.tasks()),
        yardstick: Commits::Inserts.name(),
        rounds,
    }])
}

pub async fn drain(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let shape = tuned(target, options).await?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let place = Place::new(target).await?;
        let yardstick = floor_rate(&place, options.tasks(), shape).await?;
        place.remove().await?;
        let place = Place::new(target).await?;
        fill::queued(&place, NOOP, "", options.tasks()).await?;
        place.analyze().await?;
        let time = by_nodes(&place, options).await?;
        place.remove().await?;
        rounds.push(Round::new(Figure::rate(options.tasks(), time), yardstick));
    }
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "tasks={} nodes={} slots={}; floor: {shape}",
            options.tasks(),
            options.nodes(),
            options.slots()
        ),
        yardstick: FLOOR,
        rounds,
    }])
}

pub async fn floor_rate(place: &Place, tasks: usize, shape: Shape) -> anyhow::Result<Figure> {
    Ok(Figure::rate(tasks, floor::run(place, tasks, shape).await?))
}

/// From the start of the first node to the last recorded end.
pub async fn by_nodes(place: &Place, options: &Options) -> anyhow::Result<Duration> {
    let countdown = Countdown::from(options.tasks());
    let started = Instant::now();
    let mut nodes = Vec::new();
    for _ in 0..options.nodes() {
        let node = Node::builder(&place.database)
            .register(Noop::counted(&countdown))
            .slots(options.slots());
        nodes.push(node.start().await?);
    }
    countdown.over().await;
    // Draining waits for the last ends to be recorded: they count.
    for node in nodes {
        node.drain().await;
    }
    let time = started.elapsed();
    let done = place.count("done").await?;
    ensure!(
        done == options.tasks(),
        "{done} of {} tasks are done",
        options.tasks()
    );
    Ok(time)
}
