//! The fence: a run writes while it holds its task, and never after.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// Everything a run may end in.
pub fn ends() -> [Event; 9] {
    let forget_err = Event::Err {
        permanent: true,
        retry_after_ms: None,
        jitter: 0,
        forget: true,
    };
    let retry_after = Event::Err {
        permanent: false,
        retry_after_ms: Some(77),
        jitter: 0,
        forget: false,
    };
    let timer = Event::Wait {
        until: Some(Timestamp(9_000_000_000_000_000)),
    };
    [
        OK,
        Event::Ok { forget: true },
        ERR,
        retry_after,
        FAIL,
        forget_err,
        WAIT,
        timer,
        Event::Stopped,
    ]
}

/// A task whose first run was superseded by a second, which has saved `newer`.
async fn superseded(f: &Fixture) -> (Held, Held) {
    let old = f.running(task()).await;
    f.save(old.save(b"older")).await;
    f.bury(old.node).await;
    assert_eq!(f.sweep().await, [(old.id, Status::Resuming)]);
    let node = f.node().await;
    let new = f.take(node, old.id).await;
    f.save(new.save(b"newer")).await;
    (old, new)
}

/// All that can be read of a task, as text.
pub async fn all_of(f: &Fixture, id: TaskId) -> String {
    let record = f.record(id).await;
    let checkpoint = f.payload(id, Payload::Checkpoint).await;
    let output = f.payload(id, Payload::Output).await;
    let failures = f.store.failures(id).await.expect("failures");
    format!("{record:?} {checkpoint:?} {output:?} {failures:?}")
}

/// A frozen node wakes after its task went on elsewhere.
pub async fn ga_01_a_save_of_a_superseded_run_changes_nothing(f: &Fixture) {
    let (old, new) = superseded(f).await;
    let before = all_of(f, old.id).await;
    let progress = Some(Progress { done: 9, total: 9 });
    assert_eq!(
        f.save(Save {
            progress,
            ..old.save(b"zombie")
        })
        .await,
        Saved::Lost
    );
    assert_eq!(
        f.save(Save {
            progress,
            checkpoint: None,
            ..old.save(b"")
        })
        .await,
        Saved::Lost
    );
    assert_eq!(all_of(f, old.id).await, before);
    assert_eq!(
        f.payload(old.id, Payload::Checkpoint).await,
        Some(b"newer".to_vec())
    );
    assert_eq!(
        f.save(new.save(b"newest")).await,
        Saved::Kept(Status::Running)
    );
}

/// The same for every way a run may end.
pub async fn ga_02_an_end_of_a_superseded_run_changes_nothing(f: &Fixture) {
    let (old, new) = superseded(f).await;
    let before = all_of(f, old.id).await;
    for event in ends().into_iter().chain([Event::Deadline]) {
        assert_eq!(f.end(&old, event).await, Ended::Lost, "{event:?}");
        assert_eq!(all_of(f, old.id).await, before, "{event:?}");
    }
    assert_eq!(f.end(&new, OK).await, Ended::Recorded(Status::Finished));
}

/// The run id is the fence, not the node: the same node may hold a task again.
pub async fn a_nodes_own_older_run_is_fenced_too(f: &Fixture) {
    let old = f.running(task()).await;
    f.end(&old, Event::Stopped).await;
    let new = f.take(old.node, old.id).await;
    assert_eq!(f.save(old.save(b"zombie")).await, Saved::Lost);
    assert_eq!(f.end(&old, OK).await, Ended::Lost);
    assert_eq!(f.status(old.id).await, Status::Running);
    assert_eq!(f.end(&new, OK).await, Ended::Recorded(Status::Finished));
}

