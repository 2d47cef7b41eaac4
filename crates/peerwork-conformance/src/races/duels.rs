//! Two things at once, many times over: each race is about one pair of calls.

use super::race;
use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::yield_now;

const RACERS: usize = 6;

/// Creates `n` tasks and claims them all for one node.
async fn running(f: &Fixture, n: usize) -> Vec<Held> {
    f.store
        .create((0..n).map(|_| task()).collect())
        .await
        .expect("create");
    let node = f.node().await;
    let claimed = f.claim(node, Work::Run, n).await;
    assert_eq!(claimed.len(), n);
    claimed
        .into_iter()
        .map(|c| Held {
            id: c.id,
            run: c.run,
            node,
        })
        .collect()
}

async fn tasks(f: &Fixture, ids: impl IntoIterator<Item = TaskId>) -> Vec<TaskRecord> {
    let found = f.store.get(ids.into_iter().collect()).await.expect("get");
    found
        .into_iter()
        .map(|record| record.expect("nothing is lost"))
        .collect()
}

/// However many claim from the same lanes, each task is claimed once, and all of them are.
pub async fn racing_claimers_never_get_the_same_task(f: &Fixture) {
    const TASKS: usize = 300;
    let users = ["ann", "bob", "eve"];
    let new = |i: usize| NewTask {
        user: name(users[i % 3]),
        ..task()
    };
    f.store
        .create((0..TASKS).map(new).collect())
        .await
        .expect("create");
    let lanes = users.map(|user| LaneId::new(&name("maths"), &name(user)));
    let left = Arc::new(AtomicUsize::new(TASKS));
    let nodes = [
        f.node().await,
        f.node().await,
        f.node().await,
        f.node().await,
        f.node().await,
        f.node().await,
    ];
    let claims = race(f, RACERS, |n, store| {
        let left = left.clone();
        async move {
            let mut claims = Vec::new();
            // Whoever gets nothing tries again: a claim may get less than is there.
            while left.load(Ordering::SeqCst) > 0 {
                let grants = lanes
                    .iter()
                    .map(|lane| Grant {
                        lane: *lane,
                        tasks: 4,
                    })
                    .collect();
                let kinds = vec![KindKey::new(&name(KIND))];
                let claim = Claim {
                    node: nodes[n],
                    run: fresh_run(),
                    grants,
                    kinds,
                };
                let claimed = store.claim(claim).await.expect("claim");
                left.fetch_sub(claimed.len(), Ordering::SeqCst);
                claims.extend(claimed.into_iter().map(|c| (c.id, c.run, nodes[n])));
                yield_now().await;
            }
            claims
        }
    });
    let claims: Vec<_> = claims.await.into_iter().flatten().collect();
    let distinct: BTreeSet<_> = claims.iter().map(|(id, _, _)| *id).collect();
    assert_eq!((claims.len(), distinct.len()), (TASKS, TASKS));
    let records = tasks(f, claims.iter().map(|(id, _, _)| *id)).await;
    for (record, (_, run, node)) in records.iter().zip(&claims) {
        assert_eq!((record.run, record.node), (Some(*run), Some(*node)));
        assert_eq!(
            (record.task.status, record.task.attempt),
            (Status::Running, 1)
        );
    }
}

/// A create that is repeated while the first is under way makes nothing twice, and deadlocks nobody.
pub async fn racing_creates_of_the_same_ids_make_each_once(f: &Fixture) {
    let batch: Vec<_> = (0..60).map(|_| task()).collect();
    let created = race(f, RACERS, |n, store| {
        let mut batch = batch.clone();
        batch.rotate_left(n * 10);
        if n % 2 == 1 {
            batch.reverse();
        }
        async move {
            let ids: Vec<_> = batch.iter().map(|task| task.id).collect();
            ids.into_iter()
                .zip(store.create(batch).await.expect("create"))
                .collect::<Vec<_>>()
        }
    });
    let created = created.await.into_iter().flatten();
    let mut new: Vec<_> = created
        .filter(|(_, created)| *created == Created::New)
        .map(|(id, _)| id)
        .collect();
    new.sort_unstable();
    assert_eq!(new, batch.iter().map(|task| task.id).collect::<Vec<_>>());
}

