//! `bloat`: a steady load while another session of PostgreSQL holds a snapshot open, so that no dead row can be removed.
//!
//! Measured three times, on tables of its own each: the engine under the hold; the engine without it; and a naive loop in raw
//! SQL under the hold, which claims from the front of its index each time, where the dead entries are. What counts is the last part of
//! the hold, when all that it keeps from being removed is there; the mean over all of it is told beside.

use crate::figures::{Figure, Percentiles};
use crate::fill;
use crate::floor::{Pipeline, Scope, Taken};
use crate::handlers::{Countdown, NOOP, Noop};
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::{Sort, Target};
use crate::timed::Timed;
use peerwork::Node;
use peerwork_core::BATCH_MAX;
use sqlx::Connection;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Tasks that are created at once, and those of them that may wait: enough that nobody is short of work.
const CREATED: usize = 1_000;
const QUEUED_MAX: usize = 10 * CREATED;

/// The last part of the hold: one of so many.
const PARTS: u32 = 6;

/// After the hold: what is left is looked at, and whether the rate recovers.
const RECOVERY: Duration = Duration::from_secs(3);

/// What a steady load came to.
struct Load {
    /// In the last part of the hold.
    rate: f64,
    /// In all of it.
    mean: f64,
    /// In the last part of the hold.
    claims: Percentiles,
    /// Dead tuples in all tables at the end of the hold.
    dead: f64,
    /// After the hold.
    rate_after: f64,
}

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    if target.sort != Sort::Postgres {
        return Ok(Vec::new());
    }
    let (mut to_free, mut to_naive) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        let free = load(target, options, false, By::Engine).await?;
        let held = load(target, options, true, By::Engine).await?;
        let naive = load(target, options, true, By::NaiveLoop).await?;
        to_free.push(round(&held, &free));
        to_naive.push(round(&held, &naive));
    }
    let report = |yardstick, rounds| Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "seconds={} slots={}",
            options.time().as_secs(),
            options.slots()
        ),
        yardstick,
        rounds,
    };
    Ok(vec![
        report("the same without a snapshot held", to_free),
        report(
            "a naive claim loop in raw SQL under the same hold",
            to_naive,
        ),
    ])
}

fn round(held: &Load, other: &Load) -> Round {
    Round::new(Figure::Rate(held.rate), Figure::Rate(other.rate))
        .with("claim_p99_ms", held.claims.p99_ms)
        .with("yardstick_claim_p99_ms", other.claims.p99_ms)
        .with("mean_per_second", held.mean)
        .with("yardstick_mean_per_second", other.mean)
        .with("dead_tuples", held.dead)
        .with("yardstick_dead_tuples", other.dead)
        .with("per_second_after_the_hold", held.rate_after)
}

enum By {
    Engine,
    NaiveLoop,
}

async fn load(target: &Target, options: &Options, holds: bool, by: By) -> anyhow::Result<Load> {
    let place = Arc::new(Place::new(target).await?);
    let progress = Progress::new();
    let worker = Worker::start(by, &place, options, &progress).await?;
    let feeder = tokio::spawn(feed(place.clone(), progress.clone()));
    let snapshot = match holds {
        true => Some(hold(target.url()).await?),
        false => None,
    };
    let last = options.time() / PARTS;
    let before = rate(&progress, options.time() - last).await;
    worker.claims();
    let rate = rate(&progress, last).await;
    let mean = (before * f64::from(PARTS - 1) + rate) / f64::from(PARTS);
    let claims = Percentiles::of(worker.claims());
    let dead = dead_tuples(&place).await?;
    if let Some(snapshot) = snapshot {
        snapshot.close().await?;
    }
    let rate_after = self::rate(&progress, RECOVERY.min(options.time())).await;
    progress.stop.store(true, Ordering::Relaxed);
    feeder.await??;
    worker.stop().await?;
    if let Some(place) = Arc::into_inner(place) {
        place.remove().await?;
    }
    Ok(Load {
        rate,
        mean,
        claims,
        dead,
        rate_after,
    })
}

