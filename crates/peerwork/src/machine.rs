//! A simulated machine: everything that runs on it can be frozen, thawed and crashed at once.
//!
//! *Not here:* the network and the database, which go on while a machine is frozen or gone.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A machine of a simulation. Cheap to clone; clones are the same machine.
///
/// Frozen, nothing of it is polled, while time passes for everybody: as a process after SIGSTOP, or a virtual machine
/// that is moved. Thawed, it goes on where it was, with its timers overdue. Crashed, nothing of it is ever polled again.
/// Work stops at an `.await` only: what runs between two of them has happened or has not.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    ahead: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Running,
    /// With those to be woken when it goes on.
    Frozen(Vec<Waker>),
    Crashed,
}

impl Machine {
    /// A machine that runs, whose clock is `ahead` of the simulation's.
    pub fn new(ahead: Duration) -> Self {
        Self {
            ahead,
            state: Arc::default(),
        }
    }

    pub(crate) fn ahead(&self) -> Duration {
        self.ahead
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }

    /// Stops everything on it until it is thawed. No effect on a machine that has crashed or is frozen.
    pub fn freeze(&self) {
        let mut state = self.state();
        if matches!(*state, State::Running) {
            *state = State::Frozen(Vec::new());
        }
    }

    /// Lets it go on. No effect on a machine that is not frozen.
    pub fn thaw(&self) {
        let mut state = self.state();
        if let State::Frozen(waiting) = &mut *state {
            let waiting = std::mem::take(waiting);
            *state = State::Running;
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Ends everything on it, for ever.
    pub fn crash(&self) {
        let was = std::mem::replace(&mut *self.state(), State::Crashed);
        if let State::Frozen(waiting) = was {
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether it is frozen.
    pub fn is_frozen(&self) -> bool {
        matches!(*self.state(), State::Frozen(_))
    }

    /// Whether it has crashed.
    pub fn is_crashed(&self) -> bool {
        matches!(*self.state(), State::Crashed)
    }
}

/// Work on a machine.
pub(crate) struct OnMachine<F> {
    machine: Machine,
    /// None once the machine has crashed.
    work: Option<Pin<Box<F>>>,
}

impl<F> OnMachine<F> {
    pub fn new(machine: Machine, work: F) -> Self {
        Self {
            machine,
            work: Some(Box::pin(work)),
        }
    }
}

impl<F: Future> Future for OnMachine<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let crashed = match &mut *self.machine.state() {
            State::Running => false,
            State::Frozen(waiting) => {
                waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            State::Crashed => true,
        };
        if crashed {
            // Not dropped under the lock: what it holds may ask for the machine's state.
            self.work = None;
        }
        match &mut self.work {
            Some(work) => work.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A machine with one task that counts a second after the other.
    fn counting() -> (Machine, Arc<AtomicU32>) {
        let machine = Machine::new(Duration::from_secs(3_600));
        let env = Env::simulated(1).on(&machine);
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        tokio::spawn(env.contain(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }));
        (machine, count)
    }

    /// Half a second before and after the ticks, so that no two timers fall together.
    async fn seconds(n: u64) {
        tokio::time::sleep(Duration::from_millis(n * 1_000 + 1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_machine_does_nothing_and_goes_on_where_it_was() {
        let (machine, count) = counting();
        seconds(2).await;
        machine.freeze();
        seconds(10).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        machine.thaw();
        seconds(2).await;
        // The tick that fell into the frozen time is overdue and comes at once.
        assert_eq!(count.load(Ordering::Relaxed), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crashed_machine_drops_its_work_and_is_not_thawed() {
        let (machine, count) = counting();
        seconds(1).await;
        machine.crash();
        machine.thaw();
        seconds(5).await;
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&count), 1, "its work was dropped");
        assert!(machine.is_crashed() && !machine.is_frozen());
    }
}
