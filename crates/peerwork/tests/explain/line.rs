//! In line: others ahead of it, no free slot, or no node that could run it.

use crate::kit::{Ghost, Place, Puppet, Stage};
use peerwork::explain::{Cause, Explanation};
use peerwork::{Client, Draft, Handler, State, TaskHandle};

on_every_database!(
    a_task_of_a_kind_that_no_live_node_has_says_which_kinds_there_are,
    in_line_it_says_how_many_are_ahead_and_which_slots_are_taken,
    what_resumes_is_ahead_of_all_others_of_its_lane,
);

fn no_node(explanation: &Explanation) -> Option<(u32, Vec<&str>)> {
    explanation.causes.iter().find_map(|cause| match cause {
        Cause::NoNode { live, kinds, .. } => {
            Some((*live, kinds.iter().map(|kind| kind.as_str()).collect()))
        }
        _ => None,
    })
}

async fn a_task_of_a_kind_that_no_live_node_has_says_which_kinds_there_are(place: Place) {
    let stage = Stage::new();
    let client = place.client().await;
    let task = client.create(Draft::of_kind("print", &7)).await.unwrap();
    let explain = async || task.explain().await.unwrap();
    assert_eq!(no_node(&explain().await), Some((0, vec![])));
    let puppets = place.node().register(stage.puppet("a"));
    let puppets = puppets.handle("other", |n: i64| async move { Ok(n) });
    let puppets = puppets.start().await.unwrap();
    let explanation = explain().await;
    assert_eq!(no_node(&explanation), Some((1, vec!["other", "puppet"])));
    let said = explanation.to_string();
    assert!(
        said.starts_with("queued: no live node has kind \"print\"; 1 is alive"),
        "{said}"
    );
    // A node that has ended has it no more.
    let printer = place.node().handle("print", |n: i64| async move { Ok(n) });
    let printer = printer.start().await.unwrap();
    task.until(State::Finished).await.unwrap();
    printer.drain().await;
    task.rerun().await.unwrap();
    assert_eq!(
        no_node(&explain().await),
        Some((1, vec!["other", "puppet"]))
    );
    puppets.drain().await;
}

async fn create(client: &Client, user: &str, n: usize) -> Vec<TaskHandle<Puppet>> {
    let drafts = (0..n).map(|_| Puppet::task(String::new()).user(user));
    client.create_many(drafts).await.unwrap()
}

async fn in_line_it_says_how_many_are_ahead_and_which_slots_are_taken(place: Place) {
    let stage = Stage::new();
    let client = place.client().await;
    let anns = create(&client, "ann", 5).await;
    let node = place.node().register(stage.puppet("a")).slots(2);
    let node = node.start().await.unwrap();
    let two = stage.take(2).await;
    create(&client, "bob", 1).await;
    let explanation = anns[4].explain().await.unwrap();
    let Cause::Line {
        ahead,
        lanes,
        slots,
        policy,
        ..
    } = explanation.first()
    else {
        panic!("{explanation}");
    };
    assert_eq!((ahead.n, ahead.is_bound, lanes.n), (2, false, 2));
    let slots = slots.unwrap();
    assert_eq!((slots.total, slots.taken, policy), (2, 2, &None));
    assert_eq!(explanation.causes.len(), 1);
    assert_eq!(
        explanation.starts, None,
        "nobody knows how long the others take"
    );
    client.choose_policy(Some("fair")).await.unwrap();
    let said = anns[2].explain().await.unwrap().to_string();
    assert!(
        said.contains("the first of its lane; 2 of 2 slots are taken; 1 other lane"),
        "{said}"
    );
    assert!(said.contains("(\"fair\")"), "{said}");
    drop(two);
    node.drain().await;
}

async fn what_resumes_is_ahead_of_all_others_of_its_lane(place: Place) {
    let client = place.client().await;
    let tasks = create(&client, "ann", 3).await;
    let ghost = Ghost::appear(&place).await;
    let held = ghost.claim(peerwork_core::Work::Run, 1).await.remove(0);
    let ahead = async |n: usize| {
        let explanation = tasks[n].explain().await.unwrap();
        match explanation.causes.last() {
            Some(Cause::Line { ahead, .. }) => ahead.n,
            _ => panic!("{explanation}"),
        }
    };
    assert_eq!((ahead(1).await, ahead(2).await), (0, 1));
    ghost.end(&held, peerwork_core::Event::Stopped).await;
    let resuming = tasks.iter().position(|task| task.id() == held.id);
    assert_eq!(resuming, Some(0));
    assert_eq!((ahead(0).await, ahead(1).await, ahead(2).await), (0, 1, 2));
}
