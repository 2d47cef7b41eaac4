//! `blocked`: a group flows while the tasks of another wait for something that does not come.
//!
//! What holds the other group back is a policy that never grants it. A gate or a full limit would be one more reason for
//! the same: its lanes are seen at each look, and not claimed from.

use super::backlog::{Drained, drain};
use crate::fill;
use crate::handlers::NOOP;
use crate::options::Options;
use crate::place::Place;
use crate::report::{Report, Round};
use crate::target::Target;
use anyhow::ensure;
use peerwork::{Fifo, Grant, LaneView, Lanes, Policy};

/// The group that is never granted.
const GATED: &str = "gated";

/// Grants everything to the other groups.
struct Gate;

impl Policy for Gate {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let open = lanes.iter().filter(|lane| lane.group.as_str() != GATED);
        let open: Vec<LaneView> = open.cloned().collect();
        Fifo.grant(&lanes.only(&open), free)
    }
}

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let place = Place::new(target).await?;
    let blocked = options.backlog();
    fill::queued(&place, NOOP, GATED, blocked).await?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let empty = Place::new(target).await?;
        let yardstick = drain(&empty, options, Gate).await?;
        empty.remove().await?;
        let ours = drain(&place, options, Gate).await?;
        rounds.push(round(&ours, &yardstick));
    }
    let waiting = place.count("ready").await?;
    ensure!(
        waiting == blocked,
        "{waiting} of {blocked} blocked tasks still wait"
    );
    place.remove().await?;
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "blocked={blocked} tasks={} slots={}",
            options.tasks(),
            options.slots()
        ),
        yardstick: "the same with none blocked",
        rounds,
    }])
}

fn round(ours: &Drained, yardstick: &Drained) -> Round {
    Round::new(ours.rate, yardstick.rate)
        .with("claim_p99_ms", ours.p99_ms)
        .with("claim_p99_ms_with_none_blocked", yardstick.p99_ms)
}
