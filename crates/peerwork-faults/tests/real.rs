//! Short runs of real faults on real databases, to their verdicts.
//!
//! Only faults that are soon over, each of which must have happened in one of a few runs. No time is asserted: on a machine that does other work
//! everything takes as long as it takes. Long outages, full disks and wedged runtimes are for `cargo xtask faults`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What is the same everywhere.
const EVERYWHERE: &str = "kill,freeze,drain,aborts,pool_exhausted,report_storm,\
     kill_at_cleaning,kill_at_pausing,kill_at_deleting_run";
/// What a server and its network add.
const SERVERS: &str = "connections_killed,database_killed,swallow_commits,latency";

/// So many short runs must between them have met everything: what still runs when a node is killed depends on how much a busy machine
/// gets done in so short a time.
const RUNS: u64 = 5;
/// What even that leaves to chance: whether a claim or an end is among the commits whose answers are lost, and whether a kill comes
/// just then. `cargo xtask faults` goes on for long enough.
const BY_CHANCE: [&str; 4] = [
    "ambiguous_claim",
    "ambiguous_finish",
    "rescue_while_deleting",
    "rescue_while_pausing",
];

/// Runs it, each time from another seed, until everything has happened that must happen. No promise may be broken in any of them.
fn passes(database: &str, seed: u64, only: &str) {
    let mut missed: Option<BTreeSet<String>> = None;
    // A run that meets too little leaves its histories, as one does that breaks a promise: these alone are of interest.
    let mut folder = tempfile::tempdir().expect("a folder for what runs leave");
    // As any temporary folder: a server is another user than the one who starts it.
    let everybodys = std::fs::Permissions::from_mode(0o1777);
    std::fs::set_permissions(folder.path(), everybodys).expect("a folder of everybody's");
    folder.disable_cleanup(true);
    for run in 0..RUNS {
        let (verdict, told) = run_once(database, seed + 10 * run, only, folder.path());
        let zero = verdict["must_be_zero"].as_object().expect("counters");
        assert!(
            zero.len() >= 10 && zero.values().all(|count| *count == 0),
            "{told}"
        );
        assert!(names(&verdict["must_have_happened"]).len() >= 14, "{told}");
        let mut missed_here = names(&verdict["missed"]);
        missed_here.retain(|what| !BY_CHANCE.contains(&what.as_str()));
        if let Some(before) = &missed {
            missed_here.retain(|what| before.contains(what));
        }
        if missed_here.is_empty() {
            folder.disable_cleanup(false);
            return;
        }
        eprintln!("run {run} did not get to {missed_here:?}: {told}");
        missed = Some(missed_here);
    }
    panic!("in none of {RUNS} runs happened {missed:?}");
}

/// The verdict on one run, and what was said of it.
fn run_once(database: &str, seed: u64, only: &str, folder: &Path) -> (serde_json::Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_peerwork-faults"))
        .args(["run", "--json", "--seconds", "12", "--tasks", "400"])
        .args(["--nodes", "4", "--database", database, "--only", only])
        .args(["--seed", &seed.to_string()])
        .env("TMPDIR", folder)
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let verdict = String::from_utf8_lossy(&output.stdout);
    let verdict =
        serde_json::from_str(verdict.trim()).unwrap_or_else(|_| panic!("no verdict: {told}"));
    (verdict, told)
}

fn names(list: &serde_json::Value) -> BTreeSet<String> {
    let names = list.as_array().expect("names").iter();
    names
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
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
