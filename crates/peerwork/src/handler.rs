//! The trait that users implement: one for each kind of task.

use crate::{Draft, Run, TaskError};
use peerwork_core::Rules;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;

/// The code of one kind of task. What it needs (clients, pools, settings) lives in its fields; one value serves all
/// runs of a node.
///
/// A handler may run more than once, on several machines one after the other, each time from the last
/// checkpoint: everything it does outside the checkpoint must bear being done again.
pub trait Handler: Send + Sync + Sized + 'static {
    /// The kind: a stable string. It is stored with every task; renaming it orphans what is queued.
    const KIND: &'static str;
    /// What a task is created with.
    type Input: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What a run saves and the next one starts from. `()` where there is none.
    type Checkpoint: Serialize + DeserializeOwned + Send + 'static;
    /// What a run returns.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Does the work.
    ///
    /// Call [`Run::save`] often: that is where a pause, a deletion or a shutdown takes effect. The future is
    /// dropped at an `.await` if the node loses its lease or a deadline passes; a panic fails the attempt.
    ///
    /// # Errors
    /// A [`TaskError`]: any error through `?` fails the attempt, which is tried again as [`rules`](Self::rules) say.
    fn run(
        &self,
        run: &mut Run<Self>,
    ) -> impl Future<Output = Result<Self::Output, TaskError>> + Send;

    /// Undoes what the task has left behind, when it is deleted. [`Run::checkpoint`] is what its last run saved;
    /// a cleanup may save checkpoints of its own. Runs at least once before the task is gone, and again if it fails.
    ///
    /// # Errors
    /// A [`TaskError`]: the cleanup is tried again, and stays visible as `delete_failed` when it is exhausted.
    fn cleanup(&self, run: &mut Run<Self>) -> impl Future<Output = Result<(), TaskError>> + Send {
        let _ = run;
        async { Ok(()) }
    }

    /// The choices of this kind. The default has a cleanup; a kind without one sets
    /// [`Rules::cleanup`] to false, and its deletions are immediate.
    fn rules(&self) -> Rules {
        Rules::default()
    }

    /// A task of this kind, to be created by [`Client::create_many`](crate::Client::create_many) or
    /// [`Client::create_in`](crate::Client::create_in).
    fn task(input: Self::Input) -> Draft<Self> {
        Draft::new(input)
    }
}
