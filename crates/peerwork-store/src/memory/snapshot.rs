//! Going back to an earlier state, for tests: what an asynchronous replica does that takes over and lacks commits.

use super::data::Data;
use super::{MemoryStore, Seen};
use peerwork_core::TaskId;
use std::collections::BTreeMap;

/// What a [`MemoryStore`] held at some time.
#[derive(Clone)]
pub struct Snapshot(Data);

impl MemoryStore {
    /// Everything as it is now, to [go back](Self::restore) to.
    pub fn snapshot(&self) -> Snapshot {
        let data = self.data();
        Snapshot(Data {
            listeners: Vec::new(),
            ..data.clone()
        })
    }

    /// Goes back: whatever was acknowledged since is lost, as when an asynchronous replica takes over.
    /// Returns the tasks that there are.
    pub fn restore(&self, snapshot: &Snapshot) -> Vec<(TaskId, Seen)> {
        let mut data = self.data();
        let (listeners, touched) = (
            std::mem::take(&mut data.listeners),
            data.table.touched.take(),
        );
        *data = snapshot.0.clone();
        data.listeners = listeners;
        data.table.touched = touched.map(|_| BTreeMap::new());
        let seen = |id: &TaskId| Some((*id, data.table.seen(*id)?));
        data.table.rows.keys().filter_map(seen).collect()
    }
}
