//! `lanes-claim`: how long claims take while many lanes have work, beside those with ten, under fair sharing.
//!
//! Tasks take some milliseconds, so that slots come free one by one and a claim takes a few of them: there are as many claims as a 99th
//! percentile needs.

use super::lanes::fill;
use crate::figures::{Figure, Percentiles};
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use crate::timed::Timed;
use anyhow::Context;
use peerwork::{Handler, Node, Run, TaskError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The lanes of the yardstick.
const FEW: usize = 10;

/// Tasks in each of the many lanes; the few have as many together.
const DEPTH: usize = 10;

const LENGTH: Duration = Duration::from_millis(5);

/// From one count of the claims to the next.
const LOOKS_EVERY: Duration = Duration::from_millis(5);

/// Not so many claims were made after this time: something is wrong.
const CLAIMED_IN: Duration = Duration::from_secs(300);

/// Claims before those that are timed: statements are prepared, and what was filled in is not in memory yet.
const FIRST: usize = 20;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let many = options.lanes();
    let total = DEPTH * many;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let few = claims(target, options, FEW, total).await?;
        let ours = claims(target, options, many, total).await?;
        let p99 = |claims: &Claims| Figure::Amount("claim_p99_ms", claims.times.p99_ms);
        let round = Round::new(p99(&ours), p99(&few))
            .with("claim_p50_ms", ours.times.p50_ms)
            .with("few_claim_p50_ms", few.times.p50_ms)
            .with("claims", ours.count as f64)
            .with("few_claims", few.count as f64)
            .with("starts_per_second", ours.starts_per_second)
            .with("few_starts_per_second", few.starts_per_second);
        rounds.push(round);
    }
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "policy=fair lanes={many} tasks={total} claims={} slots={}",
            options.tasks(),
            options.slots()
        ),
        yardstick: "claims with 10 lanes",
        rounds,
    }])
}

struct Claims {
    times: Percentiles,
    count: usize,
    starts_per_second: f64,
}

async fn claims(
    target: &Target,
    options: &Options,
    lanes: usize,
    total: usize,
) -> anyhow::Result<Claims> {
    let place = Place::new(target).await?;
    place.client.choose_policy(Some("fair")).await?;
    fill(&place.client, total, lanes, Brief::task).await?;
    place.analyze().await?;
    let timed = Timed::over(&place).await?;
    let starts = Arc::new(AtomicUsize::new(0));
    let node = Node::builder(timed.database())
        .register(Brief(starts.clone()))
        .slots(options.slots());
    let node = node.start().await?;
    let began = Instant::now();
    let made = async |count: usize| {
        while timed.claims() < count && starts.load(Ordering::Acquire) < total {
            tokio::time::sleep(LOOKS_EVERY).await;
        }
    };
    made(FIRST).await;
    let (since, before) = (Instant::now(), starts.load(Ordering::Acquire));
    // Fewer than that are all there were.
    let _ = timed.take();
    let all = tokio::time::timeout(CLAIMED_IN, made(options.tasks())).await;
    all.with_context(|| format!("not so many claims in {:?}", began.elapsed()))?;
    let time = since.elapsed();
    let started = starts.load(Ordering::Acquire) - before;
    let times = timed.take();
    node.drain().await;
    place.remove().await?;
    Ok(Claims {
        count: times.len(),
        times: Percentiles::of(times),
        starts_per_second: started as f64 / time.as_secs_f64(),
    })
}

/// Takes some milliseconds, and counts its starts.
struct Brief(Arc<AtomicUsize>);

impl Handler for Brief {
    const KIND: &'static str = "brief";
    type Input = u64;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, _run: &mut Run<Self>) -> Result<(), TaskError> {
        self.0.fetch_add(1, Ordering::AcqRel);
        tokio::time::sleep(LENGTH).await;
        Ok(())
    }
}
