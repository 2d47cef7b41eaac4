//! `simulate`: policies are compared without a database.

mod kit;

use kit::{Ran, peerwork};
use peerwork::{Grant, Lanes, Policy};
use peerwork_cli::{Exit, Host, run};
use std::ffi::OsString;

fn simulate(words: &[&str]) -> Ran {
    let mut command = peerwork();
    command.arg("simulate").args(words).output().unwrap().into()
}

const SMALL: [&str; 4] = ["--tasks", "1500", "--length-ms", "500"];

#[test]
fn policies_are_compared_in_one_table_and_the_seed_repeats_it() {
    let ran = simulate(&SMALL);
    ran.assert_done();
    assert_eq!(ran.out, simulate(&SMALL).out);
    let lines = ran.lines();
    assert!(
        lines[0].starts_with("POLICY") && lines[0].contains("JAIN"),
        "{ran:?}"
    );
    for policy in ["fifo", "fair", "weighted-groups"] {
        assert!(lines.iter().any(|line| line.starts_with(policy)), "{ran:?}");
    }
    // Each with all, heavy and light users.
    assert_eq!(lines.len(), 1 + 3 * 3, "{ran:?}");
    assert!(ran.err.contains("users; 16 slots on 1 node(s)"), "{ran:?}");
}

#[test]
fn json_has_jains_index_utilisation_and_waits_of_each_policy() {
    let words = ["--policy", "fifo", "--policy", "fair", "--json"];
    let ran = simulate(&[&SMALL[..], &words].concat());
    let lines = ran.assert_done().json();
    let [fifo, fair] = &lines[..] else {
        panic!("{ran:?}");
    };
    let jain = |line: &serde_json::Value| line["jain"].as_f64().unwrap();
    assert!(jain(fair) > jain(fifo), "{ran:?}");
    assert!(fair["utilisation"].as_f64().unwrap() > 0.98);
    let p99 = |line: &serde_json::Value| {
        let mut classes = line["waits"].as_array().unwrap().iter();
        let light = classes.find(|class| class["class"] == "light").unwrap();
        light["p99_ms"].as_f64().unwrap()
    };
    assert!(p99(fair) <= 1_000.0 && p99(fifo) > 5_000.0, "{ran:?}");
    assert_eq!(ran.err, "", "nothing beside JSON");
}

#[test]
fn a_recorded_trace_is_played_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, svg) = (folder.path().join("trace"), folder.path().join("plot.svg"));
    let ann = r#"{"at_ms":0,"user":"ann","length_ms":1000}"#;
    let bob = r#"{"at_ms":100,"user":"bob","group":"g","length_ms":1000}"#;
    std::fs::write(&trace, [ann, ann, ann, bob].join("\n")).unwrap();
    let (trace, svg) = (trace.to_str().unwrap(), svg.to_str().unwrap());
    let words = [
        "--trace", trace, "--svg", svg, "--slots", "1", "--policy", "fair", "--json",
    ];
    let ran = simulate(&words);
    let lines = ran.assert_done().json();
    let waits = lines[0]["waits"].as_array().unwrap();
    let bob = waits.iter().find(|class| class["class"] == "bob").unwrap();
    assert_eq!(bob["p50_ms"], 900.0, "after the first of ann's: {ran:?}");
    let plot = std::fs::read_to_string(svg).unwrap();
    assert!(
        plot.starts_with("<svg ") && plot.contains("fair (Jain "),
        "{plot}"
    );
}

#[test]
fn weights_change_shares() {
    let words = [
        "--workload",
        "weights",
        "--tasks",
        "3000",
        "--policy",
        "fair",
        "--json",
    ];
    let got = |more: &[&str]| {
        let ran = simulate(&[&words[..], more].concat());
        let lines = ran.assert_done().json();
        let waits = lines[0]["waits"].as_array().unwrap().clone();
        let four = waits
            .iter()
            .find(|class| class["class"] == "weight 4")
            .unwrap();
        four["tasks"].as_u64().unwrap() as f64 * four["p50_ms"].as_f64().unwrap()
    };
    let more = got(&["--weight", "user:weight 4=9", "--weight", "group:x=2"]);
    assert!(more < got(&[]), "it waits for less");
}

#[test]
fn what_cannot_be_simulated_is_said_with_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    std::fs::write(&trace, "{\"at_ms\":0,\"length_ms\":1}\n{\"at_ms\":0}\n").unwrap();
    let trace = trace.to_str().unwrap();
    simulate(&["--policy", "fare"]).assert_error(2, "do:  use one of fifo, fair,");
    simulate(&["--policy", "priority-ageing=1x"]).assert_error(2, "60s");
    simulate(&["--trace", "/absent"]).assert_error(2, "/absent");
    simulate(&["--trace", trace]).assert_error(2, "line 2 of the trace");
    simulate(&["--trace", trace, "--workload", "weights"]).assert_error(2, "--trace");
    simulate(&["--workload", "calm"]).assert_error(2, "heavy-light");
    simulate(&["--slots", "0"]).assert_error(2, "--slots");
    for weight in ["ann=2", "user:ann", "user:ann=0", "kind:x=2"] {
        simulate(&["--weight", weight]).assert_error(2, "user:NAME=WEIGHT");
    }
    let mut no_place = SMALL.to_vec();
    no_place.extend(["--svg", "/absent/plot.svg"]);
    let ran = simulate(&no_place);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("/absent/plot.svg"), "{ran:?}");
}

/// Always the lane that is shown last.
struct Last;

impl Policy for Last {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let grant = |lane: &peerwork::LaneView| Grant {
            lane: lane.lane,
            tasks: free,
        };
        lanes.last().map(grant).into_iter().collect()
    }
}

#[tokio::test]
async fn a_service_compares_a_policy_of_its_own() {
    let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
    let host = || Host::new("films peerwork").policy("last", Last);
    let done = run(words("simulate --policy last --tasks 200"), host()).await;
    assert_eq!(done, Exit::Done);
    let unknown = run(words("simulate --policy lst --tasks 200"), host()).await;
    assert_eq!(unknown, Exit::Usage);
}
