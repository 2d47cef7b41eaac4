//! The claimer: turns free credits into claimed tasks, by lanes that the policy grants.
//!
//! Wakes when a credit comes back or something may be claimable; asks nothing while there is no credit.

use super::{Core, runner};
use crate::run::Control;
use peerwork_core::crowd::Restraint;
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
    let env = core.client.env.clone();
    let mut snapshot = Snapshot::default();
    let mut restraint = Restraint::default();
    loop {
        match claim_all(&core, &mut snapshot).await {
            Ok(outcome) => {
                if outcome.looked {
                    core.followed(&mut restraint, outcome.claimed);
                }
                let woken = async {
                    core.claimable.notified().await;
                    env.sleep_until(restraint.until()).await;
                };
                tokio::select! {
                    biased;
                    () = core.draining.cancelled() => return,
                    () = woken => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot claim; trying again");
                tokio::select! {
                    biased;
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
    /// Whether nothing was claimed since it was taken.
    untouched: bool,
}

impl Snapshot {
    fn is_fresh(&self) -> bool {
        self.taken.is_some_and(|at| at.elapsed() < SNAPSHOT_AGE)
    }

    fn shows(&self, work: Work) -> bool {
        self.lanes.iter().any(|lane| lane.work == work)
    }
}

/// What came of a wake-up.
#[derive(Default)]
struct Outcome {
    /// Whether the database was asked for lanes.
    looked: bool,
    /// Whether anything was claimed.
    claimed: bool,
}

/// Claims until nothing is claimable or no credit is left.
async fn claim_all(core: &Arc<Core>, snapshot: &mut Snapshot) -> peerwork_store::Result<Outcome> {
    let mut outcome = Outcome::default();
    // Whatever woke the claimer may have come after the snapshot.
    snapshot.untouched = false;
    loop {
        let wanted: Vec<_> = [Work::Cleanup, Work::Run]
            .into_iter()
            .map(|work| (work, core.credit(work).min(BATCH_MAX)))
            .filter(|(_, free)| *free > 0)
            .collect();
        if wanted.is_empty() || core.draining.is_cancelled() {
            return Ok(outcome);
        }
        if !snapshot.is_fresh() || !wanted.iter().any(|(work, _)| snapshot.shows(*work)) {
            if snapshot.untouched {
                return Ok(outcome);
            }
            outcome.looked = true;
            let lanes = core.store.lanes(core.registry.keys(), LANES_MAX).await?;
            *snapshot = Snapshot {
                lanes,
                taken: Some(tokio::time::Instant::now()),
                untouched: true,
            };
        }
        for (work, free) in wanted {
            if !snapshot.shows(work) {
                continue;
            }
            match claim(core, snapshot, work, free).await? {
                Got::Tasks => outcome.claimed = true,
                Got::Nothing => {}
                Got::Futile => return Ok(outcome),
            }
        }
    }
}

/// What came of one claim.
enum Got {
    Tasks,
    Nothing,
    /// And another one would be as futile: this node may not, its policy does not want to, or others are faster.
    Futile,
}

async fn claim(
    core: &Arc<Core>,
    snapshot: &mut Snapshot,
    work: Work,
    free: usize,
) -> peerwork_store::Result<Got> {
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
        return Ok(Got::Futile);
    }
    let node = core.lease.node();
    if core.lease.is_fenced(node, core.client.env.now()) {
        return Ok(Got::Futile);
    }
    let run = core.client.env.new_run_id();
    let claim = Claim {
        node,
        run,
        grants: grants.clone(),
        kinds: core.registry.keys(),
    };
    core.set_claiming(Some(run));
    // Only now: a drain that began before has not seen this claim, and would not wait for it.
    if core.draining.is_cancelled() {
        core.set_claiming(None);
        return Ok(Got::Futile);
    }
    let claimed = match core.store.claim(claim).await {
        Ok(claimed) => claimed,
        Err(error) => {
            // Perhaps it was carried out: the upkeep finds what this node holds without knowing, and gives it back.
            core.set_claiming(None);
            *snapshot = Snapshot::default();
            return Err(error);
        }
    };
    // The lanes were looked at just now, and yet nothing was to be had: others are faster, or this node is dead and does not
    // know it yet. Asking again at once would go on until the beat tells, and on some stores keep it from telling.
    let is_futile = snapshot.untouched && claimed.is_empty();
    snapshot.untouched = false;
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
        let control = Arc::new(Control::new(core.runs_on(&task.kind)));
        if core.draining.is_cancelled() {
            control.tell(crate::Reason::Drain);
        }
        if core.hold(&task, control.clone()) {
            let turn = core.slots(work).line_up();
            core.spawn(runner::run(core.clone(), control, task, node, turn));
        } else {
            // Its earlier run has not ended here yet: it goes back, and comes again when that one is gone.
            core.spawn(runner::give_back(core.clone(), task));
        }
    }
    core.set_claiming(None);
    Ok(match got {
        _ if is_futile => Got::Futile,
        0 => Got::Nothing,
        _ => Got::Tasks,
    })
}
