//! The command line as types. What it means is in `commands` and `demo`.

use crate::exit::EXIT_CODES;
use crate::setting_args::SettingCommand;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use peerwork::simulate::Workload;
use peerwork::{State, TaskId};
use std::path::PathBuf;

/// Look at and steer durable tasks in a SQL database.
#[derive(Debug, Parser)]
#[command(name = "peerwork", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub connection: Connection,
    /// Text for people, or one JSON object a line, whose fields are stable
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// Which database, and which tables in it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Connection {
    /// sqlite:<file>, postgres://.. or mysql://..
    #[arg(long, global = true, env = crate::DATABASE_URL, hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// What the names of the tables begin with [default: peerwork_]
    #[arg(long, global = true, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// The PostgreSQL schema of the tables [default: the first of the search path]
    #[arg(long, global = true, value_name = "SCHEMA")]
    pub schema: Option<String>,
    /// Whether the URL was given on the command line, not by the environment.
    #[arg(skip)]
    pub url_was_given: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The tables: bring them up to date, look at their version, print their SQL
    #[command(subcommand, after_help = EXIT_CODES)]
    Migrate(Migrate),
    /// Tasks: list, look, steer, wait
    #[command(after_help = EXIT_CODES)]
    Task(TaskArgs),
    /// Nodes: the processes that run tasks
    #[command(subcommand, after_help = EXIT_CODES)]
    Node(NodeCommand),
    /// Settings: limits, starts per second, weights and gates of groups, users and kinds
    #[command(subcommand, after_help = EXIT_CODES)]
    Setting(SettingCommand),
    /// Try policies on a workload, in virtual time and without a database: who waits how long, who gets what
    #[command(after_help = EXIT_CODES)]
    Simulate(SimulateArgs),
    /// Watch real work survive: node processes that are drained and killed, tasks that are paused, moved and deleted
    Demo(DemoArgs),
    /// One node of the demo
    #[command(hide = true)]
    DemoNode(DemoNodeArgs),
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Migrate {
    /// Make the tables, or bring them to this version's
    Up,
    /// Say at which version they are (exit code 4 unless it is this one's)
    Status,
    /// Print the SQL of all versions, for operators who run it themselves
    Sql,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes, the dead of the last day included
    List,
    /// Run tasks of this program's kinds until Ctrl-C or SIGTERM, then hand them over
    Run,
}

#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// Act for this user: tasks of others do not exist
    #[arg(long, global = true, value_name = "USER")]
    pub as_user: Option<String>,
    #[command(subcommand)]
    pub command: TaskCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// List tasks, newest first
    List(ListArgs),
    /// Show one task
    Get(OneArgs),
    /// Say why one task is not running, and when it starts where that can be computed
    Explain(ExplainArgs),
    /// Run tasks now, whatever their due time is; failed ones go on from their checkpoint
    Run(SteerArgs),
    /// Pause tasks; running ones stop at their next checkpoint
    Pause(SteerArgs),
    /// Take the pauses of tasks back
    Resume(SteerArgs),
    /// Start finished or failed tasks again, from the beginning
    Rerun(SteerArgs),
    /// Move tasks to another group
    Move(MoveArgs),
    /// Delete tasks, with the cleanup of their kinds
    Delete(DeleteArgs),
    /// Wait until tasks are over, or in a state (exit code 5 if one failed)
    Wait(WaitArgs),
    /// Print tasks at every change until they are over (exit codes as of wait)
    Follow(IdsArgs),
}

/// Which tasks. Every condition that is given must hold.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FilterArgs {
    /// Only this user's
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Only those in this group
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Only those of this kind; repeat it for several
    #[arg(long, value_name = "KIND")]
    pub kind: Vec<String>,
    /// Only those in this state; repeat it for several
    #[arg(long, value_name = "STATE")]
    pub state: Vec<State>,
    /// Only the children of this task
    #[arg(long, value_name = "ID")]
    pub parent: Option<TaskId>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most so many
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// Those after this task in the list: the last one of the page before
    #[arg(long, value_name = "ID")]
    pub after: Option<TaskId>,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The task's id
    pub id: TaskId,
    /// Also its input, checkpoint and output
    #[arg(long)]
    pub payloads: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The task's id
    pub id: TaskId,
    /// As --output json
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IdsArgs {
    /// The tasks' ids
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<TaskId>,
}

