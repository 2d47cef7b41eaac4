//! What the nodes of a run have to do: kinds that behave, and kinds that do not.
//!
//! Every handler writes into its process's history before and after each call, and when its future is dropped.

use super::audit::Dialect;
use super::history::{How, Journal, What, Why};
use super::ledger;
use super::poison;
use peerwork::{
    Handler, NodeBuilder, OnNodeDeath, OnPauseDeadline, Reason, Retry, Rules, Run, SaveError,
    TaskError,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// How a kind behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Saves after each step; its cleanup fails sometimes.
    Steps,
    /// The same without a cleanup.
    Plain,
    /// Fails sometimes, and sleeps without a slot sometimes.
    Flaky,
    /// Commits each step with a row of a user's table, and its end with the last one sometimes.
    Ledger,
    /// Saves as often as it can.
    Storm,
    /// Does not stop when it is told to, and is forced.
    Deaf,
    /// Does not stop for long, nor does its cleanup end soon: for faults that want to hit it at that moment.
    Bait,
    /// Fails when its node dies.
    Fragile,
    /// Panics.
    Panics,
    /// Aborts its process.
    Aborts,
    /// Never yields.
    Spins,
    /// Takes memory until its process has none.
    Devours,
    /// Blocks every thread of its node's runtime once, for far longer than the lease lasts.
    Wedges,
}

/// All kinds: name and manner.
pub const KINDS: [(&str, Manner); 13] = [
    ("steps", Manner::Steps),
    ("plain", Manner::Plain),
    ("flaky", Manner::Flaky),
    ("storm", Manner::Storm),
    ("deaf", Manner::Deaf),
    ("bait", Manner::Bait),
    ("fragile", Manner::Fragile),
    ("panics", Manner::Panics),
    ("aborts", Manner::Aborts),
    ("spins", Manner::Spins),
    ("devours", Manner::Devours),
    ("ledger", Manner::Ledger),
    ("wedges", Manner::Wedges),
];

/// The manner of the kind with this name.
pub fn manner(kind: &str) -> Option<Manner> {
    let found = KINDS.iter().find(|(name, _)| *name == kind);
    found.map(|(_, manner)| *manner)
}

impl Manner {
    /// Whether a task of this kind may end as failed through no fault of peerwork.
    pub fn may_fail(self) -> bool {
        match self {
            Self::Flaky
            | Self::Fragile
            | Self::Panics
            | Self::Aborts
            | Self::Spins
            | Self::Devours => true,
            Self::Steps
            | Self::Plain
            | Self::Ledger
            | Self::Storm
            | Self::Deaf
            | Self::Bait
            | Self::Wedges => false,
        }
    }

    /// Whether it ends the process it runs in.
    pub fn kills(self) -> bool {
        matches!(self, Self::Aborts | Self::Spins | Self::Devours)
    }

    /// Whether its deletion runs a cleanup.
    pub fn has_cleanup(self) -> bool {
        !matches!(self, Self::Plain | Self::Panics)
    }

    fn rules(self) -> Rules {
        let quick = |limit| Retry {
            limit,
            base_ms: 100,
            cap_ms: 1_000,
        };
        let rules = Rules {
            cleanup: self.has_cleanup(),
            retry: quick(12),
            ..Rules::default()
        };
        match self {
            Self::Panics => Rules {
                retry: quick(2),
                ..rules
            },
            Self::Deaf => Rules {
                pause_deadline_ms: 1_000,
                on_pause_deadline: OnPauseDeadline::Force,
                ..rules
            },
            Self::Fragile => Rules {
                on_node_death: OnNodeDeath::Fail,
                ..rules
            },
            _ => rules,
        }
    }
}

/// What a task is created with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Input {
    /// Steps with a checkpoint each.
    pub steps: u64,
    /// The rest before each step.
    pub rest_ms: u64,
    /// What is random about it.
    pub seed: u64,
}

/// What is saved: the number of the last step, of runs and cleanups together.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// It only ever rises.
    pub step: u64,
}

/// What a run returns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Output {
    /// The run that returned it.
    pub run: Uuid,
}

/// Handler number `K` of [`KINDS`].
pub(super) struct Work<const K: usize>(Place);

/// What a handler needs.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it writes what happens.
    pub journal: Journal,
    /// The database.
    pub dialect: Dialect,
    /// What the tables' names begin with.
    pub prefix: String,
    /// The node's.
    pub label: String,
}

/// `builder` with all kinds.
pub fn register(builder: NodeBuilder, place: &Place) -> NodeBuilder {
    let place = || place.clone();
    builder
        .register(Work::<0>(place()))
        .register(Work::<1>(place()))
        .register(Work::<2>(place()))
        .register(Work::<3>(place()))
        .register(Work::<4>(place()))
        .register(Work::<5>(place()))
        .register(Work::<6>(place()))
        .register(Work::<7>(place()))
        .register(Work::<8>(place()))
        .register(Work::<9>(place()))
        .register(Work::<10>(place()))
        .register(Work::<11>(place()))
        .register(Work::<12>(place()))
}

