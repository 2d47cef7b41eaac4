//! While tasks run and after they have ended: signals, final states, costs, and what is left behind.

use crate::kit::{Ghost, Place, Puppet, STEADY, Stage, Tap};
use peerwork::*;
use peerwork_core::{Event, Work};
use peerwork_store::{Ended, Saved};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

on_every_database!(
    ga_32_nothing_is_left_behind_after_a_finish,
    ga_33_a_final_state_is_final,
    ga_34_the_stop_signal_is_a_token_with_a_reason_that_every_clone_sees,
    ga_35_no_query_is_made_for_a_task_that_runs,
    ga_41_two_nodes_live_in_one_process,
);

async fn ga_32_nothing_is_left_behind_after_a_finish(place: Place) {
    const TASKS: usize = 30;
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).slots(TASKS);
    let node = node.start().await.unwrap();
    let client = node.client();
    let round = async || {
        let drafts = (0..TASKS).map(|n| Puppet::task(n.to_string()));
        let tasks = client.create_many(drafts).await.unwrap();
        let mut results: JoinSet<_> = tasks.into_iter().map(result).collect();
        for actor in stage.take(TASKS).await {
            tokio::spawn(actor.token.clone().cancelled_owned());
            actor.save(1).await.unwrap();
            actor.finish(1).await;
        }
        while results.join_next().await.is_some() {}
    };
    let spawned = || Handle::current().metrics().num_alive_tasks();
    round().await;
    // Its connections are open now. Whoever waits for the stop of a run that has ended waits no more.
    crate::kit::until(async || spawned() < TASKS).await;
    let before = spawned();
    for _ in 0..5 {
        round().await;
    }
    crate::kit::until(async || spawned() <= before).await;
    assert!(node.holds().is_empty());
    let row = client.nodes().await.unwrap();
    assert_eq!((row.len(), row[0].held), (1, 0));
    node.drain().await;
}

async fn result(task: TaskHandle<Puppet>) -> i64 {
    task.result().await.unwrap()
}

async fn ga_33_a_final_state_is_final(place: Place) {
    let client = place.client().await;
    let drafts = (0..3).map(|n| Puppet::task(n.to_string()));
    let tasks = client.create_many(drafts).await.unwrap();
    let ghost = Ghost::appear(&place).await;
    let runs = ghost.claim(Work::Run, 3).await;
    let ok = Event::Ok { forget: false };
    let fail = Event::Err {
        permanent: true,
        retry_after_ms: None,
        jitter: 0,
        forget: false,
    };
    ghost.end(&runs[0], ok).await;
    ghost.end(&runs[1], fail).await;
    ghost.end(&runs[2], Event::Ok { forget: true }).await;
    let before = [
        tasks[0].get().await.unwrap().task,
        tasks[1].get().await.unwrap().task,
        tasks[2].get().await.unwrap().task,
    ];
    let statuses = before.map(|task| task.status);
    assert_eq!(
        statuses,
        [Status::Finished, Status::Failed, Status::Deleted]
    );
    for (n, run) in runs.iter().enumerate() {
        for event in [ok, fail, Event::Stopped, Event::Wait { until: None }] {
            assert_eq!(ghost.end(run, event).await, Ended::Already(statuses[n]));
        }
        assert_eq!(ghost.save(run, 9).await, Saved::Lost);
        assert!(tasks[n].pause().await.unwrap_err().is_refused());
        assert!(tasks[n].set_priority(1).await.unwrap_err().is_refused());
        assert_eq!(tasks[n].get().await.unwrap().task, before[n]);
    }
    ghost.die().await;
    assert!(tasks[0].resume().await.unwrap_err().is_refused());
    assert!(tasks[2].run().await.unwrap_err().is_gone());
    for (task, before) in tasks.iter().zip(before) {
        assert_eq!(task.get().await.unwrap().task, before);
    }
}