/// Tasks by their ids; or by a filter, which changes nothing without `--all-matching`.
#[derive(Debug, Args)]
pub(crate) struct SteerArgs {
    /// The tasks' ids; or give a filter instead
    #[arg(value_name = "ID")]
    pub ids: Vec<TaskId>,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Do it to all tasks that the filter means; without it they are only counted
    #[arg(long)]
    pub all_matching: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    pub tasks: SteerArgs,
    /// The group to move them to
    #[arg(long, value_name = "GROUP")]
    pub to: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub tasks: SteerArgs,
    /// Do not wait for a cleanup that is queued, running or failed
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub tasks: IdsArgs,
    /// Wait for this state instead of the end
    #[arg(long, value_name = "STATE")]
    pub until: Option<State>,
    /// Give up after so many seconds (exit code 6)
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// Try policies on a workload.
///
/// Plays a trace of tasks through for each policy: a recorded one, or one that is made up. Says how long tasks waited, what users got
/// to their fair share (Jain's index: 1 is fair), and which part of the usable slots was used. docs/policies.md says more.
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SimulateArgs {
    /// fifo, fair, weighted-groups[=WEIGHT], priority-ageing[=TIME]; repeat it to compare [default: fifo, fair, weighted-groups]
    #[arg(long, value_name = "POLICY")]
    pub policy: Vec<String>,
    /// What is made up
    #[arg(long, value_name = "NAME", default_value = Workload::HeavyLight.name(), conflicts_with = "trace",
        value_parser = PossibleValuesParser::new(Workload::ALL.map(Workload::name)))]
    pub workload: String,
    /// A recorded trace: a JSON object a line, with at_ms, length_ms, and perhaps user, group, priority
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Slots of the cluster
    #[arg(long, default_value_t = 16, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub slots: u32,
    /// Nodes that they are divided among
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub nodes: u32,
    /// How long a node uses what it has seen of the lanes; 0: it always sees everything
    #[arg(long, default_value_t = 500, value_name = "MILLISECONDS")]
    pub snapshot_age_ms: u64,
    /// Users that are made up [default: 100, or 2000 of many-users]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub users: Option<u32>,
    /// Groups over which the heavy user spreads, or many users do
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub groups: u32,
    /// Tasks of the heavy user, or of all
    #[arg(long, default_value_t = 100_000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub tasks: u32,
    /// How long a task takes on average
    #[arg(long, default_value_t = 1_000, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub length_ms: u64,
    /// A weight, user:NAME=WEIGHT or group:NAME=WEIGHT; repeat it for several
    #[arg(long, value_name = "WEIGHT")]
    pub weight: Vec<String>,
    /// The same seed gives the same figures
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,
    /// As --output json
    #[arg(long)]
    pub json: bool,
    /// Draw waits and shares into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Watch real work survive.
///
/// Starts node processes, creates work for several users (SHA-256 of every file below a folder, a product of matrices),
/// pauses, moves and deletes some of it, drains one node, kills another, and checks every result against a
/// computation of its own. All work is slowed down a little, so that there is something to see.
///
/// Runs on a SQLite file of its own, or on the database of --database-url (not of the environment), in tables whose
/// prefix is fresh for each run, so that nothing else in that database is touched; they stay there.
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DemoArgs {
    /// The folder to digest, without .git and caches [default: the current one]
    #[arg(long, value_name = "DIR")]
    pub input: Option<PathBuf>,
    /// Node processes at the start
    #[arg(long, default_value_t = 3, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(3..=8))]
    pub nodes: u8,
}

#[derive(Debug, Args)]
pub(crate) struct DemoNodeArgs {
    /// What people see of it
    #[arg(long)]
    pub label: String,
}
