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

#[cfg(test)]
mod tests {
    use super::*;
    use peerwork_core::{LaneId, LaneView, Name, Work};
    use uuid::Uuid;

    fn offer(n: u128, user: &str, rank: i32) -> Offer {
        let name = |text| Name::new("test", text).unwrap();
        let (group, user) = (name("g"), name(user));
        Offer {
            task: TaskId(Uuid::from_u128(n)),
            kind: name("plain"),
            lane: LaneId::new(&group, &user),
            user,
            group,
            work: Work::Run,
            rank: Rank(rank),
            since: Timestamp(0),
        }
    }

    fn open(offers: &[&Offer]) -> OpenLanes {
        let view = |offer: &&Offer| LaneView {
            lane: offer.lane,
            group: offer.group.clone(),
            user: offer.user.clone(),
            work: offer.work,
            rank: offer.rank,
            since: offer.since,
        };
        let kinds = offers.iter().map(|offer| offer.kind.clone());
        OpenLanes::new(offers.iter().map(view).collect(), kinds.collect())
    }

    async fn next(queue: &MemoryQueue, open: &OpenLanes, n: usize) -> Vec<u128> {
        let named = queue.next(open, n).await.unwrap();
        named.into_iter().map(|task| task.0.as_u128()).collect()
    }

    #[tokio::test]
    async fn it_names_each_task_once_in_order_and_of_open_lanes_only() {
        let queue = MemoryQueue::new();
        let (a, b, c) = (offer(1, "ann", 5), offer(2, "bob", 3), offer(3, "ann", 4));
        for _ in 0..2 {
            queue
                .offer(vec![a.clone(), b.clone(), c.clone()])
                .await
                .unwrap();
        }
        assert_eq!(queue.len(), 3);
        assert_eq!(next(&queue, &open(&[&a]), 1).await, [3]);
        assert_eq!(next(&queue, &open(&[&a, &b]), 9).await, [2, 1]);
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn what_is_offered_anew_has_its_new_place_and_what_is_withdrawn_none() {
        let queue = MemoryQueue::by(|offer| -i64::from(offer.rank.0));
        let (a, b) = (offer(1, "ann", 5), offer(2, "bob", 3));
        queue.offer(vec![a.clone(), b.clone()]).await.unwrap();
        queue
            .offer(vec![offer(2, "bob", 9), offer(4, "ann", 7)])
            .await
            .unwrap();
        queue
            .withdraw(vec![TaskId(Uuid::from_u128(4)); 2])
            .await
            .unwrap();
        assert_eq!(next(&queue, &open(&[&a, &b]), 9).await, [2, 1]);
    }

    #[tokio::test]
    async fn it_tells_what_it_knows_by_ids() {
        let queue = MemoryQueue::new();
        let offers = [4, 2, 9].map(|n| offer(n, "ann", -(n as i32)));
        queue.offer(offers.to_vec()).await.unwrap();
        let first = queue.known(None, 2).await.unwrap();
        assert_eq!(first, [2, 4].map(|n| TaskId(Uuid::from_u128(n))));
        let rest = queue.known(first.last().copied(), 9).await.unwrap();
        assert_eq!(rest, [TaskId(Uuid::from_u128(9))]);
    }
}
