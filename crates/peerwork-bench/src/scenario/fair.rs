//! `fair`: a heavy user with all its tasks at once, 99 light ones with a task now and then: how long the light ones wait, what everybody
//! gets, and how many slots are in use beside FIFO on the same trace; then the heavy user's tasks in fifty groups. Beside it
//! what the simulation says of the same trace.

use crate::figures::Figure;
use crate::options::Options;
use crate::play::{Play, Played};
use crate::report::{Report, Round};
use crate::target::Target;
use anyhow::Context;
use peerwork::simulate::{Class, Workload};

/// What is compared with FIFO: a policy, and over how many groups the heavy user spreads.
const SHARED: [(&str, usize); 2] = [("fair", 1), ("weighted-groups", 50)];

/// How far a wait's 99th percentile may be from what was simulated, in task lengths: a create, a claim and a start take some
/// milliseconds each, which the simulation leaves out, and of some hundred waits the percentile is the fifth or tenth longest.
const WAIT_LENGTHS: f64 = 0.5;

/// How far a share or an index may be: a light user has but some tasks in this time.
const SHARE: f64 = 0.05;

/// How far the slots in use, to FIFO's, may be: what is asked of a fair policy.
const USED: f64 = 0.02;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for (policy, groups) in SHARED {
        let play = Play::of(Workload::HeavyLight, groups, options);
        let simulated = Told::of(&play, &play.simulated(policy)?)?;
        let simulated_fifo = Told::of(&play, &play.simulated("fifo")?)?;
        let mut rounds = Vec::new();
        for _ in 0..options.rounds() {
            let fifo = Told::of(&play, &play.on(target, "fifo").await?)?;
            let shared = Told::of(&play, &play.on(target, policy).await?)?;
            let used = (
                shared.used / fifo.used,
                simulated.used / simulated_fifo.used,
            );
            let agrees = shared.agrees(&simulated) && (used.0 - used.1).abs() <= USED;
            let round = Round::new(in_use(&shared), in_use(&fifo))
                .with("light_p99_lengths", shared.p99)
                .with("simulated_light_p99_lengths", simulated.p99)
                .with("light_p50_lengths", shared.p50)
                .with("simulated_light_p50_lengths", simulated.p50)
                .with("jain", shared.jain)
                .with("simulated_jain", simulated.jain)
                .with("heavy_got_to_fair", shared.heavy)
                .with("simulated_heavy_got_to_fair", simulated.heavy)
                .with("fifo_light_p50_lengths", fifo.p50)
                .with("fifo_jain", fifo.jain)
                .with("light_tasks", shared.light_tasks as f64)
                .with("agrees_with_the_simulation", f64::from(u8::from(agrees)));
            rounds.push(round);
        }
        reports.push(Report {
            scenario: options.scenario.name().into(),
            database: target.sort.name(),
            settings: format!("heavy_groups={groups} {}", play.settings(policy)),
            yardstick: "slots in use by FIFO on the same trace",
            rounds,
        });
    }
    Ok(reports)
}

fn in_use(told: &Told) -> Figure {
    Figure::Amount("utilisation", told.used)
}

/// What is told of a play.
struct Told {
    used: f64,
    jain: f64,
    /// Of the light users' waits, in task lengths.
    p50: f64,
    p99: f64,
    light_tasks: usize,
    /// What the heavy user got, to its fair share.
    heavy: f64,
}

impl Told {
    fn of(play: &Play, played: &Played) -> anyhow::Result<Self> {
        let classes = played.outcome.classes();
        let class = |name: &str| -> anyhow::Result<&Class> {
            let class = classes.iter().find(|class| class.name == name);
            class.context("the trace has no such users: ask for more with --seconds")
        };
        let (heavy, light) = (class("heavy")?, class("light")?);
        let lengths = |us: u64| us as f64 / play.length.as_micros() as f64;
        Ok(Self {
            used: played.outcome.utilisation,
            jain: played.outcome.jain,
            p50: lengths(light.waits.p50_us),
            p99: lengths(light.waits.p99_us),
            light_tasks: light.waits.tasks,
            heavy: heavy.ratio.unwrap_or(0.0),
        })
    }

    fn agrees(&self, simulated: &Self) -> bool {
        // What a slot stands empty between two tasks is left out of a simulation, and missing to everybody.
        let heavy = |told: &Self| told.heavy / told.used;
        (self.p99 - simulated.p99).abs() <= WAIT_LENGTHS
            && (self.jain - simulated.jain).abs() <= SHARE
            && (heavy(self) - heavy(simulated)).abs() <= SHARE
    }
}
