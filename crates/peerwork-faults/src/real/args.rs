//! The commands of the binary.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// The environment variable in which a child process finds the database: a URL may hold a password, and everybody may
/// read arguments.
pub const URL_VAR: &str = "PEERWORK_FAULTS_URL";

/// Breaks peerwork on purpose, and checks what it promised.
#[derive(Debug, Parser)]
#[command(name = "peerwork-faults", version, about)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub command: Task,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run nodes on a database of its own under faults, and print the verdict
    Run(RunArgs),
    /// Simulated clusters in memory, seed after seed, until one breaks a promise
    Simulate(crate::simulate::SimulateArgs),
    /// Judge the histories and the audit that a run has left
    Check {
        /// The folder that the run named.
        folder: PathBuf,
    },
    /// A node of a run
    #[command(hide = true)]
    Node(NodeArgs),
    /// The people of a run
    #[command(hide = true)]
    People(PeopleArgs),
    /// Writes in the name of runs that are over
    #[command(hide = true)]
    Forger(ChildArgs),
}

/// A run.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// How long tasks are created and faults happen; what is left to do comes on top
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// The database, which is started for the run
    #[arg(long, value_enum, default_value_t = DatabaseArg::Sqlite)]
    pub database: DatabaseArg,
    /// What is random follows from it; drawn and printed if it is not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// What comes on top; may be given again
    #[arg(long = "with", value_enum)]
    pub extras: Vec<Extra>,
    /// Do these only: names of faults and of poison, with commas; by default everything there is
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Print the verdict as one JSON line
    #[arg(long)]
    pub json: bool,
    /// Node processes at a time; by default five, and eight where groups are limited
    #[arg(long)]
    pub nodes: Option<usize>,
    /// So many limited groups, each with tasks for the whole time, and nothing but kills: to see how much of the limits is used
    #[arg(long, default_value_t = 0)]
    pub limited_groups: usize,
    /// How long a task of a limited group takes in the mean
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(10..))]
    pub task_ms: u64,
    /// Tasks that are created; by default 45 a second
    #[arg(long)]
    pub tasks: Option<u64>,
    /// Keep the histories also of a run that passes
    #[arg(long)]
    pub keep: bool,
}

/// A database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatabaseArg {
    /// A file, and processes of one machine.
    Sqlite,
    /// A server of its own.
    Postgres,
    /// A MariaDB server of its own.
    Mysql,
    /// A MariaDB Galera cluster of three, behind one address.
    Galera,
}

/// Something on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Extra {
    /// PostgreSQL's server dies, and a replica takes its place that lacks its last commits.
    Replica,
    /// The clocks of two nodes in three are wrong by an hour, one way or the other.
    WrongClocks,
    /// Every node writes to a cluster's member of its own; what comes of it is reported, not judged.
    EveryWriter,
    /// PostgreSQL is behind pgbouncer in transaction mode.
    Pooler,
}

impl Extra {
    /// As it is spelled on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::WrongClocks => "wrong-clocks",
            Self::EveryWriter => "every-writer",
            Self::Pooler => "pooler",
        }
    }
}

impl DatabaseArg {
    /// As it is spelled on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Galera => "galera",
        }
    }
}

/// What every child process needs to know; the database's URL is in the environment.
#[derive(Clone, Debug, Args)]
pub struct ChildArgs {
    /// Its name: of its history, and of the node's row.
    #[arg(long)]
    pub label: String,
    /// Where histories are.
    #[arg(long)]
    pub folder: PathBuf,
    /// What the tables' names begin with.
    #[arg(long)]
    pub prefix: String,
    /// What is random follows from it.
    #[arg(long)]
    pub seed: u64,
}

/// What a node needs to know.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// As every child.
    #[command(flatten)]
    pub child: ChildArgs,
    /// Tasks that it runs at once.
    #[arg(long)]
    pub slots: usize,
}

/// What people need to know.
#[derive(Clone, Debug, Args)]
pub struct PeopleArgs {
    /// As every child.
    #[command(flatten)]
    pub child: ChildArgs,
    /// Tasks to create.
    #[arg(long)]
    pub tasks: u64,
    /// The time in which to create them.
    #[arg(long)]
    pub seconds: u64,
}
