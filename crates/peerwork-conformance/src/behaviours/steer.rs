//! What people want: every wish in every status, as `decide` says.

use crate::population::{GONE, LIVES, Plan, populate};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// All wishes.
pub fn wishes() -> [Wish; 8] {
    [
        Wish::Run,
        Wish::Resume,
        Wish::Pause,
        Wish::Delete,
        Wish::ForceDelete,
        Wish::Rerun,
        Wish::MoveTo(name("elsewhere")),
        Wish::Priority(-3),
    ]
}

/// Rules that make a difference somewhere, each for a kind of its own.
pub fn kinds() -> Vec<(Name, Rules)> {
    let rules = Rules::default();
    vec![
        (name("plain"), rules.clone()),
        (
            name("bare"),
            Rules {
                cleanup: false,
                ..rules.clone()
            },
        ),
        (
            name("frail"),
            Rules {
                on_node_death: OnNodeDeath::Fail,
                ..rules.clone()
            },
        ),
        (
            name("suspect"),
            Rules {
                crash_limit: 1,
                ..rules.clone()
            },
        ),
        (
            name("patient"),
            Rules {
                on_exhausted: OnExhausted::Pause,
                crash_limit: 1,
                ..rules
            },
        ),
    ]
}

/// The rules of one of [`kinds`].
pub fn rules_of(kind: &Name) -> Rules {
    kinds()
        .into_iter()
        .find(|(name, _)| name == kind)
        .expect("one of the kinds")
        .1
}

/// What `decide` makes of a wish, as the store must answer and write it.
fn expected(before: &TaskRecord, rules: &Rules, wish: &Wish, now: Timestamp) -> (Steered, Task) {
    let task = before.task;
    let changed = match wish {
        Wish::MoveTo(group) => *group != before.group,
        Wish::Priority(priority) => *priority != before.priority,
        _ => false,
    };
    match decide(&task, rules, wish.event(), now) {
        Ok(Transition::To(to)) => (Steered::Changed(to.status), to),
        Ok(Transition::Same) if changed => (Steered::Changed(task.status), task),
        Ok(Transition::Same) => (Steered::Unchanged(task.status), task),
        Err(refused) => (Steered::Refused(task.status, refused), task),
        Ok(Transition::Erase) => unreachable!("no wish erases"),
    }
}

/// The whole matrix, for kinds with and without a cleanup, with alarms that have and have not gone off, and each wish
/// twice: the second time is the repetition after a lost answer.
pub async fn ga_44_every_wish_in_every_status_is_answered_as_decided(f: &Fixture) {
    let node = f.node().await;
    for wish in wishes() {
        for pass_ms in [0, 100] {
            let ids = a_task_in_every_status(f, node).await;
            f.clock.pass_ms(pass_ms);
            for _ in 0..2 {
                let before = f.store.get(ids.clone()).await.expect("get");
                let steered = f
                    .store
                    .steer(ids.clone(), Filter::scope(None), wish.clone())
                    .await
                    .expect("steer");
                let after = f.store.get(ids.clone()).await.expect("get");
                for (i, before) in before.iter().flatten().enumerate() {
                    let rules = rules_of(&before.kind);
                    let (answer, task) = expected(before, &rules, &wish, f.clock.now());
                    assert_eq!(steered[i], answer, "{wish:?} on {before:?}");
                    let after = after[i].as_ref().expect("there");
                    assert_eq!(after.task, task, "{wish:?} on {before:?}");
                }
            }
        }
    }
}

async fn a_task_in_every_status(f: &Fixture, node: NodeId) -> Vec<TaskId> {
    let mut plans = Vec::new();
    for kind in [name("plain"), name("bare")] {
        let plan = |life| Plan {
            kind: kind.clone(),
            wake_ms: 50,
            ..Plan::new(life)
        };
        plans.extend(LIVES.into_iter().chain([GONE]).map(plan));
    }
    f.store
        .publish_kinds(vec![(name("bare"), Rules::default())])
        .await
        .expect("publish kinds");
    let all = populate(f, &plans, &[node]).await;
    f.store.publish_kinds(kinds()).await.expect("publish kinds");
    all.into_iter().map(|one| one.id).collect()
}

