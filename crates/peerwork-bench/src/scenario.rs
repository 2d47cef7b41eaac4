//! The scenarios: each sets its tables up, measures one thing, and says it as a number a second.

use crate::Args;
use crate::target::Target;
use anyhow::ensure;
use peerwork::{Client, Database, Handler, Node, Run, Settings, TaskError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// What is measured.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Scenario {
    /// No-op tasks that are there already, to their recorded ends; finished tasks are kept
    Drain,
    /// Creates, one at a time, by one caller
    Create,
    /// Creates, one at a time, by 64 callers of one client
    CreateConcurrent,
    /// Creates of many at once
    CreateMany,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Create => "create",
            Self::CreateConcurrent => "create-concurrent",
            Self::CreateMany => "create-many",
        }
    }

    /// One round on fresh tables: tasks a second.
    pub async fn run(self, target: &Target, args: &Args, round: usize) -> anyhow::Result<f64> {
        let settings =
            Settings::default().with_prefix(format!("bench{}_{round}_", std::process::id()));
        let database = Database::connect_with(target.url(), settings).await?;
        let client = Client::connect(&database).await?;
        match self {
            Self::Drain => drain(&database, &client, args).await,
            Self::Create => create(&client, args.tasks.min(5_000), 1).await,
            Self::CreateConcurrent => create(&client, args.tasks.min(50_000), 64).await,
            Self::CreateMany => create_many(&client, args.tasks).await,
        }
    }
}

/// Does nothing, and tells when everything is done.
struct Noop {
    left: Arc<AtomicUsize>,
    done: Arc<Notify>,
}

impl Handler for Noop {
    const KIND: &'static str = "noop";
    type Input = u32;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, _run: &mut Run<Self>) -> Result<(), TaskError> {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
        Ok(())
    }
}

async fn drain(database: &Database, client: &Client, args: &Args) -> anyhow::Result<f64> {
    client
        .create_many((0..args.tasks as u32).map(Noop::task))
        .await?;
    let (left, done) = (
        Arc::new(AtomicUsize::new(args.tasks)),
        Arc::new(Notify::new()),
    );
    let started = Instant::now();
    let mut nodes = Vec::new();
    for _ in 0..args.nodes {
        let noop = Noop {
            left: left.clone(),
            done: done.clone(),
        };
        nodes.push(
            Node::builder(database)
                .register(noop)
                .slots(args.slots)
                .start()
                .await?,
        );
    }
    done.notified().await;
    // Draining waits for the last ends to be recorded: they count.
    for node in nodes {
        node.drain().await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let finished = client
        .tasks()
        .state(peerwork::State::Finished)
        .limit(1_000)
        .all()
        .await?
        .len();
    ensure!(
        finished == args.tasks,
        "{finished} of {} tasks are finished",
        args.tasks
    );
    Ok(args.tasks as f64 / seconds)
}

async fn create(client: &Client, tasks: usize, callers: usize) -> anyhow::Result<f64> {
    let started = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..tasks / callers {
                    client.create(Noop::task(n as u32)).await?;
                }
                Ok::<_, peerwork::Error>(tasks / callers)
            })
        })
        .collect();
    let mut created = 0;
    for caller in callers {
        created += caller.await??;
    }
    Ok(created as f64 / started.elapsed().as_secs_f64())
}

async fn create_many(client: &Client, tasks: usize) -> anyhow::Result<f64> {
    let started = Instant::now();
    client
        .create_many((0..tasks as u32).map(Noop::task))
        .await?;
    Ok(tasks as f64 / started.elapsed().as_secs_f64())
}
