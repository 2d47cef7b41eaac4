//! Queues that do not do what a queue should: they cost order and time, and nothing else.

use super::{HASTY, PATIENT};
use crate::kit::{Log, Place, Puppet, Stage};
use peerwork::queue::QueueResult;
use peerwork::{
    Database, ExternalQueue, Handler, MemoryQueue, Offer, OpenLanes, QueueTimes, TableQueue,
    TaskId, Work, async_trait,
};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

on_every_database!(
    whatever_a_queue_does_every_task_runs_once,
    nonsense_is_passed_over_and_withdrawn,
);

alone_on!([memory] a_queue_that_fails_is_reported);

/// What is wrong with a queue.
#[derive(Clone, Copy, Debug)]
enum Way {
    Errs,
    Panics,
    Hangs,
    Loses,
    Invents,
}

struct Broken(Way);

impl Broken {
    async fn answer<T>(&self, lost: T, invented: T) -> QueueResult<T> {
        match self.0 {
            Way::Errs => Err("out of order".into()),
            Way::Panics => panic!("a queue of this test"),
            Way::Hangs => std::future::pending().await,
            Way::Loses => Ok(lost),
            Way::Invents => Ok(invented),
        }
    }
}

#[async_trait]
impl ExternalQueue for Broken {
    async fn offer(&self, _: Vec<Offer>) -> QueueResult<()> {
        self.answer((), ()).await
    }

    async fn withdraw(&self, _: Vec<TaskId>) -> QueueResult<()> {
        self.answer((), ()).await
    }

    async fn next(&self, _: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>> {
        // More than it was asked for, and some of them twice.
        let invented = (0..2 * n).map(|n| TaskId(Uuid::from_u128(n as u128 / 2)));
        self.answer(Vec::new(), invented.collect()).await
    }

    async fn known(&self, _: Option<TaskId>, n: usize) -> QueueResult<Vec<TaskId>> {
        let invented = (0..2 * n).map(|n| TaskId(Uuid::from_u128(n as u128)));
        self.answer(Vec::new(), invented.collect()).await
    }
}

async fn whatever_a_queue_does_every_task_runs_once(place: Place) {
    for way in [Way::Errs, Way::Panics, Way::Hangs, Way::Loses, Way::Invents] {
        let stage = Stage::new();
        let node = place.node().register(stage.puppet("a")).slots(2);
        let node = node.queue(Work::Run, Broken(way)).queue_times(HASTY);
        let node = node.queue(Work::Cleanup, Broken(way));
        let node = node.start().await.unwrap();
        let drafts = (0..4).map(|n| Puppet::task(String::new()).user(n.to_string()).group("g"));
        let tasks = node.client().create_many(drafts).await.unwrap();
        for _ in &tasks {
            stage.next().await.finish(1).await;
        }
        for task in &tasks {
            assert_eq!(task.result().await.unwrap(), 1, "{way:?}");
            assert_eq!(task.get().await.unwrap().task.attempt, 1, "{way:?}");
            task.delete().await.unwrap();
            stage.next().await.finish(0).await;
        }
        assert_eq!(node.drain().await.abandoned, 0, "{way:?}");
    }
}

/// Names, before what it should, a task that runs, one that was never there, one of another sort of work, and everything twice.
struct Confused {
    queue: MemoryQueue,
    besides: Mutex<Vec<TaskId>>,
    withdrawn: Mutex<Vec<TaskId>>,
}

#[async_trait]
impl ExternalQueue for Confused {
    async fn offer(&self, tasks: Vec<Offer>) -> QueueResult<()> {
        self.queue.offer(tasks).await
    }

    async fn withdraw(&self, tasks: Vec<TaskId>) -> QueueResult<()> {
        self.withdrawn.lock().unwrap().extend(&tasks);
        self.queue.withdraw(tasks).await
    }

    async fn next(&self, open: &OpenLanes, n: usize) -> QueueResult<Vec<TaskId>> {
        let mut named = self.besides.lock().unwrap().clone();
        let next = self.queue.next(open, n).await?;
        named.extend(next.iter().chain(&next));
        Ok(named)
    }
}

async fn nonsense_is_passed_over_and_withdrawn(place: Place) {
    let stage = Stage::new();
    let queue = Arc::new(Confused {
        queue: MemoryQueue::new(),
        besides: Mutex::default(),
        withdrawn: Mutex::default(),
    });
    let node = place.node().register(stage.puppet("a")).slots(2);
    let node = node.queue(Work::Run, queue.clone()).queue_times(PATIENT);
    let node = node.start().await.unwrap();
    let client = node.client();
    let task = async || {
        let draft = Puppet::task(String::new()).user("ann").group("g");
        client.create(draft).await.unwrap()
    };
    let first = task().await;
    let runs = stage.next().await;
    assert_eq!(runs.id, first.id());
    let unknown = TaskId(Uuid::from_u128(7));
    *queue.besides.lock().unwrap() = vec![first.id(), unknown];
    for _ in 0..3 {
        let next = task().await;
        let actor = stage.next().await;
        assert_eq!((actor.id, actor.attempt), (next.id(), 1));
        actor.finish(0).await;
        next.result().await.unwrap();
    }
    assert!(queue.withdrawn.lock().unwrap().contains(&unknown));
    assert_eq!(first.get().await.unwrap().task.attempt, 1);
    runs.finish(0).await;
    node.drain().await;
}

async fn a_queue_that_fails_is_reported(place: Place) {
    let log = Log::listen();
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.queue(Work::Run, Broken(Way::Errs)).queue_times(HASTY);
    let node = node.start().await.unwrap();
    let draft = Puppet::task(String::new()).user("ann").group("g");
    node.client().create(draft).await.unwrap();
    stage.next().await.finish(0).await;
    node.drain().await;
    let told = log.with("a queue fails");
    assert!(!told.is_empty());
    assert!(
        told.iter().all(|line| line.contains("out of order")),
        "{told:?}"
    );
}

#[tokio::test]
async fn times_that_cannot_be_kept_are_refused() {
    let times = QueueTimes {
        answer_ms: 0,
        ..QueueTimes::default()
    };
    let node = peerwork::Node::builder(Database::memory()).queue_times(times);
    let node = node.handle("greet", |name: String| async move { Ok(name) });
    let error = node.start().await.err().expect("it is refused");
    assert!(
        error.is_invalid() && error.to_string().contains("answer_ms"),
        "{error}"
    );
}

#[tokio::test]
async fn a_table_needs_a_database_with_tables() {
    let error = TableQueue::new(Database::memory()).err();
    let error = error.expect("it is refused");
    assert!(
        error.is_invalid() && error.to_string().contains("MemoryQueue"),
        "{error}"
    );
}
