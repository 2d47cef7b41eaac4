//! Runs that end while something is wished of them, or while they end elsewhere.

use super::{RACERS, race, running, tasks};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// Of many ends of the same run one is recorded; of many saves each is kept or lost with the run.
pub async fn racing_ends_of_a_run_are_recorded_once(f: &Fixture) {
    let held = running(f, 40).await;
    let ended = race(f, RACERS, |n, store| {
        let mut held = held.clone();
        held.rotate_left(n * 5);
        async move {
            let mut answers = Vec::new();
            for batch in held.chunks(10) {
                let ends = batch
                    .iter()
                    .map(|held| held.end(if n % 2 == 0 { OK } else { FAIL }))
                    .collect();
                let ended = store.end(ends).await.expect("end");
                answers.extend(batch.iter().map(|held| held.id).zip(ended));
            }
            answers
        }
    });
    let ended: Vec<_> = ended.await.into_iter().flatten().collect();
    for record in tasks(f, held.iter().map(|held| held.id)).await {
        let mine = ended
            .iter()
            .filter(|(id, _)| *id == record.id)
            .map(|(_, ended)| *ended);
        let (recorded, others): (Vec<_>, Vec<_>) =
            mine.partition(|ended| matches!(ended, Ended::Recorded(_)));
        let status = record.task.status;
        assert_eq!(recorded, [Ended::Recorded(status)]);
        assert!(
            others.iter().all(|ended| *ended == Ended::Already(status)),
            "{others:?}"
        );
    }
}

/// A pause that races a finish never keeps a finished task from being finished.
pub async fn a_pause_that_races_a_finish_is_too_late_or_harmless(f: &Fixture) {
    let steered = wish_against_end(f, Wish::Pause).await;
    for (record, steered) in steered {
        assert_eq!(record.task.status, Status::Finished);
        let fine = [
            Steered::Changed(Status::Pausing),
            Steered::Refused(Status::Finished, Refused::AlreadyFinished),
        ];
        assert!(fine.contains(&steered), "{steered:?}");
    }
}

/// A deletion that races a finish leads to the cleanup, whoever is first.
pub async fn a_deletion_that_races_a_finish_leads_to_the_cleanup(f: &Fixture) {
    for (record, steered) in wish_against_end(f, Wish::Delete).await {
        assert_eq!(record.task.status, Status::CleanupQueued);
        let fine = [
            Steered::Changed(Status::DeletingRun),
            Steered::Changed(Status::CleanupQueued),
        ];
        assert!(fine.contains(&steered), "{steered:?}");
    }
}

/// Runs that finish while each of their tasks is wished something.
async fn wish_against_end(f: &Fixture, wish: Wish) -> Vec<(TaskRecord, Steered)> {
    let held = running(f, 60).await;
    let answers = race(f, 2, |n, store| {
        let (held, wish) = (held.clone(), wish.clone());
        async move {
            let mut answers = Vec::new();
            for batch in held.chunks(3) {
                if n == 0 {
                    let ended = store
                        .end(batch.iter().map(|held| held.end(OK)).collect())
                        .await
                        .expect("end");
                    assert!(!ended.contains(&Ended::Lost), "nobody has taken these runs");
                } else {
                    let ids = batch.iter().map(|held| held.id).collect();
                    answers.extend(
                        store
                            .steer(ids, Filter::scope(None), wish.clone())
                            .await
                            .expect("steer"),
                    );
                }
            }
            answers
        }
    });
    let steered = answers.await.remove(1);
    tasks(f, held.iter().map(|held| held.id))
        .await
        .into_iter()
        .zip(steered)
        .collect()
}

/// Batches that name the same tasks in different orders wait for each other, and never for ever.
pub async fn ga_19_crossing_batches_do_not_deadlock(f: &Fixture) {
    let held = running(f, 30).await;
    let done = race(f, RACERS, |n, store| {
        let mut held = held.clone();
        if n % 2 == 0 {
            held.reverse();
        }
        held.rotate_left(n);
        async move {
            for _ in 0..5 {
                let ids = held.iter().map(|held| held.id).collect();
                match n % 3 {
                    0 => drop(
                        store
                            .save(held.iter().map(|held| held.save(b"x")).collect())
                            .await
                            .expect("save"),
                    ),
                    1 => drop(
                        store
                            .steer(ids, Filter::default(), Wish::Pause)
                            .await
                            .expect("pause"),
                    ),
                    _ => drop(
                        store
                            .steer(ids, Filter::default(), Wish::Resume)
                            .await
                            .expect("resume"),
                    ),
                }
            }
        }
    });
    done.await;
    for record in tasks(f, held.iter().map(|held| held.id)).await {
        assert!(matches!(
            record.task.status,
            Status::Running | Status::Pausing
        ));
        assert_eq!(
            f.payload(record.id, Payload::Checkpoint).await,
            Some(b"x".to_vec())
        );
    }
}
