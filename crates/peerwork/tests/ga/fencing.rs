//! A run that was superseded changes nothing, and a run that was not is not disturbed.

use crate::kit::{Actor, Ghost, Place, Puppet, Stage, bury, sweep};
use peerwork::{Handler, Reason, SaveError, State, Status, Stop};
use peerwork_core::{BeatAnswer, Event, Pulse, Work};
use peerwork_store::{Ended, Saved};
use tokio::task::JoinSet;

on_every_database!(
    ga_01_a_frozen_node_that_wakes_does_not_overwrite_the_newer_checkpoint,
    ga_02_a_frozen_node_that_wakes_neither_finishes_nor_fails_nor_releases_the_task,
    ga_03_a_dead_node_is_not_kept_alive_by_its_own_beats,
    ga_04_a_finish_with_forget_deletes_no_run_of_others_and_skips_no_cleanup,
    ga_06_the_runs_of_a_node_that_was_declared_dead_are_told_to_stop,
    ga_06_a_run_that_has_lost_its_task_is_told_so_by_its_next_save,
    ga_07_a_finish_that_lands_while_a_peer_declares_the_node_dead_stays_finished,
    ga_08_a_crash_while_a_pause_or_a_deletion_is_pending_leads_to_it,
    ga_08_a_crash_in_the_middle_of_a_cleanup_leads_to_another_cleanup,
);

/// What a handler may end with.
const ENDS: [Event; 6] = [
    Event::Ok { forget: false },
    Event::Ok { forget: true },
    Event::Err {
        permanent: true,
        retry_after_ms: None,
        jitter: 0,
        forget: false,
    },
    Event::Stopped,
    Event::Wait { until: None },
    Event::Deadline,
];

async fn ga_01_a_frozen_node_that_wakes_does_not_overwrite_the_newer_checkpoint(place: Place) {
    let client = place.client().await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let frozen = Ghost::appear(&place).await;
    let old = frozen.claim_one().await;
    assert_eq!(frozen.save(&old, 1).await, Saved::Kept(Status::Running));
    frozen.die().await;

    let stage = Stage::new();
    let node = place.node().register(stage.puppet("b"));
    let node = node.start().await.unwrap();
    let actor = stage.next().await;
    assert_eq!(actor.checkpoint, Some(1));
    actor.save(2).await.unwrap();
    assert_eq!(frozen.save(&old, -1).await, Saved::Lost);
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(2));

    actor.finish(3).await;
    assert_eq!(task.result().await.unwrap(), 3);
    assert_eq!(frozen.save(&old, -1).await, Saved::Lost);
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(2));
    node.drain().await;
}

async fn ga_02_a_frozen_node_that_wakes_neither_finishes_nor_fails_nor_releases_the_task(
    place: Place,
) {
    let client = place.client().await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let frozen = Ghost::appear(&place).await;
    let old = frozen.claim_one().await;
    frozen.die().await;
    for event in ENDS {
        assert_eq!(frozen.end(&old, event).await, Ended::Lost, "{event:?}");
        assert_eq!(task.get().await.unwrap().status(), Status::Resuming);
    }

    let stage = Stage::new();
    let node = place.node().register(stage.puppet("b"));
    let node = node.start().await.unwrap();
    let actor = stage.next().await;
    let before = task.get().await.unwrap();
    for event in ENDS {
        assert_eq!(frozen.end(&old, event).await, Ended::Lost, "{event:?}");
        let after = task.get().await.unwrap();
        assert_eq!((after.task, after.run), (before.task, before.run));
    }
    actor.save(1).await.expect("it holds the task");
    actor.finish(7).await;
    assert_eq!(task.result().await.unwrap(), 7);
    for event in ENDS {
        assert_eq!(frozen.end(&old, event).await, Ended::Lost, "{event:?}");
    }
    assert_eq!(task.result().await.unwrap(), 7);
    assert!(task.failures().await.unwrap().is_empty());
    node.drain().await;
}

