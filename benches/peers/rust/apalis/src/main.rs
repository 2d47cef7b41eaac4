//! apalis-postgres: batches of 1,000 without a lock for each task to drain, woken by notifications to pick up.

use std::ops::Range;

use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use contender::{Contender, Measure, keep, ran};
use futures::stream;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

const CONNECTIONS: u32 = 20;
/// "Larger batches can improve throughput"; more than this added nothing.
const BATCH: usize = 1_000;
/// Ten times as many were no faster.
const CONCURRENCY: usize = 20;

#[derive(Serialize, Deserialize)]
struct Noop {
    i: u32,
}

async fn noop(task: Noop) -> Result<(), BoxDynError> {
    ran(task.i);
    Ok(())
}

struct Apalis {
    pool: PgPool,
    config: Config,
    storage: PostgresStorage<Noop>,
    measure: Measure,
}

impl Contender for Apalis {
    async fn open(url: &str, measure: Measure) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect(url)
            .await?;
        PostgresStorage::setup(&pool).await?;
        let config = match measure {
            // A batch is locked when it is fetched; locking each task again is for those who fetch without.
            Measure::Drain => Config::default().batch_size(BATCH).lock_tasks(false),
            _ => Config::default(),
        };
        let config = config.queue("noop");
        let storage = PostgresStorage::new(&pool).with_config(config.clone());
        Ok(Self {
            pool,
            config,
            storage,
            measure,
        })
    }

    async fn create(&mut self, task: u32) -> anyhow::Result<()> {
        self.storage.push(Noop { i: task }).await?;
        Ok(())
    }

    async fn create_many(&mut self, tasks: Range<u32>) -> anyhow::Result<()> {
        let tasks: Vec<_> = tasks
            .map(|i| TaskBuilder::new(Noop { i }).build())
            .collect();
        self.storage.push_all(&mut stream::iter(tasks)).await?;
        Ok(())
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        let storage = PostgresStorage::<Noop>::new(&self.pool).with_config(self.config.clone());
        match self.measure {
            Measure::PickUp => {
                let worker = WorkerBuilder::new("worker")
                    .backend(storage.with_pubsub())
                    .build(noop);
                keep(worker.run());
            }
            _ => {
                let worker = WorkerBuilder::new("worker")
                    .backend(storage)
                    .concurrency(CONCURRENCY)
                    .parallelize(tokio::spawn)
                    .build(noop);
                keep(worker.run());
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    contender::play::<Apalis>().await
}
