//! What every [`Store`](peerwork_store::Store) does, as one suite of behaviours that runs on all of them.
//!
//! A behaviour is a plain async function named as a sentence; it gets a [`Fixture`] (a fresh, empty store and the
//! clock by which it lives) and panics where the store breaks its promise. [`suite!`] makes tests of them all.
//!
//! | to find | look at |
//! | --- | --- |
//! | one behaviour after the other, a file for each topic | [`behaviours`] |
//! | random sequences of calls, compared with the in-memory reference and the pure rules | [`model`] |
//! | many tasks on one store at once, judged by invariants | [`races`] |
//! | a fault at every statement of every operation, and the operation again | `repeats` |
//! | the stores, and how a test gets a fresh one | [`Backend`], [`Fixture`] |
//! | every status, in bulk | [`population`] |
//!
//! *Not here:* which plan a statement has (`peerwork-store`), and what nodes and clients do (`peerwork`).

pub mod behaviours;
mod fixture;
mod kit;
pub mod model;
pub mod population;
pub mod races;
#[cfg(feature = "failpoints")]
pub mod repeats;
mod sql;
mod suite;

pub use fixture::{Backend, Fixture, TestClock};
pub use kit::*;