/// Of many ends of the same run one is recorded; of many saves each is kept or lost with the run.
pub async fn racing_ends_of_a_run_are_recorded_once(f: &Fixture) {
    let held = running(f, 40).await;
    let ended = race(f, RACERS, |n, store| {
        let mut held = held.clone();
        held.rotate_left(n * 5);
        async move {
            let mut answers = Vec::new();
            for batch in held.chunks(10) {
                let ends = batch
                    .iter()
                    .map(|held| held.end(if n % 2 == 0 { OK } else { FAIL }))
                    .collect();
                let ended = store.end(ends).await.expect("end");
                answers.extend(batch.iter().map(|held| held.id).zip(ended));
            }
            answers
        }
    });
    let ended: Vec<_> = ended.await.into_iter().flatten().collect();
    for record in tasks(f, held.iter().map(|held| held.id)).await {
        let mine = ended
            .iter()
            .filter(|(id, _)| *id == record.id)
            .map(|(_, ended)| *ended);
        let recorded: Vec<_> = mine.filter(|ended| *ended != Ended::Lost).collect();
        assert_eq!(recorded, [Ended::Recorded(record.task.status)]);
    }
}

/// A pause that races a finish never keeps a finished task from being finished.
pub async fn a_pause_that_races_a_finish_is_too_late_or_harmless(f: &Fixture) {
    let steered = wish_against_end(f, Wish::Pause).await;
    for (record, steered) in steered {
        assert_eq!(record.task.status, Status::Finished);
        let fine = [
            Steered::Changed(Status::Pausing),
            Steered::Refused(Status::Finished, Refused::AlreadyFinished),
        ];
        assert!(fine.contains(&steered), "{steered:?}");
    }
}

/// A deletion that races a finish leads to the cleanup, whoever is first.
pub async fn a_deletion_that_races_a_finish_leads_to_the_cleanup(f: &Fixture) {
    for (record, steered) in wish_against_end(f, Wish::Delete).await {
        assert_eq!(record.task.status, Status::CleanupQueued);
        let fine = [
            Steered::Changed(Status::DeletingRun),
            Steered::Changed(Status::CleanupQueued),
        ];
        assert!(fine.contains(&steered), "{steered:?}");
    }
}

/// Runs that finish while each of their tasks is wished something.
async fn wish_against_end(f: &Fixture, wish: Wish) -> Vec<(TaskRecord, Steered)> {
    let held = running(f, 60).await;
    let answers = race(f, 2, |n, store| {
        let (held, wish) = (held.clone(), wish.clone());
        async move {
            let mut answers = Vec::new();
            for batch in held.chunks(3) {
                if n == 0 {
                    let ended = store
                        .end(batch.iter().map(|held| held.end(OK)).collect())
                        .await
                        .expect("end");
                    assert!(!ended.contains(&Ended::Lost), "nobody has taken these runs");
                } else {
                    let ids = batch.iter().map(|held| held.id).collect();
                    answers.extend(
                        store
                            .steer(ids, Filter::scope(None), wish.clone())
                            .await
                            .expect("steer"),
                    );
                }
            }
            answers
        }
    });
    let steered = answers.await.remove(1);
    tasks(f, held.iter().map(|held| held.id))
        .await
        .into_iter()
        .zip(steered)
        .collect()
}

