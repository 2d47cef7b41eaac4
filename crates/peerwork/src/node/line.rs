//! The slots of a node, and the line of claimed tasks that wait for one, in the order in which they were claimed.
//!
//! Whoever leaves a slot takes the next in line with it: short tasks run one after the other in one task of the runtime. A keeper has those leave the
//! line that were told to stop, or have waited for too long.

use super::registry::Entry;
use super::{Core, runner};
use crate::run::Control;
use peerwork_core::{Credits, NodeId, RunId, Work};
use peerwork_store::Claimed;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How long a claimed task waits for a slot: then it goes back, for a peer may have one.
const PATIENCE: Duration = Duration::from_millis(Credits::GIVE_BACK_MS);

/// The slots and credits of one sort of work.
pub(crate) struct Slots {
    credits: Mutex<Credits>,
    line: Mutex<Line>,
    /// Wakes the keeper: the line begins.
    begun: Notify,
    /// Wakes the keeper: somebody in it was told to stop.
    stirred: Arc<Notify>,
    /// Claims whose runs are to be started, in order.
    claims: Mutex<VecDeque<ClaimedTasks>>,
    /// Held by whoever starts them: one after the other.
    starting: Mutex<()>,
}

/// Tasks of one claim.
pub(super) struct ClaimedTasks {
    pub node: NodeId,
    pub run: RunId,
    pub tasks: Vec<Claimed>,
}

#[derive(Default)]
struct Line {
    free: usize,
    waiting: VecDeque<Waiting>,
}

enum Waiting {
    Run(Upcoming, Instant),
    /// Somebody who needs a slot for something else.
    Somebody(oneshot::Sender<Slot>),
}

/// A claimed task that this node holds, and whose run is to begin.
pub(super) struct Upcoming {
    pub claimed: Claimed,
    pub control: Arc<Control>,
    /// None: the node does not have the kind.
    pub entry: Option<Arc<Entry>>,
    /// For which it was claimed.
    pub node: NodeId,
}

/// A slot. Dropped, it goes to the next in line.
pub(super) struct Slot {
    /// None once somebody else has it.
    core: Option<Arc<Core>>,
    work: Work,
}

impl Slots {
    pub fn new(slots: usize, credits: Credits) -> Self {
        let line = Line {
            free: slots,
            waiting: VecDeque::new(),
        };
        Self {
            credits: Mutex::new(credits),
            line: Mutex::new(line),
            begun: Notify::new(),
            stirred: Arc::default(),
            claims: Mutex::default(),
            starting: Mutex::default(),
        }
    }

    /// What may be claimed for them.
    pub fn credits(&self) -> MutexGuard<'_, Credits> {
        self.credits.lock().expect("no panic under the lock")
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("no panic under the lock")
    }

    fn claims(&self) -> MutexGuard<'_, VecDeque<ClaimedTasks>> {
        self.claims.lock().expect("no panic under the lock")
    }

    /// Takes credits for tasks that will need a slot at once, if there are so many.
    pub fn take(&self, tasks: usize) -> bool {
        let mut credits = self.credits();
        let is_enough = credits.free_slots() >= tasks;
        if is_enough {
            credits.claimed(tasks);
        }
        is_enough
    }

    /// Puts credits back for which nothing was claimed.
    pub fn put_back(&self, tasks: usize) {
        let mut credits = self.credits();
        credits.not_claimed(tasks);
    }

    /// Brings what was claimed: it gets slots after all that was brought before.
    pub(super) fn bring(&self, claim: ClaimedTasks) {
        self.claims().push_back(claim);
    }

    /// Has `start` start what was brought, all by one caller, in that order.
    pub(super) fn start_all(&self, start: impl Fn(ClaimedTasks)) {
        let _starting = self.starting.lock().expect("no panic under the lock");
        loop {
            let next = self.claims().pop_front();
            match next {
                Some(claim) => start(claim),
                None => return,
            }
        }
    }

    /// Puts it at the end of the line, unless a slot is free: then it has that one.
    fn enter(&self, upcoming: Upcoming, now: Instant) -> Option<Upcoming> {
        let mut line = self.line();
        if line.free > 0 {
            line.free -= 1;
            return Some(upcoming);
        }
        let begins = line.waiting.is_empty();
        upcoming.control.stirs(&self.stirred);
        line.waiting.push_back(Waiting::Run(upcoming, now));
        drop(line);
        if begins {
            self.begun.notify_one();
        }
        None
    }

    /// The next in line; if there is none, the slot is free.
    fn next(&self) -> Option<Waiting> {
        let mut line = self.line();
        let next = line.waiting.pop_front();
        if next.is_none() {
            line.free += 1;
        }
        next
    }

    /// When the first in line will have waited for too long.
    fn due_at(&self) -> Option<Instant> {
        let line = self.line();
        let mut since = line.waiting.iter().filter_map(Waiting::since);
        since.next().map(|since| since + PATIENCE)
    }

    /// Takes those out of the line that were told to stop, or have waited for too long.
    fn leaving(&self, now: Instant) -> Vec<Upcoming> {
        let mut leaving = Vec::new();
        let mut line = self.line();
        for waiting in std::mem::take(&mut line.waiting) {
            match waiting {
                Waiting::Run(upcoming, since) => {
                    let is_due = now.duration_since(since) >= PATIENCE;
                    if is_due || upcoming.control.reason().is_some() {
                        leaving.push(upcoming);
                    } else {
                        line.waiting.push_back(Waiting::Run(upcoming, since));
                    }
                }
                Waiting::Somebody(who) if who.is_closed() => {}
                somebody => line.waiting.push_back(somebody),
            }
        }
        leaving
    }
}

