//! A queue in memory: a beginning for one of your own.

use super::{ExternalQueue, Offer, OpenLanes, QueueResult};
use async_trait::async_trait;
use peerwork_core::{Rank, TaskId, Timestamp};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

/// Tasks that it holds at most; what is offered beyond is offered again when there is room.
const TASKS_MAX: usize = 1_000_000;

type Key = (i64, Rank, Timestamp, TaskId);

/// Tasks in the order of a number, smaller first, and among equals by priority and time, whatever lane they are in.
///
/// It may belong to one node, or be shared by those of a process (in an `Arc`). It forgets everything with the process, and learns it again from
/// its nodes. To find the first open task it walks over those before it that are not open.
pub struct MemoryQueue {
    order: Box<dyn Fn(&Offer) -> i64 + Send + Sync>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    line: BTreeMap<Key, Offer>,
    keys: BTreeMap<TaskId, Key>,
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::by(|_| 0)
    }
}

impl MemoryQueue {
    /// By priority and time across all lanes.
    pub fn new() -> Self {
        Self::default()
    }

    /// By this number.
    pub fn by(order: impl Fn(&Offer) -> i64 + Send + Sync + 'static) -> Self {
        Self {
            order: Box::new(order),
            tasks: Mutex::default(),
        }
    }

    /// How many tasks are in it.
    pub fn len(&self) -> usize {
        self.tasks().line.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().expect("no panic under the lock")
    }
}

impl Tasks {
    fn put(&mut self, key: Key, offer: Offer) {
        self.remove(offer.task);
        if self.line.len() < TASKS_MAX {
            self.keys.insert(offer.task, key);
            self.line.insert(key, offer);
        }
    }

    fn remove(&mut self, task: TaskId) {
        if let Some(key) = self.keys.remove(&task) {
            self.line.remove(&key);
        }
    }
}

#[async_trait]
impl ExternalQueue for MemoryQueue {
    async fn offer(&self, offers: Vec<Offer>) -> QueueResult<()> {
        // Before the lock: it is somebody else's code.
        let keyed: Vec<_> = offers
            .into_iter()
            .map(|offer| {
                let order = (self.order)(&offer);
                ((order, offer.rank, offer.since, offer.task), offer)
            })
            .collect();
        let mut tasks = self.tasks();
        for (key, offer) in keyed {
            tasks.put(key, offer);
        }
        Ok(())
    }

    async fn withdraw(&self, withdrawn: Vec<TaskId>) -> QueueResult<()> {
        let mut tasks = self.tasks();
        for task in withdrawn {
            tasks.remove(task);
        }
        Ok(())
    }

    async fn next(&self, open: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>> {
        let mut tasks = self.tasks();
        let line = tasks.line.values();
        let next = line.filter(|offer| open.admits(offer)).take(n);
        let next: Vec<_> = next.map(|offer| offer.task).collect();
        for task in &next {
            tasks.remove(*task);
        }
        Ok(next)
    }

    async fn known(&self, after: Option<TaskId>, n: usize) -> QueueResult<Vec<TaskId>> {
        let tasks = self.tasks();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = tasks.keys.range((from, Bound::Unbounded));
        Ok(behind.take(n).map(|(task, _)| *task).collect())
    }

    fn name(&self) -> &str {
        "memory"
    }
}
