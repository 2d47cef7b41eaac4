//! Tasks in every status, in bulk: each has lived the life that leads there, through the store's own calls.
//!
//! All tasks of one life move together, one batch for each step, so a population of a thousand tasks costs about
//! forty calls. Until it is complete no rules may be published that would lead its lives elsewhere.

use crate::Fixture;
use crate::kit::*;
use peerwork_core::*;
use peerwork_store::*;
use std::collections::BTreeSet;

/// What happens next in a life.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node claims it.
    Claim,
    /// Its run ends.
    End(Event),
    /// A user wants this.
    Pause,
    /// A user wants this.
    Delete,
}

/// A way to a status.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Where it ends.
    pub status: Status,
    /// Where a paused one goes on.
    pub returns_to: Option<Status>,
    start: Start,
    steps: &'static [Step],
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Kept,
    Due,
    Queued,
}

use Step::{Claim as Take, Delete, End as Ends, Pause};

const STOP: Step = Ends(Event::Stopped);

/// Every status, paused ones in each of their kinds.
#[rustfmt::skip]
pub const LIVES: [Life; 20] = [
    life(Status::Created, Start::Kept, &[]),
    life(Status::Scheduled, Start::Due, &[]),
    life(Status::Scheduled, Start::Queued, &[Take, Ends(ERR)]),
    life(Status::Queued, Start::Queued, &[]),
    life(Status::Resuming, Start::Queued, &[Take, STOP]),
    life(Status::Running, Start::Queued, &[Take]),
    life(Status::Pausing, Start::Queued, &[Take, Pause]),
    life(Status::Waiting, Start::Queued, &[Take, Ends(WAIT)]),
    paused(Status::Created, Start::Kept, &[Pause]),
    paused(Status::Scheduled, Start::Due, &[Pause]),
    paused(Status::Queued, Start::Queued, &[Pause]),
    paused(Status::Resuming, Start::Queued, &[Take, Pause, STOP]),
    paused(Status::Waiting, Start::Queued, &[Take, Ends(WAIT), Pause]),
    life(Status::DeletingRun, Start::Queued, &[Take, Delete]),
    life(Status::CleanupQueued, Start::Queued, &[Delete]),
    life(Status::Cleaning, Start::Queued, &[Delete, Take]),
    life(Status::CleanupScheduled, Start::Queued, &[Delete, Take, Ends(ERR)]),
    life(Status::CleanupFailed, Start::Queued, &[Delete, Take, Ends(FAIL)]),
    life(Status::Finished, Start::Queued, &[Take, Ends(OK)]),
    life(Status::Failed, Start::Queued, &[Take, Ends(FAIL)]),
];

/// The last of all statuses, which no wish or end changes.
pub const GONE: Life = life(Status::Deleted, Start::Kept, &[Delete]);

const fn life(status: Status, start: Start, steps: &'static [Step]) -> Life {
    Life {
        status,
        returns_to: None,
        start,
        steps,
    }
}

const fn paused(from: Status, start: Start, steps: &'static [Step]) -> Life {
    Life {
        status: Status::Paused,
        returns_to: Some(from),
        start,
        steps,
    }
}

/// One task to lead through a life.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which life.
    pub life: Life,
    /// Its kind.
    pub kind: Name,
    /// Its user.
    pub user: Name,
    /// Its priority.
    pub priority: i16,
    /// From now to its due time, its next try or the end of its waiting, in milliseconds.
    pub wake_ms: u64,
    /// Which of the nodes claims it.
    pub node: usize,
}

impl Plan {
    /// A plain task with this life.
    pub fn new(life: Life) -> Self {
        Self {
            life,
            kind: name(KIND),
            user: name("ann"),
            priority: 0,
            wake_ms: 10_000,
            node: 0,
        }
    }
}

/// A task where its plan led it.
#[derive(Clone, Debug)]
pub struct Specimen {
    /// The task.
    pub id: TaskId,
    /// Where it came from.
    pub plan: Plan,
    /// The last run that has held it, whether it still does or not.
    pub held: Option<Held>,
}

