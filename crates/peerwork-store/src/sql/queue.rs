//! A queue in a table of its own, beside the store: its calls are bounded as the store's are, and hold no promise but order.

use super::SqlStore;
use super::ops::queue::{Dequeue, Enqueue, Pop, ReadQueue};
use super::store::check_batch;
use crate::{Offer, Result};
use peerwork_core::{BATCH_MAX, KindKey, LaneId, TaskId};

impl SqlStore {
    /// Puts claimable tasks into the queue's table; what is there already is put right. At most [`BATCH_MAX`].
    ///
    /// Dropping the future abandons the answer, never a transaction; so for all calls here.
    ///
    /// # Errors
    /// `Invalid` for a longer batch; otherwise as the calls of the store.
    pub async fn enqueue(&self, offers: Vec<Offer>) -> Result<()> {
        check_batch("put tasks into the queue's table", &offers)?;
        if offers.is_empty() {
            return Ok(());
        }
        self.engine.write(Enqueue::new(offers)).await
    }

    /// Takes tasks out of the queue's table. At most [`BATCH_MAX`].
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue).
    pub async fn dequeue(&self, ids: Vec<TaskId>) -> Result<()> {
        check_batch("take tasks out of the queue's table", &ids)?;
        if ids.is_empty() {
            return Ok(());
        }
        self.engine.write(Dequeue { ids }).await
    }

    /// Takes the first tasks of these lanes and kinds out of the queue's table, by rank, time and id across lanes: at most `limit`, at most
    /// [`BATCH_MAX`].
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue).
    pub async fn pop(
        &self,
        lanes: Vec<LaneId>,
        kinds: Vec<KindKey>,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        check_batch("take the next tasks from the queue's table", &lanes)?;
        if lanes.is_empty() || kinds.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let limit = limit.min(BATCH_MAX);
        let pop = Pop {
            lanes,
            kinds,
            limit,
        };
        self.engine.write(pop).await
    }

    /// What is in the queue's table, by ids, from behind one on: at most `limit`, at most [`BATCH_MAX`].
    ///
    /// # Errors
    /// As the calls of the store.
    pub async fn enqueued(&self, after: Option<TaskId>, limit: usize) -> Result<Vec<TaskId>> {
        let limit = limit.clamp(1, BATCH_MAX);
        self.engine.read(ReadQueue { after, limit }).await
    }
}
