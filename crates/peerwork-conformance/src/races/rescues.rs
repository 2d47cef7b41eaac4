//! Deaths and rescues at once with what the dead still do.

use super::{RACERS, race, running, tasks};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use tokio::task::yield_now;

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
                            reaches: Vec::new(),
                            version: 0,
                        })
                        .await
                        .expect("claim")
                        .tasks
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

/// A claim that slips in while its node retires is taken back too: a node without a row is not alive.
pub async fn a_claim_that_races_a_retirement_is_swept(f: &Fixture) {
    let lane = LaneId::new(&name("maths"), &name("ann"));
    let ids: Vec<_> = (0..20).map(|_| fresh_task()).collect();
    f.store
        .create(ids.iter().map(|id| NewTask { id: *id, ..task() }).collect())
        .await
        .expect("create");
    for _ in 0..15 {
        let node = f.node().await;
        race(f, 4, |n, store| async move {
            if n == 0 {
                store.retire(node).await.expect("retire");
                return;
            }
            let grants = vec![Grant { lane, tasks: 2 }];
            let claim = Claim {
                node,
                run: fresh_run(),
                grants,
                kinds: vec![KindKey::new(&name(KIND))],
                reaches: Vec::new(),
                version: 0,
            };
            store.claim(claim).await.expect("claim");
        })
        .await;
        let there = f
            .store
            .nodes()
            .await
            .expect("nodes")
            .iter()
            .any(|row| row.id == node);
        if there {
            f.bury(node).await;
        }
        f.sweep().await;
        assert_eq!(f.store.held(node, 10).await.expect("held"), []);
    }
}
