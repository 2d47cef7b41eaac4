//! The judge of a race: what was told, and what is there, must fit one order of events.

use super::history::{Entry, What};
use super::legal;
use peerwork_core::*;
use peerwork_store::*;
use std::collections::{BTreeMap, BTreeSet};

/// Judges every task by its own entries; `changes` are the statuses it was seen in, where the database noted them.
pub fn judge(
    records: &[TaskRecord],
    checkpoints: &[Option<Vec<u8>>],
    history: &[Entry],
    changes: &[(TaskId, Status)],
) {
    let steps = legal::steps();
    let mut by_task: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in history {
        by_task.entry(entry.id).or_default().push(entry);
    }
    let mut seen: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (id, status) in changes {
        seen.entry(*id).or_default().push(*status);
    }
    for (record, checkpoint) in records.iter().zip(checkpoints) {
        let entries = by_task.remove(&record.id).unwrap_or_default();
        claims_are_counted(record, &entries);
        the_fence_held(record, &entries);
        every_run_ended_once(record, &entries);
        wishes_are_kept(record, &entries);
        the_checkpoint_is_one_that_was_kept(record, checkpoint.as_ref(), &entries);
        if let Some(seen) = seen.remove(&record.id) {
            every_step_is_legal(record, &seen, &steps);
        }
    }
    assert!(
        by_task.is_empty() && seen.is_empty(),
        "tasks that nobody has created: {by_task:?} {seen:?}"
    );
}

/// I2, I3: each claim has its own attempt, none is missing, and none is counted that nobody got.
fn claims_are_counted(record: &TaskRecord, entries: &[&Entry]) {
    let attempts = entries.iter().filter_map(|entry| match entry.what {
        What::Claimed(_, attempt, _) => Some(attempt),
        _ => None,
    });
    let mut attempts: Vec<_> = attempts.collect();
    attempts.sort_unstable();
    assert_eq!(
        attempts,
        (1..=record.task.attempt).collect::<Vec<_>>(),
        "I3: {record:?} {entries:#?}"
    );
}

/// I1: no write of a run is accepted that began after the run was known to be over.
fn the_fence_held(record: &TaskRecord, entries: &[&Entry]) {
    for write in entries {
        let (What::Saved(run, _, true) | What::Ended(run, Some(_))) = write.what else {
            continue;
        };
        assert!(
            attempt_of(entries, run).is_some(),
            "I1: {write:?} of a run that never was: {record:?}"
        );
        for other in entries
            .iter()
            .filter(|other| other.when.told < write.when.asked)
        {
            let over = match other.what {
                What::Claimed(newer, attempt, _) => {
                    newer != run && Some(attempt) > attempt_of(entries, run)
                }
                What::Ended(ended, Some(status)) => ended == run && !status.is_held(),
                What::Saved(..) | What::Ended(..) | What::Steered(_) | What::Swept => false,
            };
            assert!(!over, "I1: {record:?}: {write:?} after {other:?}");
        }
    }
}

fn attempt_of(entries: &[&Entry], run: RunId) -> Option<u32> {
    entries.iter().find_map(|entry| match entry.what {
        What::Claimed(claimed, attempt, _) if claimed == run => Some(attempt),
        _ => None,
    })
}

/// I2, I9: every run is ended by itself, by a sweep or by force, exactly once, unless it still holds its task.
fn every_run_ended_once(record: &TaskRecord, entries: &[&Entry]) {
    let count =
        |wanted: &dyn Fn(&What) -> bool| entries.iter().filter(|entry| wanted(&entry.what)).count();
    let claims = count(&|what| matches!(what, What::Claimed(..)));
    let ends = count(&|what| matches!(what, What::Ended(_, Some(status)) if !status.is_held()));
    let swept = count(&|what| matches!(what, What::Swept));
    // Only a cleanup can be taken from its run by force, and a task is deleted once.
    let forced = count(&|what| matches!(what, What::Steered(Steered::Changed(Status::Deleted))));
    let over = claims - usize::from(record.task.status.is_held());
    let told = ends + swept..=ends + swept + forced;
    assert!(
        told.contains(&over),
        "I2: {over} runs are over, {told:?} were told so: {record:?} {entries:#?}"
    );
    let mut recorded = BTreeSet::new();
    for entry in entries {
        if let What::Ended(run, Some(status)) = entry.what {
            assert!(
                status.is_held() || recorded.insert(run),
                "I9: {run} ended twice: {entries:#?}"
            );
        }
    }
}

