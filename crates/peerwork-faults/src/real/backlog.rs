//! Limited groups, each with more tasks than it may run for the whole time: a run that shows how much of its limits a cluster uses.

use super::history::{Answer, Journal, Want, What};
use super::work::Input;
use anyhow::{Context, Result};
use peerwork::{Client, Draft, TaskId, Untyped};
use rand::Rng;
use rand::rngs::StdRng;
use std::time::Duration;
use tokio::task::JoinSet;

/// The limits of groups, in turn.
const LIMITS: [u32; 3] = [1, 2, 3];
/// Groups that are limited at once: each change is in force two seconds later.
const AT_ONCE: usize = 40;
/// Tasks of one call.
const BATCH: usize = 200;
const KIND: &str = "plain";

/// What is to be filled.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Limited groups.
    pub groups: usize,
    /// How long their tasks last for at least, with every slot in use.
    pub seconds: u64,
    /// How long a task takes in the mean, in milliseconds.
    pub task_ms: u64,
}

impl Backlog {
    /// The sum of the limits.
    pub fn slots(self) -> u64 {
        (0..self.groups).map(|n| u64::from(limit(n))).sum()
    }

    /// Limits the groups, and fills them behind a gate.
    ///
    /// # Errors
    /// If the database does not do it.
    pub async fn fill(self, client: &Client, journal: &Journal, random: &mut StdRng) -> Result<()> {
        client.everything().gate("it is filled").await?;
        let mut numbers = 0..self.groups;
        while !numbers.is_empty() {
            let mut limited = JoinSet::new();
            for n in numbers.by_ref().take(AT_ONCE) {
                let setting = client.group(&group(n)).limit(limit(n));
                limited.spawn(async move { setting.await });
            }
            while let Some(done) = limited.join_next().await {
                done.context("limit a group")??;
            }
        }
        for n in 0..self.groups {
            let tasks = (u64::from(limit(n)) * self.seconds * 1_000).div_ceil(self.task_ms);
            let mut left = usize::try_from(tasks)? + 1;
            while left > 0 {
                let some = left.min(BATCH);
                self.create(client, journal, random, n, some).await?;
                left -= some;
            }
        }
        Ok(())
    }

    /// Lets everything start.
    ///
    /// # Errors
    /// If the database does not do it.
    pub async fn open(client: &Client) -> Result<()> {
        Ok(client.everything().open().await?)
    }

    async fn create(
        self,
        client: &Client,
        journal: &Journal,
        random: &mut StdRng,
        n: usize,
        tasks: usize,
    ) -> Result<()> {
        let mut drafts = Vec::with_capacity(tasks);
        for _ in 0..tasks {
            let id = client.new_task_id();
            let input = Input {
                steps: 1,
                rest_ms: random.random_range(self.task_ms / 2..=self.task_ms * 3 / 2),
                seed: random.random(),
            };
            let draft = Draft::<Untyped>::of_kind(KIND, &input).id(id);
            drafts.push((id, draft.group(group(n)).user(format!("user-{}", n % 8))));
        }
        let ask = |id: &TaskId| id.0.as_u128() as u64;
        let ids: Vec<_> = drafts.iter().map(|(id, _)| *id).collect();
        for id in &ids {
            journal.write(What::Asked {
                ask: ask(id),
                task: id.0,
                wish: Want::Create,
                kind: Some(KIND.to_owned()),
            });
        }
        let drafts = drafts.into_iter().map(|(_, draft)| draft);
        client.create_many(drafts).await?;
        for id in &ids {
            journal.write(What::Answered {
                ask: ask(id),
                answer: Answer::Done("created".to_owned()),
            });
        }
        Ok(())
    }
}

/// How long from one kill to the next.
pub const KILL_EVERY: Duration = Duration::from_secs(3);

fn limit(n: usize) -> u32 {
    LIMITS[n % LIMITS.len()]
}

fn group(n: usize) -> String {
    format!("limited-{n}")
}
