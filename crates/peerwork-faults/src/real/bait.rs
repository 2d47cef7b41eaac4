//! Tasks of the controller's own: poison, and baits, which it needs in a certain status.

use super::history::{Answer, Journal, Want, What};
use super::work::Input;
use peerwork::{Client, Draft, Status, TaskHandle, Untyped};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a bait is given to come to the status in which its node is killed.
const BAIT_LIMIT: Duration = Duration::from_secs(25);
const BAIT_LOOK: Duration = Duration::from_millis(40);

/// The node that has taken a bait.
pub(super) enum Taken {
    ToKill(String),
    ToDrain(String),
}

/// A task of the controller's own, which it needs in a certain status.
pub(super) struct Bait {
    client: Client,
    journal: Journal,
    seed: u64,
    asks: Mutex<u64>,
}

impl Bait {
    pub(super) fn new(client: &Client, journal: &Journal, seed: u64) -> Self {
        Self {
            client: client.clone(),
            journal: journal.clone(),
            seed,
            asks: Mutex::new(seed),
        }
    }

    /// Brings a task to `status`, and has the node killed that holds it then.
    pub(super) async fn lure(self, status: Status, to_end: mpsc::UnboundedSender<Taken>) {
        let limit = Instant::now() + BAIT_LIMIT;
        let task = self.create("bait", 3, status == Status::Cleaning).await;
        let is_ready = match status {
            Status::Cleaning => {
                self.ask(&task, Want::Pause).await && self.ask(&task, Want::Delete).await
            }
            Status::Pausing => {
                self.comes_to(&task, Status::Running, limit).await.is_some()
                    && self.ask(&task, Want::Pause).await
            }
            _ => {
                self.comes_to(&task, Status::Running, limit).await.is_some()
                    && self.ask(&task, Want::Delete).await
            }
        };
        if !is_ready {
            return;
        }
        if let Some(label) = self.comes_to(&task, status, limit).await {
            // Whoever would hear of it has ended: so has the run.
            let _ = to_end.send(Taken::ToKill(label));
        }
    }

    /// Has the node drained that works at a task of some seconds.
    pub(super) async fn drain(self, to_end: mpsc::UnboundedSender<Taken>) {
        const STEPS: u64 = 300;
        let limit = Instant::now() + BAIT_LIMIT;
        let task = self.create("steps", STEPS, false).await;
        if let Some(label) = self.comes_to(&task, Status::Running, limit).await {
            let _ = to_end.send(Taken::ToDrain(label));
        }
    }

    pub(super) async fn create(&self, kind: &str, steps: u64, hold: bool) -> TaskHandle {
        let id = self.client.new_task_id();
        let input = Input {
            steps,
            rest_ms: 10,
            seed: self.seed,
        };
        loop {
            let ask = self.asks(id, Want::Create, Some(kind));
            let mut draft = Draft::<Untyped>::of_kind(kind, &input).id(id).priority(-9);
            if hold {
                draft = draft.hold();
            }
            match self.client.create(draft).await {
                Ok(task) => {
                    self.answered(ask, Answer::Done("created".to_owned()));
                    return task;
                }
                Err(error) => self.answered(ask, Answer::Unknown(error.to_string())),
            }
            tokio::time::sleep(BAIT_LOOK).await;
        }
    }

    /// Asks until it is answered. False: it had no effect.
    async fn ask(&self, task: &TaskHandle, wish: Want) -> bool {
        loop {
            let ask = self.asks(task.id(), wish, None);
            let answer = match wish {
                Want::Pause => task.pause().await,
                _ => task.delete().await,
            };
            match answer {
                Ok(status) => {
                    self.answered(ask, Answer::Done(status.name().to_owned()));
                    return true;
                }
                Err(error) if error.is_refused() || error.is_gone() => {
                    self.answered(ask, Answer::Refused);
                    return false;
                }
                Err(error) => self.answered(ask, Answer::Unknown(error.to_string())),
            }
            tokio::time::sleep(BAIT_LOOK).await;
        }
    }

    /// Waits until the task is in `status`; returns the label of the node that holds it.
    async fn comes_to(&self, task: &TaskHandle, status: Status, limit: Instant) -> Option<String> {
        while Instant::now() < limit {
            if let Ok(record) = task.get().await
                && record.status() == status
                && let Ok(nodes) = self.client.nodes().await
                && let Some(node) = nodes.into_iter().find(|node| Some(node.id) == record.node)
            {
                return Some(node.label);
            }
            tokio::time::sleep(BAIT_LOOK).await;
        }
        None
    }

    fn asks(&self, id: peerwork::TaskId, wish: Want, kind: Option<&str>) -> u64 {
        let mut asks = self.asks.lock().expect("no panic under the lock");
        *asks = asks.wrapping_add(1);
        self.journal.write(What::Asked {
            ask: *asks,
            task: id.0,
            wish,
            kind: kind.map(str::to_owned),
        });
        *asks
    }

    fn answered(&self, ask: u64, answer: Answer) {
        self.journal.write(What::Answered { ask, answer });
    }
}
