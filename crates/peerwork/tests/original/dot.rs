//! Dot products: six finish, one is deleted while it runs, one fails again and again, one is paused again and again.

use super::kinds::{Dot, Vectors};
use super::queue::Queues;
use crate::kit::Place;
use peerwork::{Handler, Node, State};

on_every_database!(
    six_dot_tasks_finish,
    deleting_a_running_task_cancels_it_cleans_up_and_removes_it,
    a_task_that_fails_at_random_and_is_run_again_finishes,
    a_task_that_is_paused_and_resumed_again_and_again_finishes,
);

async fn two_nodes(place: &Place, queues: Queues, dot: &Dot) -> (Node, Node) {
    let start = || queues.node(place).register(dot.clone()).start();
    let (a, b) = tokio::join!(start(), start());
    (a.expect("it starts"), b.expect("it starts"))
}

async fn drain(nodes: (Node, Node)) {
    let (a, b) = tokio::join!(nodes.0.drain(), nodes.1.drain());
    assert_eq!((a.abandoned, b.abandoned), (0, 0));
}

async fn six_dot_tasks_finish(place: Place) {
    for queues in Queues::all(&place) {
        let nodes = two_nodes(&place, queues, &Dot::default()).await;
        let client = nodes.0.client();
        let inputs: Vec<_> = (0..6).map(|n| Vectors::of(10, n)).collect();
        let drafts = inputs.iter().enumerate().map(|(n, input)| {
            Dot::task(input.clone())
                .user(format!("user {}", n % 3))
                .group("maths")
        });
        let tasks = client.create_many(drafts).await.unwrap();
        for (task, input) in tasks.iter().zip(&inputs) {
            assert_eq!(task.result().await.unwrap(), input.product(), "{queues:?}");
        }
        drain(nodes).await;
    }
}

async fn deleting_a_running_task_cancels_it_cleans_up_and_removes_it(place: Place) {
    for queues in Queues::all(&place) {
        let dot = Dot::paced();
        let nodes = two_nodes(&place, queues, &dot).await;
        let client = nodes.0.client();
        let draft = Dot::task(Vectors::of(20, 1)).user("ann").group("maths");
        let task = client.create(draft).await.unwrap();
        dot.makes(10).await;
        assert_eq!(task.get().await.unwrap().state(), State::Running);

        task.delete().await.unwrap();
        let gone = task.until(State::Deleted).await.unwrap();
        assert_eq!(dot.cleanups(), 1, "{queues:?}");
        assert!(gone.finished_at.is_some());
        assert!(task.result().await.unwrap_err().is_gone());
        assert!(client.tasks().all().await.unwrap().is_empty());
        drain(nodes).await;
    }
}

async fn a_task_that_fails_at_random_and_is_run_again_finishes(place: Place) {
    for queues in Queues::all(&place) {
        let nodes = two_nodes(&place, queues, &Dot::failing_one_in(7)).await;
        let input = Vectors::of(20, 3);
        let task = nodes
            .1
            .client()
            .create(Dot::task(input.clone()))
            .await
            .unwrap();
        let mut failures = 0;
        while task.until_over().await.unwrap().state() == State::Failed {
            failures += 1;
            task.run().await.unwrap();
        }
        assert_eq!(task.result().await.unwrap(), input.product());
        // From its checkpoint each time: every step was made once.
        assert_eq!(failures, 20 / 7, "{queues:?}");
        let reasons = task.failures().await.unwrap();
        assert!(reasons.iter().all(|f| f.error.starts_with("bad luck")));
        drain(nodes).await;
    }
}

async fn a_task_that_is_paused_and_resumed_again_and_again_finishes(place: Place) {
    for queues in Queues::all(&place) {
        let dot = Dot::paced();
        let nodes = two_nodes(&place, queues, &dot).await;
        let input = Vectors::of(20, 5);
        let draft = Dot::task(input.clone());
        let task = nodes.0.client().create(draft).await.unwrap();
        for done in [4, 8, 12, 16] {
            dot.makes(4).await;
            task.pause().await.unwrap();
            let paused = task.until(State::Paused).await.unwrap();
            assert_eq!(paused.progress.unwrap().done, done, "{queues:?}");
            assert!(!paused.task.forced && paused.task.failures == 0);
            task.resume().await.unwrap();
        }
        dot.makes(4).await;
        assert_eq!(task.result().await.unwrap(), input.product());
        drain(nodes).await;
    }
}
