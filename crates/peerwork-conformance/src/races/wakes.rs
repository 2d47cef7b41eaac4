//! Promotions and wake-ups from several sides: none lost, none doubled.

use super::{RACERS, race, running, tasks};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;

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
