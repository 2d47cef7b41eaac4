//! Three hundred simulated clusters, each run twice.

use peerwork_faults::sim::{Plan, crash_points};
use std::collections::BTreeMap;

/// Seeds of one test; several tests, so that they run side by side.
const SEEDS: u64 = 75;

fn simulate(from: u64) {
    let mut happened: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in from..from + SEEDS {
        let plan = Plan::of_seed(seed);
        let report = plan.run();
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {:#?}",
            report.violations
        );
        assert_eq!(
            report.trace,
            plan.run().trace,
            "seed {seed} has two histories"
        );
        for (what, times) in report.happened {
            *happened.entry(what).or_default() += times;
        }
    }
    // A simulation in which a fault never happened has shown nothing about it.
    for what in [
        "crash",
        "crash in a call",
        "freeze",
        "clock jump",
        "outage",
        "restored",
        "conflict",
        "read only",
        "hint lost",
        "hint doubled",
        "hint late",
        "save refused",
        "drain",
        "cut off",
        "declared dead",
        "rescue",
        "failed before",
        "failed after",
        "stalled",
        "told to stop",
        "end refused",
        "failed",
        "panicked",
        "cleanup failed",
        "paused",
        "resumed",
        "moved",
        "deleted",
        "limit set",
        "limit reached",
        "limit per node set",
        "rate set",
        "gate closed",
        "gate opened",
        "told by a gate",
        "eager start",
        "setting cleared",
    ] {
        assert!(
            happened.get(what).is_some_and(|times| *times > 0),
            "{what:?} never happened: {happened:?}"
        );
    }
}

#[test]
fn seeds_from_0_break_no_promise() {
    simulate(0);
}

#[test]
fn seeds_from_75_break_no_promise() {
    simulate(75);
}

#[test]
fn seeds_from_150_break_no_promise() {
    simulate(150);
}

#[test]
fn seeds_from_225_break_no_promise() {
    simulate(225);
}

#[test]
fn a_crash_at_any_store_call_before_and_after_it_is_carried_out_loses_nothing() {
    let points = crash_points(1);
    for (point, report) in &points {
        assert!(
            report.violations.is_empty(),
            "{point:?}: {:#?}",
            report.violations
        );
    }
    println!("{} crash points", points.len());
    assert!(points.len() > 60, "only {} crash points", points.len());
}
