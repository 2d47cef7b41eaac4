//! underway: a queue and a task, ten at a time; creates in bulk with `enqueue_multi`.

use std::ops::Range;
use std::sync::Arc;

use contender::{Contender, Measure, keep, ran};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Postgres, Transaction};
use underway::{Queue, Task, Worker};

const CONCURRENCY: usize = 10;
/// Each task holds a transaction while it runs.
const CONNECTIONS: u32 = CONCURRENCY as u32 + 10;

#[derive(Serialize, Deserialize)]
struct Input {
    i: u32,
}

struct Noop;

impl Task for Noop {
    type Input = Input;
    type Output = ();

    async fn execute(
        &self,
        _transaction: Transaction<'_, Postgres>,
        input: Input,
    ) -> underway::task::Result<()> {
        ran(input.i);
        Ok(())
    }
}

struct Underway {
    pool: PgPool,
    queue: Arc<Queue<Noop>>,
}

impl Contender for Underway {
    /// What it puts into one statement.
    const BULK: u32 = 5_000;

    async fn open(url: &str, _measure: Measure) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect(url)
            .await?;
        underway::run_migrations(&pool).await?;
        let queue = Queue::builder()
            .name("noop")
            .pool(pool.clone())
            .build()
            .await?;
        Ok(Self {
            pool,
            queue: Arc::new(queue),
        })
    }

    async fn create(&mut self, task: u32) -> anyhow::Result<()> {
        self.queue
            .enqueue(&self.pool, &Noop, &Input { i: task })
            .await?;
        Ok(())
    }

    async fn create_many(&mut self, tasks: Range<u32>) -> anyhow::Result<()> {
        let inputs: Vec<_> = tasks.map(|i| Input { i }).collect();
        self.queue.enqueue_multi(&self.pool, &Noop, &inputs).await?;
        Ok(())
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        let mut worker = Worker::new(self.queue.clone(), Noop);
        worker.set_concurrency_limit(CONCURRENCY);
        keep(async move { worker.run().await });
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    contender::play::<Underway>().await
}
