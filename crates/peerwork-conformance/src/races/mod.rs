//! Many tasks on one store at once, through several handles as of several processes; afterwards the invariants of
//! `promises` are judged: who was told what, and what is there.
//!
//! Nothing here depends on who wins: each race is judged by what may be true whoever does.

pub mod brawls;
pub mod claims;
pub mod ends;
mod history;
mod legal;
pub mod limits;
pub mod readers;
pub mod rescues;
mod verdict;
pub mod wakes;

use crate::{Fixture, Held, task};
use peerwork_core::{TaskId, Work};
use peerwork_store::{Store, TaskRecord};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Handles that a race uses: tasks of one process share one, and others have their own.
const HANDLES: usize = 3;

/// How many race where all do the same.
const RACERS: usize = 6;

/// Lets `racers` loose at the same moment, spread over several handles, and returns what each brings back, in order.
async fn race<T, F>(
    f: &Fixture,
    racers: usize,
    racer: impl Fn(usize, Arc<dyn Store>) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let handles = f.handles(HANDLES).await;
    let start = Arc::new(Barrier::new(racers));
    let mut running = JoinSet::new();
    for n in 0..racers {
        let (start, run) = (start.clone(), racer(n, handles[n % HANDLES].clone()));
        running.spawn(async move {
            start.wait().await;
            (n, run.await)
        });
    }
    let mut all = running.join_all().await;
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, brought)| brought).collect()
}

/// Creates `n` tasks and claims them all for one node.
async fn running(f: &Fixture, n: usize) -> Vec<Held> {
    f.store
        .create((0..n).map(|_| task()).collect())
        .await
        .expect("create");
    let node = f.node().await;
    let claimed = f.claim(node, Work::Run, n).await;
    assert_eq!(claimed.len(), n);
    claimed
        .into_iter()
        .map(|c| Held {
            id: c.id,
            run: c.run,
            node,
        })
        .collect()
}

/// The tasks with these ids, which are all there.
async fn tasks(f: &Fixture, ids: impl IntoIterator<Item = TaskId>) -> Vec<TaskRecord> {
    let found = f.store.get(ids.into_iter().collect()).await.expect("get");
    found
        .into_iter()
        .map(|record| record.expect("nothing is lost"))
        .collect()
}