async fn ga_34_the_stop_signal_is_a_token_with_a_reason_that_every_clone_sees(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let client = node.client();
    let drafts = (0..3).map(|n| Puppet::task(n.to_string()));
    let tasks = client.create_many(drafts).await.unwrap();
    let mut actors = stage.take(3).await;
    actors.sort_by_key(|actor| actor.input.clone());
    let mut listeners = JoinSet::new();
    for actor in &actors {
        for _ in 0..3 {
            listeners.spawn(actor.token.clone().cancelled_owned());
        }
    }
    tasks[0].pause().await.unwrap();
    tasks[1].delete().await.unwrap();
    let mut actors = actors.into_iter();
    assert_eq!(actors.next().unwrap().stop().await, Reason::Pause);
    assert_eq!(actors.next().unwrap().stop().await, Reason::Delete);
    stage.next().await.finish(0).await;
    tasks[1].until(State::Deleted).await.unwrap();
    let last = actors.next().unwrap();
    assert!(!last.token.is_cancelled());
    let draining = tokio::spawn(node.drain());
    assert_eq!(last.stop().await, Reason::Drain);
    draining.await.unwrap();
    while let Some(heard) = listeners.join_next().await {
        heard.unwrap();
    }
}

async fn ga_35_no_query_is_made_for_a_task_that_runs(place: Place) {
    const MANY: usize = 100;
    let tap = Tap::on(place.store());
    let stage = Stage::new();
    let node = Node::builder(tap.database()).lease(STEADY).slots(MANY);
    let node = node.register(stage.puppet("a")).start().await.unwrap();
    let client = place.client().await;
    let drafts = (0..MANY).map(|n| Puppet::task(n.to_string()));
    client.create_many(drafts).await.unwrap();
    let actors = stage.take(MANY).await;
    tap.after("glance", 3).await;
    let before = tap.calls();
    tap.after("glance", 8).await;
    let after = tap.calls();
    // A hundred tasks run; what is asked of the database is what is asked for one or for none.
    for (call, count) in after {
        let made = count - before.get(call).copied().unwrap_or_default();
        match call {
            "glance" | "beat" => assert!(made < MANY, "{call}: {made}"),
            _ => assert_eq!(made, 0, "{call}"),
        }
    }
    // Their progress is written together.
    let saves = tap.calls().get("save").copied().unwrap_or_default();
    for actor in &actors {
        actor.progress(1, 2).await;
    }
    tap.after("glance", 8).await;
    let saves = tap.calls()["save"] - saves;
    assert!(saves < MANY / 4, "{saves} writes for {MANY} reports");
    drop(actors);
    node.drain().await;
}

async fn ga_41_two_nodes_live_in_one_process(place: Place) {
    let elsewhere = Place::in_memory(peerwork_store::MemoryStore::new());
    let stage = Stage::new();
    let start = |place: &Place, name| place.node().register(stage.puppet(name)).slots(1).start();
    let a = start(&place, "a").await.unwrap();
    let b = start(&place, "b").await.unwrap();
    let c = start(&elsewhere, "c").await.unwrap();
    let drafts = || (0..2).map(|n| Puppet::task(n.to_string()));
    let tasks = a.client().create_many(drafts()).await.unwrap();
    let apart = c.client().create_many(drafts()).await.unwrap();
    let mut actors = stage.take(3).await;
    actors.sort_by_key(|actor| actor.on.clone());
    let on: Vec<_> = actors.iter().map(|actor| actor.on.as_str()).collect();
    assert_eq!(on, ["a", "b", "c"]);
    assert_eq!(
        (a.holds().len(), b.holds().len(), c.holds().len()),
        (1, 1, 1)
    );
    // One of them ends; the others do not notice.
    let first = actors.remove(0);
    let draining = tokio::spawn(a.drain());
    first.stop().await;
    assert_eq!(draining.await.unwrap().handed_over, 1);
    for actor in actors {
        assert!(!actor.token.is_cancelled());
        actor.finish(1).await;
    }
    for _ in 0..2 {
        stage.next().await.finish(1).await;
    }
    let b_client = b.client();
    for task in tasks {
        b_client.task(task.id()).result().await.unwrap();
    }
    for task in apart {
        assert_eq!(task.result().await.unwrap(), 1);
    }
    tokio::join!(b.drain(), c.drain());
}