impl Waiting {
    fn since(&self) -> Option<Instant> {
        match self {
            Self::Run(_, since) => Some(*since),
            Self::Somebody(_) => None,
        }
    }
}

impl Slot {
    fn new(core: Arc<Core>, work: Work) -> Self {
        let core = Some(core);
        Self { core, work }
    }

    /// Goes to the next in line with it. None if nobody is there whose run it could be.
    pub fn next(mut self) -> Option<(Upcoming, Self)> {
        let core = self.core.take()?;
        loop {
            match core.slots(self.work).next()? {
                Waiting::Run(upcoming, _) => {
                    self.core = Some(core);
                    return Some((upcoming, self));
                }
                Waiting::Somebody(who) => match who.send(Self::new(core.clone(), self.work)) {
                    Ok(()) => return None,
                    // It has left, and its slot is this one.
                    Err(mut back) => drop(back.core.take()),
                },
            }
        }
    }

    /// Waits for a slot, for a while.
    ///
    /// Cancel safe: dropping it leaves the line.
    pub async fn comes(core: &Arc<Core>, work: Work) -> Option<Self> {
        let coming = {
            let mut line = core.slots(work).line();
            if line.free > 0 {
                line.free -= 1;
                return Some(Self::new(core.clone(), work));
            }
            let (who, coming) = oneshot::channel();
            line.waiting.push_back(Waiting::Somebody(who));
            coming
        };
        tokio::time::timeout(PATIENCE, coming).await.ok()?.ok()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(core) = self.core.take() else {
            return;
        };
        if let Some((upcoming, slot)) = Self::new(core.clone(), self.work).next() {
            core.spawn(Box::pin(runner::work(core.clone(), upcoming, slot, None)));
        }
    }
}

/// Starts a run, or puts it in line.
pub(super) fn start(core: &Arc<Core>, work: Work, upcoming: Upcoming, now: Instant) {
    if let Some(upcoming) = core.slots(work).enter(upcoming, now) {
        let slot = Slot::new(core.clone(), work);
        // In a box it is moved once, not by every layer around it.
        core.spawn(Box::pin(runner::work(core.clone(), upcoming, slot, None)));
    }
}

/// Has those leave the line who do not wait any longer.
pub(super) async fn keep(core: Arc<Core>, work: Work) {
    let slots = core.slots(work);
    loop {
        let due_at = slots.due_at();
        let due = async {
            match due_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = slots.begun.notified() => continue,
            () = slots.stirred.notified() => {}
            () = due => {}
        }
        for upcoming in slots.leaving(Instant::now()) {
            core.spawn(Box::pin(runner::leave(core.clone(), upcoming)));
        }
    }
}
