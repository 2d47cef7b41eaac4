//! What the policies promise, played through: shares, waits, and that nobody starves.

use peerwork_core::policy::{Guarded, Misgrant, Policies, Running, Weights};
use peerwork_core::simulate::{Arrival, Class, Cluster, Mix, Outcome, Trace, Workload};
use peerwork_core::{Grant, LaneId, Lanes, Name, Policy};
use proptest::prelude::*;
use std::sync::Arc;

fn policy(text: &str) -> Arc<dyn Policy> {
    Policies::default().find(text).unwrap()
}

fn cluster(nodes: usize) -> Cluster {
    Cluster {
        nodes,
        ..Cluster::default()
    }
}

fn run(workload: Workload, mix: &Mix, nodes: usize, text: &str) -> Outcome {
    let trace = workload.trace(mix);
    cluster(nodes).run(&trace, &workload.weights(), policy(text))
}

fn class(outcome: &Outcome, name: &str) -> Class {
    let mut classes = outcome.classes().into_iter();
    classes.find(|class| class.name == name).unwrap()
}

const LENGTH_US: u64 = 1_000_000;

/// One heavy user and 99 light ones; what light ones do not take is the heavy one's.
fn heavy_light(groups: usize, nodes: usize, text: &str) -> Outcome {
    let mix = Mix {
        tasks: 10_000,
        groups,
        ..Mix::default()
    };
    run(Workload::HeavyLight, &mix, nodes, text)
}

#[test]
fn light_users_wait_for_two_task_lengths_at_most_beside_a_heavy_one() {
    let fifo = heavy_light(1, 1, "fifo");
    let p99 = class(&fifo, "light").waits.p99_us;
    assert!(p99 > 100 * LENGTH_US, "first in, first out: {p99}");
    for (text, nodes) in [
        ("fair", 1),
        ("fair", 3),
        ("weighted-groups", 1),
        ("weighted-groups", 3),
    ] {
        let fair = heavy_light(1, nodes, text);
        let p99 = class(&fair, "light").waits.p99_us;
        assert!(p99 <= 2 * LENGTH_US, "{text} on {nodes}: {p99}");
        assert!(
            fair.utilisation >= 0.98 * fifo.utilisation,
            "{text} on {nodes}: {}",
            fair.utilisation
        );
        assert!(
            fair.jain > 0.9 && fair.jain > fifo.jain,
            "{} {}",
            fair.jain,
            fifo.jain
        );
    }
}

#[test]
fn a_heavy_user_gains_nothing_by_spreading_over_fifty_groups() {
    for text in ["weighted-groups", "fair"] {
        let [one, fifty] = [1, 50].map(|groups| heavy_light(groups, 1, text));
        let [got, spread] = [&one, &fifty].map(|outcome| class(outcome, "heavy").ratio.unwrap());
        assert!((got - spread).abs() < 0.01, "{text}: {got}, {spread}");
        let [p99, spread] = [&one, &fifty].map(|outcome| class(outcome, "light").waits.p99_us);
        assert!(spread <= p99 + LENGTH_US / 4, "{text}: {p99}, {spread}");
    }
}

#[test]
fn weights_of_one_two_and_four_give_shares_within_five_per_cent() {
    let mix = Mix {
        tasks: 12_000,
        ..Mix::default()
    };
    for text in ["fair", "weighted-groups"] {
        for nodes in [1, 3] {
            let outcome = run(Workload::Weights, &mix, nodes, text);
            for user in &outcome.users {
                let ratio = user.ratio().unwrap();
                assert!(
                    (0.95..1.05).contains(&ratio),
                    "{text} on {nodes}, {}: {ratio}",
                    user.user
                );
            }
        }
    }
}

/// More urgent tasks than the slots can do, and less urgent ones in the same lane.
fn overload() -> Trace {
    let trace = Workload::Priorities.trace(&Mix {
        tasks: 6_000,
        slots: 14,
        ..Mix::default()
    });
    let until = trace.until_us;
    let one_lane = |arrival: &Arrival| Arrival {
        user: Name::default(),
        ..arrival.clone()
    };
    let mut trace = Trace::new(trace.arrivals().iter().map(one_lane).collect());
    trace.until_us = until;
    trace
}

/// When each task began or, if it has not, the end.
fn starts(trace: &Trace, outcome: &Outcome) -> Vec<u64> {
    let waits = outcome.waits.iter().map(|(_, wait)| *wait);
    trace
        .arrivals()
        .iter()
        .zip(waits)
        .map(|(arrival, wait)| arrival.at_us + wait)
        .collect()
}

