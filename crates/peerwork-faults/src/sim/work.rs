//! The simulated handler: counts up in checkpoints, fails and dawdles at random, and tells the history what it was told.

use super::history::History;
use peerwork::{Env, Handler, Retry, Rules, Run, TaskError};
use peerwork::{RunId, TaskId};
use std::pin::pin;
use std::time::Duration;

/// Counts to its input.
pub(super) struct Count {
    pub env: Env,
    pub history: History,
    /// Of its node's lease, in milliseconds.
    pub margin_ms: u64,
}

/// A handler's future, while it exists.
struct Alive(History, TaskId, RunId);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.over(self.1, self.2);
    }
}

impl Count {
    /// Tells the history of every poll of `work`, and when it is gone.
    async fn watched<T>(&self, id: TaskId, run: RunId, work: impl Future<Output = T>) -> T {
        self.history.began(id, run);
        let _alive = Alive(self.history.clone(), id, run);
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            self.history
                .polled(id, run, self.env.now().0, self.margin_ms);
            work.as_mut().poll(context)
        })
        .await
    }
}

impl Handler for Count {
    const KIND: &'static str = "count";
    type Input = u64;
    type Checkpoint = u64;
    type Output = u64;

    async fn run(&self, run: &mut Run<Self>) -> Result<u64, TaskError> {
        let (id, this) = (run.id(), run.run_id());
        self.watched(id, this, self.count(run)).await
    }

    async fn cleanup(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        let (id, this) = (run.id(), run.run_id());
        self.watched(id, this, self.tidy(run)).await
    }
    fn rules(&self) -> Rules {
        let retry = Retry {
            limit: 1_000,
            base_ms: 50,
            cap_ms: 2_000,
        };
        Rules {
            retry,
            crash_limit: 1_000,
            ..Rules::default()
        }
    }
}

impl Count {
    async fn count(&self, run: &mut Run<Self>) -> Result<u64, TaskError> {
        let mut at = run.checkpoint().unwrap_or(0);
        self.history.started(run.id(), run.run_id(), at);
        while at < *run.input() {
            tokio::time::sleep(Duration::from_millis(u64::from(self.env.random() % 3_000))).await;
            at += 1;
            if self.env.random().is_multiple_of(2) {
                // Written by itself if the upkeep looks before the save, and with that otherwise.
                run.progress(at, *run.input());
                tokio::time::sleep(Duration::from_millis(u64::from(self.env.random() % 1_500)))
                    .await;
            }
            let saved = run.save(&at).await;
            // Also a save that tells to stop is durable, unless the run has lost its task.
            match &saved {
                Ok(()) => {
                    self.history.saved(run.id(), at);
                    self.history.went_on(run.id(), run.run_id());
                }
                Err(peerwork::SaveError::Stop(stop))
                    if stop.reason != peerwork::Reason::LeaseLost =>
                {
                    self.history.saved(run.id(), at);
                    self.history
                        .happened("told to stop", format!("{}", stop.reason));
                }
                Err(_) => {}
            }
            saved?;
            match self.env.random() % 40 {
                0 => {
                    self.history.happened("failed", run.id());
                    return Err(TaskError::new("simulated: it failed"));
                }
                1 => {
                    self.history.happened("panicked", run.id());
                    std::panic::resume_unwind(Box::new("simulated: it panicked"));
                }
                _ => {}
            }
        }
        Ok(at)
    }

    async fn tidy(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        tokio::time::sleep(Duration::from_millis(u64::from(self.env.random() % 500))).await;
        if self.env.random().is_multiple_of(4) {
            self.history.happened("cleanup failed", run.id());
            return Err(TaskError::new("simulated: its cleanup failed"));
        }
        self.history.cleaned(run.id());
        Ok(())
    }
}
