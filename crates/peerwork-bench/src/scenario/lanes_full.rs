//! `lanes-full`: a drain while tasks wait behind as many groups that are at their limits, beside the same with none.
//!
//! The groups are really full: each has a limit of one running task, and one that runs, on a node that has no other work.

use super::lanes::drained;
use super::steer::Patient;
use crate::handlers::Noop;
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use anyhow::{Context, ensure};
use peerwork::{Handler, Node, State};
use std::future::IntoFuture;
use std::time::Duration;
use tokio::task::JoinSet;

/// Not all groups are full after this time: something is wrong.
const FULL_IN: Duration = Duration::from_secs(120);

/// Lanes of the tasks that flow.
const FLOWING: usize = 10;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let place = Place::new(target).await?;
    let (groups, blocked) = (options.lanes(), options.backlog());
    let holder = fill_up(&place, groups, blocked).await?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let empty = Place::new(target).await?;
        let none = drained(&empty, options, "fair", FLOWING).await?;
        empty.remove().await?;
        let ours = drained(&place, options, "fair", FLOWING).await?;
        let round = Round::new(ours.rate, none.rate)
            .with("claim_p99_ms", ours.times.p99_ms)
            .with("claim_p99_ms_with_none", none.times.p99_ms)
            .with("claims", ours.claims as f64)
            .with("claims_with_none", none.claims as f64);
        rounds.push(round);
    }
    let waiting = place.count("ready").await?;
    ensure!(
        waiting == blocked,
        "{waiting} of {blocked} blocked tasks still wait"
    );
    holder.drain().await;
    place.remove().await?;
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "policy=fair full_groups={groups} blocked={blocked} tasks={} slots={}",
            options.tasks(),
            options.slots()
        ),
        yardstick: "the same without such groups and their limits",
        rounds,
    }])
}

fn group(n: usize, groups: usize) -> String {
    format!("full {}", n % groups)
}

/// Groups that are at their limits, with tasks waiting in them; and the node that runs one of each.
async fn fill_up(place: &Place, groups: usize, blocked: usize) -> anyhow::Result<Node> {
    let client = &place.client;
    // Each is answered once it is in force on all nodes, so all of them are asked for at once.
    let mut limits = JoinSet::new();
    for n in 0..groups {
        let limit = client.group(&group(n, groups)).limit(1);
        limits.spawn(limit.into_future());
    }
    while let Some(set) = limits.join_next().await {
        set??;
    }
    let running = (0..groups).map(|n| Patient::task(0).group(group(n, groups)));
    client.create_many(running).await?;
    let holder = Node::builder(&place.database)
        .register(Patient)
        .slots(groups);
    let holder = holder.start().await?;
    let full = async {
        while client.tasks().state(State::Running).all().await?.len() < groups {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    let full = tokio::time::timeout(FULL_IN, full).await;
    full.context("the groups were not full in time")??;
    let behind = (0..blocked).map(|n| Noop::task(n as u64).group(group(n, groups)));
    client.create_many(behind).await?;
    Ok(holder)
}