/// One claim batch has one run id for many tasks: it is a fence together with the task's id only.
pub async fn a_run_ends_only_the_task_it_names(f: &Fixture) {
    f.store.create(vec![task(), task()]).await.expect("create");
    let node = f.node().await;
    let claimed = f.claim(node, Work::Run, 2).await;
    let [a, b] = [0, 1].map(|i: usize| Held {
        id: claimed[i].id,
        run: claimed[i].run,
        node,
    });
    assert_eq!(a.run, b.run);
    assert_eq!(f.end(&a, OK).await, Ended::Recorded(Status::Finished));
    assert_eq!(f.status(b.id).await, Status::Running);
    assert_eq!(f.save(a.save(b"late")).await, Saved::Lost);
    assert_eq!(f.save(b.save(b"mine")).await, Saved::Kept(Status::Running));
}

/// "Delete the record" deletes no record of another run.
pub async fn ga_04_a_forgetful_finish_deletes_nothing_it_does_not_own(f: &Fixture) {
    let (old, _) = superseded(f).await;
    assert_eq!(f.end(&old, Event::Ok { forget: true }).await, Ended::Lost);
    assert_eq!(f.status(old.id).await, Status::Running);
}

/// "Delete the record" does not skip the cleanup that a user asked for.
pub async fn ga_04_a_forgetful_finish_does_not_skip_a_cleanup(f: &Fixture) {
    let held = f.running(task()).await;
    f.must(held.id, Wish::Delete).await;
    let ended = f.end(&held, Event::Ok { forget: true }).await;
    assert_eq!(ended, Ended::Recorded(Status::CleanupQueued));
}

/// A finish that lands between the declaration of its node's death and the sweep stays.
pub async fn ga_07_a_finish_that_races_a_death_stays_finished(f: &Fixture) {
    let held = f.running(task()).await;
    f.bury(held.node).await;
    assert_eq!(f.end(&held, OK).await, Ended::Recorded(Status::Finished));
    assert_eq!(f.sweep().await, []);
    let record = f.record(held.id).await;
    assert_eq!(
        (record.task.status, record.task.crashes),
        (Status::Finished, 0)
    );
}

/// One that lands after the sweep is lost, and the task goes on.
pub async fn ga_07_a_finish_after_the_sweep_is_lost(f: &Fixture) {
    let held = f.running(task()).await;
    f.bury(held.node).await;
    assert_eq!(f.sweep().await, [(held.id, Status::Resuming)]);
    assert_eq!(f.end(&held, OK).await, Ended::Lost);
    assert_eq!(f.save(held.save(b"late")).await, Saved::Lost);
    let record = f.record(held.id).await;
    assert_eq!(
        (record.task.status, record.task.crashes),
        (Status::Resuming, 1)
    );
}

/// Final is final, for the run that made it so too.
pub async fn ga_33_no_run_changes_a_final_task(f: &Fixture) {
    for event in [OK, FAIL, Event::Ok { forget: true }] {
        let held = f.running(task()).await;
        let Ended::Recorded(status) = f.end(&held, event).await else {
            panic!("{event:?} was lost")
        };
        assert!(status.is_final());
        let before = all_of(f, held.id).await;
        f.clock.pass_ms(1);
        for again in ends().into_iter().chain([Event::Deadline]) {
            assert_eq!(
                f.end(&held, again).await,
                Ended::Already(status),
                "{again:?} after {event:?}"
            );
        }
        assert_eq!(f.save(held.save(b"late")).await, Saved::Lost);
        f.bury(held.node).await;
        assert_eq!(f.sweep().await, []);
        assert_eq!((f.promote().await, f.wake().await), (0, 0));
        assert_eq!(all_of(f, held.id).await, before, "after {event:?}");
    }
}

/// A run that never was writes nothing, to a task that is there or not.
pub async fn a_run_that_never_was_is_lost(f: &Fixture) {
    let held = f.running(task()).await;
    let before = all_of(f, held.id).await;
    let stranger = Held {
        run: fresh_run(),
        ..held
    };
    let nobody = Held {
        id: fresh_task(),
        ..held
    };
    let queued = Held {
        id: f.create(task()).await,
        ..held
    };
    for one in [stranger, nobody, queued] {
        assert_eq!(f.save(one.save(b"lost")).await, Saved::Lost);
        assert_eq!(f.end(&one, OK).await, Ended::Lost);
    }
    assert_eq!(all_of(f, held.id).await, before);
    assert!(f.find(nobody.id).await.is_none());
    assert_eq!(f.status(queued.id).await, Status::Queued);
}

