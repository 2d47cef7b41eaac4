//! Real faults on real databases: node processes under a controller that kills, freezes and cuts them off, people who
//! steer tasks meanwhile, and a checker that reads what all of them wrote down beside the audit of the database.
//!
//! ```text
//! controller --spawns, signals--> node processes --through a proxy each--> database (owned by the run)
//!     |                           people, forger ----------------------------/  |
//!     |                              | histories                                | audit, by triggers
//!     +------------------------------+----------------> checker <---------------+
//! ```
//!
//! | module | is |
//! | --- | --- |
//! | [`args`] | the commands |
//! | [`history`] | what a process asked and was told, a JSON object a line |
//! | [`audit`] | every change of a task's row, in the order of the database |
//! | [`check`] | histories and audit against the promises: a verdict |
//! | [`work`], [`poison`] | the kinds of tasks, and what those do that harm their node |
//! | [`shared_pool`] | the pool that a node shares with the service around it |
//! | [`faults`], [`storm`], [`bait`] | what happens when, and how it is brought about |
//! | [`stage`], [`network`], [`cluster`] | the database, the ways to it, the nodes |
//! | [`node`], [`people`], [`operators`], [`forger`] | the processes, and who is in them |
//! | [`backlog`] | what limits are filled with, where a run is about how much of them is used |
//! | [`controller`] | a run from its beginning to its verdict |
//!
//! *Not here:* the simulated cluster ([`crate::sim`]), which finds rarer interleavings, faster, without a real database.

pub mod args;
pub mod audit;
pub mod backlog;
pub mod bait;
pub mod check;
pub mod children;
pub mod clock;
pub mod cluster;
pub mod controller;
pub mod faults;
pub mod forger;
pub mod history;
pub mod ledger;
pub mod network;
pub mod node;
pub mod operators;
pub mod people;
pub mod poison;
pub mod report;
pub mod shared_pool;
pub mod stage;
pub mod storm;
pub mod work;
