//! What keeps a task from running by itself: its time, a pause, its children; and what runs or is over.

use crate::kit::{Place, Puppet, Stage, never_again};
use peerwork::explain::{Basis, Cause, Explanation, Health, Why};
use peerwork::{Handler, Rules, Run, State, TaskError, TaskHandle, Timestamp};
use std::time::{Duration, SystemTime};

on_every_database!(
    a_task_that_is_due_later_says_when,
    a_task_that_is_tried_again_says_after_which_failure,
    a_paused_or_created_task_waits_for_a_person,
    a_parent_says_how_many_of_its_children_are_over,
    what_runs_says_on_which_node,
);

async fn explain<H: peerwork::TaskKind>(task: &TaskHandle<H>) -> Explanation {
    task.explain().await.unwrap()
}

fn draft() -> peerwork::Draft<Puppet> {
    Puppet::task(String::new()).user("ann").group("films")
}

async fn a_task_that_is_due_later_says_when(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let client = place.client().await;
    let due = SystemTime::from(client.now().await.unwrap()) + Duration::from_secs(3_600);
    let task = client.create(draft().start_at(due)).await.unwrap();
    let explanation = explain(&task).await;
    let at = Timestamp::from(due);
    let why = Why::DueTime;
    assert_eq!(explanation.causes, [Cause::Later { at, why }]);
    let starts = explanation.starts.unwrap();
    assert_eq!((starts.earliest, starts.basis), (at, Basis::Due));
    task.run().await.unwrap();
    drop(stage.next().await);
    node.drain().await;
}

async fn a_task_that_is_tried_again_says_after_which_failure(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let task = node.client().create(draft()).await.unwrap();
    let later = TaskError::new("the disk is on fire").retry_after(Duration::from_secs(3_600));
    stage.next().await.fail_with(later).await;
    let record = task.until(State::Retrying).await.unwrap();
    let explanation = explain(&task).await;
    let cause = Cause::Later {
        at: record.task.wake_at.unwrap(),
        why: Why::Retry { failures: 1 },
    };
    assert_eq!(explanation.causes, [cause]);
    node.drain().await;
}

async fn a_paused_or_created_task_waits_for_a_person(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let client = place.client().await;
    let task = client.create(draft().hold()).await.unwrap();
    assert_eq!(explain(&task).await.causes, [Cause::NotStarted]);
    task.pause().await.unwrap();
    let explanation = explain(&task).await;
    let paused = Cause::Paused {
        forced: false,
        failures: 0,
        error: None,
    };
    assert_eq!(
        (explanation.causes, explanation.starts),
        (vec![paused], None)
    );
    node.drain().await;
    let explanation = explain(&task).await;
    let then = &explanation.causes[1];
    assert!(matches!(then, Cause::NoNode { live: 0, .. }), "{then}");
}

/// Has two puppets made, and waits for them.
struct Parent;

impl Handler for Parent {
    const KIND: &'static str = "parent";
    type Input = ();
    type Checkpoint = ();
    type Output = usize;

    async fn run(&self, run: &mut Run<Self>) -> Result<usize, TaskError> {
        let inputs = ["a", "b"].map(str::to_owned).to_vec();
        Ok(run.children::<Puppet>("both", inputs).await?.len())
    }
}

async fn a_parent_says_how_many_of_its_children_are_over(place: Place) {
    let stage = Stage::new();
    let puppet = stage.puppet("a").with(Rules {
        cleanup: false,
        ..never_again()
    });
    let node = place.node().register(Parent).register(puppet);
    let node = node.slots(4).start().await.unwrap();
    let task = node.client().create(Parent::task(())).await.unwrap();
    let mut children = stage.take(2).await;
    task.until(State::Waiting).await.unwrap();
    let waits_for = async |over| {
        let until = None;
        let cause = Cause::Children { over, of: 2, until };
        assert_eq!(explain(&task).await.causes, [cause]);
    };
    waits_for(0).await;
    let child = children.remove(0);
    let first = node.client().task(child.id);
    child.finish(1).await;
    first.until_over().await.unwrap();
    waits_for(1).await;
    children.remove(0).finish(2).await;
    assert_eq!(task.result().await.unwrap(), 2);
    let explanation = explain(&task).await;
    assert!(
        explanation
            .to_string()
            .starts_with("finished: it has finished, at ")
    );
    node.drain().await;
}

async fn what_runs_says_on_which_node(place: Place) {
    let stage = Stage::new();
    let node = place.node().label("host 7").register(stage.puppet("a"));
    let node = node.slots(3).start().await.unwrap();
    let task = node.client().create(draft()).await.unwrap();
    let actor = stage.next().await;
    let record = task.get().await.unwrap();
    let explanation = explain(&task).await;
    let [Cause::Running(holder)] = &explanation.causes[..] else {
        panic!("{explanation}");
    };
    assert_eq!(
        (holder.node, Some(holder.since)),
        (node.id(), record.started_at)
    );
    assert_eq!(
        (holder.label.as_deref(), holder.health),
        (Some("host 7"), Health::Live)
    );
    assert_eq!((holder.slots, holder.running), (3, 1));
    task.pause().await.unwrap();
    // Until it has stopped it says that it is to.
    let explanation = explain(&task).await;
    let is_told = matches!(
        explanation.first(),
        Cause::Stopping { deletes: false, .. } | Cause::Paused { .. }
    );
    assert!(is_told, "{explanation}");
    drop(actor);
    task.until(State::Paused).await.unwrap();
    node.drain().await;
}
