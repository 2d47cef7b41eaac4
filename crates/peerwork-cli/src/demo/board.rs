//! What the demo sees: nodes and tasks as they are in the database, looked at again and again by one loop, which also
//! draws the screen.

use super::screen::Screen;
use anyhow::{Context, Result, bail};
use peerwork::{Client, NodeId, NodeRow, TaskId, TaskRecord};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// From one look to the next: quick to the eye, idle to the database.
const LOOK: Duration = Duration::from_millis(120);
/// How long anything that the demo waits for may take.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// One look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub nodes: Vec<NodeRow>,
    /// All tasks but deleted ones, oldest first.
    pub tasks: Vec<TaskRecord>,
    /// Of nodes that are gone, too.
    labels: HashMap<NodeId, String>,
}

impl Board {
    async fn look(client: &Client, labels: &HashMap<NodeId, String>) -> peerwork::Result<Self> {
        let nodes = client.nodes().await?;
        let mut tasks = client.tasks().all().await?;
        tasks.sort_by_key(|task| (task.created_at, task.id));
        let mut labels = labels.clone();
        labels.extend(nodes.iter().map(|node| (node.id, node.label.clone())));
        Ok(Self {
            nodes,
            tasks,
            labels,
        })
    }

    pub fn task(&self, id: TaskId) -> Option<&TaskRecord> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// What people call the node that holds the task, or held it at its end.
    pub fn label_of(&self, task: &TaskRecord) -> Option<&str> {
        self.labels.get(&task.node?).map(String::as_str)
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a TaskRecord> {
        self.tasks
            .iter()
            .filter(move |task| task.kind.as_str() == kind)
    }
}

/// Looks at the board until it is dropped.
pub(crate) struct Observer {
    boards: watch::Receiver<Arc<Board>>,
    looking: JoinHandle<()>,
}

impl Observer {
    pub fn start(client: Client, screen: Arc<Screen>) -> Self {
        let (sender, boards) = watch::channel(Arc::new(Board::default()));
        let looking = tokio::spawn(async move {
            loop {
                let labels = sender.borrow().labels.clone();
                // A look that fails is made again; whoever waits has a limit.
                if let Ok(board) = Board::look(&client, &labels).await {
                    screen.draw(&board);
                    sender.send_replace(Arc::new(board));
                }
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
        Self { boards, looking }
    }

    /// Waits until a look shows what `find` looks for.
    ///
    /// # Errors
    /// If that does not happen in time.
    pub async fn until<T>(&self, what: &str, find: impl Fn(&Board) -> Option<T>) -> Result<T> {
        self.until_within(WAIT_LIMIT, what, find).await
    }

    /// The same with another limit.
    ///
    /// # Errors
    /// If it takes longer than `limit`.
    pub async fn until_within<T>(
        &self,
        limit: Duration,
        what: &str,
        find: impl Fn(&Board) -> Option<T>,
    ) -> Result<T> {
        let mut boards = self.boards.clone();
        let found = async {
            loop {
                if let Some(found) = find(&boards.borrow_and_update()) {
                    return Ok(found);
                }
                boards
                    .changed()
                    .await
                    .context("the board is not looked at any more")?;
            }
        };
        match tokio::time::timeout(limit, found).await {
            Ok(found) => found,
            Err(_) => bail!("waited {} s until {what}, in vain", limit.as_secs()),
        }
    }

    /// Ends it after a last look.
    pub async fn end(self) {
        drop(self.boards);
        // It was not aborted, and a panic in it has been printed.
        let _ = self.looking.await;
    }
}
