//! `pickup`: from a create to the first line of its handler, on an idle node, in the creator's process or in another.
//!
//! The yardstick is the least that this takes: insert the task, where the database can notify do so and hear it, and claim
//! it, all durable, on connections that are there already.

use super::clock::now_us;
use super::least::Least;
use crate::figures::{Figure, Percentiles};
use crate::options::Options;
use crate::place::{self, Place};
use crate::process::Child;
use crate::report::{Report, Round};
use crate::target::{Sort, Target};
use anyhow::Context;
use peerwork::{Client, Handler, Node, Run, TaskError};
use rand::Rng;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

/// A node is idle after so many milliseconds: the end of the last task is recorded, and the gap is over that a process leaves
/// between two hints to others. At random, or the samples would fall in step with whatever is periodic.
const PAUSE_MS: std::ops::Range<u64> = 55..85;

/// Samples that are not counted: connections are made and statements prepared meanwhile.
const WARM_UP: usize = 5;

/// A sample that takes longer has been lost.
const SAMPLE_MAX: Duration = Duration::from_secs(10);

pub async fn run(target: &Target, options: &Options) -> anyhow::Result<Vec<Report>> {
    let place = Place::new(target).await?;
    let raw_place = Place::new(target).await?;
    let mut ours = Ours::start(&place, options.from_process).await?;
    let mut least = Least::start(&raw_place).await?;
    for _ in 0..WARM_UP {
        ours.sample().await?;
        pause().await;
        least.sample().await?;
    }
    let mut rounds = Vec::new();
    for _ in 0..options.rounds() {
        let (mut engine, mut yardstick) = (Vec::new(), Vec::new());
        for _ in 0..options.tasks() {
            engine.push(ours.sample().await?);
            pause().await;
            yardstick.push(least.sample().await?);
            pause().await;
        }
        let latency = |times| Figure::Latency(Percentiles::of(times));
        rounds.push(Round::new(latency(engine), latency(yardstick)));
    }
    ours.end().await?;
    place.remove().await?;
    raw_place.remove().await?;
    Ok(vec![Report {
        scenario: options.scenario.name().into(),
        database: target.sort.name(),
        settings: format!(
            "samples={} creator={}",
            options.tasks(),
            if options.from_process {
                "another process"
            } else {
                "same process"
            }
        ),
        yardstick: match target.sort {
            Sort::Postgres => "raw insert, NOTIFY, LISTEN, claim",
            Sort::Sqlite | Sort::MySql => "raw insert, claim",
        },
        rounds,
    }])
}

/// Until the node is idle again.
async fn pause() {
    let ms = rand::rng().random_range(PAUSE_MS);
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Tells how long ago its task was about to be created.
struct Arrival(mpsc::UnboundedSender<Duration>);

impl Handler for Arrival {
    const KIND: &'static str = "arrival";
    type Input = u64;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        let since = now_us().saturating_sub(*run.input());
        // Nobody waits for it any more: its sample took too long.
        let _ = self.0.send(Duration::from_micros(since));
        Ok(())
    }
}

async fn create(client: &Client) -> anyhow::Result<()> {
    client.create(Arrival::task(now_us())).await?;
    Ok(())
}

/// An idle node, and who creates tasks for it.
struct Ours {
    node: Node,
    arrivals: mpsc::UnboundedReceiver<Duration>,
    creator: Creator,
}

enum Creator {
    Here(Client),
    There(Box<Child>),
}

impl Ours {
    async fn start(place: &Place, from_process: bool) -> anyhow::Result<Self> {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let node = Node::builder(&place.database)
            .register(Arrival(sender))
            .start()
            .await?;
        let creator = match from_process {
            false => Creator::Here(node.client()),
            true => Creator::There(Box::new(Child::start("pickup-child", place, 1)?)),
        };
        Ok(Self {
            node,
            arrivals,
            creator,
        })
    }

    async fn sample(&mut self) -> anyhow::Result<Duration> {
        match &mut self.creator {
            Creator::Here(client) => create(client).await?,
            Creator::There(child) => child.tell("").await?,
        }
        let arrival = tokio::time::timeout(SAMPLE_MAX, self.arrivals.recv()).await;
        let time = arrival.context("a task was not picked up in time")?;
        time.context("the node is gone")
    }

    async fn end(self) -> anyhow::Result<()> {
        if let Creator::There(child) = self.creator {
            child.end().await?;
        }
        self.node.drain().await;
        Ok(())
    }
}

/// The other process: creates a task for each line that it is sent.
pub async fn child(options: &Options) -> anyhow::Result<()> {
    let client = Client::connect(&place::opened_by(options).await?).await?;
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while orders.next_line().await?.is_some() {
        create(&client).await?;
    }
    Ok(())
}
