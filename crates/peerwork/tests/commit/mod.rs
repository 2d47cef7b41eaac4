//! A run's own transaction: a user's statements, and what becomes of the run, all or nothing.
//!
//! `teller` has what these are written with: a handler that does what a test says, and a ledger beside the tasks.

#[cfg(feature = "failpoints")]
mod answers;
mod effects;
mod endings;
mod races;
mod teller;
