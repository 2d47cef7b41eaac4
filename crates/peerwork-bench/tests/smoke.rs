//! Every scenario, tiny, on every database: it runs to its end and reports whole lines. Whatever the figures are.

use serde_json::Value;
use std::process::Command;

/// Each with sizes that take moments.
const SCENARIOS: [&str; 17] = [
    "floor --tasks 40",
    "drain --tasks 40",
    "drain --tasks 40 --nodes 2",
    "create --tasks 20",
    "create-concurrent --tasks 100",
    "create-many --tasks 100",
    "create-in-transaction --tasks 20",
    "pickup --tasks 5",
    "pickup --tasks 5 --from-process",
    "checkpoint --tasks 10",
    "steer --tasks 10",
    "backlog --tasks 50 --backlog 30",
    "blocked --tasks 50 --backlog 30",
    "idle",
    "start --tasks 50",
    "starts --tasks 100 --nodes 2",
    "cost --tasks 50",
];

/// The same of who goes next.
const SHARING: [&str; 7] = [
    "fair --tasks 2000 --slots 2 --length-ms 5",
    "fair --tasks 2000 --slots 4 --length-ms 5 --nodes 2 --from-process",
    "weights --tasks 2000 --slots 4 --length-ms 5",
    "ageing --slots 2 --length-ms 5",
    "lanes --tasks 60 --lanes 10",
    "lanes-claim --tasks 5 --lanes 100 --slots 2",
    "lanes-full --tasks 50 --lanes 5 --backlog 30",
];

fn run(scenario: &str, url: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_peerwork-bench"))
        .args(scenario.split(' '))
        .args([
            "--database-url",
            url,
            "--rounds",
            "1",
            "--seconds",
            "1",
            "--json",
        ])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario} on {url}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn check(scenarios: &[&str], url: &str, database: &str) {
    for scenario in scenarios {
        let lines = run(scenario, url);
        assert!(!lines.is_empty(), "{scenario} says nothing");
        for line in lines {
            let name = line["scenario"].as_str().unwrap();
            assert!(
                scenario.starts_with(name.split("-claim").next().unwrap()),
                "{line}"
            );
            assert_eq!(line["database"], database);
            assert!(
                line["settings"].is_string() && line["yardstick"]["is"].is_string(),
                "{line}"
            );
            assert!(line["ratio"].as_f64().unwrap() > 0.0, "{line}");
        }
    }
}

#[test]
fn every_scenario_reports_a_ratio_on_sqlite() {
    check_on_sqlite(&SCENARIOS);
}

#[test]
fn every_scenario_of_sharing_reports_a_ratio_on_sqlite() {
    check_on_sqlite(&SHARING);
}

fn check_on_sqlite(scenarios: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("bench.db").display());
    check(scenarios, &url, "sqlite");
    assert_eq!(
        directory.path().read_dir().unwrap().count(),
        0,
        "what it made is gone"
    );
}

#[test]
fn every_scenario_reports_a_ratio_on_postgres() {
    check(&SCENARIOS, &peerwork_testbed::postgres_url(), "postgres");
}

#[test]
fn every_scenario_of_sharing_reports_a_ratio_on_postgres() {
    check(&SHARING, &peerwork_testbed::postgres_url(), "postgres");
}

#[test]
fn a_held_snapshot_is_measured_on_postgres_and_nowhere_else() {
    let lines = run("bloat", &peerwork_testbed::postgres_url());
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line["dead_tuples"].as_f64().is_some()),
        "{lines:?}"
    );
    assert!(run("bloat", "sqlite:unused.db").is_empty());
}

#[test]
fn every_scenario_reports_a_ratio_on_mariadb() {
    check(&SCENARIOS, &peerwork_testbed::mysql_url(), "mysql");
}

#[test]
fn every_scenario_of_sharing_reports_a_ratio_on_mariadb() {
    check(&SHARING, &peerwork_testbed::mysql_url(), "mysql");
}
