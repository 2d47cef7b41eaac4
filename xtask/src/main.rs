//! The project's commands: `cargo xtask <command>`.

mod ci;
mod db;
mod faults;
mod galera;
mod interrupt;
mod lifecycle;
mod mutants;
mod phases;
mod process;
mod programs;
mod servers;
mod test;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's commands.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and run everything: tests, doc tests, examples and the demo, on SQLite, PostgreSQL and MariaDB
    ///
    /// Installs what is missing where it can, starts throw-away servers, and stops them at the end. Servers named by
    /// PEERWORK_TEST_POSTGRES_URL or PEERWORK_TEST_MYSQL_URL are used instead.
    Test {
        /// Arguments for cargo nextest, such as a filter; with any, only the tests are run
        #[arg(last = true)]
        nextest: Vec<String>,
    },
    /// What a pull request has to pass: formatting, clippy, docs and tidy without a warning, then `test`
    Ci,
    /// The servers for tests that are run by hand
    Db {
        #[command(subcommand)]
        command: db::Command,
    },
    /// Real faults on a real database: kill, freeze, cut off, restart; then the verdict
    Faults(faults::FaultsArgs),
    /// Runs of faults on all databases, seed after seed, until the time is up or one fails
    Soak(faults::SoakArgs),
    /// Start a MariaDB Galera cluster and see that it does what fault runs expect of it; not a part of `test`
    Galera,
    /// Plant ten bugs, one at a time, in a copy of the checkout, and see that the simulation finds each; not a part of `test`
    Mutants(mutants::MutantsArgs),
    /// Check the rules that no compiler checks: what is absent, and where
    Tidy,
    /// Write docs/lifecycle.md anew from the decisions in peerwork-core
    Lifecycle,
}

fn main() -> ExitCode {
    let args = Args::parse();
    interrupt::listen();
    let result = match args.command {
        Command::Test { nextest } => test::run(&nextest),
        Command::Ci => ci::run(),
        Command::Db { command } => db::run(&command),
        Command::Faults(args) => faults::run(&args),
        Command::Soak(args) => faults::soak(&args),
        Command::Galera => galera::run(),
        Command::Mutants(args) => mutants::run(&args),
        Command::Tidy => tidy::run(),
        Command::Lifecycle => lifecycle::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("xtask is a folder of the workspace")
        .to_owned()
}
