//! Those who set limits, rates, weights and gates, change them while everything runs, and move what runs between limited groups.
//!
//! Each setting is asked for again until it is answered: it may be carried out twice, which changes nothing more.

use super::history::{Answer, Journal, Want, What};
use super::work::Input;
use peerwork::{Adjustment, Client, Draft, Status, TaskHandle, Untyped};
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The groups that they look after, of those that people use. In the others, and for other users, nothing is ever set but for kinds.
pub const GROUPS: [&str; 4] = ["group-0", "group-1", "group-2", "group-9"];
const USERS: [&str; 2] = ["user-0", "user-1"];
/// None that a fault waits for.
const KINDS: [&str; 2] = ["plain", "flaky"];
/// A node hears of a gate within a second, and a dead one's tasks go on within five.
const PATIENCE: Duration = Duration::from_secs(8);
const AGAIN: Duration = Duration::from_millis(100);

/// For whom something is set.
#[derive(Clone, Copy, Debug)]
enum Whose {
    Group(&'static str),
    User(&'static str),
    UserIn(&'static str, &'static str),
    Kind(&'static str),
}

/// What is set.
#[derive(Clone, Copy, Debug)]
enum Change {
    Limit(u32),
    NoLimit,
    LimitPerNode(u32),
    Rate(f64),
    Weight(u32),
    Close {
        pauses: bool,
        ramps: bool,
        until: Option<SystemTime>,
    },
    Open,
    Clear,
}

/// What is set as soon as the run begins, all of it at once.
const FIRST: [(Whose, Change); 8] = [
    (Whose::Group("group-0"), Change::Limit(2)),
    (Whose::Group("group-1"), Change::Limit(3)),
    (Whose::Group("group-9"), Change::Limit(2)),
    (Whose::Group("group-2"), Change::LimitPerNode(2)),
    (Whose::User("user-0"), Change::Limit(4)),
    (Whose::UserIn("group-2", "user-1"), Change::Limit(1)),
    (Whose::Kind("plain"), Change::Limit(8)),
    (Whose::Kind("flaky"), Change::Rate(20.0)),
];

/// Who sets things.
#[derive(Clone)]
pub struct Operator {
    /// Through which it asks.
    pub client: Client,
    /// Where it writes down what it did.
    pub journal: Journal,
    /// When it goes home.
    pub ends: Instant,
    /// Questions so far.
    pub asks: Arc<AtomicU64>,
}

impl Operator {
    /// Sets what is to be set from the beginning on.
    pub async fn begin(self) {
        let mut all = tokio::task::JoinSet::new();
        for (whose, change) in FIRST {
            let one = self.clone();
            all.spawn(async move { one.set(whose, change).await });
        }
        all.join_all().await;
    }

    /// Moves a run from one limited group to another, and has a gate stop it there: what chance may not bring about in a short run.
    pub async fn show(&self, seed: u64) {
        let [to, from, ..] = GROUPS;
        // It may be killed, or be over before its turn comes.
        while Instant::now() < self.ends {
            let Some(task) = self.create(from, seed).await else {
                continue;
            };
            if !self.comes_to(&task, Status::Running).await || task.move_to(to).await.is_err() {
                continue;
            }
            let close = Change::Close {
                pauses: true,
                ramps: true,
                until: None,
            };
            self.set(Whose::Group(to), close).await;
            let is_stopped = self.comes_to(&task, Status::Resuming).await;
            self.set(Whose::Group(to), Change::Open).await;
            if is_stopped {
                return;
            }
        }
    }

    /// A task of some seconds, which goes before others.
    async fn create(&self, group: &str, seed: u64) -> Option<TaskHandle> {
        let (id, kind) = (self.client.new_task_id(), "steps");
        let input = Input {
            steps: 400,
            rest_ms: 15,
            seed,
        };
        // Nobody else numbers questions from that end.
        let ask = u64::MAX - self.asks.fetch_add(1, Ordering::Relaxed);
        self.journal.write(What::Asked {
            ask,
            task: id.0,
            wish: Want::Create,
            kind: Some(kind.to_owned()),
        });
        let draft = Draft::<Untyped>::of_kind(kind, &input).id(id).priority(-9);
        let created = self.client.create(draft.group(group)).await;
        let answer = match &created {
            Ok(_) => Answer::Done("created".to_owned()),
            Err(error) => Answer::Unknown(error.to_string()),
        };
        self.journal.write(What::Answered { ask, answer });
        created.ok()
    }

    /// Waits until it is in `wanted`. False: it is over before, or takes too long.
    async fn comes_to(&self, task: &TaskHandle, wanted: Status) -> bool {
        let until = self.ends.min(Instant::now() + PATIENCE);
        while Instant::now() < until {
            let status = task.get().await.map(|record| record.task.status);
            match status {
                Ok(status) if status == wanted => return true,
                Ok(status) if status.is_final() => return false,
                Ok(_) | Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
        false
    }

    /// Changes what is set, and moves tasks, until the time is up.
    pub async fn work(self, mut random: StdRng) {
        while Instant::now() < self.ends {
            if random.random_ratio(1, 4) {
                let (from, to) = (pick(&GROUPS, &mut random), pick(&GROUPS, &mut random));
                self.move_what_runs(from, to).await;
            } else {
                let (whose, change) = (whose(&mut random), change(&mut random));
                self.set(whose, change).await;
                if matches!(change, Change::Close { .. }) {
                    self.rest(random.random_range(300..2_500)).await;
                    self.set(whose, Change::Open).await;
                }
            }
            self.rest(random.random_range(100..800)).await;
        }
    }

    async fn rest(&self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        tokio::time::sleep_until(until.min(self.ends)).await;
    }

    async fn set(&self, whose: Whose, change: Change) {
        let text = format!("{whose:?}: {change:?}");
        loop {
            self.journal.write(What::Setting {
                change: text.clone(),
            });
            let set = adjustment(&self.client, whose, change).await;
            self.journal.write(What::Set {
                change: text.clone(),
                error: set.as_ref().err().map(ToString::to_string),
            });
            match set {
                Ok(()) => return,
                // A weight of a kind; an end of a gate that was over by the time that it was heard of.
                Err(error) if error.is_invalid() => return,
                Err(_) if Instant::now() >= self.ends => return,
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn move_what_runs(&self, from: &str, to: &str) {
        let text = format!("what runs in {from} goes to {to}");
        self.journal.write(What::Setting {
            change: text.clone(),
        });
        let moved = self.client.tasks().group(from).running().move_to(to).await;
        self.journal.write(What::Set {
            change: text,
            error: moved.err().map(|error| error.to_string()),
        });
    }
}

fn adjustment(client: &Client, whose: Whose, change: Change) -> Adjustment {
    let of = match whose {
        Whose::Group(group) => client.group(group),
        Whose::User(user) => client.user(user),
        Whose::UserIn(group, user) => client.user_in(group, user),
        Whose::Kind(kind) => client.kind(kind),
    };
    match change {
        Change::Limit(limit) => of.limit(limit),
        Change::NoLimit => of.without_limit(),
        Change::LimitPerNode(limit) => of.limit_per_node(limit),
        Change::Rate(rate) => of.starts_per_second(rate),
        Change::Weight(weight) => of.weight(weight),
        Change::Close {
            pauses,
            ramps,
            until,
        } => {
            let mut of = of.gate("a fault run").by("an operator");
            if pauses {
                of = of.pausing();
            }
            if ramps {
                of = of.ramp(20.0, Duration::from_secs(2));
            }
            match until {
                Some(until) => of.until(until),
                None => of,
            }
        }
        Change::Open => of.open(),
        Change::Clear => of.clear(),
    }
}

fn whose(random: &mut StdRng) -> Whose {
    match random.random_range(0..10) {
        0..5 => Whose::Group(pick(&GROUPS, random)),
        5..7 => Whose::User(pick(&USERS, random)),
        7..9 => Whose::UserIn(pick(&GROUPS, random), pick(&USERS, random)),
        _ => Whose::Kind(pick(&KINDS, random)),
    }
}

fn change(random: &mut StdRng) -> Change {
    match random.random_range(0..100) {
        0..45 => Change::Limit(random.random_range(1..=6)),
        45..52 => Change::NoLimit,
        52..60 => Change::LimitPerNode(random.random_range(1..=3)),
        60..68 => Change::Rate(random.random_range(5.0..40.0)),
        68..92 => {
            let ms = random.random_range(1_000..4_000);
            Change::Close {
                pauses: random.random_bool(0.5),
                ramps: random.random_bool(0.3),
                until: random
                    .random_bool(0.3)
                    .then(|| SystemTime::now() + Duration::from_millis(ms)),
            }
        }
        92..95 => Change::Weight(random.random_range(1..=5)),
        _ => Change::Clear,
    }
}

fn pick<T: Copy, const N: usize>(of: &[T; N], random: &mut StdRng) -> T {
    of[random.random_range(0..N)]
}
