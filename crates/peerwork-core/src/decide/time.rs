//! What the passing of time, and what a task waited for, do to it.

use super::after::{queued, to};
use crate::{Refused, Status, Task, Timestamp, Transition};

pub(super) fn due(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
    let Some(wake_at) = task.wake_at.filter(|at| *at <= now) else {
        return Ok(Transition::Same);
    };
    match task.status {
        // Its place in line is its due time, not the moment at which some node noticed it.
        Status::Scheduled | Status::Waiting => to(queued(task, wake_at)),
        Status::CleanupScheduled => to(Task {
            status: Status::CleanupQueued,
            ready_at: wake_at,
            wake_at: None,
            ..*task
        }),
        Status::Created
        | Status::Queued
        | Status::Resuming
        | Status::Running
        | Status::Pausing
        | Status::Paused
        | Status::DeletingRun
        | Status::CleanupQueued
        | Status::Cleaning
        | Status::CleanupFailed
        | Status::Finished
        | Status::Failed
        | Status::Deleted => Ok(Transition::Same),
    }
}

pub(super) fn woken(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
    match task.status {
        Status::Waiting => to(queued(task, now)),
        Status::Created
        | Status::Scheduled
        | Status::Queued
        | Status::Resuming
        | Status::Running
        | Status::Pausing
        | Status::Paused
        | Status::DeletingRun
        | Status::CleanupQueued
        | Status::Cleaning
        | Status::CleanupScheduled
        | Status::CleanupFailed
        | Status::Finished
        | Status::Failed
        | Status::Deleted => Ok(Transition::Same),
    }
}

pub(super) fn prune(task: &Task) -> Result<Transition, Refused> {
    if task.status == Status::Deleted {
        Ok(Transition::Erase)
    } else {
        Err(Refused::NotDeleted)
    }
}
