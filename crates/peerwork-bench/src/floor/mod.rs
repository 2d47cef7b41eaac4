//! The database's own limit: what the engine reads and writes for a task, in hand-written SQL, and nothing else.
//!
//! On the engine's own tables, with all their columns and indexes, in a node's own order: a claim takes the first of a
//! lane under a fresh run id, if the node is alive and has the kind, and reads what handlers need; a finish is guarded
//! by task, run, status and "no child", and leaves the history in `done`. Statements are those that were fastest on each
//! database among all that were tried.
//!
//! *Not here:* what makes an engine of it. Nothing is decided, retried, woken, beaten or told; there are no handlers.

mod mysql;
mod postgres;
mod sqlite;

use crate::fill;
use crate::handlers::NOOP;
use crate::place::Place;
use crate::target::{Sort, Target};
use anyhow::ensure;
use async_trait::async_trait;
use std::fmt;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

/// What handlers return: `()` as JSON.
const OUTPUT: &[u8] = b"null";

/// Batches between a claiming connection and the one that writes ends.
const READ_AHEAD: usize = 2;

/// A task that was claimed.
#[derive(Clone, Debug)]
pub struct Taken {
    pub id: Uuid,
    pub run: Uuid,
    pub ready_at: i64,
    pub started_at: i64,
    pub attempt: i64,
    pub failures: i64,
    pub crashes: i64,
    /// What a handler would get.
    pub input: Vec<u8>,
}

/// One connection that claims, or writes ends, or both.
#[async_trait]
pub trait Pipeline: Send {
    /// Takes the first `limit` tasks of the lane.
    async fn claim(&mut self, limit: usize) -> anyhow::Result<Vec<Taken>>;

    /// Records the success of tasks that were claimed together.
    async fn finish(&mut self, taken: &[Taken]) -> anyhow::Result<()>;

    /// Both: by databases where that is faster, in one transaction.
    async fn turn(&mut self, taken: &[Taken], limit: usize) -> anyhow::Result<Vec<Taken>> {
        self.finish(taken).await?;
        self.claim(limit).await
    }
}

/// What all statements of a floor are about.
#[derive(Clone, Debug)]
pub struct Scope {
    pub prefix: String,
    pub node: Uuid,
    pub lane: Uuid,
    pub kind: i64,
    /// Whether claims start where the last one ended, and not at the front of the index, where the dead entries are.
    pub remembers: bool,
}

impl Scope {
    /// No-op tasks without a group, claimed by a node that is registered here.
    pub async fn register(place: &Place) -> anyhow::Result<Self> {
        let node = Uuid::new_v4();
        let id = match place.sort {
            Sort::Postgres => format!("'{node}'"),
            Sort::MySql | Sort::Sqlite => format!("x'{}'", node.simple()),
        };
        let row = format!(
            "insert into ~node (id, label, started_at, seq, ttl_ms, lease_until, alive, slots) values ({id}, 'floor', 0, 0, 15000, 0, 1, 1)"
        );
        place.raw().await?.run(&place.sql(&row)).await?;
        Ok(Self {
            prefix: place.prefix.clone(),
            node,
            lane: fill::lane("").0,
            kind: fill::kind_key(NOOP).0,
            remembers: true,
        })
    }

    fn sql(&self, text: &str) -> String {
        text.replace('~', &self.prefix)
    }

    /// A connection.
    pub async fn pipeline(&self, place: &Place) -> anyhow::Result<Box<dyn Pipeline>> {
        let (url, scope) = (place.url.as_str(), self.clone());
        Ok(match place.sort {
            Sort::Sqlite => Box::new(sqlite::Connection::open(url, scope).await?),
            Sort::Postgres => Box::new(postgres::Connection::open(url, scope).await?),
            Sort::MySql => Box::new(mysql::Connection::open(url, scope).await?),
        })
    }
}

/// How a floor is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub batch: usize,
    pub pipelines: usize,
    /// Each pipeline has a connection that claims and another that writes ends, instead of one that does both in turn.
    pub in_pairs: bool,
}

impl Shape {
    /// Large batches on one connection: the same on all databases.
    pub const PLAIN: Self = Self {
        batch: 1_000,
        pipelines: 1,
        in_pairs: false,
    };
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.in_pairs {
            "claim|end"
        } else {
            "claim+end"
        };
        write!(
            f,
            "batch={} pipelines={}x({how})",
            self.batch, self.pipelines
        )
    }
}

