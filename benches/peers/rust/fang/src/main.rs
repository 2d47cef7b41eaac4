//! fang: ten workers that each fetch a task, run it, remove it, and sleep where there is none.

use std::ops::Range;
use std::time::Duration;

use contender::{Contender, Measure, ran};
use fang::asynk::async_queue::{AsyncQueue, AsyncQueueable};
use fang::asynk::async_worker_pool::AsyncWorkerPool;
use fang::serde::{Deserialize, Serialize};
use fang::{AsyncRunnable, FangError, SleepParams, async_trait, typetag};
use futures::future::try_join_all;

const WORKERS: u32 = 10;
/// Only to fill the tables before a drain.
const CALLERS: u32 = 8;

/// The shortest that its documentation shows, instead of the default of five seconds.
fn sleep_params() -> SleepParams {
    SleepParams {
        sleep_period: Duration::from_secs(2),
        max_sleep_period: Duration::from_secs(6),
        min_sleep_period: Duration::from_secs(2),
        sleep_step: Duration::from_secs(1),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(crate = "fang::serde")]
struct Noop {
    i: u32,
}

#[typetag::serde]
#[async_trait]
impl AsyncRunnable for Noop {
    async fn run(&self, _queue: &dyn AsyncQueueable) -> Result<(), FangError> {
        ran(self.i);
        Ok(())
    }
}

struct Fang {
    queue: AsyncQueue,
}

impl Contender for Fang {
    /// It finds its tables there: the referee has run its migrations, which are files for another tool.
    async fn open(url: &str, _measure: Measure) -> anyhow::Result<Self> {
        let mut queue = AsyncQueue::builder()
            .uri(url)
            .max_pool_size(WORKERS + 2)
            .build();
        queue.connect().await.map_err(plain)?;
        Ok(Self { queue })
    }

    async fn create(&mut self, task: u32) -> anyhow::Result<()> {
        self.queue
            .insert_task(&Noop { i: task })
            .await
            .map_err(plain)?;
        Ok(())
    }

    /// There is no such call. Only filling the tables comes here, from several callers to be done sooner.
    async fn create_many(&mut self, tasks: Range<u32>) -> anyhow::Result<()> {
        let callers = (0..CALLERS).map(|caller| {
            let (queue, tasks) = (&self.queue, tasks.clone());
            async move {
                for i in tasks.skip(caller as usize).step_by(CALLERS as usize) {
                    queue.insert_task(&Noop { i }).await.map_err(plain)?;
                }
                anyhow::Ok(())
            }
        });
        try_join_all(callers).await?;
        Ok(())
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        let mut pool: AsyncWorkerPool<AsyncQueue> = AsyncWorkerPool::builder()
            .number_of_workers(WORKERS)
            .queue(self.queue.clone())
            .sleep_params(sleep_params())
            .build();
        pool.start().await;
        Ok(())
    }
}

/// Its errors are no standard ones.
fn plain(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow::anyhow!("{error:?}")
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    contender::play::<Fang>().await
}
