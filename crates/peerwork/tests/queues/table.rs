//! The queue in a table of its own.

use super::PATIENT;
use crate::kit::{Place, Puppet, Stage, until};
use peerwork::{
    Client, ExternalQueue, Handler, LaneId, LaneView, Name, Node, Offer, OpenLanes, Rank, SqlStore,
    TableQueue, TaskId, Timestamp, Work,
};
use std::collections::BTreeSet;
use uuid::Uuid;

on!([sqlite, postgres, mysql]
    a_table_gives_tasks_of_all_lanes_by_priority_and_time,
    what_is_claimable_no_more_leaves_the_table,
    a_table_keeps_what_it_was_told_last,
    racing_nodes_are_named_each_task_once,
);

fn table(place: &Place) -> TableQueue {
    TableQueue::new(place.database()).unwrap()
}

async fn node(place: &Place, stage: &Stage) -> Node {
    let node = place.node().register(stage.puppet("a")).slots(1);
    let node = node.queue(Work::Run, table(place)).queue_times(PATIENT);
    node.start().await.unwrap()
}

async fn create(client: &Client, user: &str, priority: i16) -> TaskId {
    let draft = Puppet::task(String::new()).user(user).group("maths");
    client.create(draft.priority(priority)).await.unwrap().id()
}

async fn len(store: &SqlStore) -> usize {
    store.enqueued(None, 100).await.unwrap().len()
}

async fn a_table_gives_tasks_of_all_lanes_by_priority_and_time(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage).await;
    let (client, store) = (place.client().await, place.sql().store(1).await);
    create(&client, "ann", 0).await;
    let mut running = stage.next().await;
    let mut wanted = Vec::new();
    for (user, priority) in [
        ("eve", 1),
        ("ann", 1),
        ("bob", 0),
        ("ann", 0),
        ("eve", 0),
        ("bob", -1),
    ] {
        wanted.push((priority, create(&client, user, priority).await));
    }
    wanted.sort_by_key(|(priority, _)| *priority);
    until(async || len(&store).await == wanted.len()).await;
    for (_, id) in wanted {
        running.finish(0).await;
        running = stage.next().await;
        assert_eq!(running.id, id);
    }
    // A task is taken out of the queue once it is claimed, beside its start.
    until(async || len(&store).await == 0).await;
    running.finish(0).await;
    node.drain().await;
}

async fn what_is_claimable_no_more_leaves_the_table(place: Place) {
    let stage = Stage::new();
    let node = node(&place, &stage).await;
    let (client, store) = (place.client().await, place.sql().store(1).await);
    create(&client, "ann", 0).await;
    let first = stage.next().await;
    for user in ["bob", "eve"] {
        create(&client, user, 0).await;
    }
    until(async || len(&store).await == 2).await;
    // No node ever names bob's again: his lane has nothing in it.
    client.tasks().user("bob").pause().await.unwrap();
    until(async || len(&store).await == 1).await;
    drop(first);
    node.drain().await;
}

fn offer(n: u128, user: &str, since: i64) -> Offer {
    let name = |text| Name::new("test", text).unwrap();
    let (group, user) = (name("maths"), name(user));
    Offer {
        task: TaskId(Uuid::from_u128(n)),
        kind: name("puppet"),
        lane: LaneId::new(&group, &user),
        user,
        group,
        work: Work::Run,
        rank: Rank(5),
        since: Timestamp(since),
    }
}

fn open(offers: &[Offer]) -> OpenLanes {
    let view = |offer: &Offer| LaneView {
        lane: offer.lane,
        group: offer.group.clone(),
        user: offer.user.clone(),
        work: offer.work,
        rank: offer.rank,
        since: offer.since,
    };
    let mut lanes: Vec<_> = offers.iter().map(view).collect();
    lanes.sort_by_key(|view| view.lane);
    lanes.dedup_by_key(|view| view.lane);
    let kinds = vec![Name::new("test", "puppet").unwrap()];
    OpenLanes::new(lanes, kinds)
}

fn numbers(tasks: Vec<TaskId>) -> Vec<u128> {
    tasks.into_iter().map(|task| task.0.as_u128()).collect()
}

async fn a_table_keeps_what_it_was_told_last(place: Place) {
    let queue = table(&place);
    let offers = vec![
        offer(1, "ann", 10),
        offer(2, "bob", 20),
        offer(3, "ann", 30),
    ];
    let all = open(&offers);
    queue.offer(offers.clone()).await.unwrap();
    queue.offer(offers).await.unwrap();
    assert_eq!(numbers(queue.known(None, 9).await.unwrap()), [1, 2, 3]);
    let from = Some(TaskId(Uuid::from_u128(1)));
    assert_eq!(numbers(queue.known(from, 1).await.unwrap()), [2]);
    // One moves, and is younger now.
    queue.offer(vec![offer(1, "bob", 40)]).await.unwrap();
    let of_ann = open(&[offer(3, "ann", 30)]);
    assert_eq!(numbers(queue.next(&of_ann, 9).await.unwrap()), [3]);
    let other_kind = OpenLanes::new(all.lanes().to_vec(), vec![Name::new("test", "x").unwrap()]);
    assert!(queue.next(&other_kind, 9).await.unwrap().is_empty());
    assert_eq!(numbers(queue.next(&all, 1).await.unwrap()), [2]);
    assert_eq!(numbers(queue.next(&all, 9).await.unwrap()), [1]);
    assert!(queue.next(&all, 9).await.unwrap().is_empty());
    queue.offer(vec![offer(4, "ann", 1)]).await.unwrap();
    queue
        .withdraw(vec![TaskId(Uuid::from_u128(4))])
        .await
        .unwrap();
    queue
        .withdraw(vec![TaskId(Uuid::from_u128(4))])
        .await
        .unwrap();
    assert!(queue.known(None, 9).await.unwrap().is_empty());
}

async fn racing_nodes_are_named_each_task_once(place: Place) {
    const TASKS: u128 = 120;
    let offers: Vec<_> = (0..TASKS)
        .map(|n| offer(n, &format!("user {}", n % 20), n as i64))
        .collect();
    table(&place).offer(offers.clone()).await.unwrap();
    let all = open(&offers);
    let named = (0..4).map(|_| {
        let (queue, all) = (table(&place), all.clone());
        tokio::spawn(async move {
            let mut named = Vec::new();
            while !queue.known(None, 1).await.unwrap().is_empty() {
                named.extend(queue.next(&all, 7).await.unwrap());
            }
            named
        })
    });
    let named: Vec<_> = named.collect();
    let mut seen = BTreeSet::new();
    for racer in named {
        for task in racer.await.unwrap() {
            assert!(seen.insert(task), "{task} was named twice");
        }
    }
    assert_eq!(seen.len() as u128, TASKS);
}
