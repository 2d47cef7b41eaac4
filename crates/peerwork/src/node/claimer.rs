//! The claimer: turns free credits into claimed tasks, by lanes that the policy grants.
//!
//! Wakes when a credit comes back or something may be claimable; asks nothing while there is no credit.

use super::{Core, runner};
use crate::run::Control;
use peerwork_core::{BATCH_MAX, LaneView, Work};
use peerwork_store::Claim;
use std::sync::Arc;
use std::time::Duration;

/// Lanes that one snapshot takes in.
const LANES_MAX: usize = 10_000;
/// How long a snapshot of the lanes is used.
const SNAPSHOT_AGE: Duration = Duration::from_millis(500);
/// How long the claimer waits after an error.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) async fn run(core: Arc<Core>) {
    let mut snapshot = Snapshot::default();
    loop {
        match claim_all(&core, &mut snapshot).await {
            Ok(()) => {
                tokio::select! {
                    () = core.draining.cancelled() => return,
                    () = core.claimable.notified() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot claim; trying again");
                tokio::select! {
                    () = core.draining.cancelled() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
    }
}

/// The lanes as they were last seen, counted down by what was claimed since.
#[derive(Default)]
struct Snapshot {
    lanes: Vec<LaneView>,
    taken: Option<tokio::time::Instant>,
}

impl Snapshot {
    /// Whether it still shows a lane with work, and is fresh enough to be believed.
    fn shows(&self, work: Work) -> bool {
        self.taken.is_some_and(|at| at.elapsed() < SNAPSHOT_AGE)
            && self.lanes.iter().any(|lane| lane.work == work)
    }
}

/// Claims until nothing is claimable or no credit is left.
async fn claim_all(core: &Arc<Core>, snapshot: &mut Snapshot) -> peerwork_store::Result<()> {
    loop {
        let mut more = false;
        for work in [Work::Cleanup, Work::Run] {
            let free = core.credit(work).min(BATCH_MAX);
            if free == 0 || core.draining.is_cancelled() {
                continue;
            }
            if !snapshot.shows(work) {
                let lanes = core.store.lanes(core.registry.keys(), LANES_MAX).await?;
                *snapshot = Snapshot {
                    lanes,
                    taken: Some(tokio::time::Instant::now()),
                };
            }
            more |= claim(core, snapshot, work, free).await?;
        }
        if !more {
            // What is waited for now comes with a hint, and a hint means that the snapshot is old.
            snapshot.taken = None;
            return Ok(());
        }
    }
}

/// One claim. True if it is worth trying again at once.
async fn claim(
    core: &Arc<Core>,
    snapshot: &mut Snapshot,
    work: Work,
    free: usize,
) -> peerwork_store::Result<bool> {
    let lanes: Vec<_> = snapshot
        .lanes
        .iter()
        .filter(|lane| lane.work == work)
        .cloned()
        .collect();
    let mut left = free;
    let mut grants = core.policy.grant(&lanes, free);
    grants.retain_mut(|grant| {
        grant.tasks = grant.tasks.min(left);
        left -= grant.tasks;
        grant.tasks > 0
    });
    if grants.is_empty() {
        return Ok(false);
    }
    let node = core.lease.node();
    if core.lease.is_fenced(node, core.client.env.now()) {
        return Ok(false);
    }
    let run = core.client.env.new_run_id();
    let claim = Claim {
        node,
        run,
        grants: grants.clone(),
        kinds: core.registry.keys(),
    };
    core.set_claiming(Some(run));
    let claimed = match core.store.claim(claim).await {
        Ok(claimed) => claimed,
        Err(error) => {
            // Perhaps it was carried out: the upkeep finds what this node holds without knowing, and gives it back.
            core.set_claiming(None);
            snapshot.taken = None;
            return Err(error);
        }
    };
    for grant in &grants {
        let mut taken = 0;
        let mut last = None;
        for task in claimed.iter().filter(|task| task.lane == grant.lane) {
            taken += 1;
            last = Some(task.task.ready_at);
        }
        if taken < grant.tasks {
            snapshot.lanes.retain(|lane| lane.lane != grant.lane);
        } else if let Some(lane) = snapshot
            .lanes
            .iter_mut()
            .find(|lane| lane.lane == grant.lane)
        {
            lane.since = last.unwrap_or(lane.since);
        }
    }
    let got = claimed.len();
    core.slots(work)
        .credits
        .lock()
        .expect("no panic under the lock")
        .claimed(got);
    for task in claimed {
        let control = Arc::new(Control::new());
        if core.draining.is_cancelled() {
            control.tell(crate::Reason::Drain);
        }
        if core.hold(&task, control.clone()) {
            core.tasks
                .spawn(runner::run(core.clone(), control, task, node));
        } else {
            // Its earlier run has not ended here yet: it goes back, and comes again when that one is gone.
            core.tasks.spawn(runner::give_back(core.clone(), task));
        }
    }
    core.set_claiming(None);
    Ok(true)
}
