//! The facts of a task after a decision: one function for each status that is entered from several places.

use crate::{OnExhausted, Refused, Rules, Status, Task, Timestamp, Transition};

pub(super) fn to(task: Task) -> Result<Transition, Refused> {
    Ok(Transition::To(task))
}

pub(super) fn queued(task: &Task, since: Timestamp) -> Task {
    Task {
        status: Status::Queued,
        returns_to: None,
        wake_at: None,
        ready_at: since,
        forced: false,
        ..*task
    }
}

pub(super) fn scheduled_or_queued(task: &Task, now: Timestamp) -> Task {
    match task.wake_at {
        Some(at) if at > now => Task {
            status: Status::Scheduled,
            returns_to: None,
            forced: false,
            ..*task
        },
        Some(at) => queued(task, at),
        None => queued(task, now),
    }
}

pub(super) fn paused(task: &Task, returns_to: Status) -> Task {
    Task {
        status: Status::Paused,
        returns_to: Some(returns_to),
        forced: false,
        ..*task
    }
}

/// What a paused task goes on as: what it was, checked again against the time.
pub(super) fn unpaused(task: &Task, now: Timestamp) -> Task {
    let plain = |status| Task {
        status,
        returns_to: None,
        forced: false,
        ..*task
    };
    match task.returns_to {
        Some(Status::Resuming) => plain(Status::Resuming),
        Some(Status::Waiting) if task.wake_at.is_none_or(|at| at > now) => plain(Status::Waiting),
        Some(Status::Waiting | Status::Scheduled | Status::Created) => {
            scheduled_or_queued(task, now)
        }
        // It keeps its age: a pause does not send anyone to the end of the line.
        _ => queued(task, task.ready_at),
    }
}

pub(super) fn given_up(task: &Task, rules: &Rules, forget: bool) -> Task {
    match rules.on_exhausted {
        // The person who resumes it gives it a fresh budget.
        OnExhausted::Pause => Task {
            failures: 0,
            crashes: 0,
            ..paused(task, Status::Resuming)
        },
        OnExhausted::Fail if forget => deleted(task),
        OnExhausted::Fail => Task {
            status: Status::Failed,
            ..*task
        },
    }
}

/// On its way to deletion, with a budget of its own for the cleanup; gone at once if the kind has none.
pub(super) fn cleanup(task: &Task, rules: &Rules, now: Timestamp) -> Task {
    if !rules.cleanup {
        return deleted(task);
    }
    Task {
        status: Status::CleanupQueued,
        returns_to: None,
        failures: 0,
        crashes: 0,
        wake_at: None,
        ready_at: now,
        forced: false,
        ..*task
    }
}

pub(super) fn deleted(task: &Task) -> Task {
    Task {
        status: Status::Deleted,
        returns_to: None,
        wake_at: None,
        forced: false,
        ..*task
    }
}
