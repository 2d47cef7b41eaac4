//! The node's one periodic statement, and what it leads to: wishes, deaths, rescues, due tasks.
//!
//! Level-triggered: everything here looks at what is, so that a missed wake-up costs a second and nothing else.

use super::Core;
use crate::Reason;
use crate::run::wished;
use peerwork_core::crowd::{self, Restraint};
use peerwork_core::{BATCH_MAX, Event, Mono, Pace, Rules, Spacing, TaskId, Timestamp, Watch};
use peerwork_store::{Depth, End, Ended, Glance, Result, Save};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// From one look to the next, at most.
const LOOK_MS: u64 = 1_000;
/// From one sweep that nothing has asked for to the next, in ttls.
const SWEEP_TTLS: u64 = 4;
/// From one pruning to the next.
const PRUNE_MS: u64 = 600_000;
/// Looks in a row at which the node's list and the database's differ, before that is looked into.
const MISMATCHES: u32 = 2;
/// From one look that hints ask for to the next on average, in milliseconds: wishes that come together share a look.
const LOOK_GAP_MS: u64 = 2;
/// Of such looks, those that go at once after a quiet time.
const LOOK_BURST: u64 = 3;

pub(super) async fn run(core: Arc<Core>) {
    let env = core.client.env.clone();
    let mut watch = Watch::default();
    let mut mismatches = 0;
    let mut prune_at = env.now().plus_ms(PRUNE_MS);
    let sweep_ms = SWEEP_TTLS * core.lease.times.ttl_ms;
    let mut sweep_at = env.now().plus_ms(sweep_ms);
    let mut look_at = env.now();
    let mut restraint = Restraint::default();
    let mut asked_looks = Spacing::new(LOOK_BURST, LOOK_GAP_MS);
    let mut pace = Pace::default();
    loop {
        let asked = async {
            core.look.notified().await;
            let free_at = asked_looks.free_at();
            env.sleep_until(restraint.until().max(free_at)).await;
        };
        let was_asked = tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = asked => true,
            () = env.sleep_until(look_at) => false,
        };
        let started = env.now();
        if was_asked {
            asked_looks.done(started, LOOK_GAP_MS);
        }
        look_at = started.plus_ms(look_ms(&core));
        let node = core.lease.node();
        let width = watch.width();
        let depth = match started >= pace.again_at() {
            true => Depth::Full,
            false => Depth::Brief,
        };
        match core.store.glance(node, width, depth).await {
            Ok(glance) => {
                if depth == Depth::Full {
                    pace.took(started, env.now());
                }
                if was_asked {
                    core.followed(&mut restraint, !glance.wishes.is_empty());
                }
                let peers: Vec<_> = glance.peers.iter().map(|(peer, ..)| *peer).collect();
                core.is_among(crowd::size(node, width, &peers));
                match act(&core, &glance, &mut watch, &mut mismatches).await {
                    Ok(()) => look_at = look_at.min(next_wake(&core, &glance)),
                    // What is due now is due still: nothing is won by looking again at once.
                    Err(error) => tracing::warn!(%error, "upkeep goes on at the next look"),
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look; looking again"),
        }
        write_progress(&core).await;
        if env.now() >= sweep_at {
            // The look tells of declared deaths only. A claim whose answer was lost may be carried out after its node has left
            // for good: that node has no row any more, and nobody ever declares it dead.
            sweep_at = env.now().plus_ms(sweep_ms);
            if let Err(error) = rescue(&core).await {
                tracing::warn!(%error, "cannot sweep; trying again later");
            }
        }
        if env.now() >= prune_at {
            // Where there is more than a batch, the next one comes with the next look.
            let pause_ms = match core.store.prune(BATCH_MAX).await {
                Ok(pruned) if pruned >= BATCH_MAX => 0,
                Ok(_) => PRUNE_MS,
                Err(error) => {
                    tracing::warn!(%error, "cannot prune; trying again later");
                    PRUNE_MS
                }
            };
            prune_at = env.now().plus_ms(pause_ms);
        }
    }
}

/// A peer is watched only by looks that are at most two of its beats apart, and all nodes are taken to beat alike.
///
/// A twentieth of it is random, so that nodes which were started together do not look together.
fn look_ms(core: &Core) -> u64 {
    let look_ms = LOOK_MS.min(core.lease.times.beat_ms);
    look_ms - look_ms / 20 * u64::from(core.client.env.random()) / u64::from(u32::MAX)
}

/// When to look again for the sake of the next sleeping task: of many nodes not all at once.
fn next_wake(core: &Core, glance: &Glance) -> Mono {
    let ahead_ms = glance
        .next_wake
        .map_or(LOOK_MS, |at: Timestamp| at.ms_since(glance.now) + 1);
    let now = core.client.env.now();
    now.plus_ms(ahead_ms + core.some_delay_ms())
}

async fn act(
    core: &Arc<Core>,
    glance: &Glance,
    watch: &mut Watch,
    mismatches: &mut u32,
) -> Result<()> {
    // Before anything that may wait for the database: what is heard meanwhile says nothing about the time of this look.
    let now = core.client.env.now();
    let gap_ms = 2 * core.lease.times.beat_ms;
    if core.lease.is_unheard(now, gap_ms) {
        // Nor may anybody else's beat get through: silence is no sign of death then.
        watch.forget();
    }
    let silent = watch.read(now, gap_ms, glance.now, &glance.peers);
    if let Err(error) = core.heed_config(glance).await {
        // Meanwhile it claims nothing, and keeps to all else that a node is for.
        tracing::warn!(%error, "cannot read what is set; trying again at the next look");
    }
    for wish in &glance.wishes {
        if let Some(reason) = wished(wish.status) {
            core.tell(wish.id, wish.run, reason);
        }
    }
    let mut dead = glance.dead;
    for (node, seq) in silent {
        if core.store.declare_dead(node, seq).await? {
            tracing::warn!(%node, "declared dead: it has not beaten for its whole lease");
            dead = true;
        }
    }
    if dead {
        rescue(core).await?;
    }
    if glance.next_wake.is_some_and(|at| at <= glance.now) {
        while core.store.promote(BATCH_MAX).await?.more {}
        core.announce(true);
    }
    if glance.inbox && core.store.wake(BATCH_MAX).await? > 0 {
        core.announce(true);
    }
    if glance.ready {
        core.claimable_anywhere();
    }
    compare(core, glance, mismatches).await
}

/// Takes back the tasks of dead nodes.
async fn rescue(core: &Core) -> Result<()> {
    loop {
        let swept = core.store.sweep(BATCH_MAX).await?;
        if !swept.tasks.is_empty() {
            tracing::warn!(tasks = swept.tasks.len(), "rescued from dead nodes");
            core.announce(true);
        }
        if !swept.more {
            return Ok(());
        }
    }
}

/// The node's own list against the database's: what it believes to hold and does not is told to stop; what it holds
/// without knowing (a claim whose answer was lost) is given back.
async fn compare(core: &Arc<Core>, glance: &Glance, mismatches: &mut u32) -> Result<()> {
    if core.doubted.swap(false, Ordering::Relaxed) {
        // Equal numbers say nothing about which tasks they count: after an error the doubt stays.
        return verify(core)
            .await
            .inspect_err(|_| core.doubted.store(true, Ordering::Relaxed));
    }
    let Some(there) = glance.held else {
        return Ok(());
    };
    let here = core.held() as u64;
    // Claims and ends in flight make a difference for a moment: only one that stays is looked at.
    *mismatches = if here == there { 0 } else { *mismatches + 1 };
    if *mismatches < MISMATCHES {
        return Ok(());
    }
    verify(core).await?;
    *mismatches = 0;
    Ok(())
}

/// Asks about every run by its id, and about what is held besides.
async fn verify(core: &Arc<Core>) -> Result<()> {
    let runs: Vec<_> = {
        let runs = core.runs.lock().expect("no panic under the lock");
        runs.iter().map(|(id, held)| (*id, held.run)).collect()
    };
    for runs in runs.chunks(BATCH_MAX) {
        for ((id, run), status) in runs.iter().zip(core.store.verify(runs.to_vec()).await?) {
            if status.is_none() {
                core.tell(*id, *run, Reason::LeaseLost);
            }
        }
    }
    give_back_unknown(core).await
}

async fn give_back_unknown(core: &Arc<Core>) -> Result<()> {
    let held = core.store.held(core.lease.node(), BATCH_MAX).await?;
    let claiming = core.claiming().clone();
    let unknown: Vec<_> = {
        let runs = core.runs.lock().expect("no panic under the lock");
        let is_known =
            |id, run| claiming.contains(&run) || runs.get(&id).is_some_and(|held| held.run == run);
        held.into_iter()
            .filter(|(id, run)| !is_known(*id, *run))
            .collect()
    };
    if unknown.is_empty() {
        return Ok(());
    }
    let back = |(id, run)| End {
        id,
        run,
        event: Event::Stopped,
        rules: Rules::default(),
        output: None,
        error: None,
        awaited_children: 0,
    };
    let unknown = unknown.into_iter().map(back).collect();
    let ended = core.store.end(unknown).await?;
    // The others have ended since the list was made.
    let is_back = |ended: &&Ended| matches!(ended, Ended::Recorded(_));
    let lost = ended.iter().filter(is_back).count();
    if lost > 0 {
        tracing::warn!(tasks = lost, "gave back claims whose answer was lost");
        core.announce(true);
    }
    Ok(())
}

/// Writes the progress that runs have reported since the last time, all in one batch.
async fn write_progress(core: &Core) {
    let saves: Vec<Save> = {
        let runs = core.runs.lock().expect("no panic under the lock");
        let unwritten = |(id, held): (&TaskId, &super::core::Held)| {
            let progress = held.control.take_progress()?;
            Some(Save {
                id: *id,
                run: held.run,
                checkpoint: None,
                progress: Some(progress),
            })
        };
        runs.iter().filter_map(unwritten).collect()
    };
    for saves in saves.chunks(BATCH_MAX) {
        match core.store.save(saves.to_vec()).await {
            Ok(_) => core.client.hub.tell(peerwork_store::Hint {
                change: true,
                ..Default::default()
            }),
            Err(error) => tracing::debug!(%error, "progress not written; the next one will be"),
        }
    }
}
