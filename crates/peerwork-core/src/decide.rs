//! The one place where a task's next status is decided: a pure function of its facts, an event and the time.
//!
//! Invariants: every (status, event) has an answer; repeating an event is harmless; a later wish supersedes an
//! earlier one, and a deletion supersedes everything; a final task changes only when a person asks.
//!
//! *Not here:* who may ask (a user scope is the store's filter) and whether a run still holds its task (the fence
//! is the store's guard): an event arrives here only after both.

use crate::{OnExhausted, OnNodeDeath, OnPauseDeadline, Rules, Status, Task, Timestamp};

/// What may happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A user wants it to run now, whatever its due time is.
    Run,
    /// A user takes a pause back: it goes on as what it was, at its own time.
    Resume,
    /// A user pauses it.
    Pause,
    /// A user deletes it.
    Delete,
    /// A user gives up its cleanup and deletes it now.
    ForceDelete,
    /// A user starts a final task again, from the beginning.
    Rerun,
    /// A user moves it to another group.
    Move,
    /// A user changes its priority.
    Edit,
    /// A node takes it.
    Claim,
    /// The handler returned `Ok`.
    Ok {
        /// The task is to vanish instead of staying finished.
        forget: bool,
    },
    /// The handler returned an error, panicked, or could not be started.
    Err {
        /// Trying again cannot help.
        permanent: bool,
        /// The delay that the handler asked for, in milliseconds, instead of the kind's back-off.
        retry_after_ms: Option<u64>,
        /// A random number over the whole range, for the back-off.
        jitter: u32,
        /// The task is to vanish instead of staying failed.
        forget: bool,
    },
    /// The handler stopped because it was told to, or its node hands it over.
    Stopped,
    /// The handler left its slot to wait for its children, or until a time.
    Wait {
        /// When it is woken at the latest.
        until: Option<Timestamp>,
    },
    /// A peer found that the holder's node is dead.
    DeadOwner,
    /// The holder did not stop in time.
    Deadline,
    /// Its time has come.
    Due,
    /// What it waited for has happened.
    Woken,
    /// Its tombstone is old enough.
    Prune,
}

/// The answer to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It is already so: nothing to write.
    Same,
    /// Write these facts.
    To(Task),
    /// Remove the tombstone: nothing remains.
    Erase,
}

/// Why an event has no effect. An outcome to report, not a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is being deleted, and nothing but its deletion happens to it any more.
    #[error("it is being deleted; wait until it is gone, or force the deletion")]
    Deleting,
    /// It has finished.
    #[error("it has already finished; use rerun to start it again from the beginning")]
    AlreadyFinished,
    /// It has failed.
    #[error("it has already failed; use run to try it again from its checkpoint")]
    AlreadyFailed,
    /// It is deleted.
    #[error("it is deleted")]
    Gone,
    /// Only a final task can be started again from the beginning.
    #[error("it is not over; only a finished or failed task can be started again")]
    NotOver,
    /// A node holds it, so its order in line cannot be changed.
    #[error("a node is running it; pause it first")]
    Held,
    /// It does not wait for a node.
    #[error("it is not waiting for a slot")]
    NotClaimable,
    /// No node holds it, so no run of it can end.
    #[error("no node holds it")]
    NotHeld,
    /// It is not a tombstone.
    #[error("it is not deleted")]
    NotDeleted,
}

/// What `event` does to `task` under its kind's `rules` at `now` (the database's clock).
///
/// # Errors
/// [`Refused`] where the event has no effect in that status.
pub fn decide(
    task: &Task,
    rules: &Rules,
    event: Event,
    now: Timestamp,
) -> Result<Transition, Refused> {
    match event {
        Event::Run => run(task, now),
        Event::Resume => resume(task, now),
        Event::Pause => pause(task),
        Event::Delete => delete(task, rules, now),
        Event::ForceDelete => force_delete(task, rules, now),
        Event::Rerun => rerun(task, now),
        Event::Move => if_not_deleted(task),
        Event::Edit => edit(task),
        Event::Claim => claim(task),
        Event::Ok { forget } => ok(task, rules, forget, now),
        Event::Err {
            permanent,
            retry_after_ms,
            jitter,
            forget,
        } => {
            let delay_ms = || {
                retry_after_ms.unwrap_or_else(|| rules.retry.delay_ms(task.failures + 1, jitter))
            };
            err(task, rules, permanent, delay_ms, forget, now)
        }
        Event::Stopped => stopped(task, rules, now),
        Event::Wait { until } => wait(task, rules, until, now),
        Event::DeadOwner => dead_owner(task, rules, now),
        Event::Deadline => deadline(task, rules, now),
        Event::Due => due(task, now),
        Event::Woken => woken(task, now),
        Event::Prune => prune(task),
    }
}

fn run(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
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

fn resume(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
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

fn pause(task: &Task) -> Result<Transition, Refused> {
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

fn delete(task: &Task, rules: &Rules, now: Timestamp) -> Result<Transition, Refused> {
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

fn force_delete(task: &Task, rules: &Rules, now: Timestamp) -> Result<Transition, Refused> {
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

fn rerun(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
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

fn if_not_deleted(task: &Task) -> Result<Transition, Refused> {
    if task.status == Status::Deleted {
        Err(Refused::Gone)
    } else {
        Ok(Transition::Same)
    }
}

fn edit(task: &Task) -> Result<Transition, Refused> {
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

fn claim(task: &Task) -> Result<Transition, Refused> {
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

fn ok(task: &Task, rules: &Rules, forget: bool, now: Timestamp) -> Result<Transition, Refused> {
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

fn err(
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

fn stopped(task: &Task, rules: &Rules, now: Timestamp) -> Result<Transition, Refused> {
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

fn wait(
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

fn dead_owner(task: &Task, rules: &Rules, now: Timestamp) -> Result<Transition, Refused> {
    let Ok(held) = held(task) else {
        return Ok(Transition::Same);
    };
    let crashed = Task {
        crashes: task.crashes.saturating_add(1),
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

fn deadline(task: &Task, rules: &Rules, now: Timestamp) -> Result<Transition, Refused> {
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

fn due(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
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

fn woken(task: &Task, now: Timestamp) -> Result<Transition, Refused> {
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

fn prune(task: &Task) -> Result<Transition, Refused> {
    if task.status == Status::Deleted {
        Ok(Transition::Erase)
    } else {
        Err(Refused::NotDeleted)
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

fn to(task: Task) -> Result<Transition, Refused> {
    Ok(Transition::To(task))
}

fn queued(task: &Task, since: Timestamp) -> Task {
    Task {
        status: Status::Queued,
        returns_to: None,
        wake_at: None,
        ready_at: since,
        forced: false,
        ..*task
    }
}

fn scheduled_or_queued(task: &Task, now: Timestamp) -> Task {
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

fn paused(task: &Task, returns_to: Status) -> Task {
    Task {
        status: Status::Paused,
        returns_to: Some(returns_to),
        forced: false,
        ..*task
    }
}

/// What a paused task goes on as: what it was, checked again against the time.
fn unpaused(task: &Task, now: Timestamp) -> Task {
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

fn given_up(task: &Task, rules: &Rules, forget: bool) -> Task {
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
fn cleanup(task: &Task, rules: &Rules, now: Timestamp) -> Task {
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

fn deleted(task: &Task) -> Task {
    Task {
        status: Status::Deleted,
        returns_to: None,
        wake_at: None,
        forced: false,
        ..*task
    }
}
