//! What a rescue costs: as much as there is to rescue, whatever else there is.

use crate::kit::{Ghost, Place, Puppet, bury};
use peerwork::Handler;
use peerwork_core::Work;
use std::time::Duration;
use tokio::time::Instant;

on!([sqlite, postgres, mysql] ga_43_a_sweep_costs_what_is_dead_not_what_is_there);

/// Tasks of each dead node.
const DEAD: usize = 5;

async fn ga_43_a_sweep_costs_what_is_dead_not_what_is_there(place: Place) {
    const FEW: usize = 50;
    const MANY: usize = 100 * FEW;
    let alive = Ghost::appear(&place).await;
    populate(&place, &alive, FEW).await;
    let among_few = fastest_sweep(&place).await;
    populate(&place, &alive, MANY).await;
    let among_many = fastest_sweep(&place).await;
    println!("a sweep among {FEW}: {among_few:?}, among {MANY}: {among_many:?}");
    // A walk through all of them would take a hundred times as long.
    assert!(among_many < 10 * among_few);
}

/// So many tasks that run on a node that lives, and as many that wait.
async fn populate(place: &Place, alive: &Ghost, count: usize) {
    let client = place.client().await;
    let drafts = (0..count).map(|n| Puppet::task(n.to_string()));
    client.create_many(drafts).await.unwrap();
    while alive.claim(Work::Run, 1_000).await.len() == 1_000 {}
    let drafts = (0..count).map(|n| Puppet::task(n.to_string()));
    client.create_many(drafts).await.unwrap();
}

/// The machine has other things to do: the fastest of some counts.
async fn fastest_sweep(place: &Place) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..7 {
        let ghost = Ghost::appear(place).await;
        assert_eq!(ghost.claim(Work::Run, DEAD).await.len(), DEAD);
        bury(&*place.store(), ghost.id).await;
        let started = Instant::now();
        let swept = place.store().sweep(1_000).await.unwrap();
        fastest = fastest.min(started.elapsed());
        assert_eq!(swept.tasks.len(), DEAD);
    }
    fastest
}
