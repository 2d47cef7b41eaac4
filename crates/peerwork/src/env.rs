//! Where the shell gets its time, its ids and its randomness from: one place, so that a whole cluster can be
//! simulated from one seed. Everything that a node or a client spawns goes through [`Env::contain`].

use crate::Machine;
use crate::machine::OnMachine;
use futures_util::future::Either;
use peerwork_core::{Mono, NodeId, RunId, TaskId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// The clock, the ids and the randomness of nodes and clients. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Env(Arc<Source>);

#[derive(Debug)]
enum Source {
    System,
    Simulated {
        origin: tokio::time::Instant,
        random: Arc<Mutex<StdRng>>,
        machine: Option<Machine>,
    },
}

impl Env {
    /// The machine's own: a clock that runs through suspension, UUIDv7 ids, the operating system's randomness.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// Everything from `seed` and from tokio's clock, which a test may pause and advance.
    pub fn simulated(seed: u64) -> Self {
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self(Arc::new(Source::Simulated {
            origin: tokio::time::Instant::now(),
            random,
            machine: None,
        }))
    }

    /// The same simulation, seen from `machine`: with its clock, and stopped when it is. The machine's own environment
    /// stays what it is.
    pub fn on(&self, machine: &Machine) -> Self {
        match &*self.0 {
            Source::System => self.clone(),
            Source::Simulated { origin, random, .. } => Self(Arc::new(Source::Simulated {
                origin: *origin,
                random: random.clone(),
                machine: Some(machine.clone()),
            })),
        }
    }

    /// The same work, polled only while the machine runs that this environment is on. Everything that a node or a
    /// client spawns is contained, so that a simulation can freeze or crash all of it at once.
    pub fn contain<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        match &*self.0 {
            Source::Simulated {
                machine: Some(machine),
                ..
            } => Either::Right(OnMachine::new(machine.clone(), work)),
            Source::System | Source::Simulated { .. } => Either::Left(work),
        }
    }

    /// Now, by this machine's clock.
    pub fn now(&self) -> Mono {
        match &*self.0 {
            Source::System => Mono(boot_micros()),
            Source::Simulated {
                origin, machine, ..
            } => {
                let ahead = machine.as_ref().map_or(Duration::ZERO, Machine::ahead);
                let elapsed = (origin.elapsed() + ahead).as_micros();
                Mono(u64::try_from(elapsed).unwrap_or(u64::MAX))
            }
        }
    }

    /// Waits until `at` by this machine's clock; returns at once if it has passed.
    ///
    /// Cancel safe.
    pub async fn sleep_until(&self, at: Mono) {
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            // tokio's clock may stop while the machine sleeps: look again at ours.
            tokio::time::sleep(left.min(Duration::from_secs(60))).await;
        }
    }

    /// A random number over the whole range.
    pub fn random(&self) -> u32 {
        match &*self.0 {
            Source::System => rand::rng().random(),
            Source::Simulated { random, .. } => {
                random.lock().expect("no panic under the lock").random()
            }
        }
    }

    fn random_id(&self) -> Uuid {
        let bytes = match &*self.0 {
            Source::System => rand::rng().random(),
            Source::Simulated { random, .. } => {
                random.lock().expect("no panic under the lock").random()
            }
        };
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    pub(crate) fn new_task_id(&self) -> TaskId {
        TaskId(match &*self.0 {
            Source::System => Uuid::now_v7(),
            Source::Simulated { random, .. } => {
                let bytes = random.lock().expect("no panic under the lock").random();
                let ms = self.now().0 / 1_000;
                uuid::Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid()
            }
        })
    }

    pub(crate) fn new_run_id(&self) -> RunId {
        RunId(self.random_id())
    }

    pub(crate) fn new_node_id(&self) -> NodeId {
        NodeId(self.random_id())
    }
}

#[cfg(target_os = "linux")]
fn boot_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

#[cfg(not(target_os = "linux"))]
fn boot_micros() -> u64 {
    // Elsewhere the monotonic clock is the best there is; a suspended machine is then noticed by its next beat.
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    u64::try_from(
        ORIGIN
            .get_or_init(std::time::Instant::now)
            .elapsed()
            .as_micros(),
    )
    .unwrap_or(u64::MAX)
}
