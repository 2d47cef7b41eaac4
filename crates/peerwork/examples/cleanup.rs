//! Deleting a task while it runs: its run is stopped, its cleanup removes what it has left behind, then it is gone.
//!
//!     cargo run -p peerwork --example cleanup

use peerwork::{Database, Handler, Node, Run, State, TaskError};
use std::error::Error;
use std::path::PathBuf;
use tokio::fs;

/// Writes a file for as long as it is let.
struct Export;

impl Handler for Export {
    const KIND: &'static str = "export";
    type Input = PathBuf;
    type Checkpoint = u64;
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        for line in run.checkpoint().unwrap_or(0).. {
            fs::write(run.input(), format!("{line} lines so far\n")).await?;
            run.save(&line).await?;
        }
        Ok(())
    }

    /// Runs at least once before the task is gone, and again if it fails: being done twice must do no harm.
    async fn cleanup(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        println!("cleaning up after line {:?}", run.checkpoint());
        match fs::remove_file(run.input()).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)?,
            _ => Ok(()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    let node = Node::builder(Database::connect(&url).await?);
    let node = node.register(Export).start().await?;

    let file = folder.path().join("export.txt");
    let task = node.client().create(Export::task(file.clone())).await?;
    while task.checkpoint::<u64>().await?.is_none() {}
    assert!(file.exists());

    println!("asked to delete: {}", task.delete().await?);
    let tombstone = task.until(State::Deleted).await?;
    println!("{} {}", tombstone.id, tombstone.state());
    assert!(!file.exists());
    assert!(node.client().tasks().all().await?.is_empty());

    node.drain().await;
    Ok(())
}
