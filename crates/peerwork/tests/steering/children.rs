//! A parent that waits for its children, whatever becomes of them and of it.

use crate::kit::{Place, Puppet, Stage, never_again};
use peerwork::*;

on_every_database!(
    a_parent_learns_that_a_child_failed_or_was_deleted,
    a_parent_that_is_paused_while_it_waits_has_missed_nothing,
    a_parent_without_children_goes_on_at_once,
    a_parent_that_is_deleted_while_it_waits_is_cleaned_up,
    a_parent_waits_again_for_other_children,
    a_task_sleeps_without_a_slot_until_its_time,
);

/// Has so many puppets made in each of some rounds; says what became of each.
struct Parent;

impl Handler for Parent {
    const KIND: &'static str = "parent";
    type Input = Vec<usize>;
    type Checkpoint = ();
    type Output = Vec<String>;

    async fn run(&self, run: &mut Run<Self>) -> Result<Vec<String>, TaskError> {
        let mut said = Vec::new();
        for (round, count) in run.input().clone().into_iter().enumerate() {
            let inputs = (0..count).map(|n| format!("{round}/{n}")).collect();
            for child in run.children::<Puppet>(&round.to_string(), inputs).await? {
                said.push(match child {
                    Ok(output) => output.to_string(),
                    Err(error) if error.is_gone() => "gone".to_owned(),
                    Err(error) if error.is_task_failed() => "failed".to_owned(),
                    Err(error) => Err(error)?,
                });
            }
        }
        Ok(said)
    }
}

async fn start(place: &Place, stage: &Stage) -> Node {
    let puppet = stage.puppet("a").with(Rules {
        cleanup: false,
        ..never_again()
    });
    // One slot: whoever waits must not hold it.
    let node = place.node().slots(1).register(Parent).register(puppet);
    node.start().await.unwrap()
}

async fn parent(node: &Node, rounds: &[usize]) -> TaskHandle<Parent> {
    let draft = Parent::task(rounds.to_vec());
    node.client().create(draft).await.unwrap()
}

async fn a_parent_learns_that_a_child_failed_or_was_deleted(place: Place) {
    let stage = Stage::new();
    let node = start(&place, &stage).await;
    let task = parent(&node, &[4]).await;
    let client = node.client();
    let finishes = stage.next().await;
    let finished = client.task(finishes.id);
    finishes.finish(7).await;
    finished.until_over().await.unwrap();
    let fails = stage.next().await;
    let failed = client.task(fails.id);
    fails.fail("no").await;
    failed.until_over().await.unwrap();
    // One is deleted while it runs, one before it does.
    let running = stage.next().await;
    let rest = client.tasks().parent(task.id());
    let rest = rest.state(State::Queued).running();
    assert_eq!(rest.delete().await.unwrap().changed, 2);
    running.stop().await;
    let mut said = task.result().await.unwrap();
    said.sort();
    assert_eq!(said, ["7", "failed", "gone", "gone"]);
    node.drain().await;
}

async fn a_parent_that_is_paused_while_it_waits_has_missed_nothing(place: Place) {
    let stage = Stage::new();
    let node = start(&place, &stage).await;
    let task = parent(&node, &[2]).await;
    let first = stage.next().await;
    task.until(State::Waiting).await.unwrap();
    assert_eq!(task.pause().await.unwrap(), Status::Paused);
    first.finish(1).await;
    stage.next().await.finish(2).await;
    for child in node.client().tasks().parent(task.id()).all().await.unwrap() {
        node.client().task(child.id).until_over().await.unwrap();
    }
    assert_eq!(task.get().await.unwrap().state(), State::Paused);
    task.resume().await.unwrap();
    assert_eq!(task.result().await.unwrap().len(), 2);
    node.drain().await;
}

async fn a_parent_without_children_goes_on_at_once(place: Place) {
    let stage = Stage::new();
    let node = start(&place, &stage).await;
    let task = parent(&node, &[0, 0]).await;
    assert!(task.result().await.unwrap().is_empty());
    assert_eq!(task.get().await.unwrap().task.attempt, 1);
    node.drain().await;
}

async fn a_parent_that_is_deleted_while_it_waits_is_cleaned_up(place: Place) {
    let stage = Stage::new();
    let node = start(&place, &stage).await;
    let task = parent(&node, &[1]).await;
    let child = stage.next().await;
    task.until(State::Waiting).await.unwrap();
    task.delete().await.unwrap();
    task.until(State::Deleted).await.unwrap();
    // Its child is a task like any other.
    let id = child.id;
    child.finish(5).await;
    let record = node.client().task(id).until_over().await.unwrap();
    assert_eq!(record.status(), Status::Finished);
    assert_eq!(task.get().await.unwrap().state(), State::Deleted);
    node.drain().await;
}

async fn a_parent_waits_again_for_other_children(place: Place) {
    let stage = Stage::new();
    let node = start(&place, &stage).await;
    let task = parent(&node, &[2, 1, 3]).await;
    for n in 0..6 {
        stage.next().await.finish(n).await;
    }
    let said = task.result().await.unwrap();
    assert_eq!(said.len(), 6);
    // Four runs: one to each round of children, and the last.
    assert_eq!(task.get().await.unwrap().task.attempt, 4);
    node.drain().await;
}

/// Sleeps for a moment once.
struct Nap;

impl Handler for Nap {
    const KIND: &'static str = "nap";
    type Input = u64;
    type Checkpoint = bool;
    type Output = u32;

    async fn run(&self, run: &mut Run<Self>) -> Result<u32, TaskError> {
        if run.checkpoint().is_none() {
            run.save(&true).await?;
            let now = run.client().now().await?.plus_ms(*run.input());
            return Err(run.sleep_until(now.into()));
        }
        Ok(run.attempt())
    }
}

async fn a_task_sleeps_without_a_slot_until_its_time(place: Place) {
    let stage = Stage::new();
    let node = place
        .node()
        .slots(1)
        .register(Nap)
        .register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let client = node.client();
    let long = client.create(Nap::task(3_600_000)).await.unwrap();
    long.until(State::Waiting).await.unwrap();
    let short = client.create(Nap::task(50)).await.unwrap();
    assert_eq!(short.result().await.unwrap(), 2);
    // A person may wake it.
    assert_eq!(long.pause().await.unwrap(), Status::Paused);
    assert_eq!(long.resume().await.unwrap(), Status::Waiting);
    long.delete().await.unwrap();
    long.until(State::Deleted).await.unwrap();
    node.drain().await;
}
