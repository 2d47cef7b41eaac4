//! Queues of one's own: the order of claimable tasks, kept elsewhere than in the database's lanes.
//!
//! A node that has one ([`NodeBuilder::queue`](crate::NodeBuilder::queue)) asks it which tasks go next, and claims those in the database by their
//! ids, under the guards of any claim. Tasks stay where they are; a queue holds hints. What it does not know it is told: at once when it
//! names nothing, and of all that is claimable again and again. What it knows wrongly is withdrawn.
//!
//! | to have | take |
//! | --- | --- |
//! | an order in memory, by a number of your own | [`MemoryQueue`] |
//! | one order for all nodes, in a table beside the tasks | [`TableQueue`] |
//! | another order, another place | [`ExternalQueue`], some forty lines: the example `queue` |
//!
//! The bounds within which differences are healed, and what order means then, are in `docs/queues.md`.

mod memory;
mod open;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod table;
mod times;

pub use memory::MemoryQueue;
pub use open::OpenLanes;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use table::TableQueue;
pub use times::QueueTimes;

use async_trait::async_trait;
use peerwork_core::TaskId;
pub use peerwork_store::Offer;
use std::error::Error;
use std::sync::Arc;

/// What a queue answers; any error will do, and is logged.
pub type QueueResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A queue that keeps the order of tasks elsewhere: in memory, in a table, in another system.
///
/// Everything that goes in or comes out is a *hint about order*. Tasks live in the database and are claimed there, guarded: a queue that
/// loses, repeats, delays or invents tasks costs order and time, never a task. Nodes offer tasks again and again, so every method has
/// to be idempotent.
///
/// **Time.** A call that takes longer than [`QueueTimes::answer_ms`] is dropped, and counts as an error; so does a panic. While a queue
/// rests after an error, its node claims by its policy. A call must yield: code that blocks its thread cannot be dropped.
///
/// **Cancel safety.** A call may be dropped wherever it waits. What it had taken out of the queue is offered again.
#[async_trait]
pub trait ExternalQueue: Send + Sync + 'static {
    /// These tasks are claimable, as far as the node knows; at most [`BATCH_MAX`](peerwork_core::BATCH_MAX) of them. One that is in the queue already
    /// is to stay there once, with what is said of it now.
    async fn offer(&self, tasks: Vec<Offer>) -> QueueResult<()>;

    /// These tasks are to leave the queue, if they are in it: they were claimed, or are not claimable for another reason.
    async fn withdraw(&self, tasks: Vec<TaskId>) -> QueueResult<()>;

    /// The next tasks, the first one first, at most `n`; of those that [are open](OpenLanes::admits) only. They may leave the queue with that,
    /// or stay until they are withdrawn: the node withdraws what it has claimed, and offers again what it has not and is still there.
    async fn next(&self, open: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>>;

    /// What is in the queue, by ids: the first `n` of those that are greater than `after`. By it a node finds what is claimable no more, and
    /// withdraws it. A queue that does not tell has such tasks withdrawn once it names them.
    async fn known(&self, after: Option<TaskId>, n: usize) -> QueueResult<Vec<TaskId>> {
        let _ = (after, n);
        Ok(Vec::new())
    }

    /// What operators call it.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

#[async_trait]
impl<Q: ExternalQueue + ?Sized> ExternalQueue for Arc<Q> {
    async fn offer(&self, tasks: Vec<Offer>) -> QueueResult<()> {
        (**self).offer(tasks).await
    }

    async fn withdraw(&self, tasks: Vec<TaskId>) -> QueueResult<()> {
        (**self).withdraw(tasks).await
    }

    async fn next(&self, open: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>> {
        (**self).next(open, n).await
    }

    async fn known(&self, after: Option<TaskId>, n: usize) -> QueueResult<Vec<TaskId>> {
        (**self).known(after, n).await
    }

    fn name(&self) -> &str {
        (**self).name()
    }
}
