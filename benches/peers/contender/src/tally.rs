//! Which tasks have run: each is counted once, so that a repetition cannot stand in for a task that was lost.
//!
//! One per process, and global: the handlers of some peers are plain functions that nothing can be given to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::play::{Event, say};

static TALLY: OnceLock<Tally> = OnceLock::new();

/// One task is under way at a time; more means that tasks repeat, and the newest matter least.
const PICKED_UP_AHEAD: usize = 64;

pub enum Tally {
    Drain(Drain),
    PickUp(mpsc::Sender<(u32, Instant)>),
}

pub struct Drain {
    /// A bit for each task.
    seen: Vec<AtomicU64>,
    tasks: u32,
    ran: AtomicU32,
    repeats: AtomicU32,
}

/// The first line of every handler.
pub fn ran(task: u32) {
    let now = Instant::now();
    match TALLY.get() {
        Some(Tally::Drain(drain)) => drain.ran(task),
        // Full only if somebody repeats tasks in a loop; then the time-out tells.
        Some(Tally::PickUp(sender)) => drop(sender.try_send((task, now))),
        None => {}
    }
}

impl Tally {
    /// Says when the first and the last of so many tasks run.
    pub fn drain(tasks: u32) {
        let words = (tasks as usize).div_ceil(64);
        let drain = Drain {
            seen: (0..words).map(|_| AtomicU64::new(0)).collect(),
            tasks,
            ran: AtomicU32::new(0),
            repeats: AtomicU32::new(0),
        };
        Self::begin(Self::Drain(drain));
    }

    /// Hands over when each task runs.
    pub fn pick_up() -> mpsc::Receiver<(u32, Instant)> {
        let (sender, receiver) = mpsc::channel(PICKED_UP_AHEAD);
        Self::begin(Self::PickUp(sender));
        receiver
    }

    fn begin(self) {
        assert!(TALLY.set(self).is_ok(), "a process measures one thing");
    }
}

impl Drain {
    fn ran(&self, task: u32) {
        let (word, bit) = (task as usize / 64, 1 << (task % 64));
        if self.seen[word].fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            self.repeats.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let ran = self.ran.fetch_add(1, Ordering::AcqRel) + 1;
        if ran == 1 {
            say(&Event::First);
        }
        if ran == self.tasks {
            let repeats = self.repeats.load(Ordering::Acquire);
            say(&Event::Done {
                tasks: ran,
                repeats,
            });
        }
    }
}
