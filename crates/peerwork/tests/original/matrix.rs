//! A product of matrices out of many dot products: it finishes, also while nodes come and go.

use super::kinds::{Dot, Matrices, Matrix};
use super::queue::Queues;
use crate::kit::Place;
use peerwork::{Handler, Node, Status};

on_every_database!(
    a_matrix_task_finishes_on_nodes_with_one_slot,
    a_matrix_task_finishes_while_a_node_is_drained_and_started_again_and_again,
);

async fn start(place: &Place, queues: Queues, slots: usize, dot: &Dot) -> Node {
    let node = queues.node(place).slots(slots);
    let node = node.register(Matrix).register(dot.clone());
    node.start().await.expect("it starts")
}

async fn a_matrix_task_finishes_on_nodes_with_one_slot(place: Place) {
    for queues in Queues::all(&place) {
        // If the parent held its slot while it waits, its children would never run.
        let dot = Dot::default();
        let a = start(&place, queues, 1, &dot).await;
        let b = start(&place, queues, 1, &dot).await;
        let input = Matrices::square(4);
        let draft = Matrix::task(input.clone()).user("ann").group("maths");
        let first = a.client().create(draft).await.unwrap();
        let draft = Matrix::task(input.clone()).user("bob").group("maths");
        let second = b.client().create(draft).await.unwrap();
        assert_eq!(first.result().await.unwrap(), input.product(), "{queues:?}");
        assert_eq!(second.result().await.unwrap(), input.product());
        let children = a.client().tasks().parent(first.id()).all().await.unwrap();
        assert_eq!(children.len(), 16);
        for child in children {
            assert_eq!(child.status(), Status::Finished);
            assert_eq!(
                (child.user.as_str(), child.group.as_str()),
                ("ann", "maths")
            );
        }
        tokio::join!(a.drain(), b.drain());
    }
}

async fn a_matrix_task_finishes_while_a_node_is_drained_and_started_again_and_again(place: Place) {
    const SIZE: u32 = 6;
    for queues in Queues::uniform(&place) {
        let dot = Dot::paced();
        let stays = start(&place, queues, 1, &dot).await;
        let input = Matrices::square(SIZE as usize);
        let draft = Matrix::task(input.clone());
        let task = stays.client().create(draft).await.unwrap();
        for _ in 0..SIZE {
            let comes_and_goes = start(&place, queues, 2, &dot).await;
            dot.makes(SIZE * SIZE).await;
            assert_eq!(comes_and_goes.drain().await.abandoned, 0);
        }
        assert_eq!(task.result().await.unwrap(), input.product(), "{queues:?}");
        stays.drain().await;
    }
}
