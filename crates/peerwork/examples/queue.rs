//! A queue of one's own: the last task in is the first one out.
//!
//! It holds hints only. Tasks are claimed in the database, whatever this says; what it forgets it is told again.
//!
//!     cargo run -p peerwork --example queue

use peerwork::{Draft, ExternalQueue, Node, Offer, OpenLanes, TaskError, TaskId, Work};
use peerwork::{async_trait, queue::QueueResult};
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct LastFirst(Mutex<Vec<Offer>>);

#[async_trait]
impl ExternalQueue for LastFirst {
    async fn offer(&self, tasks: Vec<Offer>) -> QueueResult<()> {
        let mut stack = self.0.lock().unwrap();
        stack.retain(|known| tasks.iter().all(|offer| offer.task != known.task));
        stack.extend(tasks);
        stack.sort_by_key(|offer| (offer.since, offer.task));
        Ok(())
    }

    async fn withdraw(&self, tasks: Vec<TaskId>) -> QueueResult<()> {
        let mut stack = self.0.lock().unwrap();
        stack.retain(|known| !tasks.contains(&known.task));
        Ok(())
    }

    async fn next(&self, open: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>> {
        // They stay in it until they are withdrawn.
        let stack = self.0.lock().unwrap();
        let open = stack.iter().rev().filter(|offer| open.admits(offer));
        Ok(open.take(n).map(|offer| offer.task).collect())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let database = peerwork::Database::memory();
    let client = peerwork::Client::connect(&database).await?;
    let drafts = (1..=5).map(|n| Draft::of_kind("note", &n).user("ann"));
    let tasks = client.create_many(drafts).await?;
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let note = move |n: i64| {
        noted.lock().unwrap().push(n);
        async move { Ok::<_, TaskError>(n) }
    };
    let node = Node::builder(&database).slots(1).handle("note", note);
    let node = node.queue(Work::Run, LastFirst::default()).start().await?;
    for task in tasks {
        task.until_over().await?;
    }
    node.drain().await;
    println!("{:?}", order.lock().unwrap());
    assert_eq!(*order.lock().unwrap(), [5, 4, 3, 2, 1]);
    Ok(())
}