/// A finish that races the rescue is recorded or lost, and the task is what the winner made of it.
pub async fn ga_07_a_finish_that_races_the_rescue_is_recorded_or_lost(f: &Fixture) {
    let held = running(f, 60).await;
    f.bury(held[0].node).await;
    let answers = race(f, 4, |n, store| {
        let held = held.clone();
        async move {
            let (mut ended, mut swept) = (Vec::new(), Vec::new());
            for batch in held.chunks(4) {
                if n == 0 {
                    let ends = batch.iter().map(|held| held.end(OK)).collect();
                    ended.extend(store.end(ends).await.expect("end"));
                } else {
                    swept.extend(store.sweep(3).await.expect("sweep").tasks);
                }
            }
            (ended, swept)
        }
    });
    let mut answers = answers.await;
    let ended = std::mem::take(&mut answers[0].0);
    let mut swept: Vec<_> = answers.into_iter().flat_map(|(_, swept)| swept).collect();
    swept.extend(f.sweep().await);
    for (record, ended) in tasks(f, held.iter().map(|held| held.id))
        .await
        .iter()
        .zip(ended)
    {
        let rescues = swept.iter().filter(|(id, _)| *id == record.id).count();
        let told = (ended, rescues, record.task.status, record.task.crashes);
        let finished = (Ended::Recorded(Status::Finished), 0, Status::Finished, 0);
        let rescued = (Ended::Lost, 1, Status::Resuming, 1);
        assert!(told == finished || told == rescued, "{told:?}");
    }
}

/// A run saves until it is superseded: what was kept last is what the next run gets.
pub async fn ga_01_a_save_that_races_the_rescue_is_kept_or_lost(f: &Fixture) {
    for _ in 0..10 {
        let held = running(f, 1).await[0];
        f.bury(held.node).await;
        let kept = race(f, 2, |n, store| async move {
            if n == 1 {
                // A sweep may pass over what somebody has just locked: the next one takes it.
                while store
                    .verify(vec![(held.id, held.run)])
                    .await
                    .expect("verify")
                    != [None]
                {
                    store.sweep(10).await.expect("sweep");
                    yield_now().await;
                }
                return None;
            }
            let mut kept = None;
            for i in 0_u32.. {
                let save = held.save(&i.to_be_bytes());
                if store.save(vec![save]).await.expect("save") == [Saved::Lost] {
                    break;
                }
                kept = Some(i.to_be_bytes().to_vec());
                yield_now().await;
            }
            kept
        });
        let kept = kept.await.swap_remove(0);
        assert_eq!(f.payload(held.id, Payload::Checkpoint).await, kept);
        assert_eq!(f.must(held.id, Wish::Delete).await, Status::CleanupQueued);
    }
}

/// Any number of peers may sweep at once: every task is taken back once.
pub async fn racing_sweeps_take_each_task_once(f: &Fixture) {
    let held = running(f, 100).await;
    f.bury(held[0].node).await;
    let swept = race(f, RACERS, |_, store| async move {
        let mut all = Vec::new();
        for _ in 0..5 {
            all.extend(store.sweep(10).await.expect("sweep").tasks);
        }
        all
    });
    let mut swept: Vec<_> = swept.await.into_iter().flatten().collect();
    swept.extend(f.sweep().await);
    swept.sort_unstable();
    let mut wanted: Vec<_> = held
        .iter()
        .map(|held| (held.id, Status::Resuming))
        .collect();
    wanted.sort_unstable();
    assert_eq!(swept, wanted);
    assert!(
        tasks(f, held.iter().map(|held| held.id))
            .await
            .iter()
            .all(|record| record.task.crashes == 1)
    );
}

/// Of all that watch a node one buries it; a beat that comes first saves it.
pub async fn a_declaration_of_death_and_a_beat_exclude_each_other(f: &Fixture) {
    for seq in 1..=20 {
        let node = f.node().await;
        let answers = race(f, RACERS, |n, store| async move {
            if n == 0 {
                let pulse = Pulse { seq, acked: 0 };
                return store.beat(node, pulse, 15_000).await.expect("beat") == BeatAnswer::Renewed;
            }
            store.declare_dead(node, 0).await.expect("declare dead")
        });
        let winners = answers.await.into_iter().filter(|won| *won).count();
        assert_eq!(winners, 1);
    }
}

