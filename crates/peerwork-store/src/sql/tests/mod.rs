//! The statements as they are really sent: reviewed as text, and by the plans that the databases make for them.
//!
//! ```text
//! databases.rs   a fresh and empty database for a test
//! recorder.rs    a connection that notes what goes through it
//! script.rs      one life of a few tasks that takes every hot operation once
//! sessions.rs    what is asked of a connection behind a pooler, and what is not
//! texts.rs       its statements, as snapshots: one for each database
//! plans.rs       its statements, explained on empty and on filled tables: none scans a table of tasks
//! ranges.rs      what a claim moves is walked to its end, and no further
//! locks.rs       what somebody has locked is in nobody else's way
//! turns.rs       why a claim under a limit takes its turn as it does
//! explain.rs     how each database explains, and what counts as a scan
//! ```

mod databases;
mod explain;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod locks;
mod plans;
#[cfg(feature = "sqlite")]
mod ranges;
mod recorder;
mod script;
mod sessions;
mod texts;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod turns;
