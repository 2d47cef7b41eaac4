//! Durable tasks that people steer while they run.
#![doc = include_str!("../README.md")]

mod batch;
mod client;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod commit;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod commit_error;
mod database;
mod draft;
mod env;
mod error;
mod handler;
mod hub;
mod kind;
mod machine;
mod node;
mod payload;
pub mod queue;
mod run;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod schema;
mod task_error;

pub use async_trait::async_trait;
pub use client::{Adjustment, Client, Migrate, TaskHandle, TaskWatch, Tasks};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use commit::{CommitFuture, Transaction};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use commit_error::CommitError;
pub use database::Database;
pub use draft::Draft;
pub use env::Env;
pub use error::{Error, Result};
pub use handler::Handler;
pub use kind::{TaskKind, Untyped};
pub use machine::Machine;
pub use node::{DrainReport, Node, NodeBuilder};
pub use peerwork_core::{
    Dice, Fifo, Gate, Grant, LaneId, LaneView, Lanes, LeaseTimes, Name, NodeId, OnExhausted,
    OnNodeDeath, OnPauseDeadline, OnUnreachable, OperationId, Policy, Ramp, Rank, Rate, Refused,
    Retry, Rules, RunId, Scope, Setting, SettingChange, State, Status, Task, TaskId, Timestamp,
    Work, explain, policy, simulate,
};
pub use peerwork_store::{
    Config, Cursor, Failure, KindRow, NodeRow, Options, Page, Progress, SettingRow, Tally,
    TaskRecord,
};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use peerwork_store::{MigrationStatus, Settings, SqlDatabase, SqlStore, Transactional};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use queue::TableQueue;
pub use queue::{ExternalQueue, MemoryQueue, Offer, OpenLanes, QueueTimes};
pub use run::Run;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use schema::migration_sql;
pub use task_error::{Reason, SaveError, Stop, TaskError};