/// What is claimed while its node is declared dead is taken back by the next sweep: nothing stays with the dead.
pub async fn a_claim_that_races_a_death_is_swept(f: &Fixture) {
    for _ in 0..5 {
        f.store
            .create((0..30).map(|_| task()).collect())
            .await
            .expect("create");
        let node = f.node().await;
        let answers = race(f, RACERS, |n, store| async move {
            let mut claimed = 0;
            for i in 0..6 {
                if n == 0 && i == 2 {
                    assert!(store.declare_dead(node, 0).await.expect("declare dead"));
                } else if n == 1 {
                    store.sweep(BATCH_MAX).await.expect("sweep");
                } else {
                    let grants = vec![Grant {
                        lane: LaneId::new(&name("maths"), &name("ann")),
                        tasks: 2,
                    }];
                    let kinds = vec![KindKey::new(&name(KIND))];
                    claimed += store
                        .claim(Claim {
                            node,
                            run: fresh_run(),
                            grants,
                            kinds,
                        })
                        .await
                        .expect("claim")
                        .len();
                }
            }
            claimed
        });
        answers.await;
        assert!(f.claim(node, Work::Run, 5).await.is_empty());
        f.sweep().await;
        assert_eq!(f.store.held(node, 10).await.expect("held"), []);
        for id in f.list(Filter::default(), 100).await {
            f.must(id, Wish::ForceDelete).await;
            f.must(id, Wish::ForceDelete).await;
        }
    }
}

/// Any number of nodes may promote at once: each task is promoted once.
pub async fn racing_promotions_promote_each_once(f: &Fixture) {
    let due = Some(f.clock.now());
    f.store
        .create((0..200).map(|_| NewTask { due, ..task() }).collect())
        .await
        .expect("create");
    let promoted = race(f, RACERS, |_, store| async move {
        let mut all = 0;
        for _ in 0..5 {
            all += store.promote(10).await.expect("promote").tasks;
        }
        all
    });
    let promoted = promoted.await.into_iter().sum::<usize>() + f.promote().await;
    assert_eq!(promoted, 200);
    let node = f.node().await;
    assert_eq!(f.claim(node, Work::Run, BATCH_MAX).await.len(), 200);
}

/// Parents park while their children end and wakers wake: nobody is left waiting, and nobody is woken twice.
pub async fn no_wake_up_is_lost_between_parking_and_finishing(f: &Fixture) {
    const PARENTS: usize = 24;
    const CHILDREN: usize = 3;
    let parents = running(f, PARENTS).await;
    let child = |i: usize| NewTask {
        parent: Some(parents[i % PARENTS].id),
        ..task()
    };
    f.store
        .create((0..PARENTS * CHILDREN).map(child).collect())
        .await
        .expect("create");
    let node = f.node().await;
    let children = f.claim(node, Work::Run, BATCH_MAX).await;
    let children: Vec<_> = children
        .into_iter()
        .map(|c| Held {
            id: c.id,
            run: c.run,
            node,
        })
        .collect();
    assert_eq!(children.len(), PARENTS * CHILDREN);
    let woken = race(f, 5, |n, store| {
        let (parents, children) = (parents.clone(), children.clone());
        async move {
            let mut woken = 0;
            match n {
                0 => {
                    for parent in parents.chunks(2) {
                        let park = |held: &Held| End {
                            awaited_children: CHILDREN as u32,
                            ..held.end(WAIT)
                        };
                        store
                            .end(parent.iter().map(park).collect())
                            .await
                            .expect("park");
                    }
                }
                1 | 2 => {
                    for child in children.chunks(5).skip(n - 1).step_by(2) {
                        store
                            .end(child.iter().map(|held| held.end(OK)).collect())
                            .await
                            .expect("end");
                    }
                }
                _ => {
                    for _ in 0..PARENTS / 2 {
                        woken += store.wake(4).await.expect("wake");
                    }
                }
            }
            woken
        }
    });
    let woken = woken.await.into_iter().sum::<usize>() + f.wake().await;
    assert_eq!(woken, PARENTS);
    let records = tasks(f, parents.iter().map(|held| held.id)).await;
    assert!(
        records
            .iter()
            .all(|record| record.task.status == Status::Queued)
    );
}

