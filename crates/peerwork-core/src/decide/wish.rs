//! What people's wishes do to a task.

use super::after::{cleanup, deleted, paused, queued, scheduled_or_queued, to, unpaused};
use crate::{Refused, Rules, Status, Task, Timestamp, Transition};

pub(super) fn run(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
    match task.status {
        Status::Created | Status::Scheduled => to(queued(task, now)),
        Status::Paused => match task.returns_to {
            Some(Status::Created | Status::Scheduled) => to(queued(task, now)),
            _ => to(unpaused(task, now)),
        },
        Status::Queued
        | Status::Resuming
        | Status::Running
        | Status::Pausing
        | Status::Waiting
        | Status::DeletingRun
        | Status::CleanupQueued
        | Status::Cleaning
        | Status::CleanupScheduled
        | Status::CleanupFailed
        | Status::Finished
        | Status::Failed
        | Status::Deleted => resume(task, now),
    }
}

pub(super) fn resume(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
    match task.status {
        Status::Created => to(scheduled_or_queued(task, now)),
        Status::Scheduled
        | Status::Queued
        | Status::Resuming
        | Status::Running
        | Status::Waiting => Ok(Transition::Same),
        Status::Pausing => to(Task {
            status: Status::Running,
            ..*task
        }),
        Status::Paused => to(unpaused(task, now)),
        // A person asks: it gets a fresh budget and keeps its checkpoint.
        Status::Failed => to(Task {
            failures: 0,
            crashes: 0,
            ..queued(task, now)
        }),
        Status::Finished => Err(Refused::AlreadyFinished),
        Status::DeletingRun
        | Status::CleanupQueued
        | Status::Cleaning
        | Status::CleanupScheduled
        | Status::CleanupFailed => Err(Refused::Deleting),
        Status::Deleted => Err(Refused::Gone),
    }
}

pub(super) fn pause(task: &Task) -> Result<Transition, Refused> {
    match task.status {
        Status::Created
        | Status::Scheduled
        | Status::Queued
        | Status::Resuming
        | Status::Waiting => to(paused(task, task.status)),
        Status::Running => to(Task {
            status: Status::Pausing,
            ..*task
        }),
        Status::Pausing | Status::Paused => Ok(Transition::Same),
        Status::Finished => Err(Refused::AlreadyFinished),
        Status::Failed => Err(Refused::AlreadyFailed),
        Status::DeletingRun
        | Status::CleanupQueued
        | Status::Cleaning
        | Status::CleanupScheduled
        | Status::CleanupFailed => Err(Refused::Deleting),
        Status::Deleted => Err(Refused::Gone),
    }
}

pub(super) fn delete(task: &Task, rules: &Rules, now: Timestamp) -> Result<Transition, Refused> {
    match task.status {
        // It never ran: there is nothing to clean up.
        Status::Created => to(deleted(task)),
        Status::Scheduled
        | Status::Queued
        | Status::Resuming
        | Status::Waiting
        | Status::Paused
        | Status::Finished
        | Status::Failed
        | Status::CleanupScheduled
        | Status::CleanupFailed => to(cleanup(task, rules, now)),
        Status::Running | Status::Pausing => to(Task {
            status: Status::DeletingRun,
            ..*task
        }),
        Status::DeletingRun | Status::CleanupQueued | Status::Cleaning | Status::Deleted => {
            Ok(Transition::Same)
        }
    }
}

pub(super) fn force_delete(
    task: &Task,
    rules: &Rules,
    now: Timestamp,
) -> Result<Transition, Refused> {
    match task.status {
        // A live cleanup then finds its row gone: its run is lost.
        Status::CleanupQueued
        | Status::Cleaning
        | Status::CleanupScheduled
        | Status::CleanupFailed => to(deleted(task)),
        Status::Created
        | Status::Scheduled
        | Status::Queued
        | Status::Resuming
        | Status::Running
        | Status::Pausing
        | Status::Waiting
        | Status::Paused
        | Status::DeletingRun
        | Status::Finished
        | Status::Failed
        | Status::Deleted => delete(task, rules, now),
    }
}

pub(super) fn rerun(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
    match task.status {
        Status::Finished | Status::Failed => to(Task {
            failures: 0,
            crashes: 0,
            ..queued(task, now)
        }),
        Status::Created
        | Status::Scheduled
        | Status::Queued
        | Status::Resuming
        | Status::Running
        | Status::Pausing
        | Status::Waiting
        | Status::Paused => Err(Refused::NotOver),
        Status::DeletingRun
        | Status::CleanupQueued
        | Status::Cleaning
        | Status::CleanupScheduled
        | Status::CleanupFailed => Err(Refused::Deleting),
        Status::Deleted => Err(Refused::Gone),
    }
}

pub(super) fn if_not_deleted(task: &Task) -> Result<Transition, Refused> {
    if task.status == Status::Deleted {
        Err(Refused::Gone)
    } else {
        Ok(Transition::Same)
    }
}

pub(super) fn edit(task: &Task) -> Result<Transition, Refused> {
    match task.status {
        Status::Created
        | Status::Scheduled
        | Status::Queued
        | Status::Resuming
        | Status::Waiting
        | Status::Paused => Ok(Transition::Same),
        Status::Running | Status::Pausing => Err(Refused::Held),
        Status::Finished => Err(Refused::AlreadyFinished),
        Status::Failed => Err(Refused::AlreadyFailed),
        Status::DeletingRun
        | Status::CleanupQueued
        | Status::Cleaning
        | Status::CleanupScheduled
        | Status::CleanupFailed => Err(Refused::Deleting),
        Status::Deleted => Err(Refused::Gone),
    }
}
