//! How runs end: every event in every status of a held task, as `decide` says, with what is kept of it.

use super::fence::ends;
use super::steer::kinds;
use crate::population::{LIVES, Plan, populate};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// The whole matrix of held tasks, for kinds that differ.
pub async fn every_end_of_every_run_is_recorded_as_decided(f: &Fixture) {
    let node = f.node().await;
    let lives = LIVES.into_iter().filter(|life| life.status.is_held());
    let deadlines = [
        OnPauseDeadline::Force,
        OnPauseDeadline::Wait,
        OnPauseDeadline::Refuse,
    ];
    let mut plans = Vec::new();
    let mut cases = Vec::new();
    for life in lives {
        for (kind, rules) in kinds() {
            for event in ends().into_iter().chain([Event::Deadline]) {
                let choices = if event == Event::Deadline {
                    &deadlines[..]
                } else {
                    &deadlines[..1]
                };
                for choice in choices {
                    plans.push(Plan {
                        kind: kind.clone(),
                        ..Plan::new(life)
                    });
                    cases.push((
                        event,
                        Rules {
                            on_pause_deadline: *choice,
                            ..rules.clone()
                        },
                    ));
                }
            }
        }
    }
    let all = populate(f, &plans, &[node]).await;
    f.clock.pass_ms(3);
    let ids: Vec<_> = all.iter().map(|one| one.id).collect();
    let before = f.store.get(ids.clone()).await.expect("get");
    let end = |(i, (event, rules)): (usize, &(Event, Rules))| {
        let held = all[i].held.expect("held");
        End {
            rules: rules.clone(),
            ..held.end(*event)
        }
    };
    let ended = f
        .store
        .end(cases.iter().enumerate().map(end).collect())
        .await
        .expect("end");
    let after = f.store.get(ids).await.expect("get");
    for (i, (event, rules)) in cases.iter().enumerate() {
        let before = before[i].as_ref().expect("there").task;
        let to = match decide(&before, rules, *event, f.clock.now()).expect("a run may always end")
        {
            Transition::To(to) => to,
            Transition::Same => before,
            Transition::Erase => unreachable!("no end erases"),
        };
        assert_eq!(
            ended[i],
            Ended::Recorded(to.status),
            "{event:?} on {before:?}"
        );
        assert_eq!(
            after[i].as_ref().expect("there").task,
            to,
            "{event:?} on {before:?}"
        );
    }
}

/// Phase, output and status of a success are visible together.
pub async fn a_finish_keeps_its_output_and_its_run(f: &Fixture) {
    let held = f.running(task()).await;
    let started_at = f.clock.now();
    f.save(Save {
        progress: Some(Progress { done: 3, total: 4 }),
        ..held.save(b"half")
    })
    .await;
    f.clock.pass_ms(5);
    assert_eq!(f.end(&held, OK).await, Ended::Recorded(Status::Finished));
    let record = f.record(held.id).await;
    assert_eq!((record.node, record.run), (Some(held.node), Some(held.run)));
    assert_eq!(
        (record.started_at, record.finished_at),
        (Some(started_at), Some(f.clock.now()))
    );
    assert_eq!(record.progress, Some(Progress { done: 3, total: 4 }));
    assert_eq!(
        f.payload(held.id, Payload::Output).await,
        Some(b"output".to_vec())
    );
    assert_eq!(
        f.payload(held.id, Payload::Checkpoint).await,
        Some(b"half".to_vec())
    );
}

/// Where the run was to stop, or failed, its output is none.
pub async fn an_output_is_there_only_of_a_finished_task(f: &Fixture) {
    let failed = f.running(task()).await;
    f.end_with(End {
        output: Some(b"no".to_vec()),
        ..failed.end(FAIL)
    })
    .await;
    let cleaned = f.running(task()).await;
    f.must(cleaned.id, Wish::Delete).await;
    f.end(&cleaned, OK).await;
    let finished = f
        .running(NewTask {
            user: name("bob"),
            ..task()
        })
        .await;
    f.end(&finished, OK).await;
    let empty = f
        .running(NewTask {
            user: name("eve"),
            ..task()
        })
        .await;
    f.end_with(End {
        output: Some(Vec::new()),
        ..empty.end(OK)
    })
    .await;
    let none = f
        .running(NewTask {
            user: name("joe"),
            ..task()
        })
        .await;
    f.end_with(End {
        output: None,
        ..none.end(OK)
    })
    .await;
    let ids = [&failed, &cleaned, &finished, &empty, &none].map(|held| held.id);
    let asked = ids.into_iter().chain([fresh_task(), finished.id]).collect();
    let outputs = f.store.outputs(asked).await.expect("outputs");
    let output = Some(b"output".to_vec());
    assert_eq!(
        outputs,
        [None, None, output.clone(), Some(vec![]), None, None, output]
    );
    for (id, output) in ids.into_iter().zip(outputs) {
        assert_eq!(f.payload(id, Payload::Output).await, output);
    }
    f.must(finished.id, Wish::Delete).await;
    assert_eq!(
        f.store.outputs(vec![finished.id]).await.expect("outputs"),
        [None]
    );
}

