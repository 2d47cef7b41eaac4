//! The trial of suspects: tasks that were there when nodes died are run one at a time, until they have shown themselves.
//!
//! The rules are in [`peerwork_core::blame`]. A suspect waits here without a slot, then marks its run in the database
//! before the handler's first poll: from there on a death counts against it.

use super::Core;
use crate::run::Control;
use peerwork_core::blame;
use peerwork_store::Claimed;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit};
use tokio::sync::{RwLock, Semaphore};

/// How long a suspect waits for its trial before it is given back: a peer may be free to try it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried to write that a trial begins.
const WRITES: u32 = 3;

/// The node's place for trials.
pub(crate) struct Court {
    /// Held by the one suspect that holds others up.
    place: Arc<Semaphore>,
    /// Shared by all runs on trial, or held by one that is tried alone.
    room: Arc<RwLock<()>>,
}

impl Default for Court {
    fn default() -> Self {
        Self {
            place: Arc::new(Semaphore::new(1)),
            room: Arc::default(),
        }
    }
}

/// The trial of one run. Dropping it lets the next suspect come.
pub(super) struct Trial {
    place: OwnedSemaphorePermit,
    room: Room,
    length: Duration,
}

enum Room {
    Shared(#[expect(dead_code, reason = "held, not read")] OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Room {
    fn share(self) -> Self {
        match self {
            Self::Alone(room) => Self::Shared(room.downgrade()),
            Self::Shared(_) => self,
        }
    }
}

impl Trial {
    /// Waits for the trial of a suspect. None if it did not come in time.
    pub async fn comes(core: &Core, crashes: u32) -> Option<Self> {
        let enter = async {
            let place = core.court.place.clone().acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            let room = core.court.room.clone();
            let room = match blame::is_tried_alone(crashes) {
                true => Room::Alone(room.write_owned().await),
                false => Room::Shared(room.read_owned().await),
            };
            (place, room)
        };
        let (place, room) = tokio::time::timeout(PATIENCE, enter).await.ok()?;
        let length = Duration::from_millis(blame::trial_ms(crashes));
        Some(Self {
            place,
            room,
            length,
        })
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

    /// Holds others up until the suspect has saved a checkpoint or has run for long enough; then never returns.
    pub async fn last(self, control: &Control) {
        let Self {
            place,
            room,
            length,
        } = self;
        let saved = tokio::time::timeout(length, control.saved.notified()).await;
        if saved.is_ok() {
            drop((place, room));
        } else {
            // Others may start beside it; it is on trial all the same.
            drop(place);
            let shared = room.share();
            control.saved.notified().await;
            drop(shared);
        }
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
