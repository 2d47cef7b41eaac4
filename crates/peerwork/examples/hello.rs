//! The smallest thing there is: a handler, a node, a task, its result.
//!
//!     cargo run -p peerwork --example hello

use peerwork::{Database, Handler, Node, Run, TaskError};

struct Hello;

impl Handler for Hello {
    const KIND: &'static str = "hello";
    type Input = String;
    type Checkpoint = ();
    type Output = String;

    async fn run(&self, run: &mut Run<Self>) -> Result<String, TaskError> {
        Ok(format!("hello {}", run.input()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    let database = Database::connect(&url).await?;
    let node = Node::builder(&database).register(Hello).start().await?;

    let task = node.client().create(Hello::task("world".into())).await?;
    let greeting = task.result().await?;
    println!("{greeting}");
    assert_eq!(greeting, "hello world");

    node.drain().await;
    Ok(())
}
