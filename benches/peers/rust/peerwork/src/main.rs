//! peerwork: one node with 256 slots, in tables of its own; finished tasks are kept, all fences are on.

use std::ops::Range;

use contender::{Contender, Measure, ran};
use peerwork::{Client, Database, Handler, Node, Run, TaskError};
use serde::{Deserialize, Serialize};

/// What `peerwork-bench` drains with, too.
const SLOTS: usize = 256;

#[derive(Serialize, Deserialize)]
struct Input {
    i: u32,
}

struct Noop;

impl Handler for Noop {
    const KIND: &'static str = "noop";
    type Input = Input;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        ran(run.input().i);
        Ok(())
    }
}

struct Peerwork {
    database: Database,
    client: Client,
    node: Option<Node>,
}

impl Contender for Peerwork {
    /// It cuts what it is given into batches itself.
    const BULK: u32 = 50_000;

    async fn open(url: &str, _measure: Measure) -> anyhow::Result<Self> {
        let database = Database::connect(url).await?;
        let client = Client::connect(&database).await?;
        Ok(Self {
            database,
            client,
            node: None,
        })
    }

    async fn create(&mut self, task: u32) -> anyhow::Result<()> {
        self.client.create(Noop::task(Input { i: task })).await?;
        Ok(())
    }

    async fn create_many(&mut self, tasks: Range<u32>) -> anyhow::Result<()> {
        let drafts = tasks.map(|i| Noop::task(Input { i }));
        self.client.create_many(drafts).await?;
        Ok(())
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        let node = Node::builder(&self.database).register(Noop).slots(SLOTS);
        let node = node.start().await?;
        // As in a service that embeds a node: its client tells it of new tasks at once.
        self.client = node.client();
        self.node = Some(node);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    contender::play::<Peerwork>().await
}