async fn ga_03_a_dead_node_is_not_kept_alive_by_its_own_beats(place: Place) {
    let store = place.store();
    let ghost = Ghost::appear(&place).await;
    let beat = |seq| store.beat(ghost.id, Pulse { seq, acked: 0 }, 60_000);
    assert_eq!(beat(1).await.unwrap(), BeatAnswer::Renewed);
    bury(&*store, ghost.id).await;
    for seq in [1, 2, 3] {
        let answer = beat(seq).await.unwrap();
        let alive = false;
        assert_eq!(answer, BeatAnswer::Row { seq: 1, alive });
    }

    // A real one takes the hint: it starts anew under another id, and the old one stays dead.
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let old = node.id();
    let client = node.client();
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    stage.next().await;
    bury(&*store, old).await;
    sweep(&*store).await;
    let again = stage.next().await;
    // Perhaps it was claimed and given back meanwhile: its first run may not have ended here yet.
    assert!(again.id == task.id() && again.attempt > 1);
    assert_ne!(node.id(), old);
    let nodes = store.nodes().await.unwrap();
    let is_alive = |id| nodes.iter().any(|row| row.id == id && row.alive);
    assert!(!is_alive(old) && !is_alive(ghost.id) && is_alive(node.id()));
    drop(again);
    node.drain().await;
}

async fn ga_04_a_finish_with_forget_deletes_no_run_of_others_and_skips_no_cleanup(place: Place) {
    let client = place.client().await;
    let draft = Puppet::task(String::new()).forget_on_finish();
    let task = client.create(draft).await.unwrap();
    let frozen = Ghost::appear(&place).await;
    let old = frozen.claim_one().await;
    frozen.die().await;

    let stage = Stage::new();
    let node = place.node().register(stage.puppet("b"));
    let node = node.start().await.unwrap();
    let actor = stage.next().await;
    let forget = Event::Ok { forget: true };
    assert_eq!(frozen.end(&old, forget).await, Ended::Lost);
    assert_eq!(task.get().await.unwrap().status(), Status::Running);

    // The user deletes it; its own run comes first with "finished, forget me". The cleanup was asked for all the same.
    assert_eq!(task.delete().await.unwrap(), Status::DeletingRun);
    actor.finish(1).await;
    let cleanup = stage.next().await;
    assert_eq!((cleanup.id, cleanup.work), (task.id(), Work::Cleanup));
    cleanup.finish(0).await;
    task.until(State::Deleted).await.unwrap();
    node.drain().await;
}

async fn ga_06_the_runs_of_a_node_that_was_declared_dead_are_told_to_stop(place: Place) {
    let stage = Stage::new();
    let start = |name| place.node().register(stage.puppet(name)).slots(2).start();
    let node = start("a").await.unwrap();
    let tasks = (0..2).map(|n| Puppet::task(n.to_string()));
    node.client().create_many(tasks).await.unwrap();
    let actors = stage.take(2).await;
    bury(&*place.store(), node.id()).await;
    for actor in &actors {
        actor.token.cancelled().await;
        actor.ended().await;
    }
    // Nothing of theirs is lost: another node, or the next incarnation of this one, runs them.
    let other = start("b").await.unwrap();
    for again in stage.take(2).await {
        assert!(again.attempt > 1);
        again.finish(0).await;
    }
    tokio::join!(node.drain(), other.drain());
}

async fn ga_06_a_run_that_has_lost_its_task_is_told_so_by_its_next_save(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let client = node.client();
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let actor = stage.next().await;
    actor.save(1).await.unwrap();

    // Somebody else ended its run, in a way that its node cannot know of.
    let run = task.get().await.unwrap().run.expect("it is held");
    let ghost = Ghost::appear(&place).await;
    let ended = ghost.end_run(task.id(), run, Event::Ok { forget: false });
    assert_eq!(ended.await, Ended::Recorded(Status::Finished));

    let reason = Reason::LeaseLost;
    let told = Err(SaveError::Stop(Stop { reason }));
    assert_eq!(actor.save(2).await, told);
    assert!(actor.token.is_cancelled());
    assert_eq!(task.checkpoint::<i64>().await.unwrap(), Some(1));
    actor.finish(2).await;
    assert_eq!(task.result().await.unwrap(), 666);
    node.drain().await;
}

