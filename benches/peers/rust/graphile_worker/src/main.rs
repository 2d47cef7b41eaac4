//! graphile_worker, the Rust one: with local queues and batched completions, as its docs advise.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use contender::{Contender, Measure, keep, ran};
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, Worker, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};

/// 4 were as fast, 24 slower.
const CONCURRENCY: usize = 10;
/// "Can improve throughput for very small, high-volume jobs"; the quickest of one to four queues of 500 to 5,000.
const LOCAL_QUEUE: usize = 1_000;
const LOCAL_QUEUES: usize = 2;
/// From "small delays such as 1-5ms"; every millisecond more is waited for.
const COMPLETE_DELAY: Duration = Duration::from_millis(1);

#[derive(Clone, Serialize, Deserialize)]
struct Noop {
    i: u32,
}

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, _context: WorkerContext) -> impl IntoTaskHandlerResult {
        ran(self.i);
        Ok::<(), String>(())
    }
}

struct GraphileWorker {
    worker: Arc<Worker>,
    utils: WorkerUtils,
}

impl Contender for GraphileWorker {
    async fn open(url: &str, _measure: Measure) -> anyhow::Result<Self> {
        let local_queue = LocalQueueConfig::default()
            .with_size(LOCAL_QUEUE)
            .with_queue_count(LOCAL_QUEUES);
        let options = WorkerOptions::default()
            .database_url(url)
            .max_pg_conn(CONCURRENCY as u32 + 5)
            .concurrency(CONCURRENCY)
            .local_queue(local_queue)
            .complete_job_batch_delay(COMPLETE_DELAY)
            .fail_job_batch_delay(COMPLETE_DELAY)
            .define_job::<Noop>();
        let worker = Arc::new(options.init().await?);
        let utils = worker.create_utils();
        Ok(Self { worker, utils })
    }

    async fn create(&mut self, task: u32) -> anyhow::Result<()> {
        self.utils
            .add_job(Noop { i: task }, JobSpec::default())
            .await?;
        Ok(())
    }

    async fn create_many(&mut self, tasks: Range<u32>) -> anyhow::Result<()> {
        let spec = JobSpec::default();
        let jobs: Vec<_> = tasks.map(|i| (Noop { i }, &spec)).collect();
        self.utils.add_jobs(&jobs).await?;
        Ok(())
    }

    async fn work(&mut self) -> anyhow::Result<()> {
        let worker = self.worker.clone();
        keep(async move { worker.run().await });
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    contender::play::<GraphileWorker>().await
}
