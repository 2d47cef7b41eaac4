//! A queue in a table beside the tasks.

use super::{ExternalQueue, Offer, OpenLanes, QueueResult};
use crate::{Database, Error, Result};
use async_trait::async_trait;
use peerwork_core::{BATCH_MAX, KindKey, TaskId};
use peerwork_store::SqlStore;

/// Lanes that are asked for tasks at once, those with the oldest first tasks; of more the others have their turn later.
const LANES_MAX: usize = 32;

/// The order of tasks in a table of the same database, shared by all nodes that use it: by priority and time, across all lanes.
///
/// What it costs follows the tasks that are asked for, not those that are in it. On connections of the [`Database`] it was made from: give it a
/// database of its own (see [`Database::connect`]) where those must stay free.
pub struct TableQueue {
    store: SqlStore,
}

impl TableQueue {
    /// On this database, whose schema has to be there once a node starts.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) for a database in memory.
    pub fn new(database: impl Into<Database>) -> Result<Self> {
        let database = database.into();
        let Some(store) = database.sql_store()? else {
            return Err(Error::invalid(
                "a store in memory has no tables; use a MemoryQueue, or a database in a temporary SQLite file",
            ));
        };
        Ok(Self {
            store: store.clone(),
        })
    }
}

#[async_trait]
impl ExternalQueue for TableQueue {
    async fn offer(&self, tasks: Vec<Offer>) -> QueueResult<()> {
        Ok(self.store.enqueue(tasks).await?)
    }

    async fn withdraw(&self, tasks: Vec<TaskId>) -> QueueResult<()> {
        Ok(self.store.dequeue(tasks).await?)
    }

    async fn next(&self, open: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>> {
        let mut lanes: Vec<_> = open.lanes().iter().collect();
        lanes.sort_unstable_by_key(|lane| (lane.rank, lane.since));
        let lanes = lanes.into_iter().take(LANES_MAX).map(|lane| lane.lane);
        let kinds = open.kinds().iter().map(KindKey::new);
        let (lanes, kinds) = (lanes.collect(), kinds.collect());
        Ok(self.store.pop(lanes, kinds, n.min(BATCH_MAX)).await?)
    }

    async fn known(&self, after: Option<TaskId>, n: usize) -> QueueResult<Vec<TaskId>> {
        Ok(self.store.enqueued(after, n).await?)
    }

    fn name(&self) -> &str {
        "table"
    }
}
