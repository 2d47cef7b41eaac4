//! The scenarios: each sets its tables up, measures one thing in turn with its yardstick, and reports it.

mod ageing;
mod backlog;
mod bloat;
mod blocked;
mod checkpoint;
mod clock;
mod cost;
mod create;
mod drain;
mod fair;
mod idle;
mod lanes;
mod lanes_claim;
mod lanes_full;
mod least;
mod pickup;
mod start;
mod starts;
mod steer;
mod weights;

use crate::options::Options;
use crate::report::Report;
use crate::target::Target;
use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// The database's own limit: what the engine reads and writes for a task, in raw SQL
    Floor,
    /// No-op tasks that are there already, to their recorded ends; finished tasks are kept
    Drain,
    /// Creates, one at a time, by one caller
    Create,
    /// Creates, one at a time, by 64 callers of one client
    CreateConcurrent,
    /// Creates of many at once
    CreateMany,
    /// Creates in a transaction of the caller's with a row of the caller's
    CreateInTransaction,
    /// From a create to the first line of the handler, on an idle node
    Pickup,
    /// Durable saves of 1, 64 and 1,000 runs that save all the time
    Checkpoint,
    /// Pauses and resumptions of 1,000 running tasks
    Steer,
    /// Draining with tasks in line behind, and with finished ones kept
    Backlog,
    /// Draining a group while the tasks of another one wait for a gate
    Blocked,
    /// A steady load while another session holds a snapshot open (PostgreSQL)
    Bloat,
    /// What one node without work, and ten, ask of the database
    Idle,
    /// 10,000 long-running tasks at once on one node
    Start,
    /// Tasks that many callers start at the same time, to the first line of the handler
    Starts,
    /// A heavy user and 99 light ones: waits, shares and slots in use under fair policies
    Fair,
    /// Three users, or groups, of weights 1, 2 and 4 that always have work: their shares
    Weights,
    /// More work than slots, by priorities with ageing: waits beside the bound
    Ageing,
    /// Draining 1,000 users' lanes under fair sharing
    Lanes,
    /// Claims with 10,000 lanes that have work
    LanesClaim,
    /// Draining while a million tasks wait behind 1,000 groups at their limits
    LanesFull,
    /// Log bytes, commits and statements for each finished task
    Cost,
    /// `pickup --from-process`'s other process
    #[value(hide = true)]
    PickupChild,
    /// `start`'s other process
    #[value(hide = true)]
    StartChild,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Drain => "drain",
            Self::Create => "create",
            Self::CreateConcurrent => "create-concurrent",
            Self::CreateMany => "create-many",
            Self::CreateInTransaction => "create-in-transaction",
            Self::Pickup => "pickup",
            Self::Checkpoint => "checkpoint",
            Self::Steer => "steer",
            Self::Backlog => "backlog",
            Self::Blocked => "blocked",
            Self::Bloat => "bloat",
            Self::Idle => "idle",
            Self::Start => "start",
            Self::Starts => "starts",
            Self::Fair => "fair",
            Self::Weights => "weights",
            Self::Ageing => "ageing",
            Self::Lanes => "lanes",
            Self::LanesClaim => "lanes-claim",
            Self::LanesFull => "lanes-full",
            Self::Cost => "cost",
            Self::PickupChild => "pickup-child",
            Self::StartChild => "start-child",
        }
    }

    /// How many tasks, unless it is said: so that a round takes seconds.
    pub fn tasks(self) -> usize {
        match self {
            Self::Floor | Self::Drain | Self::CreateMany => 100_000,
            Self::Fair | Self::Weights | Self::Lanes => 100_000,
            Self::CreateConcurrent | Self::Cost | Self::Backlog | Self::Blocked => 50_000,
            Self::Starts | Self::LanesFull => 50_000,
            Self::Start => 10_000,
            Self::LanesClaim => 2_000,
            Self::Create | Self::CreateInTransaction => 3_000,
            Self::Checkpoint | Self::Steer => 1_000,
            Self::Pickup => 100,
            // These are told how long, not how many.
            Self::Ageing | Self::Bloat | Self::Idle | Self::PickupChild | Self::StartChild => 1,
        }
    }

    pub fn rounds(self) -> usize {
        match self {
            Self::Bloat | Self::Fair | Self::Weights | Self::Ageing => 1,
            _ => 3,
        }
    }

    /// Slots of each node, or of all together, unless it is said.
    pub fn slots(self) -> usize {
        match self {
            Self::Fair | Self::Weights | Self::Ageing | Self::LanesClaim => 16,
            _ => 256,
        }
    }

    /// How many lanes or groups, unless it is said.
    pub fn lanes(self) -> usize {
        match self {
            Self::LanesClaim => 10_000,
            _ => 1_000,
        }
    }

    pub fn time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Bloat => 60,
            Self::Fair | Self::Weights | Self::Ageing => 40,
            Self::Idle => 10,
            _ => 3,
        })
    }

    /// Measures it on one database. Nothing where the database does not have what it is about.
    pub async fn run(self, target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
        match self {
            Self::Floor => drain::floor(target, options).await,
            Self::Drain => drain::drain(target, options).await,
            Self::Create
            | Self::CreateConcurrent
            | Self::CreateMany
            | Self::CreateInTransaction => create::run(target, options).await,
            Self::Pickup => pickup::run(target, options).await,
            Self::Checkpoint => checkpoint::run(target, options).await,
            Self::Steer => steer::run(target, options).await,
            Self::Backlog => backlog::run(target, options).await,
            Self::Blocked => blocked::run(target, options).await,
            Self::Bloat => bloat::run(target, options).await,
            Self::Idle => idle::run(target, options).await,
            Self::Start => start::run(target, options).await,
            Self::Starts => starts::run(target, options).await,
            Self::Fair => fair::run(target, options).await,
            Self::Weights => weights::run(target, options).await,
            Self::Ageing => ageing::run(target, options).await,
            Self::Lanes => lanes::run(target, options).await,
            Self::LanesClaim => lanes_claim::run(target, options).await,
            Self::LanesFull => lanes_full::run(target, options).await,
            Self::Cost => cost::run(target, options).await,
            Self::PickupChild => {
                pickup::child(options).await?;
                Ok(Vec::new())
            }
            Self::StartChild => {
                start::child(options).await?;
                Ok(Vec::new())
            }
        }
    }
}
