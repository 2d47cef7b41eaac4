//! `ageing`: more work than the slots can do, nine tenths of it urgent, under strict priority with ageing: how much longer the less
//! urgent tasks wait than the urgent ones, beside the bound that docs/policies.md states. Once with a user for each priority, so in
//! several lanes, and once with one user for all, in one lane; beside it FIFO and the simulation.
//!
//! The bound: a task waits at most p steps longer than the most urgent task that comes p steps after it, and one step more where
//! several slots are granted at once over several lanes.

use crate::figures::Figure;
use crate::options::Options;
use crate::play::{Play, Played, micros};
use crate::report::{Report, Round};
use crate::target::Target;
use peerwork::policy::Weights;
use peerwork::simulate::{Arrival, Mix, Trace, Workload};
use peerwork::{Name, simulate::Waits};
use std::time::Duration;

/// Of ageing, in task lengths.
const STEP_LENGTHS: u32 = 10;

/// The least urgent tasks of the workload; the most urgent are of priority 0.
const LAST: i16 = 3;

/// What several slots granted at once may add.
const MORE_STEPS: f64 = 1.0;

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for lanes in [4, 1] {
        let play = Play::until(trace(options, lanes)?, options, Weights::new());
        let step = play.length * STEP_LENGTHS;
        let policy = format!("priority-ageing={}ms", step.as_millis());
        let simulated = Waited::of(&play.simulated(&policy)?, step);
        let mut rounds = Vec::new();
        for _ in 0..options.rounds() {
            let fifo = Waited::of(&play.on(target, "fifo").await?, step);
            let ageing = Waited::of(&play.on(target, &policy).await?, step);
            let bound = Figure::Amount("steps", f64::from(LAST) + MORE_STEPS);
            let is_kept = ageing.beyond <= MORE_STEPS;
            let round = Round::new(Figure::Amount("steps", ageing.longer), bound)
                .with("simulated_steps", simulated.longer)
                .with("fifo_steps", fifo.longer)
                .with("beyond_the_rule_steps", ageing.beyond)
                .with("simulated_beyond_the_rule_steps", simulated.beyond)
                .with("urgent_p99_steps", ageing.urgent_p99)
                .with("least_urgent_p99_steps", ageing.last_p99)
                .with("fifo_least_urgent_p99_steps", fifo.last_p99)
                .with("within_the_bound", f64::from(u8::from(is_kept)));
            rounds.push(round);
        }
        reports.push(Report {
            scenario: options.scenario.name().into(),
            database: target.sort.name(),
            settings: format!("lanes={lanes} {}", play.settings(&policy)),
            yardstick: "the bound for the least urgent: 3 steps and one more",
            rounds,
        });
    }
    Ok(reports)
}

/// More than the slots can do, for as long as it is asked; of one user, or of one for each priority.
fn trace(options: &Options, lanes: usize) -> anyhow::Result<Trace> {
    let (time_ms, length_ms) = (options.time().as_millis() as u64, options.length_ms());
    // As many as all slots can do in twice the time.
    let tasks = 2 * options.slots() as u64 * time_ms / length_ms;
    let mix = Mix {
        slots: options.slots(),
        tasks: usize::try_from(tasks)?,
        length_ms,
        ..Mix::default()
    };
    let trace = Workload::Priorities.trace(&mix);
    if lanes > 1 {
        return Ok(trace);
    }
    let user = Name::new("user", "everybody")?;
    let arrivals = trace.arrivals().iter().map(|arrival| Arrival {
        user: user.clone(),
        ..arrival.clone()
    });
    Ok(Trace::new(arrivals.collect()))
}

/// How long tasks waited, in steps of ageing.
#[derive(Debug, PartialEq)]
struct Waited {
    /// The most that one of the least urgent tasks waited longer than an urgent one that came so many steps after it as it is less urgent.
    longer: f64,
    /// The most by which such a difference exceeded these steps, at any priority.
    beyond: f64,
    urgent_p99: f64,
    last_p99: f64,
}

impl Waited {
    fn of(played: &Played, step: Duration) -> Self {
        let end_us = played.trace.until_us.unwrap_or(0);
        let step_us = micros(step).max(1);
        let started = |n: usize| played.ran[n].map_or(end_us, |ran| ran.from_us);
        let tasks: Vec<(&Arrival, u64)> = played
            .trace
            .arrivals()
            .iter()
            .enumerate()
            .map(|(n, arrival)| (arrival, started(n).max(arrival.at_us)))
            .collect();
        let mut urgent: Vec<(u64, u64)> = tasks
            .iter()
            .filter(|(arrival, _)| arrival.priority == 0)
            .map(|(arrival, from_us)| (arrival.at_us, *from_us))
            .collect();
        // Of an urgent task and all that came after it, when the first one started.
        let mut first_us = u64::MAX;
        for (_, from_us) in urgent.iter_mut().rev() {
            first_us = first_us.min(*from_us);
            *from_us = first_us;
        }
        let (mut longer, mut beyond) = (0.0_f64, f64::NEG_INFINITY);
        for (arrival, from_us) in &tasks {
            let Ok(priority @ 1..) = u64::try_from(arrival.priority) else {
                continue;
            };
            let later_us = arrival.at_us + priority * step_us;
            let next = urgent.partition_point(|(at_us, _)| *at_us < later_us);
            let Some((_, urgent_us)) = urgent.get(next) else {
                continue;
            };
            let over = (*from_us as f64 - *urgent_us as f64) / step_us as f64;
            beyond = beyond.max(over);
            if arrival.priority == LAST {
                longer = longer.max(priority as f64 + over);
            }
        }
        let p99 = |priority: i16| {
            let of_it = tasks.iter().filter(|(a, _)| a.priority == priority);
            let mut waits: Vec<_> = of_it.map(|(a, from_us)| from_us - a.at_us).collect();
            waits.sort_unstable();
            Waits::of(&waits).p99_us as f64 / step_us as f64
        };
        Self {
            longer,
            beyond: if beyond.is_finite() { beyond } else { 0.0 },
            urgent_p99: p99(0),
            last_p99: p99(LAST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerwork::simulate::{Outcome, Ran};

    #[test]
    fn a_task_is_compared_with_the_first_urgent_one_among_those_that_come_p_steps_later() {
        const STEP: Duration = Duration::from_micros(100);
        let task = |at_us, priority| Arrival {
            at_us,
            user: Name::default(),
            group: Name::default(),
            priority,
            length_us: 1,
        };
        let ran = |from_us| {
            Some(Ran {
                from_us,
                to_us: None,
            })
        };
        // The first two urgent ones come too early to be compared with; the last one starts before the one that came before it.
        let tasks = [
            (task(0, 3), ran(520)),
            (task(10, 0), ran(10)),
            (task(299, 0), ran(300)),
            (task(300, 0), ran(500)),
            (task(310, 0), ran(470)),
            (task(900, 3), None),
        ];
        let (arrivals, ran): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        let mut trace = Trace::new(arrivals);
        trace.until_us = Some(1_000);
        let played = Played {
            outcome: Outcome::observed(&trace, &Weights::new(), 1, &ran),
            trace,
            ran,
        };
        let waited = Waited::of(&played, STEP);
        assert_eq!((waited.longer, waited.beyond), (3.5, 0.5));
        assert_eq!((waited.urgent_p99, waited.last_p99), (2.0, 5.2));
    }
}
