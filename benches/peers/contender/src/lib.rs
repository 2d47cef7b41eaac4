//! What every contender that is written in Rust shares: how it is asked, counts its tasks, and answers.
//!
//! ```text
//! referee                                contender MEASURE URL TASKS LIMIT_MS
//!                                        makes its tables, and fills them if it is to drain them
//!         <- {"event":"ready"}
//! checkpoint, analyze
//! go      ->                             begins
//!         <- {"event":"first"}           (drain) the first handler runs
//!         <- {"event":"done", ..}        all are created, or each has run
//!         <- {"event":"picked_up", ..}   (pickup) how long each took
//! looks into the database
//! (end)   ->                             ends at once
//! ```
//!
//! Not here: clocks and judgement. The referee times everything but the pick-up, for all contenders alike.

mod play;
mod tally;

use std::future::Future;
use std::ops::Range;

pub use play::play;
pub use tally::ran;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Tasks created one at a time, by one caller.
    Create,
    /// Tasks created by the fastest call there is.
    Bulk,
    /// Tasks that are there already, until each has run.
    Drain,
    /// From creating a task to the first line of its handler, while nothing else is to do.
    PickUp,
}

/// A queue as its documentation says to use it.
#[expect(
    async_fn_in_trait,
    reason = "`play` awaits them in the main task, which is never moved"
)]
pub trait Contender: Sized {
    /// How many tasks one call of [`create_many`](Self::create_many) takes.
    const BULK: u32 = 5_000;

    /// Makes its tables in an empty database, and whatever `measure` needs.
    async fn open(url: &str, measure: Measure) -> anyhow::Result<Self>;

    /// Creates one task.
    async fn create(&mut self, task: u32) -> anyhow::Result<()>;

    /// Creates these tasks by the fastest call there is.
    async fn create_many(&mut self, tasks: Range<u32>) -> anyhow::Result<()>;

    /// Starts working, and returns; the end of the process is the end of it.
    async fn work(&mut self) -> anyhow::Result<()>;
}

/// Runs a worker that is not expected to end; if it does, the contender has failed.
pub fn keep<E: std::fmt::Display>(worker: impl Future<Output = Result<(), E>> + Send + 'static) {
    tokio::spawn(async move {
        match worker.await {
            Ok(()) => eprintln!("the worker ended by itself"),
            Err(error) => eprintln!("the worker ended: {error}"),
        }
        std::process::exit(1);
    });
}
