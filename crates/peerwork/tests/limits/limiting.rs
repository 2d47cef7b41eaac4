//! As many run as may, on whatever node.

use crate::kit::{Actor, Place, Puppet, Stage};
use peerwork::{Client, Draft, Handler, Node, State};

on_every_database!(
    ga_24_nodes_run_no_more_than_a_limit_allows,
    ga_24_what_is_limited_keeps_nobody_else_waiting,
    ga_24_a_kind_is_limited_across_groups,
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
