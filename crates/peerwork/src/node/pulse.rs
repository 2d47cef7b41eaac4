//! The pulse: shows the beat's thread that the node's runtime still runs, and notices when it did not.
//!
//! Two things stop it that the beat's own thread does not show: code that blocks every thread of the runtime (the beat
//! then stops too, so that peers take over), and a machine or process that was suspended (runs that would go on without a
//! lease must not after that: a peer has had all the time to take them).

use super::Core;
use crate::Reason;
use peerwork_core::Mono;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) async fn run(core: Arc<Core>) {
    let env = core.client.env.clone();
    let mut last = env.now();
    loop {
        core.ticked.store(last.0, Ordering::Relaxed);
        tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = env.sleep_until(last.plus_ms(core.lease.times.beat_ms / 3)) => {}
        }
        let now = env.now();
        if was_suspended(&core, last, now) && core.held() > 0 {
            tracing::error!(
                node = %core.lease.node(),
                runs = core.held(),
                "nothing ran here for a whole lease; dropping every run"
            );
            core.kill_all(Reason::LeaseLost);
        }
        last = now;
    }
}

/// Whether nothing ran here for so long that a peer may have taken the runs over.
fn was_suspended(core: &Core, last: Mono, now: Mono) -> bool {
    core.lease.times.is_wedged(last, now) && core.lease.is_fenced(core.lease.node(), now)
}
