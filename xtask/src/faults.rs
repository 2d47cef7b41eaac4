//! `cargo xtask faults` and `cargo xtask soak`: real faults on real databases, by seed.
//!
//! *Not here:* what is done and how it is judged (`crates/peerwork-faults`).

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::interrupt;
use crate::process::{self, cargo};

/// A run of faults on one database.
#[derive(Debug, Args)]
pub struct FaultsArgs {
    /// How long tasks are created and faults happen
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The database, which is started for the run
    #[arg(long, value_enum, default_value_t = DatabaseName::Sqlite)]
    database: DatabaseName,
    /// What is random follows from it
    #[arg(long)]
    seed: Option<u64>,
    /// What comes on top: replica, wrong-clocks, every-writer, pooler; may be given again
    #[arg(long)]
    with: Vec<String>,
    /// Do these faults only, by their names and with commas
    #[arg(long)]
    only: Option<String>,
    /// Print the verdict as one JSON line
    #[arg(long)]
    json: bool,
    /// Node processes at a time
    #[arg(long)]
    nodes: Option<usize>,
    /// Tasks that are created
    #[arg(long)]
    tasks: Option<u64>,
    /// So many limited groups, always full, and eight nodes that are killed one after the other: how much of the limits is used
    #[arg(long)]
    limited_groups: Option<u64>,
    /// How long a task of a limited group takes in the mean
    #[arg(long, requires = "limited_groups")]
    task_ms: Option<u64>,
}

/// Many runs, one after the other.
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// No run is begun after so many minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// The faults of one run, in seconds
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// The first seed; the next runs take the next ones. By default the time of day
    #[arg(long)]
    seed: Option<u64>,
}

/// A database that faults can be run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatabaseName {
    /// A file.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mysql,
    /// A MariaDB Galera cluster of three.
    Galera,
}

impl DatabaseName {
    /// With what comes on top. Galera is slow to start, and outside of what everybody has installed.
    const SOAKED: [(Self, &[&str]); 6] = [
        (Self::Sqlite, &[]),
        (Self::Postgres, &[]),
        (Self::Mysql, &[]),
        (Self::Postgres, &["replica", "wrong-clocks"]),
        (Self::Mysql, &["wrong-clocks"]),
        (Self::Postgres, &["pooler"]),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Galera => "galera",
        }
    }
}

/// One run; an error if its verdict is a failure.
pub fn run(args: &FaultsArgs) -> Result<()> {
    process::run(&mut command(args))
}

/// Runs by consecutive seeds, over all databases and what comes on top of them in turn, until the time is up or one fails.
pub fn soak(args: &SoakArgs) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(args.minutes * 60);
    let today = || {
        SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(1, |time| time.as_secs())
    };
    let first = args.seed.unwrap_or_else(today);
    let runs = (first..).zip(DatabaseName::SOAKED.into_iter().cycle());
    for (seed, (database, extras)) in runs {
        if Instant::now() >= until || interrupt::requested() {
            println!("soaked: {} runs passed", seed - first);
            break;
        }
        let one = FaultsArgs {
            seconds: args.seconds,
            database,
            seed: Some(seed),
            with: extras.iter().map(|extra| (*extra).to_owned()).collect(),
            only: None,
            json: true,
            nodes: None,
            tasks: None,
            limited_groups: None,
            task_ms: None,
        };
        if let Err(error) = run(&one) {
            let (seconds, database) = (args.seconds, database.name());
            let extras: String = extras
                .iter()
                .map(|extra| format!(" --with {extra}"))
                .collect();
            bail!(
                "{error:#}\nagain: cargo xtask faults --seconds {seconds} --database {database} --seed {seed}{extras}"
            );
        }
    }
    Ok(())
}

fn command(args: &FaultsArgs) -> Command {
    let mut command = cargo(&[
        "run",
        "--quiet",
        "--package",
        "peerwork-faults",
        "--",
        "run",
    ]);
    command
        .args(["--seconds", &args.seconds.to_string()])
        .args(["--database", args.database.name()]);
    let numbers = [
        ("--seed", args.seed),
        ("--nodes", args.nodes.map(|nodes| nodes as u64)),
        ("--tasks", args.tasks),
        ("--limited-groups", args.limited_groups),
        ("--task-ms", args.task_ms),
    ];
    for (name, number) in numbers {
        command.args(
            number
                .iter()
                .flat_map(|number| [name.to_owned(), number.to_string()]),
        );
    }
    command.args(args.with.iter().flat_map(|extra| ["--with", extra]));
    command.args(args.only.iter().flat_map(|names| ["--only", names]));
    command.args(args.json.then_some("--json"));
    command
}
