//! `cargo xtask test`: everything that has to work, on all databases, from a clean checkout.
//!
//! Everything is built once, in the dev profile with one feature set (all of them), by the first phase; the later ones
//! find it built. On two cores a release build would cost more than the optimised tests would save: what is hot in
//! tests lies in dependencies, which the dev profile optimises.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use peerwork_testbed::target_dir;

use crate::phases::Phases;
use crate::process::{self, cargo};
use crate::programs;
use crate::servers::Servers;
use crate::tools::{self, Runner};

/// CI's budget on two cores, in minutes: what the project keeps to as it grows.
const BUILD_BUDGET: Duration = minutes(6);
/// Conformance 5, the original's behaviours 5, simulation 1, the rest 2.
const TESTS_BUDGET: Duration = minutes(13);
const DOC_TESTS_BUDGET: Duration = minutes(1);
const EXAMPLES_BUDGET: Duration = minutes(1);
const DEMO_BUDGET: Duration = minutes(2);

/// The one feature set that everything is built with: another one would compile the workspace once more.
const EVERYTHING: [&str; 2] = ["--workspace", "--all-features"];

/// Runs all phases; with `filter`, only what is needed for these tests.
pub fn run(filter: &[String]) -> Result<()> {
    let mut phases = Phases::new();
    run_in(&mut phases, filter);
    phases.finish()
}

/// As phases of a longer run.
pub fn run_in(phases: &mut Phases, filter: &[String]) {
    let Some(runner) = phases.run("tools", None, || tools::tests().map(|()| tools::runner()))
    else {
        return;
    };
    if phases.run("build", Some(BUILD_BUDGET), build).is_none() {
        return; // the same errors would be printed by every later phase
    }
    let Some(servers) = phases.run("servers", None, Servers::start) else {
        return;
    };
    phases.run("tests", Some(TESTS_BUDGET), || {
        process::run(servers.tell(&mut tests(runner, filter)))
    });
    if filter.is_empty() {
        let target = target_dir();
        phases.run("doc tests", Some(DOC_TESTS_BUDGET), || {
            process::run(servers.tell(&mut doc_tests()))
        });
        phases.run("examples", Some(EXAMPLES_BUDGET), || {
            programs::run_examples(&target, &servers)
        });
        phases.run("demo", Some(DEMO_BUDGET), || {
            programs::run_demo(&target, &servers)
        });
    }
    // Stopped here, whatever failed or was interrupted above.
    drop(servers);
}

fn build() -> Result<()> {
    process::run(cargo(&["build"]).args(EVERYTHING).args([
        "--lib",
        "--bins",
        "--tests",
        "--examples",
    ]))
}

fn tests(runner: Runner, filter: &[String]) -> Command {
    let mut command = match runner {
        Runner::Nextest => cargo(&["nextest", "run"]),
        // Doc tests have a phase of their own.
        Runner::CargoTest => cargo(&[
            "test",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
        ]),
    };
    command
        .args(EVERYTHING)
        .args(filter)
        .env_remove("PEERWORK_DATABASE_URL");
    command
}

fn doc_tests() -> Command {
    let mut command = cargo(&["test", "--doc"]);
    command.args(EVERYTHING).env_remove("PEERWORK_DATABASE_URL");
    command
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}
