//! One task: steer it, read it, wait for it.

use super::{Client, TaskWatch};
use crate::{Error, Result, TaskKind, Untyped, payload};
use peerwork_core::explain::Explanation;
use peerwork_core::{Name, OperationId, Refused, State, Status, TaskId};
use peerwork_store::{Failure, Payload, Steered, TaskRecord, Wish};
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;

/// A handle to one task. Every operation may be repeated; one that is so already changes nothing.
///
/// Operations return the status that the task is in after them. A pause or a deletion of a running task is
/// acknowledged as a wish (`pausing`, `deleting_run`); wait for the fact with [`until`](Self::until).
///
/// # Errors of every operation
/// [`is_not_found`](Error::is_not_found) if there is no such task or it is another user's,
/// [`is_refused`](Error::is_refused) if it has no effect in the task's status (`docs/lifecycle.md` lists every case),
/// [`is_transient`](Error::is_transient) if the database did not answer: repeat it.
pub struct TaskHandle<H = Untyped> {
    client: Client,
    id: TaskId,
    operation: Option<OperationId>,
    kind: PhantomData<fn() -> H>,
}

impl<H> Clone for TaskHandle<H> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            id: self.id,
            operation: self.operation,
            kind: PhantomData,
        }
    }
}

impl<H> fmt::Debug for TaskHandle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskHandle({})", self.id)
    }
}

impl<H: TaskKind> TaskHandle<H> {
    pub(super) fn new(client: Client, id: TaskId) -> Self {
        Self {
            client,
            id,
            operation: None,
            kind: PhantomData,
        }
    }

    /// Its id.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The same task without its type.
    pub fn untyped(&self) -> TaskHandle {
        self.client.untyped(self.id)
    }

    /// The same handle for one operation under an id of the caller's, such as that of a request: whoever repeats the operation
    /// with this id within a day, on whatever client, gets the same answer and changes nothing more, whatever others have
    /// done to the task meanwhile.
    ///
    /// An id is for one operation: using it for another one is an [`is_invalid`](Error::is_invalid) error.
    pub fn operation(&self, id: OperationId) -> Self {
        Self {
            operation: Some(id),
            ..self.clone()
        }
    }

