//! The slots of a node, and the line of claimed tasks that wait for one, in the order in which they were claimed.
//!
//! Whoever leaves a slot takes the next in line with it: short tasks run one after the other in one task of the runtime. A keeper has those leave the
//! line that were told to stop, or have waited for too long, and hands out slots that nobody has taken along.

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
    /// Wakes the keeper: somebody is the first whose time in line is limited, or a slot is free while somebody waits.
    moved: Notify,
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

#[expect(clippy::large_enum_variant, reason = "nearly all are runs")]
enum Waiting {
    /// A claimed task, and since when it waits.
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

/// A slot. Dropped, it is free.
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
            moved: Notify::new(),
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

    /// Puts it at the end of the line; if a slot is free and nobody waits, it has that one instead.
    fn enter(&self, upcoming: Upcoming, now: Instant) -> Option<Upcoming> {
        let mut line = self.line();
        if line.take_free() {
            return Some(upcoming);
        }
        upcoming.control.stirs(&self.stirred);
        self.wait(line, Waiting::Run(upcoming, now));
        None
    }

    fn wait(&self, mut line: MutexGuard<'_, Line>, waiting: Waiting) {
        let is_first = line.waiting.iter().all(|before| before.since().is_none());
        let moves = is_first || line.free > 0;
        line.waiting.push_back(waiting);
        drop(line);
        if moves {
            self.moved.notify_one();
        }
    }

    /// The next in line for a slot; if there is none, the slot is free.
    fn next(&self) -> Option<Waiting> {
        let mut line = self.line();
        let next = line.waiting.pop_front();
        if next.is_none() {
            line.free += 1;
        }
        next
    }

    /// Takes a slot that is free while somebody waits.
    fn take_idle(&self) -> bool {
        let mut line = self.line();
        let is_idle = line.free > 0 && !line.waiting.is_empty();
        line.free -= usize::from(is_idle);
        is_idle
    }

    /// A slot is free.
    fn free(&self) {
        let mut line = self.line();
        line.free += 1;
        if !line.waiting.is_empty() {
            self.moved.notify_one();
        }
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
                somebody @ Waiting::Somebody(_) => line.waiting.push_back(somebody),
            }
        }
        leaving
    }

    fn forget_those_who_left(&self) {
        let has_left = |waiting: &Waiting| match waiting {
            Waiting::Run(..) => false,
            Waiting::Somebody(who) => who.is_closed(),
        };
        self.line().waiting.retain(|waiting| !has_left(waiting));
    }
}

