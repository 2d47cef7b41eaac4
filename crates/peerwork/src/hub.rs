//! Wake-ups within a process, and to and from other processes. They change latency only.

use crate::Env;
use peerwork_store::{Hint, Store};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Between two hints that this process sends to others, in milliseconds: at most twenty a second.
const SEND_GAP_MS: u64 = 50;

const READY: u8 = 1;
const WISH: u8 = 2;
const CHANGE: u8 = 4;

/// Passes hints on to everyone in this process who asked for them.
#[derive(Default)]
pub(crate) struct Hub {
    ears: Mutex<Vec<Weak<Ear>>>,
    outgoing: Arc<Ear>,
    /// Between two hints to others, in milliseconds.
    gap_ms: Arc<AtomicU64>,
}

/// One who listens. Hints that come while nobody waits are remembered, not counted.
#[derive(Default)]
pub(crate) struct Ear {
    wants: u8,
    heard: AtomicU8,
    notify: Notify,
}

impl Ear {
    fn tell(&self, flags: u8) {
        if self.wants & flags != 0 {
            self.heard.fetch_or(self.wants & flags, Ordering::AcqRel);
            self.notify.notify_one();
        }
    }

    /// The next hint, or the ones that came since the last call.
    ///
    /// Cancel safe.
    pub async fn hear(&self) -> Hint {
        loop {
            let flags = self.heard.swap(0, Ordering::AcqRel);
            if flags != 0 {
                return Hint {
                    ready: flags & READY != 0,
                    wish: flags & WISH != 0,
                    change: flags & CHANGE != 0,
                };
            }
            self.notify.notified().await;
        }
    }
}

fn flags(hint: Hint) -> u8 {
    (u8::from(hint.ready) * READY) | (u8::from(hint.wish) * WISH) | (u8::from(hint.change) * CHANGE)
}

impl Hub {
    /// A hub that sends its process's hints to others through `store`, as long as it lives.
    pub fn start(store: Arc<dyn Store>, env: &Env) -> Arc<Self> {
        let outgoing = Arc::new(Ear {
            wants: READY | WISH | CHANGE,
            ..Ear::default()
        });
        let hub = Arc::new(Self {
            ears: Mutex::default(),
            outgoing: outgoing.clone(),
            gap_ms: Arc::new(AtomicU64::new(SEND_GAP_MS)),
        });
        let gap_ms = hub.gap_ms.clone();
        let alive = Arc::downgrade(&hub);
        tokio::spawn(env.contain(async move {
            loop {
                let hint = outgoing.hear().await;
                if alive.strong_count() == 0 {
                    return;
                }
                if let Err(error) = store.hint(hint).await {
                    tracing::debug!(%error, "hint not sent; others will look by themselves");
                }
                let gap_ms = gap_ms.load(Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(gap_ms)).await;
            }
        }));
        hub
    }

    /// Listens for those of `hint` that are set.
    pub fn listen(&self, hint: Hint) -> Arc<Ear> {
        let ear = Arc::new(Ear {
            wants: flags(hint),
            ..Ear::default()
        });
        let mut ears = self.ears.lock().expect("no panic under the lock");
        ears.retain(|ear| ear.strong_count() > 0);
        ears.push(Arc::downgrade(&ear));
        ear
    }

    /// Leaves at least so many milliseconds between two hints to others.
    pub fn space_out(&self, gap_ms: u64) {
        let gap_ms = gap_ms.max(SEND_GAP_MS);
        self.gap_ms.store(gap_ms, Ordering::Relaxed);
    }

    /// Tells everyone in this process and in others.
    pub fn tell(&self, hint: Hint) {
        self.tell_here(hint);
        self.outgoing.tell(flags(hint));
    }

    /// Tells everyone in this process.
    pub fn tell_here(&self, hint: Hint) {
        for ear in self
            .ears
            .lock()
            .expect("no panic under the lock")
            .iter()
            .filter_map(Weak::upgrade)
        {
            ear.tell(flags(hint));
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // The sender looks up, finds the hub gone, and ends.
        self.outgoing.tell(CHANGE);
    }
}
