//! One measurement, from the command line to the answer.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::tally::Tally;
use crate::{Contender, Measure};

/// Connections, plans and caches are warm by then; not counted.
const WARM_UP: u32 = 20;
/// Long enough for a worker to become idle again.
const PAUSE: Duration = Duration::from_millis(15);

/// A line to the referee.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Ready,
    First,
    Done { tasks: u32, repeats: u32 },
    PickedUp { ms: Vec<f64> },
}

struct Order {
    measure: Measure,
    url: String,
    tasks: u32,
    limit: Duration,
}

/// The `main` of a contender. Returns only if it fails: otherwise the process ends when the referee says so.
pub async fn play<C: Contender>() -> Result<()> {
    let order = Order::read()?;
    let mut contender = C::open(&order.url, order.measure)
        .await
        .context("make its tables")?;
    match order.measure {
        Measure::Create => create(&mut contender, &order).await?,
        Measure::Bulk => create_many(&mut contender, &order).await?,
        Measure::Drain => drain(&mut contender, &order).await?,
        Measure::PickUp => pick_up(&mut contender, &order).await?,
    }
    // What has run is still to be recorded: workers go on until the referee has seen it.
    heard().await?;
    std::process::exit(0)
}

impl Order {
    fn read() -> Result<Self> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let [measure, url, tasks, limit_ms] = words.as_slice() else {
            bail!("expected MEASURE URL TASKS LIMIT_MS: `peers` starts this program");
        };
        let measure = match measure.as_str() {
            "create" => Measure::Create,
            "bulk" => Measure::Bulk,
            "drain" => Measure::Drain,
            "pickup" => Measure::PickUp,
            other => bail!("{other:?} is nothing to measure"),
        };
        Ok(Self {
            measure,
            url: url.clone(),
            tasks: tasks.parse().context("read TASKS")?,
            limit: Duration::from_millis(limit_ms.parse().context("read LIMIT_MS")?),
        })
    }
}

async fn create<C: Contender>(contender: &mut C, order: &Order) -> Result<()> {
    let started = ready().await?;
    let mut tasks = 0;
    while tasks < order.tasks && started.elapsed() < order.limit {
        contender.create(tasks).await?;
        tasks += 1;
    }
    say(&Event::Done { tasks, repeats: 0 });
    Ok(())
}

async fn create_many<C: Contender>(contender: &mut C, order: &Order) -> Result<()> {
    let started = ready().await?;
    let mut tasks = 0;
    while tasks < order.tasks && started.elapsed() < order.limit {
        let end = order.tasks.min(tasks + C::BULK);
        contender.create_many(tasks..end).await?;
        tasks = end;
    }
    say(&Event::Done { tasks, repeats: 0 });
    Ok(())
}

/// Fills the tables and starts working; the handlers say the rest.
async fn drain<C: Contender>(contender: &mut C, order: &Order) -> Result<()> {
    let mut tasks = 0;
    while tasks < order.tasks {
        let end = order.tasks.min(tasks + C::BULK);
        contender.create_many(tasks..end).await.context("fill")?;
        tasks = end;
    }
    Tally::drain(order.tasks);
    ready().await?;
    contender.work().await.context("start working")
}

async fn pick_up<C: Contender>(contender: &mut C, order: &Order) -> Result<()> {
    let mut picked_up = Tally::pick_up();
    let started = ready().await?;
    contender.work().await.context("start working")?;
    let mut ms = Vec::new();
    for task in 0..order.tasks + WARM_UP {
        let Some(left) = order.limit.checked_sub(started.elapsed()) else {
            break;
        };
        let created = Instant::now();
        contender.create(task).await?;
        let at = one(&mut picked_up, task, left).await;
        // One that was not picked up in time counts with the time that it was waited for.
        let took = at.unwrap_or_else(Instant::now) - created;
        // A peer that is too slow to be warmed up is measured cold.
        if task >= WARM_UP || took > order.limit / WARM_UP {
            ms.push(took.as_secs_f64() * 1e3);
        }
        tokio::time::sleep(PAUSE).await;
    }
    say(&Event::PickedUp { ms });
    Ok(())
}

/// When this task ran, ignoring repetitions of others.
async fn one(
    picked_up: &mut mpsc::Receiver<(u32, Instant)>,
    task: u32,
    limit: Duration,
) -> Option<Instant> {
    let wanted = async {
        loop {
            let (ran, at) = picked_up.recv().await?;
            if ran == task {
                return Some(at);
            }
        }
    };
    timeout(limit, wanted).await.ok().flatten()
}

/// Says that everything is prepared, and waits for the word to begin.
async fn ready() -> Result<Instant> {
    say(&Event::Ready);
    if !heard().await? {
        bail!("the referee is gone");
    }
    Ok(Instant::now())
}

/// A line from the referee; false at the end.
async fn heard() -> Result<bool> {
    let line = tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await??;
    Ok(line > 0)
}

pub fn say(event: &Event) {
    let line = serde_json::to_string(event).expect("numbers and names are JSON");
    let mut out = io::stdout().lock();
    // A referee that is gone hears nothing; the process ends with its input.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
