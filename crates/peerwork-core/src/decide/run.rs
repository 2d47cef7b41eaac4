//! What claims, the ends of runs, and the deaths of their nodes do to a task.

use super::after::{cleanup, deleted, given_up, paused, to};
use crate::{
    OnNodeDeath, OnPauseDeadline, Refused, Rules, Status, Task, Timestamp, Transition, blame,
};

pub(super) fn claim(task: &Task) -> Result<Transition, Refused> {
    let status = match task.status {
        Status::Queued | Status::Resuming => Status::Running,
        Status::CleanupQueued => Status::Cleaning,
        Status::Created
        | Status::Scheduled
        | Status::Running
        | Status::Pausing
        | Status::Waiting
        | Status::Paused
        | Status::DeletingRun
        | Status::Cleaning
        | Status::CleanupScheduled
        | Status::CleanupFailed
        | Status::Finished
        | Status::Failed
        | Status::Deleted => return Err(Refused::NotClaimable),
    };
    to(Task {
        status,
        attempt: task.attempt.saturating_add(1),
        wake_at: None,
        ..*task
    })
}

pub(super) fn ok(
    task: &Task,
    rules: &Rules,
    forget: bool,
    now: Timestamp,
) -> Result<Transition, Refused> {
    match held(task)? {
        Held::Running | Held::Pausing if forget => to(deleted(task)),
        Held::Running | Held::Pausing => to(Task {
            status: Status::Finished,
            ..*task
        }),
        Held::DeletingRun => to(cleanup(task, rules, now)),
        Held::Cleaning => to(deleted(task)),
    }
}

pub(super) fn err(
    task: &Task,
    rules: &Rules,
    permanent: bool,
    delay_ms: impl Fn() -> u64,
    forget: bool,
    now: Timestamp,
) -> Result<Transition, Refused> {
    let failures = task.failures.saturating_add(1);
    let exhausted = permanent || failures >= rules.retry.limit;
    let later = |status| Task {
        status,
        failures,
        wake_at: Some(now.plus_ms(delay_ms())),
        ..*task
    };
    match held(task)? {
        // It was told to stop: whatever error that led to is no failure.
        Held::Pausing => to(paused(task, Status::Resuming)),
        Held::DeletingRun => to(cleanup(task, rules, now)),
        Held::Running if !exhausted => to(later(Status::Scheduled)),
        Held::Running => to(given_up(&Task { failures, ..*task }, rules, forget)),
        Held::Cleaning if !exhausted => to(later(Status::CleanupScheduled)),
        Held::Cleaning => to(Task {
            status: Status::CleanupFailed,
            failures,
            ..*task
        }),
    }
}

pub(super) fn stopped(task: &Task, rules: &Rules, now: Timestamp) -> Result<Transition, Refused> {
    match held(task)? {
        Held::Running => to(Task {
            status: Status::Resuming,
            ..*task
        }),
        Held::Pausing => to(paused(task, Status::Resuming)),
        Held::DeletingRun => to(cleanup(task, rules, now)),
        Held::Cleaning => to(Task {
            status: Status::CleanupQueued,
            ..*task
        }),
    }
}

pub(super) fn wait(
    task: &Task,
    rules: &Rules,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Transition, Refused> {
    match held(task)? {
        Held::Running => to(Task {
            status: Status::Waiting,
            wake_at: until,
            crashes: 0,
            ..*task
        }),
        Held::Pausing => to(paused(
            &Task {
                wake_at: until,
                crashes: 0,
                ..*task
            },
            Status::Waiting,
        )),
        Held::DeletingRun => to(cleanup(task, rules, now)),
        // A cleanup cannot wait; the shell reports that as its failure before it comes here.
        Held::Cleaning => err(task, rules, true, || 0, false, now),
    }
}

pub(super) fn dead_owner(
    task: &Task,
    rules: &Rules,
    on_trial: bool,
    now: Timestamp,
) -> Result<Transition, Refused> {
    let Ok(held) = held(task) else {
        return Ok(Transition::Same);
    };
    let crashed = Task {
        crashes: blame::charged(task.crashes, on_trial),
        ..*task
    };
    let hopeless = crashed.crashes >= rules.crash_limit;
    match held {
        Held::Running if rules.on_node_death == OnNodeDeath::Fail => to(Task {
            status: Status::Failed,
            ..crashed
        }),
        Held::Running if hopeless => to(given_up(&crashed, rules, false)),
        Held::Running => to(Task {
            status: Status::Resuming,
            ..crashed
        }),
        Held::Pausing => to(paused(&crashed, Status::Resuming)),
        Held::DeletingRun => to(cleanup(task, rules, now)),
        Held::Cleaning if hopeless => to(Task {
            status: Status::CleanupFailed,
            ..crashed
        }),
        Held::Cleaning => to(Task {
            status: Status::CleanupQueued,
            ..crashed
        }),
    }
}

pub(super) fn deadline(task: &Task, rules: &Rules, now: Timestamp) -> Result<Transition, Refused> {
    match (task.status, rules.on_pause_deadline) {
        (Status::Pausing, OnPauseDeadline::Force) => to(Task {
            forced: true,
            ..paused(task, Status::Resuming)
        }),
        (Status::Pausing, OnPauseDeadline::Refuse) => to(Task {
            status: Status::Running,
            ..*task
        }),
        (Status::Pausing, OnPauseDeadline::Wait) => Ok(Transition::Same),
        (Status::DeletingRun, _) => to(cleanup(task, rules, now)),
        (
            Status::Created
            | Status::Scheduled
            | Status::Queued
            | Status::Resuming
            | Status::Running
            | Status::Waiting
            | Status::Paused
            | Status::CleanupQueued
            | Status::Cleaning
            | Status::CleanupScheduled
            | Status::CleanupFailed
            | Status::Finished
            | Status::Failed
            | Status::Deleted,
            _,
        ) => Ok(Transition::Same),
    }
}

/// The statuses in which a node holds the task, for matches that are exhaustive over just them.
enum Held {
    Running,
    Pausing,
    DeletingRun,
    Cleaning,
}

fn held(task: &Task) -> Result<Held, Refused> {
    match task.status {
        Status::Running => Ok(Held::Running),
        Status::Pausing => Ok(Held::Pausing),
        Status::DeletingRun => Ok(Held::DeletingRun),
        Status::Cleaning => Ok(Held::Cleaning),
        Status::Created
        | Status::Scheduled
        | Status::Queued
        | Status::Resuming
        | Status::Waiting
        | Status::Paused
        | Status::CleanupQueued
        | Status::CleanupScheduled
        | Status::CleanupFailed
        | Status::Finished
        | Status::Failed
        | Status::Deleted => Err(Refused::NotHeld),
    }
}
