//! `backlog`: the drain's rate and the claims' times with tasks in line behind, and with finished ones kept, beside
//! those on empty tables.

use crate::figures::{Figure, Percentiles};
use crate::fill;
use crate::handlers::{Countdown, NOOP, Noop};
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use crate::timed::Timed;
use peerwork::{Node, Policy};
use std::time::{Duration, Instant};

/// The larger backlog, and the history, in backlogs.
const TIMES: usize = 5;

/// What a table holds besides the tasks that are drained.
#[derive(Clone, Copy)]
enum Besides {
    Queued(usize),
    Finished(usize),
}

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let backlog = options.backlog();
    let mut reports = Vec::new();
    for besides in [
        Besides::Queued(0),
        Besides::Queued(backlog),
        Besides::Queued(TIMES * backlog),
        Besides::Finished(TIMES * backlog),
    ] {
        let place = Place::new(target).await?;
        let kept = match besides {
            Besides::Queued(count) => {
                fill::queued(&place, NOOP, "", count).await?;
                format!("queued={count}")
            }
            Besides::Finished(count) => {
                fill::finished(&place, NOOP, "", count).await?;
                format!("finished={count}")
            }
        };
        let (mut rates, mut claims) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds() {
            let empty = Place::new(target).await?;
            let yardstick = drain(&empty, options, peerwork::Fifo).await?;
            empty.remove().await?;
            let ours = drain(&place, options, peerwork::Fifo).await?;
            rates.push(Round::new(ours.rate, yardstick.rate));
            claims.push(Round::new(ours.claims, yardstick.claims).with(
                "p99_ratio",
                ours.p99_ms / yardstick.p99_ms.max(f64::EPSILON),
            ));
        }
        place.remove().await?;
        for (what, rounds) in [("backlog", rates), ("backlog-claim", claims)] {
            reports.push(Report {
                scenario: what.into(),
                database: target.sort.name(),
                settings: format!("{kept} tasks={} slots={}", options.tasks(), options.slots()),
                yardstick: "the same on empty tables",
                rounds,
            });
        }
    }
    Ok(reports)
}

/// What a drain came to.
pub struct Drained {
    pub rate: Figure,
    pub claims: Figure,
    pub p99_ms: f64,
}

/// Adds as many tasks as are drained, and drains as many, however many there are besides.
pub async fn drain(
    place: &Place,
    options: &Options,
    policy: impl Policy + 'static,
) -> anyhow::Result<Drained> {
    fill::queued(place, NOOP, "", options.tasks()).await?;
    place.analyze().await?;
    let timed = Timed::over(place).await?;
    let countdown = Countdown::from(options.tasks());
    let started = Instant::now();
    let node = Node::builder(timed.database())
        .register(Noop::counted(&countdown))
        .policy(policy)
        .slots(options.slots());
    let node = node.start().await?;
    countdown.over().await;
    let time: Duration = started.elapsed();
    let claims = Percentiles::of(timed.take());
    node.drain().await;
    Ok(Drained {
        rate: Figure::rate(options.tasks(), time),
        claims: Figure::Latency(claims),
        p99_ms: claims.p99_ms,
    })
}
