//! The fence: drops the runs of the node when its lease is over, also those that wait and are not polled; but for those
//! whose kind runs on while its database is away.

use super::Core;
use std::sync::Arc;

pub(super) async fn run(core: Arc<Core>) {
    let env = core.client.env.clone();
    loop {
        tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = env.sleep_until(core.lease.fence_at()) => {}
        }
        let node = core.lease.node();
        if !core.lease.is_fenced(node, env.now()) {
            continue;
        }
        let dropped = core.fence();
        if dropped > 0 {
            tracing::error!(%node, runs = dropped, "no beat was acknowledged in time; dropped the runs");
        }
        // Until a beat is acknowledged again there is nothing to do but to look whether one was.
        tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = env.sleep_until(env.now().plus_ms(core.lease.times.beat_ms / 3)) => {}
        }
    }
}