impl<const K: usize> Handler for Work<K> {
    const KIND: &'static str = KINDS[K].0;
    type Input = Input;
    type Checkpoint = Checkpoint;
    type Output = Output;

    async fn run(&self, run: &mut Run<Self>) -> Result<Output, TaskError> {
        let mut shift = Shift::begin(&self.0.journal, run, false);
        let result = match KINDS[K].1 {
            Manner::Steps | Manner::Plain | Manner::Fragile => steps(&mut shift, run, false).await,
            Manner::Flaky => steps(&mut shift, run, true).await,
            Manner::Ledger => ledger_steps(&self.0, &mut shift, run).await,
            Manner::Storm => storm(&mut shift, run).await,
            Manner::Deaf => deaf(&mut shift, run, Duration::from_secs(4)).await,
            Manner::Bait => deaf(&mut shift, run, BAIT).await,
            Manner::Panics => {
                shift.save(run).await.map(drop).unwrap_or_default();
                panic!("a task that panics")
            }
            Manner::Aborts => poison::abort().await,
            Manner::Spins => poison::spin().await,
            Manner::Devours => poison::devour().await,
            Manner::Wedges => wedges(&self.0, &mut shift, run).await,
        };
        shift.end(result.map(|()| Output {
            run: run.run_id().0,
        }))
    }

    async fn cleanup(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        let mut shift = Shift::begin(&self.0.journal, run, true);
        let mut result = Ok(());
        if KINDS[K].1 == Manner::Bait {
            tokio::time::sleep(BAIT).await;
        }
        for _ in 0..CLEANUP_STEPS {
            tokio::time::sleep(Duration::from_millis(run.input().rest_ms)).await;
            result = shift.save(run).await;
            if result.is_ok() && shift.random.random_ratio(1, 20) {
                result = Err(Break::Failed("a cleanup that fails sometimes"));
            }
            if result.is_err() {
                break;
            }
        }
        shift.end(result)
    }

    fn rules(&self) -> Rules {
        KINDS[K].1.rules()
    }
}

const CLEANUP_STEPS: u64 = 2;
/// How long a bait stays where a fault wants it.
const BAIT: Duration = Duration::from_secs(8);

/// Why a handler ends without an output.
enum Break {
    Stopped(SaveError),
    Failed(&'static str),
    Told(TaskError),
    Waits(TaskError),
}

/// One run of a handler, as its history shows it.
struct Shift<'a> {
    journal: &'a Journal,
    task: Uuid,
    run: Uuid,
    cleanup: bool,
    step: u64,
    random: StdRng,
    over: bool,
}

impl<'a> Shift<'a> {
    fn begin<const K: usize>(journal: &'a Journal, run: &Run<Work<K>>, cleanup: bool) -> Self {
        let from = run.checkpoint().map(|checkpoint| checkpoint.step);
        let (task, id, attempt) = (run.id().0, run.run_id().0, run.attempt());
        journal.write(What::Began {
            task,
            run: id,
            kind: KINDS[K].0.to_owned(),
            attempt,
            from,
            cleanup,
        });
        Self {
            journal,
            task,
            run: id,
            cleanup,
            step: from.unwrap_or(0),
            random: StdRng::seed_from_u64(run.input().seed ^ (u64::from(attempt) << 32)),
            over: false,
        }
    }

    /// Saves the next step. An error that is a stop has been told.
    async fn save<const K: usize>(&mut self, run: &mut Run<Work<K>>) -> Result<(), Break> {
        let (task, id, step) = (self.task, self.run, self.step + 1);
        self.journal.write(What::Saving {
            task,
            run: id,
            step,
        });
        run.progress(step, run.input().steps);
        let result = run.save(&Checkpoint { step }).await;
        let why = match &result {
            Ok(()) => None,
            Err(SaveError::Stop(stop)) => Some(why(stop.reason)),
            Err(SaveError::Invalid(_)) => Some(Why::Other),
        };
        // A stop other than a lost lease says that the checkpoint is durable.
        if !matches!(why, Some(Why::LeaseLost | Why::Other)) {
            self.saved(step);
        }
        if let Some(why) = why {
            self.journal.write(What::Told { task, run: id, why });
        }
        result.map_err(Break::Stopped)
    }

    fn saved(&mut self, step: u64) {
        self.step = step;
        self.journal.write(What::Saved {
            task: self.task,
            run: self.run,
            step,
        });
    }