/// Batch sizes that are tried.
const BATCHES: [usize; 5] = [100, 250, 500, 1_000, 2_000];

/// Numbers of pipelines that are tried, and whether in pairs.
fn ways(sort: Sort) -> &'static [(usize, bool)] {
    match sort {
        // It has one writer at a time.
        Sort::Sqlite => &[(1, false)],
        Sort::Postgres | Sort::MySql => &[(1, true), (1, false), (2, false), (2, true), (4, false)],
    }
}

/// The fastest shape for this database, by one short run of each: first of the ways with large batches, then of the batches.
pub async fn tune(target: &Target, tasks: usize) -> anyhow::Result<Shape> {
    let ways = ways(target.sort).iter().map(|(pipelines, in_pairs)| Shape {
        batch: 1_000,
        pipelines: *pipelines,
        in_pairs: *in_pairs,
    });
    let way = fastest(target, tasks, ways).await?;
    fastest(target, tasks, BATCHES.map(|batch| Shape { batch, ..way })).await
}

async fn fastest(
    target: &Target,
    tasks: usize,
    shapes: impl IntoIterator<Item = Shape>,
) -> anyhow::Result<Shape> {
    let mut best: Option<(Shape, Duration)> = None;
    for shape in shapes {
        let place = Place::new(target).await?;
        let time = run(&place, tasks, shape).await?;
        place.remove().await?;
        if best.is_none_or(|(_, fastest)| time < fastest) {
            best = Some((shape, time));
        }
    }
    Ok(best.expect("there are shapes").0)
}

/// Fills `tasks` in and drains them.
pub async fn run(place: &Place, tasks: usize, shape: Shape) -> anyhow::Result<Duration> {
    fill::queued(place, NOOP, "", tasks).await?;
    place.analyze().await?;
    drain(place, tasks, shape).await
}

/// Drains `tasks` that are there.
pub async fn drain(place: &Place, tasks: usize, shape: Shape) -> anyhow::Result<Duration> {
    let before = place.count("done").await?;
    let scope = Scope::register(place).await?;
    let mut pipelines = Vec::new();
    for _ in 0..shape.pipelines {
        let claims = scope.pipeline(place).await?;
        let ends = match shape.in_pairs {
            true => Some(scope.pipeline(place).await?),
            false => None,
        };
        pipelines.push((claims, ends));
    }
    let started = Instant::now();
    let mut running = JoinSet::new();
    for pipeline in pipelines {
        match pipeline {
            (both, None) => running.spawn(in_turn(both, shape.batch)),
            (claims, Some(ends)) => running.spawn(side_by_side(claims, ends, shape.batch)),
        };
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let time = started.elapsed();
    let done = place.count("done").await? - before;
    ensure!(done == tasks, "floor: {done} of {tasks} tasks are done");
    Ok(time)
}

async fn in_turn(mut both: Box<dyn Pipeline>, batch: usize) -> anyhow::Result<()> {
    let mut taken = both.claim(batch).await?;
    while !taken.is_empty() {
        handle(&taken)?;
        taken = both.turn(&taken, batch).await?;
    }
    Ok(())
}

/// What a handler would begin with.
fn handle(taken: &[Taken]) -> anyhow::Result<()> {
    let read = taken.iter().all(|taken| !taken.input.is_empty());
    ensure!(read, "floor: a task was claimed without its input");
    Ok(())
}

async fn side_by_side(
    mut claims: Box<dyn Pipeline>,
    mut ends: Box<dyn Pipeline>,
    batch: usize,
) -> anyhow::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Vec<Taken>>(READ_AHEAD);
    let ending = tokio::spawn(async move {
        while let Some(taken) = receiver.recv().await {
            ends.finish(&taken).await?;
        }
        Ok::<_, anyhow::Error>(())
    });
    loop {
        let taken = claims.claim(batch).await?;
        handle(&taken)?;
        // It refuses where the other side has failed: that error is told below.
        if taken.is_empty() || sender.send(taken).await.is_err() {
            break;
        }
    }
    drop(sender);
    ending.await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_two_and_four_connections_are_tried() {
        let connections = |sort| -> Vec<_> {
            let of =
                |(pipelines, in_pairs): &(usize, bool)| pipelines * (1 + usize::from(*in_pairs));
            ways(sort).iter().map(of).collect()
        };
        assert_eq!(connections(Sort::Postgres), [2, 1, 2, 4, 4]);
        assert_eq!(connections(Sort::Sqlite), [1]);
    }
}
