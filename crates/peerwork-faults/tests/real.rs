//! Short runs of real faults on real databases, to their verdicts.
//!
//! Only faults that are soon over, each of which must have happened. No time is asserted: on a machine that does other work
//! everything takes as long as it takes. Long outages, full disks and wedged runtimes are for `cargo xtask faults`.

use std::process::Command;

/// What is the same everywhere.
const EVERYWHERE: &str = "kill,freeze,drain,aborts,pool_exhausted,report_storm,\
     kill_at_cleaning,kill_at_pausing,kill_at_deleting_run";
/// What a server and its network add.
const SERVERS: &str = "connections_killed,database_killed,swallow_commits,latency";

/// Runs it, and shows what it came to where that is not a pass.
fn passes(database: &str, seed: u64, only: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_peerwork-faults"))
        .args(["run", "--json", "--seconds", "12", "--tasks", "400"])
        .args(["--nodes", "4", "--database", database, "--only", only])
        .args(["--seed", &seed.to_string()])
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let verdict = String::from_utf8_lossy(&output.stdout);
    let verdict: serde_json::Value =
        serde_json::from_str(verdict.trim()).unwrap_or_else(|_| panic!("no verdict: {told}"));
    let zero = verdict["must_be_zero"].as_object().expect("counters");
    assert!(
        zero.len() >= 10 && zero.values().all(|count| *count == 0),
        "{told}"
    );
    let must = verdict["must_have_happened"].as_array().expect("names");
    assert!(must.len() >= 14, "{told}");
    let missed = verdict["missed"].as_array().expect("names");
    // Which commits lose their answers, whether a gate comes while what it would stop still runs, and a kill while a deletion is under
    // way, depends on how much a busy machine gets done in so short a time.
    let by_chance = [
        "ambiguous_claim",
        "ambiguous_finish",
        "stopped_by_a_gate",
        "rescue_while_deleting",
        "rescue_while_pausing",
    ];
    let is_missed = |what: &&serde_json::Value| !by_chance.contains(&what.as_str().unwrap_or(""));
    assert_eq!(missed.iter().find(is_missed), None, "{told}");
}

#[test]
fn sqlite_loses_nothing_under_faults() {
    passes("sqlite", 1, EVERYWHERE);
}

#[test]
fn postgres_loses_nothing_under_faults() {
    passes("postgres", 2, &format!("{EVERYWHERE},{SERVERS}"));
}

#[test]
fn mariadb_loses_nothing_under_faults() {
    passes("mysql", 3, &format!("{EVERYWHERE},{SERVERS}"));
}
