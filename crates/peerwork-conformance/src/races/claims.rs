//! Creates, claims and moves at once: nothing twice, nothing lost.

use super::{RACERS, race, tasks};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::yield_now;

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
                    reaches: Vec::new(),
                    version: 0,
                };
                let claimed = store.claim(claim).await.expect("claim").tasks;
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
                    reaches: Vec::new(),
                    version: 0,
                };
                let got = store.claim(claim).await.expect("claim").tasks;
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

/// Eight nodes that claim at once get what they ask for: they do not get in each other's way.
pub async fn ga_15_claims_of_eight_nodes_at_once_are_useful(f: &Fixture) {
    const NODES: usize = 8;
    const CLAIMS: usize = 25;
    const SIZE: usize = 4;
    for _ in 0..2 {
        f.store
            .create(
                (0..NODES * CLAIMS * SIZE)
                    .map(|_| task())
                    .take(BATCH_MAX)
                    .collect(),
            )
            .await
            .expect("create");
    }
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(f.node().await);
    }
    let useful = race(f, NODES, |n, store| {
        let node = nodes[n];
        async move {
            let mut useful = 0;
            for _ in 0..CLAIMS {
                let grants = vec![Grant {
                    lane: LaneId::new(&name("maths"), &name("ann")),
                    tasks: SIZE,
                }];
                let claim = Claim {
                    node,
                    run: fresh_run(),
                    grants,
                    kinds: vec![KindKey::new(&name(KIND))],
                    reaches: Vec::new(),
                    version: 0,
                };
                useful += usize::from(!store.claim(claim).await.expect("claim").tasks.is_empty());
            }
            useful
        }
    });
    let useful: usize = useful.await.into_iter().sum();
    assert!(
        f.backend.is_plain() || useful * 100 >= NODES * CLAIMS * 99,
        "{useful} of {}",
        NODES * CLAIMS
    );
}
