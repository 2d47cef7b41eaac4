//! Many tasks on one store at once, through several handles as of several processes; afterwards the invariants of
//! `promises` are judged: who was told what, and what is there.
//!
//! Nothing here depends on who wins: each race is judged by what may be true whoever does.

pub mod brawls;
pub mod duels;
mod history;
mod legal;
mod verdict;

use crate::Fixture;
use peerwork_store::Store;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Handles that a race uses: tasks of one process share one, and others have their own.
const HANDLES: usize = 3;

/// Lets `racers` loose at the same moment, spread over several handles, and returns what each brings back, in order.
pub(crate) async fn race<T, F>(
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