/// Tasks move to and fro while they are claimed: each is claimed once, from the one lane in which it is.
pub async fn ga_25_a_move_that_races_claims_loses_and_doubles_nothing(f: &Fixture) {
    const TASKS: usize = 60;
    let batch: Vec<_> = (0..TASKS).map(|_| task()).collect();
    let ids: Vec<_> = batch.iter().map(|task| task.id).collect();
    f.store.create(batch).await.expect("create");
    let nodes = [f.node().await, f.node().await];
    let claimed = race(f, 4, |n, store| {
        let ids = ids.clone();
        async move {
            let groups = ["maths", "physics"];
            let mut claimed = Vec::new();
            for round in 0..15 {
                if n < 2 {
                    let some = ids
                        .iter()
                        .skip((round * 7 + n) % 20)
                        .step_by(3)
                        .copied()
                        .collect();
                    let to = Wish::MoveTo(name(groups[(round + n) % 2]));
                    store
                        .steer(some, Filter::default(), to)
                        .await
                        .expect("move");
                    continue;
                }
                let lane = |group: &str| LaneId::new(&name(group), &name("ann"));
                let grants = groups
                    .map(|group| Grant {
                        lane: lane(group),
                        tasks: 2,
                    })
                    .to_vec();
                let kinds = vec![KindKey::new(&name(KIND))];
                let claim = Claim {
                    node: nodes[n - 2],
                    run: fresh_run(),
                    grants,
                    kinds,
                };
                let got = store.claim(claim).await.expect("claim");
                claimed.extend(got.into_iter().map(|c| (c.id, c.run)));
            }
            claimed
        }
    });
    let claimed: Vec<_> = claimed.await.into_iter().flatten().collect();
    let distinct: BTreeSet<_> = claimed.iter().map(|(id, _)| *id).collect();
    assert_eq!(distinct.len(), claimed.len());
    for record in tasks(f, ids).await {
        let run = claimed
            .iter()
            .find(|(id, _)| *id == record.id)
            .map(|(_, run)| *run);
        assert_eq!(record.run, run);
        let status = if run.is_some() {
            Status::Running
        } else {
            Status::Queued
        };
        assert_eq!(record.task.status, status);
    }
}

/// Batches that name the same tasks in different orders wait for each other, and never for ever.
pub async fn ga_19_crossing_batches_do_not_deadlock(f: &Fixture) {
    let held = running(f, 30).await;
    let done = race(f, RACERS, |n, store| {
        let mut held = held.clone();
        if n % 2 == 0 {
            held.reverse();
        }
        held.rotate_left(n);
        async move {
            for _ in 0..5 {
                let ids = held.iter().map(|held| held.id).collect();
                match n % 3 {
                    0 => drop(
                        store
                            .save(held.iter().map(|held| held.save(b"x")).collect())
                            .await
                            .expect("save"),
                    ),
                    1 => drop(
                        store
                            .steer(ids, Filter::default(), Wish::Pause)
                            .await
                            .expect("pause"),
                    ),
                    _ => drop(
                        store
                            .steer(ids, Filter::default(), Wish::Resume)
                            .await
                            .expect("resume"),
                    ),
                }
            }
        }
    });
    done.await;
    for record in tasks(f, held.iter().map(|held| held.id)).await {
        assert!(matches!(
            record.task.status,
            Status::Running | Status::Pausing
        ));
        assert_eq!(
            f.payload(record.id, Payload::Checkpoint).await,
            Some(b"x".to_vec())
        );
    }
}
