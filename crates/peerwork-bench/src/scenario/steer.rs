//! `steer`: pauses and resumptions of running tasks: until nobody runs it, and until somebody does again.

use crate::figures::{Figure, Percentiles};
use crate::fill;
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use crate::yardstick::Commits;
use anyhow::Context;
use peerwork::{Client, Handler, Node, Run, State, TaskError, TaskId};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Round trips of one caller in a round, one after the other.
const SAMPLES: usize = 100;

/// Callers who go through all tasks.
const CALLERS: usize = 64;

/// A round trip that takes longer has been lost.
const TRIP_MAX: Duration = Duration::from_secs(30);

/// Runs until it is told to stop.
pub struct Patient;

impl Handler for Patient {
    const KIND: &'static str = "patient";
    type Input = u64;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        Err(run.stopping().await.into())
    }
}

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let place = Place::new(target).await?;
    let tasks = options.tasks();
    fill::queued_at_once(&place, Patient::KIND, "", tasks).await?;
    let node = Node::builder(&place.database)
        .register(Patient)
        .slots(tasks)
        .start()
        .await?;
    let records = place.client.tasks().all().await?;
    let ids: Arc<Vec<TaskId>> = Arc::new(records.iter().map(|record| record.id).collect());
    for id in ids.iter() {
        let task = place.client.task(*id);
        tokio::time::timeout(TRIP_MAX, task.until(State::Running)).await??;
    }
    let client = node.client();
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for round in 0..options.rounds() {
        let yardstick = Commits::Updates.latency(&place, options.tasks()).await?;
        one.push(Round::new(
            one_by_one(&client, &ids, round).await?,
            yardstick,
        ));
        let yardstick = Commits::Updates.rate(&place, options.tasks()).await?;
        all.push(Round::new(all_at_once(&client, &ids).await?, yardstick));
    }
    node.drain().await;
    place.remove().await?;
    let report = |callers: usize, rounds| Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!("running={tasks} callers={callers}"),
        yardstick: Commits::Updates.name(),
        rounds,
    };
    Ok(vec![report(1, one), report(CALLERS, all)])
}

/// Paused, and running again.
async fn round_trip(client: &Client, id: TaskId) -> anyhow::Result<()> {
    let task = client.task(id);
    let trip = async {
        task.pause().await?;
        task.until(State::Paused).await?;
        task.resume().await?;
        task.until(State::Running).await
    };
    tokio::time::timeout(TRIP_MAX, trip)
        .await
        .context("a pause or a resumption took too long")??;
    Ok(())
}

async fn one_by_one(client: &Client, ids: &[TaskId], round: usize) -> anyhow::Result<Figure> {
    let mut times = Vec::new();
    for sample in 0..SAMPLES {
        let id = ids[(round * SAMPLES + sample) % ids.len()];
        let started = Instant::now();
        round_trip(client, id).await?;
        times.push(started.elapsed());
    }
    Ok(Figure::Latency(Percentiles::of(times)))
}

async fn all_at_once(client: &Client, ids: &Arc<Vec<TaskId>>) -> anyhow::Result<Figure> {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, ids) = (client.clone(), ids.clone());
        callers.spawn(async move {
            for id in ids.iter().skip(caller).step_by(CALLERS) {
                round_trip(&client, *id).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(Figure::rate(ids.len(), started.elapsed()))
}
