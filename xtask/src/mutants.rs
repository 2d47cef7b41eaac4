//! `cargo xtask mutants`: plants bugs in a copy of the checkout, one at a time, and looks whether the simulation finds each.
//!
//! It builds once for every bug, so it is no part of `cargo xtask test`; that only tests that every bug can still be planted.
//!
//! *Not here:* the bugs (`table`), the simulation and what it checks (`crates/peerwork-faults/src/sim`).

mod scratch;
mod table;
mod verdict;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use peerwork_testbed::target_dir;

use crate::interrupt;
use crate::process::run_bounded;
use scratch::Scratch;
use table::{MUTANTS, Mutant};
use verdict::Violation;

/// As many as `crates/peerwork-faults/tests/simulation.rs` runs: what passes there unnoticed is not caught.
const SEEDS: u64 = 300;
/// The dependencies too, the first time.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Many times what all seeds take: a bug may make the simulation turn on the spot.
const SIMULATION_LIMIT: Duration = Duration::from_secs(10 * 60);

/// Bugs to plant.
#[derive(Debug, Args)]
pub struct MutantsArgs {
    /// Plants this bug and no other; may be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// Prints how each bug was caught; an error if one was not.
pub fn run(args: &MutantsArgs) -> Result<()> {
    let mutants = chosen(&args.only)?;
    let scratch = Scratch::new(&crate::root(), &target_dir().join("mutants"))?;
    for mutant in &mutants {
        // Before anything is built.
        mutant.planted(&scratch.read(mutant.file)?)?;
    }
    print_now(format_args!("{:<28}", "(no bug)"));
    let started = Instant::now();
    simulate_unmutated(&scratch)?;
    println!(
        "{SEEDS} seeds pass  {:.0} s",
        started.elapsed().as_secs_f64()
    );

    let mut caught = 0;
    for mutant in &mutants {
        print_now(format_args!("{:<28}", mutant.name));
        let started = Instant::now();
        let verdict = judge(&scratch, mutant)?;
        caught += usize::from(verdict.is_ok());
        let words = verdict.unwrap_or_else(|why| format!("NOT CAUGHT that {}: {why}", mutant.bug));
        println!("{words}  {:.0} s", started.elapsed().as_secs_f64());
    }
    println!("caught {caught} of {}", mutants.len());
    if caught < mutants.len() {
        bail!(
            "the simulation is blind to a bug; what it printed is in {}",
            scratch.folder().display()
        );
    }
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Mutant>> {
    if only.is_empty() {
        return Ok(MUTANTS.iter().collect());
    }
    let by_name = |name: &String| {
        let found = MUTANTS.iter().find(|mutant| mutant.name == name);
        found.with_context(|| {
            let names: Vec<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
            format!("there is no mutant {name}; there are {}", names.join(", "))
        })
    };
    only.iter().map(by_name).collect()
}

/// A simulation that fails by itself would catch everything.
fn simulate_unmutated(scratch: &Scratch) -> Result<()> {
    build(scratch, "no-bug")?;
    let (ended, _) = simulate(scratch, "no-bug")?;
    ended.context("the simulation fails without any bug; mend that first")
}

/// How the bug was caught, or else why not.
fn judge(scratch: &Scratch, mutant: &Mutant) -> Result<Result<String, String>> {
    let text = scratch.read(mutant.file)?;
    scratch.write(mutant.file, &mutant.planted(&text)?)?;
    let simulated = build(scratch, mutant.name).and_then(|()| simulate(scratch, mutant.name));
    scratch.write(mutant.file, &text)?;
    let (ended, violations) = simulated.with_context(|| format!("mutant {}", mutant.name))?;
    Ok(
        verdict::of(&violations, mutant.breaks).ok_or_else(|| match ended {
            Ok(()) => format!("{SEEDS} seeds pass"),
            // A hang or a panic is no finding: nobody could tell which promise was broken.
            Err(error) => format!("no violation was reported: {error:#}"),
        }),
    )
}

fn build(scratch: &Scratch, name: &str) -> Result<()> {
    let log = scratch.folder().join(format!("{name}.build.log"));
    let mut command = scratch.cargo("build");
    command.args(["--package", "peerwork-faults", "--bins"]);
    run_bounded(&mut command, BUILD_LIMIT, &log)
        .with_context(|| format!("does not compile; see {}", log.display()))
}

/// How the simulation ended, and what it found.
fn simulate(scratch: &Scratch, name: &str) -> Result<(Result<()>, Vec<Violation>)> {
    let log = scratch.folder().join(format!("{name}.log"));
    let mut command = scratch.cargo("run");
    command.args(["--package", "peerwork-faults", "--", "simulate"]);
    command.args(["--seeds", &SEEDS.to_string()]);
    let ended = run_bounded(&mut command, SIMULATION_LIMIT, &log);
    if interrupt::requested() {
        bail!("interrupted");
    }
    let output =
        std::fs::read_to_string(&log).with_context(|| format!("read {}", log.display()))?;
    Ok((ended, verdict::violations(&output)))
}

fn print_now(words: std::fmt::Arguments) {
    print!("{words}");
    // Builds take a while, and the line is not over yet. Without a terminal it comes a little later.
    let _ = std::io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_chosen_by_its_name() {
        assert_eq!(chosen(&[]).unwrap().len(), 10);
        let name = MUTANTS[3].name.to_owned();
        assert_eq!(chosen(std::slice::from_ref(&name)).unwrap()[0].name, name);
        let error = chosen(&["nobody".to_owned()]).unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
    }
}
