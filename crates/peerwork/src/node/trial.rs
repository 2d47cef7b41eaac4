//! The trial of suspects: tasks that were there when nodes died are run one at a time, until they have shown themselves.
//!
//! The rules are in [`peerwork_core::blame`]. A suspect waits here without a slot, then marks its run in the database
//! before the handler's first poll: from there on a death counts against it.

use super::Core;
use crate::run::Control;
use peerwork_core::blame;
use peerwork_store::Claimed;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long a suspect waits for its trial before it is given back: a peer may be free to try it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried to write that a trial begins.
const WRITES: u32 = 3;

/// The place of the one suspect on trial. Dropping it lets the next one come.
pub(super) struct Trial {
    place: OwnedSemaphorePermit,
    length: Duration,
}

impl Trial {
    /// Waits for the trial of a suspect. None if it did not come in time.
    pub async fn comes(core: &Core, crashes: u32) -> Option<Self> {
        let place = tokio::select! {
            biased;
            place = core.trial.clone().acquire_owned() => place.expect("the semaphore is never closed"),
            () = tokio::time::sleep(PATIENCE) => return None,
        };
        let length = Duration::from_millis(blame::trial_ms(crashes));
        Some(Self { place, length })
    }

    /// Writes that it begins. False: it must not, for the run is lost or the database away.
    pub async fn begin(core: &Core, claimed: &Claimed) -> bool {
        for _ in 0..WRITES {
            match core.store.try_suspect(claimed.id, claimed.run).await {
                Ok(holds) => return holds,
                Err(error) => {
                    tracing::debug!(task = %claimed.id, %error, "trial not written yet")
                }
            }
        }
        false
    }

    /// Holds the place until the suspect has saved a checkpoint or has run for long enough; then never returns.
    pub async fn last(self, control: &Control) {
        tokio::select! {
            biased;
            () = control.saved.notified() => {}
            () = tokio::time::sleep(self.length) => {}
        }
        drop(self.place);
        std::future::pending().await
    }
}

/// The trial of a run that needs none: never returns.
pub(super) async fn last(trial: Option<Trial>, control: &Control) {
    match trial {
        Some(trial) => trial.last(control).await,
        None => std::future::pending().await,
    }
}
