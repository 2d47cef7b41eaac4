//! Pausing a task while it runs, and resuming it: it goes on from what it saved last.
//!
//!     cargo run -p peerwork --example pause_resume

use peerwork::{Database, Handler, Node, Run, State, TaskError};
use std::error::Error;

/// Counts to a number, one commit at a time.
struct Count;

impl Handler for Count {
    const KIND: &'static str = "count";
    type Input = u64;
    type Checkpoint = u64;
    type Output = u64;

    async fn run(&self, run: &mut Run<Self>) -> Result<u64, TaskError> {
        let mut n = run.checkpoint().unwrap_or(0);
        println!("run {} begins at {n}", run.attempt());
        while n < *run.input() {
            n += 1;
            run.progress(n, *run.input());
            // Here a pause takes effect: `save` returns it as an error once `n` is durable, and `?` leaves.
            run.save(&n).await?;
        }
        Ok(n)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    let node = Node::builder(Database::connect(&url).await?);
    let node = node.register(Count).start().await?;

    let task = node.client().create(Count::task(1_000)).await?;
    task.until(State::Running).await?;

    // Acknowledged at once as a wish; once it is `paused`, nobody runs it and nothing of it is written any more.
    println!("asked to pause: {}", task.pause().await?);
    let paused = task.until(State::Paused).await?;
    let at = task.checkpoint::<u64>().await?.unwrap_or(0);
    println!("{} at {at}", paused.state());

    println!("asked to resume: {}", task.resume().await?);
    assert_eq!(task.result().await?, 1_000);
    let record = task.get().await?;
    println!("{} after {} runs", record.state(), record.task.attempt);
    assert_eq!(record.task.attempt, 2);

    node.drain().await;
    Ok(())
}