impl Line {
    /// Takes a free slot, unless others wait for it.
    fn take_free(&mut self) -> bool {
        let is_free = self.free > 0 && self.waiting.is_empty();
        self.free -= usize::from(is_free);
        is_free
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
    /// Cancel safe: after it was dropped its turn is passed over.
    pub async fn comes(core: &Arc<Core>, work: Work) -> Option<Self> {
        let coming = {
            let slots = core.slots(work);
            let mut line = slots.line();
            if line.take_free() {
                return Some(Self::new(core.clone(), work));
            }
            let (who, coming) = oneshot::channel();
            slots.wait(line, Waiting::Somebody(who));
            coming
        };
        match tokio::time::timeout(PATIENCE, coming).await {
            Ok(slot) => slot.ok(),
            Err(_) => {
                core.slots(work).forget_those_who_left();
                None
            }
        }
    }
}

impl Drop for Slot {
    /// Starts nothing: this may be the end of the runtime.
    fn drop(&mut self) {
        if let Some(core) = self.core.take() {
            core.slots(self.work).free();
        }
    }
}

/// Starts a run, or puts it in line.
pub(super) fn start(core: &Arc<Core>, work: Work, upcoming: Upcoming, now: Instant) {
    if let Some(upcoming) = core.slots(work).enter(upcoming, now) {
        run(core, upcoming, Slot::new(core.clone(), work));
    }
}

/// Starts a run in its slot.
pub(super) fn run(core: &Arc<Core>, upcoming: Upcoming, slot: Slot) {
    // In a box it is moved once, not by every layer around it.
    core.spawn(Box::pin(runner::work(core.clone(), upcoming, slot, None)));
}

/// Has those leave the line who do not wait any longer, and hands out what is free.
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
        let has_leavers = tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = slots.stirred.notified() => true,
            () = due => true,
            () = slots.moved.notified() => false,
        };
        if has_leavers {
            for upcoming in slots.leaving(Instant::now()) {
                core.spawn(Box::pin(runner::leave(core.clone(), upcoming)));
            }
        }
        while slots.take_idle() {
            if let Some((upcoming, slot)) = Slot::new(core.clone(), work).next() {
                run(&core, upcoming, slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use peerwork_core::{LaneId, Mono, Name, Rank, Task, TaskId, Timestamp};
    use peerwork_store::Options;
    use uuid::Uuid;

    fn full() -> Slots {
        let slots = Slots::new(1, Credits::new(1, Mono(0)));
        assert!(slots.line().take_free());
        slots
    }

    fn upcoming() -> Upcoming {
        let claimed = Claimed {
            id: TaskId(Uuid::from_u128(1)),
            run: RunId(Uuid::from_u128(2)),
            kind: Name::default(),
            user: Name::default(),
            group: Name::default(),
            lane: LaneId(Uuid::from_u128(3)),
            rank: Rank(0),
            options: Options::default(),
            parent: None,
            task: Task::new(true, None, Timestamp(0)),
            created_at: Timestamp(0),
            input: Vec::new(),
            checkpoint: None,
        };
        Upcoming {
            claimed,
            control: Arc::new(Control::new(false)),
            entry: None,
            node: NodeId(Uuid::from_u128(4)),
        }
    }

    fn is_woken(keeper: &Notify) -> bool {
        keeper.notified().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_first_run_in_line_sets_the_keepers_time_also_behind_somebody_else() {
        let (slots, now) = (full(), Instant::now());
        let (who, _coming) = oneshot::channel();
        slots.wait(slots.line(), Waiting::Somebody(who));
        assert!(is_woken(&slots.moved));
        assert_eq!(slots.due_at(), None);
        assert!(slots.enter(upcoming(), now).is_none());
        assert!(is_woken(&slots.moved));
        assert_eq!(slots.due_at(), Some(now + PATIENCE));
        assert!(slots.enter(upcoming(), now + PATIENCE).is_none());
        assert!(!is_woken(&slots.moved), "that one's time comes later");
        assert_eq!(slots.leaving(now + PATIENCE).len(), 1);
        assert_eq!(slots.due_at(), Some(now + 2 * PATIENCE));
    }

    #[tokio::test]
    async fn whoever_is_told_to_stop_wakes_the_keeper_and_leaves_whenever_that_was() {
        let (slots, now) = (full(), Instant::now());
        let (before, after) = (upcoming(), upcoming());
        let told = after.control.clone();
        before.control.tell(crate::Reason::Pause);
        assert!(slots.enter(before, now).is_none());
        assert!(is_woken(&slots.stirred));
        assert!(slots.enter(after, now).is_none());
        assert!(slots.enter(upcoming(), now).is_none());
        assert!(!is_woken(&slots.stirred));
        told.tell(crate::Reason::Delete);
        assert!(is_woken(&slots.stirred));
        assert_eq!(slots.leaving(now).len(), 2);
        assert_eq!(slots.line().waiting.len(), 1);
    }

    #[tokio::test]
    async fn a_slot_that_nobody_took_along_wakes_the_keeper_and_is_not_taken_by_who_comes_later() {
        let (slots, now) = (full(), Instant::now());
        assert!(slots.enter(upcoming(), now).is_none());
        assert!(is_woken(&slots.moved));
        slots.free();
        assert!(is_woken(&slots.moved));
        assert!(slots.enter(upcoming(), now).is_none(), "one is before it");
        assert!(slots.take_idle() && !slots.take_idle());
        assert!(slots.next().is_some() && slots.next().is_some());
        assert!(slots.next().is_none());
        assert!(
            slots.enter(upcoming(), now).is_some(),
            "nobody is before it"
        );
    }
}
