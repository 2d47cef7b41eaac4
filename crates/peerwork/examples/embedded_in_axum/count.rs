//! What the users' tasks do: they count to a number, one commit at a time.

use peerwork::{Handler, Run, TaskError};

/// Counts.
pub struct Count;

impl Handler for Count {
    const KIND: &'static str = "count";
    type Input = u64;
    type Checkpoint = u64;
    type Output = u64;

    async fn run(&self, run: &mut Run<Self>) -> Result<u64, TaskError> {
        for n in run.checkpoint().unwrap_or(0)..*run.input() {
            run.progress(n + 1, *run.input());
            run.save(&(n + 1)).await?;
        }
        Ok(*run.input())
    }
}
