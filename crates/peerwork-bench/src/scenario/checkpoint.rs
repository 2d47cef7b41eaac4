//! `checkpoint`: durable saves a second with 1, 64 and 1,000 runs that save all the time.

use crate::figures::Figure;
use crate::fill;
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use crate::yardstick::Commits;
use anyhow::ensure;
use peerwork::{Handler, Node, Run, TaskError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs at once. `--tasks` puts another number in place of the last one.
const RUNS: [usize; 3] = [1, 64, 1_000];

/// Until all of them run, and their first saves are past.
const WARM_UP: Duration = Duration::from_millis(300);

/// Saves as often as it can, until it is told to stop.
struct Saver(Arc<AtomicU64>);

impl Handler for Saver {
    const KIND: &'static str = "saver";
    type Input = u64;
    type Checkpoint = u64;
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        let mut saved = run.checkpoint().unwrap_or_default();
        loop {
            saved += 1;
            run.save(&saved).await?;
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for runs in RUNS.map(|runs| runs.min(options.tasks())) {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds() {
            let place = Place::new(target).await?;
            let yardstick = Commits::Updates.rate(&place, options.tasks()).await?;
            let ours = saves(&place, runs, options.time()).await?;
            place.remove().await?;
            rounds.push(Round::new(ours, yardstick));
        }
        reports.push(Report {
            scenario: options.scenario.name().into(),
            database: target.sort.name(),
            settings: format!("runs={runs} seconds={}", options.time().as_secs()),
            yardstick: Commits::Updates.name(),
            rounds,
        });
    }
    Ok(reports)
}

async fn saves(place: &Place, runs: usize, time: Duration) -> anyhow::Result<Figure> {
    fill::queued_at_once(place, Saver::KIND, "", runs).await?;
    let saves = Arc::new(AtomicU64::new(0));
    let node = Node::builder(&place.database)
        .register(Saver(saves.clone()))
        .slots(runs);
    let node = node.start().await?;
    while node.holds().len() < runs {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(WARM_UP).await;
    let (before, started) = (saves.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(time).await;
    let count = saves.load(Ordering::Relaxed) - before;
    let figure = Figure::rate(usize::try_from(count)?, started.elapsed());
    let report = node.drain().await;
    ensure!(count > 0, "nothing was saved; {report:?}");
    Ok(figure)
}
