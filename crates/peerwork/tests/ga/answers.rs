//! Every operation has an answer in every status, may be repeated, and can be followed to its end.

use crate::kit::{Ask, Ghost, Place, Puppet, Stage, task_in};
use peerwork::{Handler, Rules, State, Status};
use peerwork_core::{Transition, decide};

on_every_database!(
    ga_44_every_operation_in_every_status_has_its_documented_answer,
    ga_45_every_operation_may_be_repeated,
    ga_45_an_operation_whose_answer_was_lost_may_be_repeated,
    ga_45_creating_may_be_repeated,
    ga_46_a_deletion_can_be_watched_until_the_task_is_gone,
);

async fn ga_44_every_operation_in_every_status_has_its_documented_answer(place: Place) {
    let client = place.client().await;
    let ghost = Ghost::appear(&place).await;
    for status in Status::ALL {
        for ask in Ask::ALL {
            let task = task_in(&client, &ghost, status).await;
            let before = task.get().await.unwrap().task;
            let now = client.now().await.unwrap();
            let answer = ask.of(&task).await;
            // docs/lifecycle.md is generated from the same function.
            match decide(&before, &Rules::default(), ask.event(), now) {
                Ok(Transition::To(to)) => {
                    assert_eq!(answer.unwrap(), to.status, "{ask:?} {status}")
                }
                Ok(Transition::Same) => assert_eq!(answer.unwrap(), status, "{ask:?} {status}"),
                Err(why) => {
                    let error = answer.expect_err(&format!("{ask:?} {status}"));
                    assert_eq!(error.refused_because(), Some(why), "{ask:?} {status}");
                    assert_eq!(task.get().await.unwrap().task, before);
                }
                Ok(Transition::Erase) => panic!("no user erases a tombstone"),
            }
        }
    }
}

async fn ga_45_every_operation_may_be_repeated(place: Place) {
    let client = place.client().await;
    let ghost = Ghost::appear(&place).await;
    for status in Status::ALL {
        for ask in Ask::ALL {
            let task = task_in(&client, &ghost, status).await;
            let first = ask.of(&task).await;
            let once = task.get().await.unwrap();
            let again = ask.of(&task).await;
            let twice = task.get().await.unwrap();
            let is_changed = first.is_ok() && once.status() != status;
            if ask == Ask::Rerun && is_changed {
                // It is under way: it says so, and leaves it alone.
                assert!(again.unwrap_err().is_refused());
            } else if ask == Ask::ForceDelete && once.status() == Status::CleanupQueued {
                // The first asked for a cleanup, the second gave it up.
                assert_eq!(again.unwrap(), Status::Deleted);
                continue;
            } else {
                let (first, again) = (
                    first.map_err(|e| e.to_string()),
                    again.map_err(|e| e.to_string()),
                );
                assert_eq!(first, again, "{ask:?} {status}");
            }
            assert_eq!(
                (once.task, once.group),
                (twice.task, twice.group),
                "{ask:?} {status}"
            );
        }
    }
}

async fn ga_45_an_operation_whose_answer_was_lost_may_be_repeated(place: Place) {
    let client = place.client().await;
    let ghost = Ghost::appear(&place).await;
    for (ask, status, then) in [
        (Ask::Run, Status::Created, Status::Queued),
        (Ask::Pause, Status::Queued, Status::Paused),
        (Ask::Resume, Status::Paused, Status::Queued),
        (Ask::Delete, Status::Running, Status::DeletingRun),
        (Ask::Move, Status::Queued, Status::Queued),
    ] {
        for yields in 0..8 {
            let task = task_in(&client, &ghost, status).await;
            let asked = task.clone();
            let call = tokio::spawn(async move { ask.of(&asked).await });
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
            call.abort();
            let _ = call.await;
            assert_eq!(ask.of(&task).await.unwrap(), then, "{ask:?} {yields}");
            assert_eq!(task.get().await.unwrap().status(), then, "{ask:?} {yields}");
        }
    }
}

async fn ga_45_creating_may_be_repeated(place: Place) {
    let client = place.client().await;
    let id = client.new_task_id();
    let draft = |input: &str| Puppet::task(input.to_owned()).id(id).group("g");
    for yields in 0..8 {
        let (client, draft) = (client.clone(), draft("first"));
        let call = tokio::spawn(async move { client.create(draft).await.map(drop) });
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        call.abort();
        let _ = call.await;
    }
    let first = client.create(draft("first")).await.unwrap();
    first.pause().await.unwrap();
    // Also when it has gone on since, and even if it was given something else.
    let again = client.create(draft("second")).await.unwrap();
    let many = client.create_many([draft("third"), draft("fourth")]).await;
    assert_eq!((again.id(), many.unwrap()[1].id()), (id, id));
    assert_eq!(client.tasks().group("g").all().await.unwrap().len(), 1);
    assert_eq!(first.get().await.unwrap().status(), Status::Paused);
    let input = first.input::<String>().await.unwrap();
    assert_eq!(input.as_deref(), Some("first"));
}

async fn ga_46_a_deletion_can_be_watched_until_the_task_is_gone(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let client = place.client().await;
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let actor = stage.next().await;
    let mut changes = task.watch();
    assert_eq!(changes.next().await.unwrap().state(), State::Running);

    task.delete().await.unwrap();
    while changes.next().await.unwrap().status() != Status::DeletingRun {}
    actor.stop().await;
    let cleanup = stage.next().await;
    while changes.next().await.unwrap().status() != Status::Cleaning {}
    let listed = client.tasks().state(State::Deleting).all().await.unwrap();
    assert_eq!(listed.len(), 1);
    cleanup.finish(0).await;
    loop {
        let record = changes.next().await.unwrap();
        if record.state() == State::Deleted {
            assert!(record.finished_at.is_some());
            break;
        }
        assert_eq!(record.state(), State::Deleting);
    }
    assert!(changes.next().await.unwrap_err().is_gone());
    assert!(client.tasks().all().await.unwrap().is_empty());
    // For a day it is known that it was.
    let tombs = client.tasks().state(State::Deleted).all().await.unwrap();
    assert_eq!(tombs[0].id, task.id());
    node.drain().await;
}
