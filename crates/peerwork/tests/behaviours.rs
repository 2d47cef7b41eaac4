//! Behaviours through the public API: what the original library's tests show, and what its defects demand of us.
//!
//! `kit` has what they are written with. Every behaviour names the databases on which it runs.

#[macro_use]
mod kit;

mod bad_input;
mod commit;
mod explain;
mod ga;
mod limits;
mod original;
mod queues;
mod steering;