/// The lost ones of a batch do not take the others with them.
pub async fn a_batch_of_saves_and_ends_is_answered_in_its_order(f: &Fixture) {
    f.store
        .create(vec![task(), task(), task()])
        .await
        .expect("create");
    let node = f.node().await;
    let claimed = f.claim(node, Work::Run, 3).await;
    let [a, b, c] = [0, 1, 2].map(|i: usize| Held {
        id: claimed[i].id,
        run: claimed[i].run,
        node,
    });
    let stranger = Held {
        run: fresh_run(),
        ..b
    };
    f.must(c.id, Wish::Pause).await;
    let saves = vec![
        c.save(b"c"),
        stranger.save(b"lost"),
        a.save(b"a"),
        b.save(b"b1"),
        b.save(b"b2"),
    ];
    let (kept, stopping) = (Saved::Kept(Status::Running), Saved::Kept(Status::Pausing));
    assert_eq!(
        f.store.save(saves).await.expect("save"),
        [stopping, Saved::Lost, kept, kept, kept]
    );
    assert_eq!(
        f.payload(b.id, Payload::Checkpoint).await,
        Some(b"b2".to_vec()),
        "the later one stands"
    );
    let ends = vec![
        c.end(Event::Stopped),
        stranger.end(OK),
        b.end(OK),
        a.end(FAIL),
        b.end(FAIL),
    ];
    let wanted = [
        Ended::Recorded(Status::Paused),
        Ended::Lost,
        Ended::Recorded(Status::Finished),
        Ended::Recorded(Status::Failed),
        Ended::Already(Status::Finished),
    ];
    assert_eq!(f.store.end(ends).await.expect("end"), wanted);
    assert_eq!(f.status(b.id).await, Status::Finished);
}

/// The answer to a save tells the run what is wished.
pub async fn a_save_tells_that_the_run_shall_stop(f: &Fixture) {
    let held = f.running(task()).await;
    assert_eq!(f.save(held.save(b"1")).await, Saved::Kept(Status::Running));
    f.must(held.id, Wish::Pause).await;
    assert_eq!(f.save(held.save(b"2")).await, Saved::Kept(Status::Pausing));
    f.must(held.id, Wish::Resume).await;
    assert_eq!(f.save(held.save(b"3")).await, Saved::Kept(Status::Running));
    f.must(held.id, Wish::Delete).await;
    assert_eq!(
        f.save(held.save(b"4")).await,
        Saved::Kept(Status::DeletingRun)
    );
    assert_eq!(
        f.payload(held.id, Payload::Checkpoint).await,
        Some(b"4".to_vec())
    );
}

/// After a pause was acknowledged the run that it stopped writes no more.
pub async fn a_paused_task_has_no_holder(f: &Fixture) {
    let held = f.running(task()).await;
    f.must(held.id, Wish::Pause).await;
    f.end(&held, Event::Stopped).await;
    let record = f.record(held.id).await;
    assert_eq!(
        (record.node, record.run, record.started_at),
        (None, None, None)
    );
    assert_eq!(f.save(held.save(b"late")).await, Saved::Lost);
    assert_eq!(f.payload(held.id, Payload::Checkpoint).await, None);
}

/// `verify` names the status of what a run still holds, and nothing else.
pub async fn verify_tells_what_a_run_still_holds(f: &Fixture) {
    let (old, new) = superseded(f).await;
    let pausing = f.running(task()).await;
    f.must(pausing.id, Wish::Pause).await;
    let finished = f.running(task()).await;
    f.end(&finished, OK).await;
    let runs = [
        old,
        new,
        pausing,
        finished,
        Held {
            id: fresh_task(),
            ..new
        },
    ];
    let asked = runs.iter().map(|held| (held.id, held.run)).collect();
    let held = f.store.verify(asked).await.expect("verify");
    assert_eq!(
        held,
        [
            None,
            Some(Status::Running),
            Some(Status::Pausing),
            None,
            None
        ]
    );
}
