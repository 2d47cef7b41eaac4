//! Policies on nodes that run: chosen for all of them, given up again, and bad ones.

use crate::kit::{Place, Puppet, Stage};
use peerwork::policy::{Fair, PriorityAgeing};
use peerwork::{Client, Grant, Handler, Lanes, Node, Policy};

on_every_database!(
    ga_24_users_share_by_the_policy_that_is_chosen_for_all_nodes,
    a_policy_knows_what_runs_on_other_nodes,
    i17_an_old_task_of_a_lane_goes_before_newer_urgent_ones_where_tasks_age,
    a_policy_that_no_node_knows_leaves_each_its_own,
    a_policy_that_panics_is_made_good,
);

async fn create(client: &Client, user: &str, n: usize) {
    // Under a limit nothing is read ahead.
    let drafts = (0..n).map(|_| Puppet::task(String::new()).user(user).group("maths"));
    client.create_many(drafts).await.unwrap();
}

/// A node on which two tasks of ann run, while two more of hers and two of bob's wait. It has seen both lanes.
async fn busy(place: &Place, stage: &Stage) -> (Node, Client) {
    let client = place.client().await;
    client.group("maths").limit(2).await.unwrap();
    create(&client, "ann", 4).await;
    create(&client, "bob", 2).await;
    let node = place.node().register(stage.puppet("a")).slots(8);
    let node = node.start().await.unwrap();
    (node, client)
}

async fn ga_24_users_share_by_the_policy_that_is_chosen_for_all_nodes(place: Place) {
    let stage = Stage::new();
    let (node, client) = busy(&place, &stage).await;
    let mut running = stage.take(2).await;
    client.choose_policy(Some("fair")).await.unwrap();
    running.remove(0).finish(0).await;
    let bobs = stage.next().await;
    assert_eq!(bobs.user, "bob", "he has nothing, and she has one");
    client.choose_policy(None).await.unwrap();
    bobs.finish(0).await;
    let next = stage.next().await;
    assert_eq!(next.user, "ann", "first in, first out again");
    running.push(next);
    finish_all(&stage, running, 2).await;
    node.drain().await;
}

async fn a_policy_knows_what_runs_on_other_nodes(place: Place) {
    let stage = Stage::new();
    let client = place.client().await;
    client.group("maths").limit(100).await.unwrap();
    create(&client, "ann", 20).await;
    let node = |on| {
        let node = place.node().register(stage.puppet(on)).policy(Fair);
        node.slots(if on == "a" { 8 } else { 4 })
    };
    let a = node("a").start().await.unwrap();
    let running = stage.take(8).await;
    create(&client, "bob", 20).await;
    let b = node("b").start().await.unwrap();
    let on_b = stage.take(4).await;
    let users = on_b.iter().map(|actor| (&actor.on[..], &actor.user[..]));
    // Six of twelve slots are a half.
    assert_eq!(users.collect::<Vec<_>>(), [("b", "bob"); 4]);
    finish_all(&stage, running.into_iter().chain(on_b).collect(), 28).await;
    a.drain().await;
    b.drain().await;
}

async fn i17_an_old_task_of_a_lane_goes_before_newer_urgent_ones_where_tasks_age(place: Place) {
    let stage = Stage::new();
    let client = place.client().await;
    // One at a time: nothing is read ahead under a limit.
    client.user("ann").limit(1).await.unwrap();
    let task = |priority| {
        let draft = Puppet::task(String::new()).user("ann").group("maths");
        draft.priority(priority)
    };
    let old = client.create(task(2)).await.unwrap();
    // Not when it was created: on MariaDB it comes into line by another statement, at its own time.
    let came_at = old.get().await.unwrap().task.ready_at;
    // Two steps later an urgent one is no more urgent than it. Until then the clock has to go on.
    let mut urgent = Vec::new();
    let mut later = 0;
    while later < 3 {
        let new = client.create(task(0)).await.unwrap();
        let ready_at = new.get().await.unwrap().task.ready_at;
        later += usize::from(ready_at > came_at.plus_ms(2));
        urgent.push(new.id());
    }
    let node = place.node().register(stage.puppet("a"));
    let node = node.policy(PriorityAgeing::new(1)).start().await.unwrap();
    let mut order = Vec::new();
    for _ in 0..=urgent.len() {
        let actor = stage.next().await;
        order.push(actor.id);
        actor.finish(0).await;
    }
    let place_of = |id| order.iter().position(|ran| *ran == id);
    // What is behind the task that was claimed last is not known: one of the later ones may have gone first.
    assert!(
        place_of(old.id()) < place_of(urgent[urgent.len() - 2]),
        "the old one was number {:?} of {}",
        place_of(old.id()),
        order.len()
    );
    node.drain().await;
}

async fn a_policy_that_no_node_knows_leaves_each_its_own(place: Place) {
    let stage = Stage::new();
    let (node, client) = busy(&place, &stage).await;
    let mut running = stage.take(2).await;
    client.choose_policy(Some("of old")).await.unwrap();
    let wrong = client.choose_policy(Some("fair=3")).await.unwrap_err();
    assert!(wrong.is_invalid(), "{wrong}");
    assert!(
        client
            .choose_policy(Some(""))
            .await
            .unwrap_err()
            .is_invalid()
    );
    running.remove(0).finish(0).await;
    let next = stage.next().await;
    assert_eq!(next.user, "ann");
    running.push(next);
    finish_all(&stage, running, 3).await;
    node.drain().await;
}

struct Panics;

impl Policy for Panics {
    fn grant(&self, _: &Lanes<'_>, _: usize) -> Vec<Grant> {
        panic!("a policy of this test");
    }
}

async fn a_policy_that_panics_is_made_good(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).policy(Panics);
    let node = node.start().await.unwrap();
    create(&node.client(), "ann", 1).await;
    stage.next().await.finish(0).await;
    node.drain().await;
}

/// Finishes what runs, and so many more that follow.
async fn finish_all(stage: &Stage, running: Vec<crate::kit::Actor>, more: usize) {
    for actor in running {
        actor.finish(0).await;
    }
    for _ in 0..more {
        stage.next().await.finish(0).await;
    }
}