    fn end<T>(mut self, result: Result<T, Break>) -> Result<T, TaskError> {
        let how = match &result {
            Ok(_) => How::Ok,
            Err(Break::Stopped(_)) => How::Stopped,
            Err(Break::Failed(_) | Break::Told(_)) => How::Failed,
            Err(Break::Waits(_)) => How::Waits,
        };
        self.tell(how);
        result.map_err(|broken| match broken {
            Break::Stopped(stop) => stop.into(),
            Break::Failed(text) => TaskError::new(text),
            Break::Waits(waits) | Break::Told(waits) => waits,
        })
    }

    fn tell(&mut self, how: How) {
        self.over = true;
        self.journal.write(What::Ended {
            task: self.task,
            run: self.run,
            how,
            cleanup: self.cleanup,
        });
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        if !self.over {
            let is_panic = std::thread::panicking();
            self.tell(if is_panic {
                How::Panicked
            } else {
                How::Dropped
            });
        }
    }
}

fn why(reason: Reason) -> Why {
    match reason {
        Reason::Pause => Why::Pause,
        Reason::Delete => Why::Delete,
        Reason::Drain => Why::Drain,
        Reason::LeaseLost => Why::LeaseLost,
        Reason::Deadline => Why::Deadline,
        Reason::Timeout => Why::Timeout,
        Reason::Gate => Why::Gate,
    }
}

async fn steps<const K: usize>(
    shift: &mut Shift<'_>,
    run: &mut Run<Work<K>>,
    fails: bool,
) -> Result<(), Break> {
    while shift.step < run.input().steps {
        tokio::time::sleep(Duration::from_millis(run.input().rest_ms)).await;
        shift.journal.write(What::Effect {
            task: shift.task,
            run: shift.run,
            step: shift.step + 1,
        });
        shift.save(run).await?;
        if fails && shift.random.random_ratio(1, 15) {
            return Err(Break::Failed("a task that fails sometimes"));
        }
        if fails && shift.random.random_ratio(1, 25) {
            // By the database's clock: this machine's may be anything.
            let Ok(now) = run.client().now().await else {
                continue;
            };
            let at = SystemTime::UNIX_EPOCH + Duration::from_micros(now.0.unsigned_abs() + 200_000);
            return Err(Break::Waits(run.sleep_until(at)));
        }
    }
    Ok(())
}

async fn ledger_steps<const K: usize>(
    place: &Place,
    shift: &mut Shift<'_>,
    run: &mut Run<Work<K>>,
) -> Result<(), Break> {
    let (task, id) = (shift.task, shift.run);
    while shift.step < run.input().steps {
        tokio::time::sleep(Duration::from_millis(run.input().rest_ms)).await;
        let step = shift.step + 1;
        let is_last = step == run.input().steps;
        let output = Output { run: id };
        let finish = (is_last && run.input().seed.is_multiple_of(2)).then_some(output);
        if finish.is_some() {
            place.journal.write(What::Finishing { task, run: id });
        }
        loop {
            place.journal.write(What::Saving {
                task,
                run: id,
                step,
            });
            let done =
                ledger::commit(run, place.dialect, &place.prefix, step, finish.clone()).await;
            match done {
                Err(error) if error.is_transient() => {
                    run.check().map_err(|stop| Break::Stopped(stop.into()))?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => match error.stop() {
                    Some(stop) => {
                        let why = why(stop.reason);
                        if why != Why::LeaseLost {
                            shift.saved(step);
                        }
                        place.journal.write(What::Told { task, run: id, why });
                        return Err(Break::Stopped(stop.into()));
                    }
                    None => return Err(Break::Told(TaskError::from(error))),
                },
                Ok(()) => {
                    shift.saved(step);
                    break;
                }
            }
        }
    }
    Ok(())
}

async fn storm<const K: usize>(shift: &mut Shift<'_>, run: &mut Run<Work<K>>) -> Result<(), Break> {
    while shift.step < run.input().steps {
        for done in 0..100 {
            run.progress(done, 100);
        }
        shift.save(run).await?;
    }
    Ok(())
}

/// Works for `time`, whatever it is told.
async fn deaf<const K: usize>(
    shift: &mut Shift<'_>,
    run: &mut Run<Work<K>>,
    time: Duration,
) -> Result<(), Break> {
    shift.save(run).await?;
    tokio::time::sleep(time).await;
    shift.save(run).await
}

/// Wedges its node the first time, and then says something that comes too late.
async fn wedges<const K: usize>(
    place: &Place,
    shift: &mut Shift<'_>,
    run: &mut Run<Work<K>>,
) -> Result<(), Break> {
    let is_first = shift.step == 0;
    shift.save(run).await?;
    if is_first {
        poison::wedge(&place.journal, &place.label);
        shift.save(run).await?;
    }
    Ok(())
}