/// The texts of failures are kept, the last ones only, with their attempts.
pub async fn ga_36_the_last_failures_are_kept_with_their_text(f: &Fixture) {
    let node = f.node().await;
    let id = f.create(task()).await;
    let rules = Rules {
        retry: Retry::at_once(100),
        ..Rules::default()
    };
    let tries = u32::try_from(ERRORS_KEPT_MAX + 3).expect("a few");
    for attempt in 1..=tries {
        let held = f.take(node, id).await;
        f.clock.pass_ms(1);
        let error = Some(format!("it broke for the {attempt}. time"));
        let ended = f
            .end_with(End {
                rules: rules.clone(),
                error,
                ..held.end(ERR)
            })
            .await;
        assert_eq!(ended, Ended::Recorded(Status::Scheduled));
        f.promote().await;
    }
    let failures = f.store.failures(id).await.expect("failures");
    assert_eq!(
        failures.iter().map(|f| f.attempt).collect::<Vec<_>>(),
        (4..=tries).collect::<Vec<_>>()
    );
    assert!(
        failures
            .iter()
            .all(|f| f.error == format!("it broke for the {}. time", f.attempt))
    );
    assert_eq!(failures.last().map(|f| f.at), Some(f.clock.now()));
    assert_eq!(
        f.record(id).await.error,
        failures.last().map(|f| f.error.clone())
    );
}

/// A text is cut to its bound and cleaned of what PostgreSQL cannot store.
pub async fn ga_36_a_failures_text_is_bounded(f: &Fixture) {
    for error in [
        "é".repeat(ERROR_BYTES_MAX),
        "nul \0 and 🦀 '\"%\\".to_owned(),
        String::new(),
    ] {
        let held = f.running(task()).await;
        f.end_with(End {
            error: Some(error.clone()),
            ..held.end(FAIL)
        })
        .await;
        let kept = &f.store.failures(held.id).await.expect("failures")[0].error;
        assert_eq!(*kept, bounded_error(&error));
        assert_eq!(f.record(held.id).await.error.as_ref(), Some(kept));
    }
}

/// A success after failures does not forget why it took so long.
pub async fn a_finished_task_still_tells_its_failures(f: &Fixture) {
    let held = f.running(task()).await;
    f.end(&held, ERR).await;
    f.clock.pass_ms(60_000);
    assert_eq!(f.promote().await, 1);
    let held = f.take(held.node, held.id).await;
    f.end(&held, OK).await;
    let record = f.record(held.id).await;
    assert_eq!(
        (record.task.failures, record.error.as_deref()),
        (1, Some("it broke"))
    );
    assert_eq!(f.store.failures(held.id).await.expect("failures").len(), 1);
}

/// The end is repeated because its answer was lost: it is known as a repetition, and nothing happens.
pub async fn ga_45_an_end_that_is_repeated_is_known_and_changes_nothing(f: &Fixture) {
    for event in ends() {
        let held = f.running(task()).await;
        let Ended::Recorded(status) = f.end(&held, event).await else {
            panic!("{event:?} was not recorded")
        };
        let before = super::fence::all_of(f, held.id).await;
        f.clock.pass_ms(1);
        assert_eq!(
            f.end(&held, event).await,
            Ended::Already(status),
            "{event:?}"
        );
        assert_eq!(super::fence::all_of(f, held.id).await, before, "{event:?}");
    }
}

/// A repetition is told where the task is by now, until another run has it.
pub async fn a_repeated_end_is_known_until_the_next_claim(f: &Fixture) {
    let held = f.running(task()).await;
    f.end(&held, Event::Stopped).await;
    f.must(held.id, Wish::Pause).await;
    assert_eq!(
        f.end(&held, Event::Stopped).await,
        Ended::Already(Status::Paused)
    );
    f.must(held.id, Wish::Resume).await;
    assert_eq!(
        f.end(&held, Event::Stopped).await,
        Ended::Already(Status::Resuming)
    );
    let next = f.take(held.node, held.id).await;
    assert_eq!(f.end(&held, Event::Stopped).await, Ended::Lost);
    f.end(&next, OK).await;
    assert_eq!(f.end(&held, OK).await, Ended::Lost, "that was another run");
    assert_eq!(f.end(&next, OK).await, Ended::Already(Status::Finished));
    f.must(held.id, Wish::Rerun).await;
    assert_eq!(f.end(&next, OK).await, Ended::Lost, "it has begun anew");
}

/// Whoever was rescued, or whose deletion was forced, has not ended by itself: its late end is no repetition.
pub async fn what_others_have_ended_is_no_repetition(f: &Fixture) {
    f.publish(Rules {
        crash_limit: 1,
        ..Rules::default()
    })
    .await;
    let held = f.running(task()).await;
    f.bury(held.node).await;
    assert_eq!(f.sweep().await, [(held.id, Status::Failed)]);
    assert_eq!(f.end(&held, FAIL).await, Ended::Lost);
}
