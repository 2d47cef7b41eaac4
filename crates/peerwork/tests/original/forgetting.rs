//! Tasks whose record goes with them: the original's reports "finished" and "failed" with "delete the record".

use super::kinds::{Dot, Vectors};
use super::queue::Queues;
use crate::kit::Place;
use peerwork::Handler;

on_every_database!(
    a_task_that_fails_with_forget_leaves_no_record,
    a_task_that_finishes_with_forget_leaves_no_record,
);

async fn a_task_that_fails_with_forget_leaves_no_record(place: Place) {
    leaves_no_record(place, Dot::failing_one_in(5)).await;
}

async fn a_task_that_finishes_with_forget_leaves_no_record(place: Place) {
    leaves_no_record(place, Dot::default()).await;
}

async fn leaves_no_record(place: Place, dot: Dot) {
    for queues in Queues::all(&place) {
        let start = || queues.node(&place).register(dot.clone()).start();
        let (a, b) = (start().await.unwrap(), start().await.unwrap());
        let draft = Dot::task(Vectors::of(10, 1))
            .forget_on_finish()
            .forget_on_failure();
        let task = a.client().create(draft).await.unwrap();
        assert!(task.result().await.unwrap_err().is_gone());
        assert!(a.client().tasks().all().await.unwrap().is_empty());
        // It ended by itself: nobody asked for a cleanup.
        assert_eq!(dot.cleanups(), 0);
        tokio::join!(a.drain(), b.drain());
    }
}
