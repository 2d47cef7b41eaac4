//! Waiting for tasks: one query for all that a client waits for, made soon after a hint and now and then without one.

use super::Client;
use crate::hub::Hub;
use crate::{Env, Error, Result};
use peerwork_core::{BATCH_MAX, Spacing, State, TaskId};
use peerwork_store::{Hint, Store, TaskRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// From one look to the next on average, in milliseconds, while changes are told: those of a burst share a look.
const LOOK_GAP_MS: u64 = 5;
/// Looks at once: the one that begins a wait, and those at the first changes after it.
const LOOK_BURST: u64 = 3;
/// The first look after one that has found a change, if nothing is told.
const LOOK_MIN: Duration = Duration::from_millis(10);
/// The longest time between two looks while nothing changes and no hint comes.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// What a look found: the task, or that there is none, or why it could not be asked for.
type Found = Result<Option<TaskRecord>, Arc<peerwork_store::Error>>;

/// The last look at a task, with its number: a wait that began later must not take it for an answer.
#[derive(Default)]
struct Seen {
    look: u64,
    found: Option<Found>,
}

/// Looks at all watched tasks of a client together.
pub(crate) struct Watcher(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    env: Env,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    tasks: BTreeMap<TaskId, watch::Sender<Seen>>,
    /// Those for which a wait has begun since the last look.
    fresh: BTreeSet<TaskId>,
    /// The number of the last look that was started.
    look: u64,
    looking: bool,
}

impl Watcher {
    pub fn new(store: Arc<dyn Store>, hub: Arc<Hub>, env: Env) -> Self {
        Self(Arc::new(Shared {
            store,
            hub,
            env,
            watched: Mutex::default(),
        }))
    }

    /// A subscription, and the number of the first look that may answer it.
    fn watch(&self, id: TaskId) -> (watch::Receiver<Seen>, u64) {
        let mut watched = self.0.watched.lock().expect("no panic under the lock");
        let receiver = watched
            .tasks
            .entry(id)
            .or_insert_with(|| watch::Sender::new(Seen::default()))
            .subscribe();
        watched.fresh.insert(id);
        let look = watched.look + 1;
        if !std::mem::replace(&mut watched.looking, true) {
            tokio::spawn(self.0.env.contain(look_around(Arc::downgrade(&self.0))));
        } else {
            self.0.hub.tell_here(Hint {
                change: true,
                ..Hint::default()
            });
        }
        (receiver, look)
    }
}

/// Looks until nothing is watched any more.
async fn look_around(shared: Weak<Shared>) {
    let Some(ear) = shared.upgrade().map(|s| {
        s.hub.listen(Hint {
            change: true,
            ..Hint::default()
        })
    }) else {
        return;
    };
    let mut pause = LOOK_MIN;
    let mut looks = Spacing::new(LOOK_BURST, LOOK_GAP_MS);
    loop {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let env = shared.env.clone();
        looks.done(env.now(), LOOK_GAP_MS);
        let Some(changed) = shared.look().await else {
            return;
        };
        drop(shared);
        pause = if changed {
            LOOK_MIN
        } else {
            (pause * 2).min(LOOK_MAX)
        };
        // Before it listens: what is told meanwhile is one look.
        env.sleep_until(looks.free_at()).await;
        tokio::select! {
            biased;
            _ = ear.hear() => pause = LOOK_MIN,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Shared {
    /// One look at everything that is watched: whether anything has changed; none if nothing is watched any more.
    async fn look(&self) -> Option<bool> {
        let (ids, fresh, look) = {
            let mut watched = self.watched.lock().expect("no panic under the lock");
            watched
                .tasks
                .retain(|_, sender| sender.receiver_count() > 0);
            if watched.tasks.is_empty() {
                watched.looking = false;
                return None;
            }
            watched.look += 1;
            let ids: Vec<_> = watched.tasks.keys().copied().collect();
            (ids, std::mem::take(&mut watched.fresh), watched.look)
        };
        let mut changed = false;
        for ids in ids.chunks(BATCH_MAX) {
            let answer = self.store.get(ids.to_vec()).await.map_err(Arc::new);
            let watched = self.watched.lock().expect("no panic under the lock");
            for (n, id) in ids.iter().enumerate() {
                let Some(sender) = watched.tasks.get(id) else {
                    continue;
                };
                let found = answer
                    .as_ref()
                    .map(|records| records[n].clone())
                    .map_err(Arc::clone);
                sender.send_if_modified(|seen| {
                    let differs = !seen.found.as_ref().is_some_and(|old| same(old, &found));
                    *seen = Seen {
                        look,
                        found: Some(found),
                    };
                    changed |= differs;
                    differs || fresh.contains(id)
                });
            }
        }
        Some(changed)
    }
}

fn same(old: &Found, new: &Found) -> bool {
    match (old, new) {
        (Ok(Some(old)), Ok(Some(new))) => {
            old.task == new.task
                && old.run == new.run
                && old.group == new.group
                && old.priority == new.priority
                && old.progress == new.progress
                && old.error == new.error
        }
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => true,
        _ => false,
    }
}

/// Follows one task: first what it is now, then every change that is seen. Changes that follow each other quickly
/// may be seen as one.
pub struct TaskWatch {
    client: Client,
    id: TaskId,
    receiver: watch::Receiver<Seen>,
    /// Looks before this one were made before the watch began.
    first_look: u64,
    last: Option<TaskRecord>,
}

impl TaskWatch {
    pub(super) fn new(client: &Client, id: TaskId) -> Self {
        let (receiver, first_look) = client.inner.watcher.watch(id);
        Self {
            client: client.clone(),
            id,
            receiver,
            first_look,
            last: None,
        }
    }

    /// The task as it is now, at the first call; then the next change.
    ///
    /// Outlives outages of the database: it waits. Cancel safe.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) if there is no such task, [`is_gone`](Error::is_gone) after it has been shown as
    /// deleted, or when its tombstone is gone.
    pub async fn next(&mut self) -> Result<TaskRecord> {
        if self
            .last
            .as_ref()
            .is_some_and(|last| last.state() == State::Deleted)
        {
            return Err(Error::gone(self.id));
        }
        loop {
            let found = {
                let seen = self.receiver.borrow_and_update();
                seen.found.clone().filter(|_| seen.look >= self.first_look)
            };
            match found {
                Some(Ok(Some(record))) if !self.client.scope().matches(&record) => {
                    return Err(Error::not_found(self.id));
                }
                Some(Ok(Some(record))) if !self.is_shown(&record) => {
                    self.last = Some(record.clone());
                    return Ok(record);
                }
                Some(Ok(None)) if self.last.is_some() => return Err(Error::gone(self.id)),
                Some(Ok(None)) => return Err(Error::not_found(self.id)),
                Some(Ok(Some(_)) | Err(_)) | None => {}
            }
            self.receiver
                .changed()
                .await
                .map_err(|_| Error::stopped("watch the task"))?;
        }
    }

    fn is_shown(&self, record: &TaskRecord) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| same(&Ok(Some(last.clone())), &Ok(Some(record.clone()))))
    }
}
