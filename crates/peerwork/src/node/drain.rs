//! Handing everything over: the phases of a node's end.

use super::Core;
use crate::Reason;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the drain looks whether everything has ended.
const LOOK: Duration = Duration::from_millis(2);
/// How long dropped handlers and the last writes get.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What a drain has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Tasks that go on elsewhere from their checkpoint.
    pub handed_over: u64,
    /// Runs that ended in another way meanwhile: finished, failed, paused, waiting, deleted.
    pub ended: u64,
    /// Tasks whose end could not be recorded: their handler does not yield, or the database is away. Peers take
    /// them over when the lease has expired.
    pub abandoned: u64,
    /// How long it took.
    pub took: Duration,
}

pub(super) async fn run(core: &Arc<Core>, deadline: Duration) -> DrainReport {
    let started = tokio::time::Instant::now();
    let ended_before = core.count.ended.load(Ordering::Relaxed);
    core.draining.cancel();
    // Also those that a claim in flight still brings: the claimer tells them itself.
    core.tell_all(Reason::Drain);
    wait_until_empty(core, deadline).await;
    core.kill_all(Reason::Drain);
    wait_until_empty(core, LAST_WRITES).await;
    let abandoned = core.held() as u64;
    // First the beat: one that is under way must not take the missing row for lost history.
    core.ended.cancel();
    if abandoned == 0 {
        retire(core).await;
    } else {
        tracing::warn!(
            tasks = abandoned,
            "drained, but some runs did not end; peers take them over when the lease expires"
        );
    }
    core.announce(true);
    DrainReport {
        handed_over: core.count.handed_over.load(Ordering::Relaxed),
        ended: core.count.ended.load(Ordering::Relaxed) - ended_before,
        abandoned,
        took: started.elapsed(),
    }
}

async fn wait_until_empty(core: &Core, deadline: Duration) {
    let until = tokio::time::Instant::now() + deadline;
    // What a node holds that has ended before, by a panic of its own, never ends.
    let busy = || (core.held() > 0 || core.is_claiming()) && !core.ended.is_cancelled();
    while busy() && tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
}

/// Removes the node's row. If that fails, its lease expires instead, and nobody holds anything by it.
async fn retire(core: &Core) {
    let (store, node) = (core.store.clone(), core.lease.node());
    // The handle is awaited with a bound, the call itself goes on: a hung connection must not hold a shutdown up.
    let retiring = core.spawn(async move { store.retire(node).await });
    match tokio::time::timeout(LAST_WRITES, retiring).await {
        Ok(Ok(Ok(true))) => {}
        Ok(Ok(Ok(false))) => {
            tracing::warn!(%node, "the database says that this node still holds tasks; peers rescue them")
        }
        Ok(Ok(Err(error))) => tracing::warn!(%node, %error, "node not removed; its lease expires"),
        Ok(Err(_)) | Err(_) => tracing::warn!(%node, "node not removed in time; its lease expires"),
    }
}
