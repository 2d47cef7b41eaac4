//! A short run of real faults on real databases, to its verdict.
//!
//! No time is asserted: on a machine that does other work everything takes as long as it takes.

use std::process::Command;

/// Runs it, and shows what it came to where that is not a pass.
fn passes(database: &str, seed: u64) {
    let output = Command::new(env!("CARGO_BIN_EXE_peerwork-faults"))
        .args(["run", "--json", "--seconds", "25", "--tasks", "600"])
        .args(["--nodes", "4", "--database", database])
        .args(["--seed", &seed.to_string()])
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let verdict = String::from_utf8_lossy(&output.stdout);
    let verdict: serde_json::Value =
        serde_json::from_str(verdict.trim()).unwrap_or_else(|_| panic!("no verdict: {told}"));
    let zero = verdict["must_be_zero"].as_object().expect("counters");
    assert!(
        zero.len() >= 9 && zero.values().all(|count| *count == 0),
        "{told}"
    );
    // What else a run must have met depends on how much a busy machine gets done in so short a time.
    for met in [
        "rescue",
        "drain_hand_over",
        "zombie_write_refused",
        "fault_kill",
    ] {
        assert!(verdict["happened"][met].as_u64() > Some(0), "{met}: {told}");
    }
}

#[test]
fn sqlite_loses_nothing_under_faults() {
    passes("sqlite", 1);
}

#[test]
fn postgres_loses_nothing_under_faults() {
    passes("postgres", 2);
}