#[test]
fn with_ageing_a_task_begins_before_any_that_comes_its_steps_later() {
    const STEP_US: u64 = 10_000_000;
    let trace = overload();
    let small = |nodes| Cluster {
        slots: 12,
        ..cluster(nodes)
    };
    let strict = small(1).run(&trace, &Weights::new(), policy("fifo"));
    let longest = |outcome: &Outcome, priority| {
        let tasks = trace.arrivals().iter().zip(&outcome.waits);
        let waits = tasks.filter(|(arrival, _)| arrival.priority == priority);
        waits.map(|(_, (_, wait))| *wait).max().unwrap()
    };
    let end = strict.end_us;
    assert!(
        longest(&strict, 3) > end * 9 / 10,
        "it starves without ageing"
    );
    for (nodes, late_us) in [(1, 0), (3, 1_000_000)] {
        let aged = small(nodes).run(&trace, &Weights::new(), policy("priority-ageing=10s"));
        let starts = starts(&trace, &aged);
        // The earliest start of an urgent task that came at or after each point.
        let mut earliest = u64::MAX;
        let mut urgent: Vec<(u64, u64)> = Vec::new();
        for (arrival, start) in trace.arrivals().iter().zip(&starts).rev() {
            if arrival.priority == 0 {
                earliest = earliest.min(*start);
                urgent.push((arrival.at_us, earliest));
            }
        }
        urgent.reverse();
        let mut checked = 0;
        for (arrival, start) in trace.arrivals().iter().zip(&starts) {
            let steps = u64::try_from(arrival.priority).unwrap() + 1;
            let from = arrival.at_us + steps * STEP_US + late_us;
            let later = urgent.partition_point(|(at, _)| *at < from);
            if let Some((_, other)) = urgent.get(later) {
                assert!(
                    start <= &(other + late_us),
                    "{arrival:?} begins at {start}, after {other}"
                );
                checked += 1;
            }
        }
        assert!(checked > 4_000, "{checked}");
        assert!(longest(&aged, 3) < end / 2, "{}", longest(&aged, 3));
    }
}

/// Does what it was made with, whatever the lanes are.
struct Bad(fn(&Lanes<'_>, usize) -> Vec<Grant>);

impl Policy for Bad {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        (self.0)(lanes, free)
    }
}

#[test]
fn a_bad_policy_is_told_and_all_tasks_run() {
    let trace = Workload::ManyUsers.trace(&Mix {
        tasks: 300,
        ..Mix::default()
    });
    type Wrong = fn(&Misgrant) -> bool;
    let bad: [(Bad, Wrong); 4] = [
        (Bad(|_, _| panic!("no idea")), |wrong| {
            matches!(wrong, Misgrant::Panicked(_))
        }),
        (
            Bad(|lanes, _| {
                vec![Grant {
                    lane: lanes[0].lane,
                    tasks: usize::MAX,
                }]
            }),
            |wrong| matches!(wrong, Misgrant::TooMuch { .. }),
        ),
        (
            Bad(|_, free| {
                vec![Grant {
                    lane: LaneId(Default::default()),
                    tasks: free,
                }]
            }),
            |wrong| matches!(wrong, Misgrant::NoSuchLane(_)),
        ),
        (
            Bad(|lanes, _| {
                vec![
                    Grant {
                        lane: lanes[0].lane,
                        tasks: 1
                    };
                    2
                ]
            }),
            |wrong| matches!(wrong, Misgrant::Twice(_)),
        ),
    ];
    for (policy, is_told) in bad {
        let outcome = cluster(2).run(&trace, &Weights::new(), Arc::new(policy));
        assert!(outcome.mistaken > 0 && outcome.mistakes.len() <= Outcome::MISTAKES_KEPT_MAX);
        assert!(
            outcome.mistakes.iter().all(is_told),
            "{:?}",
            outcome.mistakes
        );
        let (got, work) = totals(&outcome);
        assert_eq!(got, work, "all of them have run");
    }
}

#[test]
fn a_policy_that_wants_nothing_leaves_all_tasks_waiting() {
    let trace = Workload::ManyUsers.trace(&Mix {
        tasks: 50,
        ..Mix::default()
    });
    let nothing = Arc::new(Bad(|_, _| Vec::new()));
    let outcome = cluster(1).run(&trace, &Weights::new(), nothing);
    assert_eq!((outcome.utilisation, outcome.mistaken), (0.0, 0));
    assert_eq!(outcome.waits.len(), 50);
}

fn totals(outcome: &Outcome) -> (u64, u64) {
    let got: f64 = outcome.users.iter().map(|user| user.got_us).sum();
    (
        got as u64,
        outcome.users.iter().map(|user| user.work_us).sum(),
    )
}

#[test]
fn a_guarded_policy_tells_its_name_and_its_needs() {
    let guarded = Guarded::new(policy("fair"));
    assert_eq!(guarded.name(), "fair");
    assert!(guarded.needs().running && !guarded.needs().heads_by_rank);
    assert_eq!(Running::new().total(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_slot_is_free_beside_a_waiting_task_and_every_task_runs_once(
        tasks in prop::collection::vec((0..5_000u64, 0..5u8, 0..3u8, -2..3i16, 1..900u64), 1..80),
        text in prop::sample::select(vec!["fifo", "fair", "weighted-groups", "priority-ageing=1ms"]),
        slots in 1..6usize,
        nodes in 1..4usize,
        seed: u64,
    ) {
        let name = |n: u8| Name::new("name", &n.to_string()).unwrap();
        let tasks = tasks.into_iter().map(|(at_us, user, group, priority, length_us)| Arrival {
            at_us,
            user: name(user),
            group: name(group),
            priority,
            length_us,
        });
        let trace = Trace::new(tasks.collect());
        for snapshot_age_ms in [0, 1] {
            let cluster = Cluster { slots, nodes, snapshot_age_ms, seed };
            let outcome = cluster.run(&trace, &Weights::new(), policy(text));
            let (got, work) = totals(&outcome);
            prop_assert_eq!(got, work);
            prop_assert_eq!(outcome.waits.len(), trace.arrivals().len());
            prop_assert_eq!(outcome.mistaken, 0);
            prop_assert!(outcome.utilisation > 1.0 - 1e-9, "{}", outcome.utilisation);
        }
    }
}
