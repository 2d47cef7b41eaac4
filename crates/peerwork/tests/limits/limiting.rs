//! As many run as may, on whatever node.

use crate::kit::{Actor, Note, Place, Puppet, Stage};
use peerwork::{Client, Draft, Handler, Node, State};
use tokio::sync::mpsc;

on_every_database!(
    ga_24_nodes_run_no_more_than_a_limit_allows,
    ga_24_what_is_limited_keeps_nobody_else_waiting,
    ga_24_a_kind_is_limited_across_groups,
    ga_25_what_is_moved_while_it_runs_leaves_room_in_one_group_and_takes_it_in_the_other,
    i16_under_a_limit_of_one_tasks_start_in_the_order_of_their_lane,
    a_limit_of_each_node_is_kept_by_each,
    a_raised_limit_lets_more_start_at_once,
);

async fn node(place: &Place, stage: &Stage, name: &str) -> Node {
    let node = place.node().register(stage.puppet(name)).slots(8);
    node.start().await.unwrap()
}

async fn create(client: &Client, group: &str, n: usize) {
    let drafts = (0..n).map(|_| Puppet::task(String::new()).user("ann").group(group));
    client.create_many(drafts).await.unwrap();
}

async fn finish(actors: impl IntoIterator<Item = Actor>) {
    for actor in actors {
        actor.finish(0).await;
    }
}

async fn ga_24_nodes_run_no_more_than_a_limit_allows(place: Place) {
    let stage = Stage::new();
    let nodes = [
        node(&place, &stage, "a").await,
        node(&place, &stage, "b").await,
    ];
    let client = place.client().await;
    client.group("maths").limit(3).await.unwrap();
    create(&client, "maths", 12).await;
    let mut running = stage.take(3).await;
    for _ in 3..12 {
        assert!(stage.is_empty().await, "a fourth one");
        finish(running.pop()).await;
        running.push(stage.next().await);
    }
    finish(running).await;
    for node in nodes {
        node.drain().await;
    }
}

async fn ga_24_what_is_limited_keeps_nobody_else_waiting(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage, "a").await;
    let client = place.client().await;
    client.group("maths").limit(1).await.unwrap();
    client.user_in("physics", "ann").limit(2).await.unwrap();
    create(&client, "maths", 50).await;
    let first = stage.next().await;
    assert_eq!(first.group, "maths");
    create(&client, "physics", 50).await;
    let two = stage.take(2).await;
    assert!(two.iter().all(|actor| actor.group == "physics"));
    create(&client, "free", 5).await;
    let rest = stage.take(5).await;
    assert!(rest.iter().all(|actor| actor.group == "free"));
    finish([first]).await;
    assert_eq!(stage.next().await.group, "maths");
    drop((two, rest));
    node.drain().await;
}

async fn ga_24_a_kind_is_limited_across_groups(place: Place) {
    let stage = Stage::new();
    let builder = place.node().register(stage.puppet("a")).slots(8);
    let builder = builder.handle("other", |n: i64| async move { Ok(n) });
    let node = builder.start().await.unwrap();
    let client = place.client().await;
    client.kind("puppet").limit(2).await.unwrap();
    create(&client, "maths", 2).await;
    create(&client, "physics", 2).await;
    let two = stage.take(2).await;
    let other = Draft::of_kind("other", &7).user("ann").group("maths");
    let other = client.create(other).await.unwrap();
    other.until(State::Finished).await.unwrap();
    assert!(stage.is_empty().await);
    finish(two).await;
    finish(stage.take(2).await).await;
    node.drain().await;
}

async fn ga_25_what_is_moved_while_it_runs_leaves_room_in_one_group_and_takes_it_in_the_other(
    place: Place,
) {
    let stage = Stage::new();
    let node = node(&place, &stage, "a").await;
    let client = place.client().await;
    client.group("maths").limit(2).await.unwrap();
    client.group("physics").limit(2).await.unwrap();
    create(&client, "maths", 4).await;
    create(&client, "physics", 3).await;
    let running = stage.take(4).await;
    let is_moved = |actor: &Actor| actor.group == "maths";
    let (mut moved, stayed): (Vec<_>, Vec<_>) = running.into_iter().partition(is_moved);
    let tasks = client.tasks().group("maths").running();
    assert_eq!(tasks.move_to("physics").await.unwrap().changed, 2);
    let next = stage.take(2).await;
    assert!(next.iter().all(is_moved), "those that were behind them");
    // Four run of two that may: the first two ends make no room.
    finish(stayed).await;
    assert!(stage.is_empty().await, "a claim above the limit");
    finish(moved.pop()).await;
    assert_eq!(stage.next().await.group, "physics");
    drop((moved, next));
    node.drain().await;
}

async fn i16_under_a_limit_of_one_tasks_start_in_the_order_of_their_lane(place: Place) {
    const TASKS: usize = 40;
    let client = place.client().await;
    client.group("maths").limit(1).await.unwrap();
    let priority = |n: usize| (n * 7 % 5) as i16 - 2;
    let draft = |n| {
        Note::task(n)
            .user("ann")
            .group("maths")
            .priority(priority(n))
    };
    client.create_many((0..TASKS).map(draft)).await.unwrap();
    let (noted, mut notes) = mpsc::unbounded_channel();
    let start = || place.node().slots(4).register(Note(noted.clone())).start();
    let nodes = [start().await.unwrap(), start().await.unwrap()];
    let mut order: Vec<usize> = (0..TASKS).collect();
    order.sort_by_key(|n| (priority(*n), *n));
    for n in order {
        assert_eq!(notes.recv().await, Some(n));
    }
    for node in nodes {
        node.drain().await;
    }
}

async fn a_limit_of_each_node_is_kept_by_each(place: Place) {
    let stage = Stage::new();
    let client = place.client().await;
    client.group("maths").limit_per_node(2).await.unwrap();
    create(&client, "maths", 6).await;
    let first = node(&place, &stage, "a").await;
    let mut running = stage.take(2).await;
    assert!(running.iter().all(|actor| actor.on == "a"));
    let second = node(&place, &stage, "b").await;
    running.extend(stage.take(2).await);
    assert!(running[2..].iter().all(|actor| actor.on == "b"));
    assert!(stage.is_empty().await);
    finish([running.swap_remove(0)]).await;
    assert_eq!(stage.next().await.on, "a");
    drop(running);
    first.drain().await;
    second.drain().await;
}

async fn a_raised_limit_lets_more_start_at_once(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage, "a").await;
    let client = place.client().await;
    client.group("maths").limit(1).await.unwrap();
    create(&client, "maths", 4).await;
    let mut running = stage.take(1).await;
    assert!(stage.is_empty().await);
    let raised = client.group("maths").limit(3);
    let raised = tokio::spawn(async move { raised.await });
    running.extend(stage.take(2).await);
    raised.await.unwrap().unwrap();
    let lifted = client.group("maths").without_limit();
    lifted.await.unwrap();
    running.extend(stage.take(1).await);
    drop(running);
    node.drain().await;
}
