//!
//! ```text
//! databases.rs   a fresh and empty database for a test
//! recorder.rs    a connection that notes what goes through it
//! script.rs      one life of a few tasks that takes every hot operation once
//! texts.rs       its statements, as snapshots: one for each database
//! ```

mod databases;
mod recorder;
mod script;
mod texts;