/// I12, I13: after an acknowledged pause no claim before another wish, after an acknowledged deletion none for a run.
fn wishes_are_kept(record: &TaskRecord, entries: &[&Entry]) {
    for claim in entries {
        let What::Claimed(_, _, status) = claim.what else {
            continue;
        };
        for wish in entries
            .iter()
            .filter(|wish| wish.when.told < claim.when.asked)
        {
            let What::Steered(Steered::Changed(then) | Steered::Unchanged(then)) = wish.what else {
                continue;
            };
            let released = |other: &&Entry| {
                let What::Steered(Steered::Changed(to)) = other.what else {
                    return false;
                };
                to != Status::Paused
                    && other.when.told > wish.when.asked
                    && other.when.asked < claim.when.told
            };
            if then == Status::Paused {
                assert!(
                    entries.iter().any(released),
                    "I12: {claim:?} after {wish:?}: {record:?} {entries:#?}"
                );
            }
            let deleting = matches!(
                then,
                Status::DeletingRun | Status::CleanupQueued | Status::Cleaning | Status::Deleted
            );
            assert!(
                !deleting || status == Status::Cleaning,
                "I13: {claim:?} after {wish:?}: {record:?} {entries:#?}"
            );
        }
    }
}

/// I11: the checkpoint that is there was kept, and none that was kept later is missing.
fn the_checkpoint_is_one_that_was_kept(
    record: &TaskRecord,
    checkpoint: Option<&Vec<u8>>,
    entries: &[&Entry],
) {
    let kept = entries.iter().filter_map(|entry| match &entry.what {
        What::Saved(_, bytes, true) => Some((bytes, entry.when)),
        _ => None,
    });
    let kept: Vec<_> = kept.collect();
    // A rerun or a deletion takes the checkpoint away.
    let cleared =
        |steered: &Steered| matches!(steered, Steered::Changed(Status::Queued | Status::Deleted));
    let taken = record.task.status == Status::Deleted
        || entries
            .iter()
            .any(|entry| matches!(&entry.what, What::Steered(steered) if cleared(steered)));
    match checkpoint {
        None => assert!(
            kept.is_empty() || taken,
            "I11: a checkpoint is lost: {record:?} {entries:#?}"
        ),
        Some(there) => {
            let mine = kept.iter().find(|(bytes, _)| *bytes == there);
            let (_, mine) = mine
                .unwrap_or_else(|| panic!("I11: nobody saved {there:?}: {record:?} {entries:#?}"));
            let newer = kept.iter().find(|(_, when)| when.asked > mine.told);
            assert!(
                newer.is_none(),
                "I11: {newer:?} is newer than {there:?}: {record:?} {entries:#?}"
            );
        }
    }
}

/// I7, I8: from one status to the next as the matrix says, and the last is where the task is.
fn every_step_is_legal(record: &TaskRecord, seen: &[Status], steps: &BTreeSet<(Status, Status)>) {
    assert!(
        matches!(
            seen[0],
            Status::Created | Status::Scheduled | Status::Queued
        ),
        "{record:?}: {seen:?}"
    );
    for step in seen.windows(2).filter(|step| step[0] != step[1]) {
        assert!(
            steps.contains(&(step[0], step[1])),
            "I7: {} to {}: {record:?}: {seen:?}",
            step[0],
            step[1]
        );
    }
    assert_eq!(seen.last(), Some(&record.task.status), "{seen:?}");
}