/// Creates a task for each plan and leads it through its life. `nodes` are those that the plans name.
pub async fn populate(f: &Fixture, plans: &[Plan], nodes: &[NodeId]) -> Vec<Specimen> {
    assert!(plans.len() <= BATCH_MAX);
    let born = |plan: &Plan| Specimen {
        id: fresh_task(),
        plan: plan.clone(),
        held: None,
    };
    let mut all: Vec<_> = plans.iter().map(born).collect();
    let news = all.iter().map(|one| new_task(f, one)).collect();
    f.store.create(news).await.expect("create");
    let longest = plans
        .iter()
        .map(|plan| plan.life.steps.len())
        .max()
        .unwrap_or(0);
    for at in 0..longest {
        claim(
            f,
            those(&mut all, at, |step| matches!(step, Step::Claim)),
            nodes,
        )
        .await;
        end(
            f,
            those(&mut all, at, |step| matches!(step, Step::End(_))),
            at,
        )
        .await;
        steer(
            f,
            those(&mut all, at, |step| matches!(step, Step::Pause)),
            Wish::Pause,
        )
        .await;
        steer(
            f,
            those(&mut all, at, |step| matches!(step, Step::Delete)),
            Wish::Delete,
        )
        .await;
    }
    let records = f
        .store
        .get(all.iter().map(|one| one.id).collect())
        .await
        .expect("get");
    for (one, record) in all.iter().zip(records) {
        let task = record.expect("it was created").task;
        let life = one.plan.life;
        assert_eq!(
            (task.status, task.returns_to),
            (life.status, life.returns_to),
            "{:?} led astray",
            one.plan
        );
    }
    all
}

/// The group of a life on a node: whoever moves together is in lanes of their own.
fn group(plan: &Plan) -> Name {
    let Life {
        status,
        returns_to,
        steps,
        ..
    } = plan.life;
    name(&format!(
        "{status} {returns_to:?} {} on {}",
        steps.len(),
        plan.node
    ))
}

fn new_task(f: &Fixture, one: &Specimen) -> NewTask {
    let plan = &one.plan;
    NewTask {
        id: one.id,
        kind: plan.kind.clone(),
        user: plan.user.clone(),
        group: group(plan),
        priority: plan.priority,
        start: !matches!(plan.life.start, Start::Kept),
        due: matches!(plan.life.start, Start::Due).then(|| f.clock.now().plus_ms(plan.wake_ms)),
        ..task()
    }
}

/// Those whose step number `at` is a `wanted` one.
fn those(all: &mut [Specimen], at: usize, wanted: impl Fn(&Step) -> bool) -> Vec<&mut Specimen> {
    all.iter_mut()
        .filter(|one| one.plan.life.steps.get(at).is_some_and(&wanted))
        .collect()
}

async fn claim(f: &Fixture, mut these: Vec<&mut Specimen>, nodes: &[NodeId]) {
    let kinds: BTreeSet<_> = these
        .iter()
        .map(|one| KindKey::new(&one.plan.kind))
        .collect();
    let kinds: Vec<_> = kinds.into_iter().collect();
    for (index, node) in nodes.iter().enumerate() {
        let mine: Vec<_> = these
            .iter_mut()
            .filter(|one| one.plan.node == index)
            .collect();
        let run = fresh_run();
        for work in [Work::Run, Work::Cleanup] {
            let lane = |plan: &Plan| LaneId::new(&group(plan), &plan.user).of(work);
            let lanes: BTreeSet<_> = mine.iter().map(|one| lane(&one.plan)).collect();
            let grants = lanes
                .into_iter()
                .map(|lane| Grant {
                    lane,
                    tasks: BATCH_MAX,
                })
                .collect();
            let claim = Claim {
                node: *node,
                run,
                grants,
                kinds: kinds.clone(),
                reaches: Vec::new(),
                version: 0,
            };
            f.store.claim(claim).await.expect("claim");
        }
        for one in mine {
            one.held = Some(Held {
                id: one.id,
                run,
                node: *node,
            });
        }
    }
}

async fn end(f: &Fixture, these: Vec<&mut Specimen>, at: usize) {
    let end = |one: &&mut Specimen| {
        let Step::End(event) = one.plan.life.steps[at] else {
            unreachable!("those that end")
        };
        let event = match event {
            Event::Err {
                permanent: false,
                jitter,
                forget,
                ..
            } => {
                let retry_after_ms = Some(one.plan.wake_ms);
                Event::Err {
                    permanent: false,
                    retry_after_ms,
                    jitter,
                    forget,
                }
            }
            Event::Wait { .. } => Event::Wait {
                until: Some(f.clock.now().plus_ms(one.plan.wake_ms)),
            },
            other => other,
        };
        one.held.expect("its life claims it first").end(event)
    };
    f.store
        .end(these.iter().map(end).collect())
        .await
        .expect("end");
}

async fn steer(f: &Fixture, these: Vec<&mut Specimen>, wish: Wish) {
    let ids = these.iter().map(|one| one.id).collect();
    f.store
        .steer(ids, Filter::scope(None), wish)
        .await
        .expect("steer");
}
