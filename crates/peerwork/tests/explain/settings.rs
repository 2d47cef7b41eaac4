//! Behind what is set: limits, gates, starts per second.

use crate::kit::{Place, Puppet, Stage};
use peerwork::explain::{Basis, Cause, Explanation};
use peerwork::{Client, Draft, Handler, Node, Scope, State, TaskHandle};
use std::time::{Duration, SystemTime};

on_every_database!(
    behind_a_limit_it_says_whose_how_many_run_and_how_many_are_ahead,
    behind_a_limit_of_each_node_it_says_so_once_all_are_full,
    behind_a_gate_it_says_why_by_whom_since_when_and_until_when,
    a_user_is_not_told_who_has_closed_a_gate,
    behind_an_emptied_bucket_it_says_when_it_starts_at_the_earliest,
);

async fn node(place: &Place, stage: &Stage, name: &str) -> Node {
    let node = place.node().register(stage.puppet(name)).slots(8);
    node.start().await.unwrap()
}

fn draft() -> Draft<Puppet> {
    Puppet::task(String::new()).user("ann").group("films")
}

async fn create(client: &Client, n: usize) -> Vec<TaskHandle<Puppet>> {
    let drafts = (0..n).map(|_| draft());
    client.create_many(drafts).await.unwrap()
}

async fn explain(task: &TaskHandle<Puppet>) -> Explanation {
    task.explain().await.unwrap()
}

async fn behind_a_limit_it_says_whose_how_many_run_and_how_many_are_ahead(place: Place) {
    let stage = Stage::new();
    let client = place.client().await;
    client.group("films").limit(1).await.unwrap();
    let tasks = create(&client, 4).await;
    let node = node(&place, &stage, "a").await;
    let first = stage.next().await;
    let explanation = explain(&tasks[3]).await;
    let Cause::Limit {
        scope,
        max,
        running,
        ahead,
    } = explanation.first()
    else {
        panic!("{explanation}");
    };
    assert_eq!(scope.to_string(), "group \"films\"");
    assert_eq!((*max, *running, ahead.n), (1, 1, 2));
    assert_eq!(explanation.starts, None, "nobody knows");
    let said = explanation.to_string();
    assert!(
        said.starts_with("queued: 1 of 1 run under the limit of group"),
        "{said}"
    );
    // It is as it says: without the limit all of them run.
    client.group("films").without_limit().await.unwrap();
    let rest = stage.take(3).await;
    assert!(matches!(
        explain(&tasks[3]).await.first(),
        Cause::Running(_)
    ));
    drop((first, rest));
    node.drain().await;
}

async fn behind_a_limit_of_each_node_it_says_so_once_all_are_full(place: Place) {
    let stage = Stage::new();
    let client = place.client().await;
    client.user("ann").limit_per_node(1).await.unwrap();
    let tasks = create(&client, 3).await;
    let first = node(&place, &stage, "a").await;
    let one = stage.next().await;
    let explanation = explain(&tasks[2]).await;
    let Cause::LimitPerNode {
        scope, max, nodes, ..
    } = explanation.first()
    else {
        panic!("{explanation}");
    };
    assert_eq!(
        *scope,
        Scope::User(peerwork::Name::new("user", "ann").unwrap())
    );
    assert_eq!((*max, *nodes), (1, 1));
    let second = node(&place, &stage, "b").await;
    let two = stage.next().await;
    assert_eq!(two.on, "b");
    let explanation = explain(&tasks[2]).await;
    assert!(
        matches!(explanation.first(), Cause::LimitPerNode { nodes: 2, .. }),
        "{explanation}"
    );
    drop((one, two));
    first.drain().await;
    second.drain().await;
}

async fn behind_a_gate_it_says_why_by_whom_since_when_and_until_when(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage, "a").await;
    let client = place.client().await;
    let before = client.now().await.unwrap();
    let until = SystemTime::from(before) + Duration::from_secs(3_600);
    let gate = client.kind("puppet").gate("the disk is full").by("bob");
    gate.until(until).await.unwrap();
    let task = client.create(draft()).await.unwrap();
    let explanation = explain(&task).await;
    let Cause::Gate { scope, gate } = explanation.first() else {
        panic!("{explanation}");
    };
    assert_eq!(scope.to_string(), "kind \"puppet\"");
    assert_eq!(
        (gate.reason.as_str(), gate.by.as_deref()),
        ("the disk is full", Some("bob"))
    );
    assert!((before..=explanation.now).contains(&gate.since));
    let starts = explanation.starts.unwrap();
    assert_eq!(
        (Some(starts.earliest), starts.basis),
        (gate.until, Basis::Gate)
    );
    assert_eq!(SystemTime::from(starts.earliest), until);
    let said = explanation.to_string();
    assert!(said.contains("by \"bob\": \"the disk is full\""), "{said}");
    client.kind("puppet").open().await.unwrap();
    drop(stage.next().await);
    node.drain().await;
}

async fn a_user_is_not_told_who_has_closed_a_gate(place: Place) {
    let client = place.client().await;
    client
        .everything()
        .gate("maintenance")
        .by("bob")
        .await
        .unwrap();
    let task = client.create(draft()).await.unwrap();
    let by = async |user: &str| {
        let explanation = client.of_user(user).unwrap().explain(task.id()).await?;
        let gate = explanation
            .causes
            .into_iter()
            .find_map(|cause| match cause {
                Cause::Gate { gate, .. } => Some(gate),
                _ => None,
            });
        let gate = gate.expect("it is behind a gate");
        assert_eq!(gate.reason, "maintenance");
        Ok::<_, peerwork::Error>(gate.by)
    };
    assert_eq!(by("ann").await.unwrap(), None);
    assert!(
        by("bob").await.unwrap_err().is_not_found(),
        "it is not his task"
    );
    let all = client.explain(task.id()).await.unwrap();
    assert!(
        all.causes
            .iter()
            .any(|cause| cause.to_string().contains("bob"))
    );
    let nobody = client.explain(client.new_task_id()).await.unwrap_err();
    assert!(nobody.is_not_found(), "{nobody}");
}

async fn behind_an_emptied_bucket_it_says_when_it_starts_at_the_earliest(place: Place) {
    let stage = Stage::new();
    let client = place.client().await;
    let rate = client.group("films").starts_per_second(0.001).burst(1);
    rate.await.unwrap();
    let tasks = create(&client, 3).await;
    let node = node(&place, &stage, "a").await;
    let first = stage.next().await;
    let started_at = tasks[0].get().await.unwrap().started_at.unwrap();
    let starts = async |n: usize| {
        let explanation = explain(&tasks[n]).await;
        assert!(
            matches!(explanation.first(), Cause::Bucket { .. }),
            "{explanation}"
        );
        let starts = explanation.starts.unwrap();
        assert_eq!(
            starts.basis,
            Basis::Bucket {
                ahead: n as u64 - 1
            }
        );
        starts.earliest.ms_since(started_at)
    };
    // A start in a thousand seconds, from about the time at which the first one started.
    let (second, third) = (starts(1).await, starts(2).await);
    assert!(second > 900_000, "{second}");
    assert_eq!(third - second, 1_000_000);
    assert_eq!(tasks[1].get().await.unwrap().state(), State::Queued);
    drop(first);
    node.drain().await;
}
