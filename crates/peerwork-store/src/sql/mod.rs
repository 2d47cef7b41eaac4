//! One engine for the three databases.
//!
//! ```text
//! store.rs      the contract: checks, then an operation
//! ops/          what is done: lock rows, ask `decide`, write the moves
//! limits.rs     turns and counts under limits             queue.rs     a queue in a table of its own
//! moves.rs      rows between ready, running, parked and done; the only code that moves a task
//! batch.rs      a large claim as one row                lock.rs      rows of tasks, wherever they are
//! engine.rs     a connection, a transaction, another try after a conflict, in a task of its own
//! tx.rs         statements, bulk inserts, the time      dialect.rs   what the databases spell differently
//! link.rs       the seam to a driver                    sqlite.rs, postgres.rs, mysql.rs   behind it
//! fenced.rs     a run's own transaction, with the user's statements in it
//! hints.rs      what wakes other processes              bell.rs      that of SQLite
//! schema.rs     migrations                              connect.rs   pools and URLs
//! ```
//!
//! Every operation that changes a status locks the task's row, decides in Rust, and writes what was decided, in one
//! transaction. No decision is in SQL.

mod batch;
#[cfg_attr(not(feature = "sqlite"), allow(dead_code))] // without SQLite nobody makes one
mod bell;
mod connect;
mod dialect;
mod engine;
#[cfg(feature = "failpoints")]
mod failpoints;
mod fault;
mod fenced;
#[cfg_attr(not(feature = "sqlite"), allow(dead_code))] // without SQLite nobody makes one
mod file;
mod hints;
mod limits;
mod link;
mod lock;
mod moves;
#[cfg(feature = "mysql")]
mod mysql;
mod ops;
#[cfg(feature = "postgres")]
mod postgres;
mod queue;
mod retry;
mod rows;
mod schema;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
#[cfg(test)]
mod tests;
mod transactional;
mod tx;
mod value;

#[cfg(feature = "failpoints")]
#[doc(hidden)]
pub use failpoints::{Failpoints, Fate, Reached};
pub use fenced::{
    Committer, OpenTransaction, Record, Recorded, Room, Session, SqlDatabase, is_transient_sqlx,
};
pub use ops::commit::Standing;
pub use schema::{MigrationStatus, migration_sql};
pub use settings::{Capabilities, Clock, Database, Isolation, Settings};
pub use transactional::Transactional;

use std::sync::Arc;

/// Tasks in SQLite, PostgreSQL, MariaDB or MySQL. Clones share their connections.
///
/// Every call works with a pool of one connection, runs to its end even if its caller stops waiting, and repeats a
/// transaction that lost against another, for some seconds.
#[derive(Clone)]
pub struct SqlStore {
    engine: Arc<engine::Engine>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore")
            .field("dialect", &self.engine.dialect)
            .finish_non_exhaustive()
    }
}
