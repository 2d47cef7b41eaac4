//! The heartbeat: a thread with a connection of its own, so that neither busy handlers nor a busy pool cost the lease.

use super::Core;
use crate::{Database, Env, Reason};
use peerwork_core::{Heard, Mono};
use peerwork_store::{NodeCard, Store};
use std::sync::Arc;

/// Starts beating; ends when the node has ended.
pub(super) fn start(core: Arc<Core>, database: Database, card: NodeCard) -> std::io::Result<()> {
    if database.is_local() {
        // The simulated cluster drives the same machine on its one runtime.
        let store = core.store.clone();
        core.spawn_duty("beat", beat(core.clone(), store, card));
        return Ok(());
    }
    let name = format!("peerwork-beat-{}", &card.id.to_string()[..8]);
    std::thread::Builder::new().name(name).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "no runtime for the heartbeat; the node will fence itself");
                return;
            }
        };
        let node = core.clone();
        runtime.block_on(node.fulfil("beat", async move {
            match database.own_store(1) {
                Ok(store) => beat(core, store, card).await,
                Err(error) => tracing::error!(%error, "no connection for the heartbeat; the node will fence itself"),
            }
        }));
        // Where it is the last that knows the node, connections are dropped here: that needs a runtime.
        let _context = runtime.enter();
        drop(node);
    })?;
    Ok(())
}

async fn beat(core: Arc<Core>, store: Arc<dyn Store>, mut card: NodeCard) {
    let env = core.client.env.clone();
    loop {
        tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = env.sleep_until(core.lease.due()) => {}
        }
        if core.is_wedged() {
            tracing::error!(
                node = %core.lease.node(),
                "nothing runs on this node's runtime any more, some code blocks it; not beating, so that peers take its tasks over"
            );
            core.lease.failed(env.now());
            continue;
        }
        let (node, pulse) = core.lease.send(env.now());
        let answer = store.beat(node, pulse, card.ttl_ms).await;
        if core.ended.is_cancelled() {
            return;
        }
        match answer {
            Ok(answer) => match core.lease.answered(answer) {
                Heard::Alive => {}
                Heard::Dead => {
                    tracing::warn!(%node, "declared dead by a peer; dropping every run and starting anew");
                    reincarnate(&core, &*store, &env, &mut card).await;
                }
                Heard::HistoryLost { has_row: true } => {
                    tracing::error!(%node, "the database has lost acknowledged history; verifying every run");
                    core.doubt();
                }
                Heard::HistoryLost { has_row: false } => {
                    tracing::error!(%node, "the database has lost acknowledged history, this node with it; dropping every run and starting anew");
                    reincarnate(&core, &*store, &env, &mut card).await;
                }
            },
            Err(error) => {
                tracing::warn!(%node, %error, "beat not acknowledged");
                core.lease.failed(env.now());
            }
        }
    }
}

/// Drops every run and registers a new incarnation.
async fn reincarnate(core: &Core, store: &dyn Store, env: &Env, card: &mut NodeCard) {
    // First the runs: from here on they belong to whoever rescues them.
    card.id = env.new_node_id();
    core.lease.reincarnate(card.id, Mono(0));
    core.kill_all(Reason::LeaseLost);
    // A repetition finds the row that the first one wrote: the lease runs from that.
    let sent = env.now();
    loop {
        match store.register(card.clone()).await {
            Ok(()) => {
                core.lease.reincarnate(card.id, sent);
                core.claimable_anywhere();
                return;
            }
            Err(error) => tracing::warn!(%error, "cannot register again yet"),
        }
        tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = env.sleep_until(env.now().plus_ms(core.lease.times.beat_ms / 3)) => {}
        }
    }
}
