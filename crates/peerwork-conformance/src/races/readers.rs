//! Readers and writers at once: what moves from place to place is never out of sight.

use super::{race, running, tasks};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use tokio::task::yield_now;

/// How often each of the restless tasks changes its place.
const ROUNDS: usize = 12;

/// A wish finds a task wherever it is just going; `get` and lists show it, once.
pub async fn a_task_on_the_move_is_always_found(f: &Fixture) {
    const TASKS: usize = 30;
    let held = running(f, TASKS).await;
    let mut ids: Vec<_> = held.iter().map(|held| held.id).collect();
    ids.sort_unstable();
    let node = held[0].node;
    race(f, 5, |n, store| {
        let (ids, held) = (ids.clone(), held.clone());
        async move {
            match n {
                0 => restless(store.as_ref(), node, held).await,
                1 | 2 => {
                    for round in 0..ROUNDS * 2 {
                        let wish = if (round + n) % 2 == 0 {
                            Wish::Pause
                        } else {
                            Wish::Resume
                        };
                        let steered = store
                            .steer(ids.clone(), Filter::default(), wish)
                            .await
                            .expect("steer");
                        assert!(!steered.contains(&Steered::NotFound), "{steered:?}");
                        yield_now().await;
                    }
                }
                3 => {
                    for _ in 0..ROUNDS * 3 {
                        let found = store.get(ids.clone()).await.expect("get");
                        assert!(found.iter().all(Option::is_some), "{found:?}");
                        yield_now().await;
                    }
                }
                _ => {
                    for round in 0..ROUNDS * 2 {
                        let states = if round % 2 == 0 {
                            State::ALL.to_vec()
                        } else {
                            vec![]
                        };
                        let filter = Filter {
                            states,
                            ..Filter::default()
                        };
                        assert_eq!(listed(store.as_ref(), filter).await, ids);
                        yield_now().await;
                    }
                }
            }
        }
    })
    .await;
    tasks(f, ids).await;
}

/// Claims what it can and releases what it holds, again and again.
async fn restless(store: &dyn Store, node: NodeId, mut held: Vec<Held>) {
    for _ in 0..ROUNDS {
        let ends = held.iter().map(|held| held.end(Event::Stopped)).collect();
        store.end(ends).await.expect("end");
        let grants = vec![Grant {
            lane: LaneId::new(&name("maths"), &name("ann")),
            tasks: BATCH_MAX,
        }];
        let claim = Claim {
            node,
            run: fresh_run(),
            grants,
            kinds: vec![KindKey::new(&name(KIND))],
            reaches: Vec::new(),
            version: 0,
        };
        let claimed = store.claim(claim).await.expect("claim").tasks;
        held = claimed
            .into_iter()
            .map(|c| Held {
                id: c.id,
                run: c.run,
                node,
            })
            .collect();
        yield_now().await;
    }
}

/// All pages, sorted by id.
async fn listed(store: &dyn Store, filter: Filter) -> Vec<TaskId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(filter.clone(), after, 7).await.expect("list");
        ids.extend(page.tasks.iter().map(|task| task.id));
        after = page.next;
        if after.is_none() {
            ids.sort_unstable();
            return ids;
        }
    }
}