    /// The task as it is now, without its payloads. A deleted one is shown for a day.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn get(&self) -> Result<TaskRecord> {
        self.client.record(self.id).await
    }

    /// Why it is not running: see [`Client::explain`].
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn explain(&self) -> Result<Explanation> {
        self.client.explain(self.id).await
    }

    /// Runs it now, whatever its due time is; a failed one goes on from its checkpoint.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn run(&self) -> Result<Status> {
        self.steer("run", Wish::Run).await
    }

    /// Takes a pause back: it goes on as what it was, at its own time.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn resume(&self) -> Result<Status> {
        self.steer("resume", Wish::Resume).await
    }

    /// Pauses it. A running one stops at its next save.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn pause(&self) -> Result<Status> {
        self.steer("pause", Wish::Pause).await
    }

    /// Deletes it: stops it if it runs, runs the cleanup of its kind, then removes it.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn delete(&self) -> Result<Status> {
        self.steer("delete", Wish::Delete).await
    }

    /// Deletes it without waiting for a cleanup that is queued, running or failed.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn force_delete(&self) -> Result<Status> {
        self.steer("delete", Wish::ForceDelete).await
    }

    /// Starts a finished or failed task again, from the beginning.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn rerun(&self) -> Result<Status> {
        self.steer("rerun", Wish::Rerun).await
    }

    /// Moves it to another group, keeping its age in line. A running one runs on.
    ///
    /// # Errors
    /// See [`TaskHandle`]; [`is_invalid`](Error::is_invalid) if `group` is no name.
    pub async fn move_to(&self, group: &str) -> Result<Status> {
        self.steer("move", Wish::MoveTo(Name::new("group", group)?))
            .await
    }

    /// Changes its priority; smaller is sooner. Refused while a node holds it.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn set_priority(&self, priority: i16) -> Result<Status> {
        self.steer("change the priority of", Wish::Priority(priority))
            .await
    }

    async fn steer(&self, what: &str, wish: Wish) -> Result<Status> {
        let answers = self
            .client
            .steer(vec![self.id], self.client.scope(), wish, self.operation)
            .await?;
        match answers.first().copied().unwrap_or(Steered::NotFound) {
            Steered::Changed(status) | Steered::Unchanged(status) => Ok(status),
            Steered::Refused(_, why) => Err(Error::refused(what, self.id, why)),
            Steered::NotFound => Err(Error::not_found(self.id)),
        }
    }

    /// The reasons of its last failures, oldest first.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn failures(&self) -> Result<Vec<Failure>> {
        self.get().await?;
        Ok(self.client.inner.store.failures(self.id).await?)
    }

    /// What it was created with.
    ///
    /// # Errors
    /// See [`TaskHandle`]; [`is_invalid`](Error::is_invalid) if it is not a `T`.
    pub async fn input<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.payload("input", Payload::Input).await
    }

    /// What its handler saved last.
    ///
    /// # Errors
    /// See [`TaskHandle`]; [`is_invalid`](Error::is_invalid) if it is not a `T`.
    pub async fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.payload("checkpoint", Payload::Checkpoint).await
    }

    async fn payload<T: DeserializeOwned>(&self, what: &str, which: Payload) -> Result<Option<T>> {
        let record = self.get().await?;
        let bytes = self.client.inner.store.payload(self.id, which).await?;
        bytes
            .map(|bytes| payload::decode(record.kind.as_str(), what, &bytes))
            .transpose()
    }

    /// Follows its changes, from what it is now until it is deleted.
    pub fn watch(&self) -> TaskWatch {
        TaskWatch::new(&self.client, self.id)
    }

    /// Waits until it is in `state`, or can no longer come there by itself.
    ///
    /// Cancel safe. Costs no query of its own: all waits of a client share one.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found), [`is_gone`](Error::is_gone), [`is_task_failed`](Error::is_task_failed) or
    /// [`is_refused`](Error::is_refused) (it has finished) if it ended in another state than the awaited one.
    pub async fn until(&self, state: State) -> Result<TaskRecord> {
        let mut watch = self.watch();
        loop {
            let record = watch.next().await?;
            let now = record.state();
            if now == state {
                return Ok(record);
            }
            match now {
                State::Deleted => return Err(Error::gone(self.id)),
                // It may still be deleted, but comes nowhere else by itself.
                State::Failed if state != State::Deleted => {
                    return Err(Error::task_failed(self.id, record.error.as_deref()));
                }
                State::Finished if state != State::Deleted => {
                    return Err(Error::refused(
                        "wait for",
                        self.id,
                        Refused::AlreadyFinished,
                    ));
                }
                _ => {}
            }
        }
    }

    /// Waits until it has finished, failed or been deleted.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// See [`TaskHandle`].
    pub async fn until_over(&self) -> Result<TaskRecord> {
        let mut watch = self.watch();
        loop {
            let record = watch.next().await?;
            if record.state().is_final() {
                return Ok(record);
            }
        }
    }

    /// Waits for its end and returns its output.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`is_task_failed`](Error::is_task_failed) with the reason if it failed, [`is_gone`](Error::is_gone) if it was
    /// deleted or vanished at its end, [`is_invalid`](Error::is_invalid) if the output is of another type.
    pub async fn result(&self) -> Result<H::Output> {
        let record = self.until(State::Finished).await?;
        if let Some(kind) = H::NAME
            && record.kind != *kind
        {
            return Err(Error::wrong_kind(self.id, record.kind.as_str(), kind));
        }
        let output = self
            .client
            .inner
            .store
            .payload(self.id, Payload::Output)
            .await?;
        H::decode_output(&output.ok_or_else(|| Error::gone(self.id))?)
    }
}
