//! The people of a run: they create tasks, and pause, resume, move and delete them at random. Some of them set limits and gates
//! meanwhile.
//!
//! Every question is written down before it is asked, and so is its answer. A question without an answer is repeated
//! with the task's own id: creating is repeatable, and so is everything else.

use super::args::{PeopleArgs, URL_VAR};
use super::children;
use super::history::{Answer, Journal, Want, What};
use super::operators::{GROUPS, Operator};
use super::work::Input;
use anyhow::{Context, Result};
use peerwork::{Client, Database, Draft, Error, Migrate, Settings, Status, TaskId, Untyped};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::LocalSet;
use tokio::time::Instant;

/// People at work at a time.
const PEOPLE: u64 = 12;
/// Those of them who set things: a change takes two seconds on a server.
const OPERATORS: u64 = 3;
/// Groups in which tasks are created, more than those in which anything is set.
const CREATED_IN: u64 = 6;
/// Tasks that somebody still thinks of.
const MEMORY: usize = 400;
/// How often a question is repeated that was not answered.
const TRIES: u32 = 200;
const AGAIN: Duration = Duration::from_millis(100);
/// A task that works for so long is likely to be met at work.
const LONG_MS: u64 = 1_000;
const LONG_TASKS: usize = 12;
/// A machine may be so busy that what must be shown is not shown before the others go home: so much longer is waited for it.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// Runs until the tasks are created and the time is up.
///
/// # Errors
/// If the database cannot be reached at the start.
pub fn run(args: &PeopleArgs) -> Result<()> {
    children::die_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    LocalSet::new().block_on(&runtime, crowd(args))
}

async fn crowd(args: &PeopleArgs) -> Result<()> {
    let journal = Journal::open(&args.child.folder, &args.child.label)?;
    let url = std::env::var(URL_VAR).context("people without a database")?;
    let settings = Settings::default().with_prefix(&args.child.prefix);
    let database = Database::connect_with(&url, settings).await?;
    let client = Client::connect_with(database, Migrate::Never).await?;
    let shared = Rc::new(Shared {
        journal,
        client,
        asks: AtomicU64::new(0),
        left: AtomicU64::new(args.tasks),
        known: RefCell::default(),
        long: RefCell::default(),
        ends: Instant::now() + Duration::from_secs(args.seconds),
    });
    // The mean time between two tasks of one person.
    let pace_ms = (args.seconds * 1_000 * PEOPLE / args.tasks.max(1)).max(1);
    let people: Vec<_> = (0..PEOPLE)
        .map(|number| {
            let random = StdRng::seed_from_u64(args.child.seed ^ (number << 40));
            tokio::task::spawn_local(person(shared.clone(), random, pace_ms))
        })
        .collect();
    let operator = Operator {
        client: shared.client.clone(),
        journal: shared.journal.clone(),
        ends: shared.ends,
        asks: Arc::default(),
    };
    operator.clone().begin().await;
    let patient = Operator {
        ends: shared.ends + SHOWN_WITHIN,
        ..operator.clone()
    };
    patient.show(args.child.seed).await;
    let operators: Vec<_> = (PEOPLE..PEOPLE + OPERATORS)
        .map(|number| {
            let random = StdRng::seed_from_u64(args.child.seed ^ (number << 40));
            tokio::task::spawn_local(operator.clone().work(random))
        })
        .collect();
    for person in people.into_iter().chain(operators) {
        person.await.context("a person")?;
    }
    Ok(())
}

struct Shared {
    journal: Journal,
    client: Client,
    asks: AtomicU64,
    left: AtomicU64,
    known: RefCell<Vec<TaskId>>,
    /// The newest of those that take long enough to be steered while they run.
    long: RefCell<VecDeque<TaskId>>,
    ends: Instant,
}