/// Repeating a wish after a lost answer changes nothing more.
pub async fn ga_45_a_wish_that_is_repeated_finds_it_done(f: &Fixture) {
    let id = f.create(task()).await;
    assert_eq!(
        f.steer(id, Wish::Pause).await,
        Steered::Changed(Status::Paused)
    );
    assert_eq!(
        f.steer(id, Wish::Pause).await,
        Steered::Unchanged(Status::Paused)
    );
    assert_eq!(
        f.steer(id, Wish::Resume).await,
        Steered::Changed(Status::Queued)
    );
    assert_eq!(
        f.steer(id, Wish::Resume).await,
        Steered::Unchanged(Status::Queued)
    );
    assert_eq!(
        f.steer(id, Wish::Delete).await,
        Steered::Changed(Status::CleanupQueued)
    );
    assert_eq!(
        f.steer(id, Wish::Delete).await,
        Steered::Unchanged(Status::CleanupQueued)
    );
    assert_eq!(
        f.steer(id, Wish::ForceDelete).await,
        Steered::Changed(Status::Deleted)
    );
    assert_eq!(
        f.steer(id, Wish::ForceDelete).await,
        Steered::Unchanged(Status::Deleted)
    );
}

/// A wish for what does not exist is answered, not an error.
pub async fn a_task_that_is_not_there_is_not_found(f: &Fixture) {
    for wish in wishes() {
        assert_eq!(f.steer(fresh_task(), wish).await, Steered::NotFound);
    }
}

/// Each of a batch has its own answer, in its place; an id that comes twice is asked twice.
pub async fn a_batch_of_wishes_is_answered_in_its_order(f: &Fixture) {
    let queued = f.create(task()).await;
    let paused = f.create(task()).await;
    f.must(paused, Wish::Pause).await;
    let finished = f
        .running(NewTask {
            group: name("other"),
            ..task()
        })
        .await;
    f.end(&finished, OK).await;
    let ids = vec![finished.id, queued, fresh_task(), paused, queued];
    let steered = f
        .store
        .steer(ids, Filter::scope(None), Wish::Pause)
        .await
        .expect("steer");
    let wanted = [
        Steered::Refused(Status::Finished, Refused::AlreadyFinished),
        Steered::Changed(Status::Paused),
        Steered::NotFound,
        Steered::Unchanged(Status::Paused),
        Steered::Unchanged(Status::Paused),
    ];
    assert_eq!(steered, wanted);
}

/// A filter is asked at the moment of writing: what it does not mean stays as it is.
pub async fn a_wish_reaches_only_what_its_filter_means(f: &Fixture) {
    let parent = f.create(task()).await;
    let id = f
        .create(NewTask {
            parent: Some(parent),
            ..task()
        })
        .await;
    let meant = Filter {
        user: Some(name("ann")),
        group: Some(name("maths")),
        kinds: vec![name("other"), name(KIND)],
        states: vec![State::Queued],
        parent: Some(parent),
    };
    let others = [
        Filter {
            user: Some(name("Ann")),
            ..meant.clone()
        },
        Filter {
            group: Some(name("maths ")),
            ..meant.clone()
        },
        Filter {
            kinds: vec![name("other")],
            ..meant.clone()
        },
        Filter {
            states: vec![State::Running, State::Paused],
            ..meant.clone()
        },
        Filter {
            parent: Some(id),
            ..meant.clone()
        },
    ];
    for filter in others {
        let steered = f
            .store
            .steer(vec![id], filter.clone(), Wish::Pause)
            .await
            .expect("steer");
        assert_eq!(steered, [Steered::NotFound], "{filter:?}");
        assert_eq!(f.status(id).await, Status::Queued, "{filter:?}");
    }
    let steered = f
        .store
        .steer(vec![id, parent], meant, Wish::Pause)
        .await
        .expect("steer");
    assert_eq!(
        steered,
        [Steered::Changed(Status::Paused), Steered::NotFound]
    );
}

/// Deleted tasks are meant only where a filter names them.
pub async fn the_empty_filter_leaves_the_deleted_out(f: &Fixture) {
    let id = f
        .create(NewTask {
            start: false,
            ..task()
        })
        .await;
    f.must(id, Wish::Delete).await;
    let steer = |filter| f.store.steer(vec![id], filter, Wish::Pause);
    assert_eq!(
        steer(Filter::default()).await.expect("steer"),
        [Steered::NotFound]
    );
    let gone = Steered::Refused(Status::Deleted, Refused::Gone);
    assert_eq!(steer(Filter::scope(None)).await.expect("steer"), [gone]);
}

