//! sqlxmq: 10 to 20 jobs at a time; creates in bulk by many spawns in one transaction.

use std::ops::Range;

use contender::{Contender, Measure, ran};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlxmq::{CurrentJob, JobRegistry, JobRunnerHandle};

/// The documentation's own.
const CONCURRENCY: (usize, usize) = (10, 20);
const CONNECTIONS: u32 = 30;

#[derive(Serialize, Deserialize)]
struct Input {
    i: u32,
}

type JobResult = Result<(), Box<dyn std::error::Error + Send + Sync + 'static>>;

#[sqlxmq::job]
async fn noop(mut job: CurrentJob) -> JobResult {
    let input: Option<Input> = job.json()?;
    ran(input.ok_or("a job without its input")?.i);
    job.complete().await?;
    Ok(())
}

struct Sqlxmq {
    pool: PgPool,
    runner: Option<JobRunnerHandle>,
}

impl Contender for Sqlxmq {
    /// It finds its tables there: the referee has run its migrations, which are files for another tool.
    async fn open(url: &str, _measure: Measure) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect(url)
            .await?;
        Ok(Self { pool, runner: None })
    }

    async fn create(&mut self, task: u32) -> anyhow::Result<()> {
        let mut job = noop.builder();
        job.set_json(&Input { i: task })?.spawn(&self.pool).await?;
        Ok(())
    }

    async fn create_many(&mut self, tasks: Range<u32>) -> anyhow::Result<()> {
        let mut transaction = self.pool.begin().await?;
        for i in tasks {
            let mut job = noop.builder();
            job.set_json(&Input { i })?.spawn(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        let registry = JobRegistry::new(&[noop]);
        let (least, most) = CONCURRENCY;
        let runner = registry
            .runner(&self.pool)
            .set_concurrency(least, most)
            .run()
            .await?;
        self.runner = Some(runner);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    contender::play::<Sqlxmq>().await
}
