//! Two nodes, and a task that changes over from one to the other when the first shuts down.
//!
//! Here they share a process. In a service each replica is one, and they meet in its PostgreSQL or MySQL.
//!
//!     cargo run -p peerwork --example two_nodes

use peerwork::{Database, Handler, Node, Run, TaskError};
use std::error::Error;

/// Writes down on which nodes it was.
struct Journey {
    node: &'static str,
}

impl Handler for Journey {
    const KIND: &'static str = "journey";
    type Input = ();
    type Checkpoint = Vec<String>;
    type Output = Vec<String>;

    async fn run(&self, run: &mut Run<Self>) -> Result<Vec<String>, TaskError> {
        let mut nodes = run.checkpoint().unwrap_or_default();
        nodes.push(self.node.to_owned());
        println!("now on {}", self.node);
        run.save(&nodes).await?;
        if nodes.len() < 2 {
            // Nothing to do but to wait: for the shutdown, a pause or a deletion.
            return Err(run.stopping().await)?;
        }
        Ok(nodes)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    let database = Database::connect(&url).await?;
    let node = |node| {
        Node::builder(&database)
            .register(Journey { node })
            .label(node)
    };

    let first = node("the first node").start().await?;
    let task = first.client().create(Journey::task(())).await?.id();
    let second = node("the second node").start().await?;
    let task = second.client().task_of::<Journey>(task).await?;
    while task.checkpoint::<Vec<String>>().await?.is_none() {}

    let report = first.drain().await;
    println!("handed over {} in {:?}", report.handed_over, report.took);
    let nodes = task.result().await?;
    assert_eq!(nodes, ["the first node", "the second node"]);

    second.drain().await;
    Ok(())
}