/// A user's operation touches that user's tasks alone.
pub async fn ga_49_a_user_scope_keeps_others_out(f: &Fixture) {
    let id = f.create(task()).await;
    let before = format!("{:?}", f.record(id).await);
    for stranger in ["bob", "", "Ann", "ann ", "an_", "%", "ann' or '1'='1"] {
        for wish in wishes() {
            assert_eq!(
                f.steer_as(Some(stranger), id, wish).await,
                Steered::NotFound,
                "{stranger:?}"
            );
        }
    }
    assert_eq!(format!("{:?}", f.record(id).await), before);
    assert_eq!(
        f.steer_as(Some("ann"), id, Wish::Pause).await,
        Steered::Changed(Status::Paused)
    );
}

/// What it was started with stays; what it has done goes.
pub async fn a_rerun_starts_from_the_beginning(f: &Fixture) {
    let held = f.running(task()).await;
    let progress = Some(Progress { done: 1, total: 2 });
    f.save(Save {
        progress,
        ..held.save(b"half")
    })
    .await;
    f.end(&held, FAIL).await;
    f.clock.pass_ms(5);
    assert_eq!(f.must(held.id, Wish::Rerun).await, Status::Queued);
    let record = f.record(held.id).await;
    assert_eq!((record.progress, record.error), (None, None));
    assert_eq!((record.node, record.run), (None, None));
    assert_eq!((record.started_at, record.finished_at), (None, None));
    assert_eq!(f.payload(held.id, Payload::Checkpoint).await, None);
    assert_eq!(
        f.payload(held.id, Payload::Input).await,
        Some(b"input".to_vec())
    );
    assert_eq!(f.store.failures(held.id).await.expect("failures"), []);
    let again = f.take(held.node, held.id).await;
    f.end(&again, OK).await;
    assert_eq!(f.must(held.id, Wish::Rerun).await, Status::Queued);
    assert_eq!(f.payload(held.id, Payload::Output).await, None);
}

/// A failed task that is run again goes on from where it was.
pub async fn running_a_failed_task_keeps_its_checkpoint(f: &Fixture) {
    let held = f.running(task()).await;
    f.save(held.save(b"half")).await;
    f.end(&held, FAIL).await;
    assert_eq!(f.must(held.id, Wish::Run).await, Status::Queued);
    let claimed = f.claim(held.node, Work::Run, 1).await;
    assert_eq!(claimed[0].checkpoint.as_deref(), Some(&b"half"[..]));
    assert_eq!((claimed[0].task.failures, claimed[0].task.attempt), (0, 2));
    assert_eq!(f.store.failures(held.id).await.expect("failures").len(), 1);
}

/// A pause sends nobody to the end of the line.
pub async fn a_paused_task_keeps_its_age(f: &Fixture) {
    let first = f.create(task()).await;
    let since = f.clock.now();
    f.clock.pass_ms(10);
    let second = f.create(task()).await;
    f.must(first, Wish::Pause).await;
    f.clock.pass_ms(10);
    f.must(first, Wish::Resume).await;
    assert_eq!(f.record(first).await.task.ready_at, since);
    let node = f.node().await;
    let order: Vec<_> = f
        .claim(node, Work::Run, 2)
        .await
        .iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(order, [first, second]);
}

/// What is asked of a paused task's time is asked when it is resumed.
pub async fn a_pause_does_not_stop_the_clock(f: &Fixture) {
    let due = f.clock.now().plus_ms(1_000);
    let new = || NewTask {
        due: Some(due),
        ..task()
    };
    let [early, late] = [f.create(new()).await, f.create(new()).await];
    f.must(early, Wish::Pause).await;
    f.must(late, Wish::Pause).await;
    f.clock.pass_ms(500);
    assert_eq!(f.must(early, Wish::Resume).await, Status::Scheduled);
    f.clock.pass_ms(1_000);
    assert_eq!(
        f.promote().await,
        1,
        "the paused one is not woken by its alarm"
    );
    assert_eq!(f.must(late, Wish::Resume).await, Status::Queued);
    assert_eq!(f.record(late).await.task.ready_at, due);
}