/// Tasks that end in a second, over so much time.
async fn rate(progress: &Progress, time: Duration) -> f64 {
    let (before, started) = (progress.ended.counted(), Instant::now());
    tokio::time::sleep(time).await;
    (progress.ended.counted() - before) as f64 / started.elapsed().as_secs_f64()
}

async fn dead_tuples(place: &Place) -> anyhow::Result<f64> {
    let tables = place.prefix.replace('_', r"\_");
    let count = format!(
        "select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables where relname like '{tables}%'"
    );
    Ok(place.raw().await?.int(&count).await? as f64)
}

/// Another session, in the middle of a transaction that sees the tables as they are now.
async fn hold(url: &str) -> anyhow::Result<sqlx::PgConnection> {
    let mut session = sqlx::PgConnection::connect(url).await?;
    let begin = "begin isolation level repeatable read; select count(*) from pg_class";
    sqlx::raw_sql(begin).execute(&mut session).await?;
    Ok(session)
}

/// What has ended so far, and whether to stop.
struct Progress {
    ended: Arc<Countdown>,
    stop: AtomicBool,
}

impl Progress {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ended: Countdown::from(usize::MAX),
            stop: AtomicBool::new(false),
        })
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Keeps some tasks in line.
async fn feed(place: Arc<Place>, progress: Arc<Progress>) -> anyhow::Result<()> {
    let mut created = 0;
    while progress.goes_on() {
        if created - progress.ended.counted().min(created) < QUEUED_MAX {
            fill::queued(&place, NOOP, "", CREATED).await?;
            place.client.wake_nodes();
            created += CREATED;
        } else {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    Ok(())
}

/// Who claims and ends the tasks.
enum Worker {
    Engine(Node, Arc<Timed>),
    Naive(JoinHandle<anyhow::Result<()>>, Arc<Mutex<Vec<Duration>>>),
}

impl Worker {
    async fn start(
        by: By,
        place: &Arc<Place>,
        options: &Options,
        progress: &Arc<Progress>,
    ) -> anyhow::Result<Self> {
        match by {
            By::Engine => {
                let timed = Timed::over(place).await?;
                let node = Node::builder(timed.database())
                    .register(Noop::counted(&progress.ended))
                    .slots(options.slots());
                Ok(Self::Engine(node.start().await?, timed))
            }
            By::NaiveLoop => {
                let mut scope = Scope::register(place).await?;
                scope.remembers = false;
                let (claims, ends) = (scope.pipeline(place).await?, scope.pipeline(place).await?);
                let times = Arc::new(Mutex::default());
                let running = naive_loop(claims, ends, progress.clone(), Arc::clone(&times));
                Ok(Self::Naive(tokio::spawn(running), times))
            }
        }
    }

    /// How long the claims took since this was last asked.
    fn claims(&self) -> Vec<Duration> {
        match self {
            Self::Engine(_, timed) => timed.take(),
            Self::Naive(_, times) => {
                std::mem::take(&mut times.lock().expect("no panic under the lock"))
            }
        }
    }

    async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Engine(node, _) => {
                node.drain().await;
                Ok(())
            }
            Self::Naive(running, _) => running.await?,
        }
    }
}

/// One connection claims, another writes ends: what such a queue looks like, tuned, but for where its claims begin.
async fn naive_loop(
    mut claims: Box<dyn Pipeline>,
    mut ends: Box<dyn Pipeline>,
    progress: Arc<Progress>,
    times: Arc<Mutex<Vec<Duration>>>,
) -> anyhow::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Vec<Taken>>(2);
    let ended = progress.ended.clone();
    let ending = tokio::spawn(async move {
        while let Some(taken) = receiver.recv().await {
            ends.finish(&taken).await?;
            taken.iter().for_each(|_| ended.count());
        }
        Ok::<_, anyhow::Error>(())
    });
    while progress.goes_on() {
        let started = Instant::now();
        let taken = claims.claim(BATCH_MAX).await?;
        if taken.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        times
            .lock()
            .expect("no panic under the lock")
            .push(started.elapsed());
        // It refuses where the other side has failed: that error is told below.
        if sender.send(taken).await.is_err() {
            break;
        }
    }
    drop(sender);
    ending.await?
}