async fn ga_07_a_finish_that_lands_while_a_peer_declares_the_node_dead_stays_finished(
    place: Place,
) {
    const ROUNDS: usize = 10;
    const TASKS: usize = 8;
    let stage = Stage::new();
    let start = |name| place.node().register(stage.puppet(name)).slots(TASKS);
    let node = start("a").start().await.unwrap();
    let client = place.client().await;
    for round in 0..ROUNDS {
        let drafts = (0..TASKS).map(|n| Puppet::task(n.to_string()));
        let tasks = node.client().create_many(drafts).await.unwrap();
        let actors = stage.take(TASKS).await;
        // Each round at another moment: the declaration falls before, between and after the ends.
        let (store, id) = (place.store(), node.id());
        let burial = tokio::spawn(async move {
            for _ in 0..round * 20 {
                tokio::task::yield_now().await;
            }
            bury(&*store, id).await;
            sweep(&*store).await;
        });
        for actor in actors {
            tokio::spawn(finish_with_attempt(actor));
        }
        burial.await.unwrap();

        let mut over = JoinSet::new();
        for task in &tasks {
            let task = client.task_of::<Puppet>(task.id()).await.unwrap();
            over.spawn(async move { task.result().await.map(|output| (task, output)) });
        }
        while !over.is_empty() {
            tokio::select! {
                again = stage.next() => drop(tokio::spawn(finish_with_attempt(again))),
                result = over.join_next() => {
                    let (task, output) = result.unwrap().unwrap().unwrap();
                    let record = task.get().await.unwrap();
                    assert_eq!(record.status(), Status::Finished);
                    // The run whose finish was recorded is the last one there was.
                    assert_eq!(output, i64::from(record.task.attempt));
                }
            }
        }
    }
    node.drain().await;
}

/// Finishes, unless the run was dropped because its node is dead.
async fn finish_with_attempt(actor: Actor) {
    let attempt = actor.attempt;
    actor.try_finish(i64::from(attempt)).await;
}

async fn ga_08_a_crash_while_a_pause_or_a_deletion_is_pending_leads_to_it(place: Place) {
    let client = place.client().await;
    let ghost = Ghost::appear(&place).await;
    let drafts = (0..2).map(|n| Puppet::task(n.to_string()).group("g"));
    let tasks = client.create_many(drafts).await.unwrap();
    assert_eq!(ghost.claim(Work::Run, 2).await.len(), 2);
    let visible = async || client.tasks().group("g").all().await.unwrap().len();
    assert_eq!(tasks[0].pause().await.unwrap(), Status::Pausing);
    assert_eq!(tasks[1].delete().await.unwrap(), Status::DeletingRun);
    assert_eq!(visible().await, 2);
    ghost.die().await;
    assert_eq!(visible().await, 2);
    assert_eq!(tasks[0].get().await.unwrap().state(), State::Paused);
    assert_eq!(tasks[1].get().await.unwrap().state(), State::Deleting);

    let stage = Stage::new();
    let node = place.node().register(stage.puppet("b"));
    let node = node.start().await.unwrap();
    let cleanup = stage.next().await;
    assert_eq!((cleanup.id, cleanup.work), (tasks[1].id(), Work::Cleanup));
    cleanup.finish(0).await;
    tasks[1].until(State::Deleted).await.unwrap();
    assert!(stage.is_empty().await, "nobody runs a paused task");
    tasks[0].resume().await.unwrap();
    stage.next().await.finish(1).await;
    assert_eq!(tasks[0].result().await.unwrap(), 1);
    node.drain().await;
}

async fn ga_08_a_crash_in_the_middle_of_a_cleanup_leads_to_another_cleanup(place: Place) {
    let client = place.client().await;
    let ghost = Ghost::appear(&place).await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    assert_eq!(task.delete().await.unwrap(), Status::CleanupQueued);
    let cleaning = ghost.claim(Work::Cleanup, 1).await;
    ghost.save(&cleaning[0], 5).await;
    ghost.die().await;
    assert_eq!(task.get().await.unwrap().state(), State::Deleting);

    let stage = Stage::new();
    let node = place.node().register(stage.puppet("b"));
    let node = node.start().await.unwrap();
    let cleanup = stage.next().await;
    assert_eq!((cleanup.work, cleanup.checkpoint), (Work::Cleanup, Some(5)));
    cleanup.finish(0).await;
    task.until(State::Deleted).await.unwrap();
    node.drain().await;
}