async fn person(shared: Rc<Shared>, mut random: StdRng, pace_ms: u64) {
    let mut next = Instant::now();
    loop {
        next += Duration::from_millis(random.random_range(0..=2 * pace_ms));
        tokio::time::sleep_until(next.min(shared.ends)).await;
        let is_late = Instant::now() >= shared.ends;
        let one = |left: u64| left.checked_sub(1);
        if shared
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one)
            .is_err()
        {
            return;
        }
        let task = shared.create(&mut random).await;
        {
            let mut known = shared.known.borrow_mut();
            if known.len() >= MEMORY {
                let at = random.random_range(0..known.len());
                known.swap_remove(at);
            }
            known.push(task);
        }
        // What is late is created all the same: a run has the number of tasks that it says.
        if !is_late && random.random_ratio(1, 3) {
            let task = shared.remember(&mut random);
            let group = GROUPS[random.random_range(0..GROUPS.len())];
            shared.steer(task, want(&mut random), group).await;
        }
    }
}

fn want(random: &mut StdRng) -> Want {
    match random.random_range(0..100) {
        0..35 => Want::Pause,
        35..70 => Want::Resume,
        70..80 => Want::Move,
        80..85 => Want::Run,
        _ => Want::Delete,
    }
}

impl Shared {
    async fn create(&self, random: &mut StdRng) -> TaskId {
        let id = self.client.new_task_id();
        let kind = kind(random);
        let input = input(kind, random);
        if input.steps * input.rest_ms >= LONG_MS {
            let mut long = self.long.borrow_mut();
            long.push_back(id);
            if long.len() > LONG_TASKS {
                long.pop_front();
            }
        }
        let user = format!("user-{}", random.random_range(0..8));
        let group = format!("group-{}", random.random_range(0..CREATED_IN));
        let priority = random.random_range(-1..=1);
        let hold = random.random_ratio(1, 40);
        self.ask(id, Want::Create, Some(kind), async || {
            let mut draft = Draft::<Untyped>::of_kind(kind, &input)
                .id(id)
                .user(&user)
                .group(&group)
                .priority(priority);
            if hold {
                draft = draft.hold();
            }
            let created = self.client.create(draft).await;
            created.map(|_| Status::Created)
        })
        .await;
        id
    }

    /// Some task, often one that runs.
    fn remember(&self, random: &mut StdRng) -> TaskId {
        let (known, long) = (self.known.borrow(), self.long.borrow());
        match long.is_empty() || random.random_bool(0.4) {
            true => known[random.random_range(0..known.len())],
            false => long[random.random_range(0..long.len())],
        }
    }

    async fn steer(&self, id: TaskId, want: Want, group: &str) {
        let task = self.client.task(id);
        self.ask(id, want, None, async || match want {
            Want::Pause => task.pause().await,
            Want::Resume => task.resume().await,
            Want::Delete => task.delete().await,
            Want::Move => task.move_to(group).await,
            Want::Run | Want::Create => task.run().await,
        })
        .await;
    }

    /// Asks until there is an answer.
    async fn ask(
        &self,
        id: TaskId,
        wish: Want,
        kind: Option<&str>,
        call: impl AsyncFn() -> Result<Status, Error>,
    ) {
        for _ in 0..TRIES {
            let ask = self.asks.fetch_add(1, Ordering::Relaxed);
            self.journal.write(What::Asked {
                ask,
                task: id.0,
                wish,
                kind: kind.map(str::to_owned),
            });
            let (answer, again) = match call().await {
                Ok(status) => (Answer::Done(status.name().to_owned()), false),
                Err(error) if error.is_refused() || error.is_gone() => (Answer::Refused, false),
                Err(error) if error.is_not_found() => (Answer::NotFound, false),
                Err(error) => (Answer::Unknown(error.to_string()), true),
            };
            self.journal.write(What::Answered { ask, answer });
            if !again {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Poison and baits are the controller's: their number is bounded.
fn kind(random: &mut StdRng) -> &'static str {
    match random.random_range(0..1_000) {
        0..450 => "steps",
        450..550 => "ledger",
        550..800 => "plain",
        800..950 => "flaky",
        950..970 => "fragile",
        970..985 => "panics",
        985..993 => "deaf",
        _ => "storm",
    }
}

fn input(kind: &str, random: &mut StdRng) -> Input {
    let is_long = random.random_ratio(1, 30);
    let (steps, rest_ms) = match kind {
        "storm" => (100, 0),
        _ if is_long => (40, 100),
        _ => (random.random_range(1..=10), random.random_range(1..=20)),
    };
    Input {
        steps,
        rest_ms,
        seed: random.random(),
    }
}
