//! One behaviour after the other: a file for each topic, a function for each sentence.

pub mod calls;
pub mod children;
pub mod claim;
pub mod counters;
pub mod create;
pub mod deletion;
pub mod eager;
pub mod ends;
pub mod explain;
pub mod fence;
pub mod hints;
pub mod limits;
pub mod lists;
pub mod moves;
pub mod named;
pub mod nodes;
pub mod operations;
pub mod payloads;
pub mod reaches;
pub mod retries;
pub mod schema;
pub mod settings;
pub mod steer;
pub mod strings;
pub mod sweeps;
