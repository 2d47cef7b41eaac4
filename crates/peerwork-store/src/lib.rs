//! Where peerwork's tasks live: the [`Store`] contract and its implementations.
//!
//! The only crate with SQL. It decides nothing: it finds candidates, asks [`peerwork_core::decide`] under a lock,
//! writes guarded changes and reports what happened.
//!
//! | module | is |
//! | --- | --- |
//! | [`store`](Store) | the contract, and what its calls take and return |
//! | [`MemoryStore`] | the reference: short, obviously right, used as the oracle and for tests |
//! | [`SqlStore`] | SQLite, PostgreSQL and MariaDB/MySQL behind one engine with a dialect for each |

mod config;
mod error;
mod explain;
mod filter;
mod hint;
mod memory;
mod node;
mod offer;
mod record;
mod run;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod sql;
mod store;

pub use config::{Applied, ClaimAnswer, Config, SettingRow};
pub use error::{Error, ErrorKind, Result};
pub use filter::{Cursor, Filter, Page};
pub use hint::{Hint, Hints};
pub use memory::{Change, MemoryStore, Seen, Snapshot};
pub use node::{Depth, Glance, KindRow, NodeCard, NodeRow, Wished};
pub use offer::{ClaimThese, Offer, Sought, Spot};
pub use record::{Created, Failure, NewTask, Options, Payload, Progress, TaskRecord};
pub use run::{Claim, ClaimNew, Claimed, End, Ended, Promoted, RunningIn, Save, Saved, Swept};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use sql::*;
pub use store::{Steered, Store, Tally, Wish};
