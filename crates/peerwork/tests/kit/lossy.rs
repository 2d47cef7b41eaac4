//! A queue in memory that loses everything at random, and names what is not there: one that nobody should have.

use peerwork::{
    ExternalQueue, MemoryQueue, Offer, OpenLanes, TaskId, async_trait, queue::QueueResult,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Mutex;
use uuid::Uuid;

/// Its losses follow from a seed and the calls.
pub struct Lossy {
    queue: MemoryQueue,
    /// Of so many offers it keeps one.
    keeps_one_in: u32,
    dice: Mutex<StdRng>,
}

impl Lossy {
    /// With the losses of this seed.
    pub fn of(seed: u64) -> Self {
        Self {
            queue: MemoryQueue::new(),
            keeps_one_in: 2,
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// Keeps one of so many offers.
    #[allow(dead_code)] // not every program of tests needs it
    pub fn keeping_one_in(mut self, offers: u32) -> Self {
        self.keeps_one_in = offers;
        self
    }

    /// Whether something happens that happens once in so many times.
    fn once_in(&self, times: u32) -> bool {
        self.dice.lock().unwrap().random_ratio(1, times)
    }
}

#[async_trait]
impl ExternalQueue for Lossy {
    async fn offer(&self, mut tasks: Vec<Offer>) -> QueueResult<()> {
        tasks.retain(|_| self.once_in(self.keeps_one_in));
        self.queue.offer(tasks).await
    }

    async fn withdraw(&self, mut tasks: Vec<TaskId>) -> QueueResult<()> {
        tasks.retain(|_| !self.once_in(2));
        self.queue.withdraw(tasks).await
    }

    async fn next(&self, open: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>> {
        let mut named = self.queue.next(open, n).await?;
        // Some are forgotten on the way, some are named twice, and some have never been.
        named.retain(|_| !self.once_in(3));
        if self.once_in(3) {
            named.extend(named.clone());
            named.insert(0, TaskId(Uuid::from_u128(7)));
        }
        if self.once_in(10) {
            let all = self.queue.known(None, usize::MAX).await?;
            self.queue.withdraw(all).await?;
        }
        match self.once_in(20) {
            true => Err("it has lost its way".into()),
            false => Ok(named),
        }
    }

    async fn known(&self, after: Option<TaskId>, n: usize) -> QueueResult<Vec<TaskId>> {
        self.queue.known(after, n).await
    }

    fn name(&self) -> &str {
        "lossy"
    }
}
