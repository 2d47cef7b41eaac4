//! Who goes next, and that nothing but a user's own wish changes it.

use crate::kit::{Ghost, Note, Place, Puppet, Stage};
use peerwork::{Client, Handler, State, Status, TaskHandle, TaskId};
use peerwork_core::{Event, Work};
use std::collections::BTreeSet;
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

on_every_database!(
    ga_23_tasks_go_by_priority_then_due_time_then_id,
    ga_23_no_operation_reorders_by_accident,
    ga_23_one_slot_runs_tasks_in_the_order_in_which_they_are_claimed,
    ga_25_a_task_that_is_moved_is_in_one_group_at_any_time,
    ga_25_a_running_task_that_is_moved_runs_on,
);

/// Claims tasks one by one until there is none; their inputs.
async fn line(ghost: &Ghost) -> Vec<String> {
    let mut line = Vec::new();
    while let Some(next) = ghost.claim(Work::Run, 1).await.pop() {
        line.push(serde_json::from_slice(&next.input).unwrap());
    }
    line
}

async fn five(client: &Client) -> Vec<TaskHandle<Puppet>> {
    let drafts = (1..=5).map(|n| Puppet::task(n.to_string()).group("g"));
    client.create_many(drafts).await.unwrap()
}

async fn ga_23_tasks_go_by_priority_then_due_time_then_id(place: Place) {
    let client = place.client().await;
    let now = client.now().await.unwrap();
    let ago = |seconds: u64| Some(SystemTime::from(now.minus_ms(seconds * 1_000)));
    let rows = [
        ("6 created before 7", 0, None),
        ("4 due long ago", 0, ago(20)),
        ("8 of a low priority, due longest", 9, ago(99)),
        ("2 urgent, and due not so long ago", -5, ago(1)),
        ("7 created last", 0, None),
        ("1 urgent and due long ago", -5, ago(9)),
        ("5 due not so long ago", 0, ago(10)),
        ("3 as urgent, due now", -5, None),
    ];
    for (input, priority, due) in rows {
        let mut draft = Puppet::task(input.to_owned()).priority(priority);
        if let Some(due) = due {
            draft = draft.start_at(due);
        }
        client.create(draft).await.unwrap();
    }
    place.store().promote(100).await.unwrap();
    let ghost = Ghost::appear(&place).await;
    let line = line(&ghost).await;
    let mut sorted = line.clone();
    sorted.sort();
    assert_eq!((line.len(), line), (rows.len(), sorted));

    // Those of one batch are of one time: their ids decide, which are in the order of creation.
    five(&client).await;
    let ghost = Ghost::appear(&place).await;
    assert_eq!(self::line(&ghost).await, ["1", "2", "3", "4", "5"]);
}

async fn ga_23_no_operation_reorders_by_accident(place: Place) {
    let client = place.client().await;
    let tasks = five(&client).await;
    tasks[0].pause().await.unwrap();
    tasks[0].resume().await.unwrap();
    tasks[1].move_to("elsewhere").await.unwrap();
    tasks[1].move_to("g").await.unwrap();
    tasks[2].set_priority(3).await.unwrap();
    tasks[2].set_priority(0).await.unwrap();
    tasks[3].run().await.unwrap();
    tasks[3].resume().await.unwrap();
    let all = || client.tasks().group("g");
    all().pause().await.unwrap();
    all().run().await.unwrap();
    all().set_priority(0).await.unwrap();
    all().move_to("h").await.unwrap();
    let ghost = Ghost::appear(&place).await;
    // One that is given back was first, and goes first.
    let first = ghost.claim_one().await;
    ghost.end(&first, Event::Stopped).await;
    assert_eq!(line(&ghost).await, ["1", "2", "3", "4", "5"]);
}

async fn ga_23_one_slot_runs_tasks_in_the_order_in_which_they_are_claimed(place: Place) {
    const TASKS: usize = 300;
    let client = place.client().await;
    client
        .create_many((0..TASKS).map(Note::task))
        .await
        .unwrap();
    let (noted, mut notes) = mpsc::unbounded_channel();
    // It finishes them fast, and so reads more of them ahead than it has slots.
    let node = place.node().slots(1).register(Note(noted));
    let node = node.start().await.unwrap();
    for n in 0..TASKS {
        assert_eq!(notes.recv().await, Some(n));
    }
    node.drain().await;
}

async fn ga_25_a_task_that_is_moved_is_in_one_group_at_any_time(place: Place) {
    const TASKS: usize = 40;
    const MOVES: usize = 15;
    let client = place.client().await;
    let drafts = (0..TASKS).map(|n| Puppet::task(n.to_string()).group("a"));
    let tasks = client.create_many(drafts).await.unwrap();
    let ids: BTreeSet<TaskId> = tasks.iter().map(TaskHandle::id).collect();
    // Some of them run meanwhile, on a node that takes one after the other.
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("n")).slots(4);
    let node = node.start().await.unwrap();
    let mut movers = JoinSet::new();
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "b")] {
        let client = place.client().await;
        movers.spawn(async move {
            for _ in 0..MOVES {
                let tasks = client.tasks().group(from);
                tasks.move_to(to).await.unwrap();
            }
        });
    }
    let mut finished = 0;
    while !movers.is_empty() {
        tokio::select! {
            actor = stage.next() => { actor.finish(0).await; finished += 1; }
            moved = movers.join_next() => moved.unwrap().unwrap(),
            page = client.tasks().list() => {
                let page = page.unwrap().tasks;
                let seen: BTreeSet<_> = page.iter().map(|task| task.id).collect();
                assert_eq!((page.len(), &seen), (TASKS, &ids));
                assert!(page.iter().all(|task| ["a", "b"].contains(&task.group.as_str())));
            }
        }
    }
    for _ in finished..TASKS {
        stage.next().await.finish(0).await;
    }
    for task in tasks {
        assert_eq!(task.until_over().await.unwrap().status(), Status::Finished);
    }
    client.tasks().group("a").move_to("b").await.unwrap();
    let listed = client.tasks().group("b").all().await.unwrap();
    assert_eq!(listed.len(), TASKS);
    node.drain().await;
}

async fn ga_25_a_running_task_that_is_moved_runs_on(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let client = node.client();
    let draft = Puppet::task(String::new()).group("from");
    let task = client.create(draft).await.unwrap();
    let actor = stage.next().await;
    assert_eq!(task.move_to("to").await.unwrap(), Status::Running);
    actor.save(1).await.expect("it still holds the task");
    assert!(!actor.token.is_cancelled());
    let running = |group| client.tasks().group(group).state(State::Running).all();
    assert!(running("from").await.unwrap().is_empty());
    assert_eq!(running("to").await.unwrap().len(), 1);
    actor.finish(5).await;
    assert_eq!(task.result().await.unwrap(), 5);
    let record = task.get().await.unwrap();
    assert_eq!((record.group.as_str(), record.task.attempt), ("to", 1));
    node.drain().await;
}
