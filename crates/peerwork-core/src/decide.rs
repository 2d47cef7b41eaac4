//! The one place where a task's next status is decided: a pure function of its facts, an event and the time.
//!
//! Invariants: every (status, event) has an answer; repeating an event is harmless; a later wish supersedes an
//! earlier one, and a deletion supersedes everything; a final task changes only when a person asks.
//!
//! *Not here:* who may ask (a user scope is the store's filter) and whether a run still holds its task (the fence
//! is the store's guard): an event arrives here only after both.

mod after;
mod run;
mod time;
mod wish;

use crate::{Rules, Task, Timestamp};

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
    DeadOwner {
        /// The run was that of a suspect, on trial: see [`blame`](crate::blame).
        on_trial: bool,
    },
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

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Deleting,
        Self::AlreadyFinished,
        Self::AlreadyFailed,
        Self::Gone,
        Self::NotOver,
        Self::Held,
        Self::NotClaimable,
        Self::NotHeld,
        Self::NotDeleted,
    ];

    /// Its number in a database.
    pub fn code(self) -> u8 {
        match self {
            Self::Deleting => 1,
            Self::AlreadyFinished => 2,
            Self::AlreadyFailed => 3,
            Self::Gone => 4,
            Self::NotOver => 5,
            Self::Held => 6,
            Self::NotClaimable => 7,
            Self::NotHeld => 8,
            Self::NotDeleted => 9,
        }
    }

    /// The reason with this number.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|refused| i64::from(refused.code()) == code)
    }
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
        Event::Run => wish::run(task, now),
        Event::Resume => wish::resume(task, now),
        Event::Pause => wish::pause(task),
        Event::Delete => wish::delete(task, rules, now),
        Event::ForceDelete => wish::force_delete(task, rules, now),
        Event::Rerun => wish::rerun(task, now),
        Event::Move => wish::if_not_deleted(task),
        Event::Edit => wish::edit(task),
        Event::Claim => run::claim(task),
        Event::Ok { forget } => run::ok(task, rules, forget, now),
        Event::Err {
            permanent,
            retry_after_ms,
            jitter,
            forget,
        } => {
            let delay_ms = || {
                retry_after_ms.unwrap_or_else(|| rules.retry.delay_ms(task.failures + 1, jitter))
            };
            run::err(task, rules, permanent, delay_ms, forget, now)
        }
        Event::Stopped => run::stopped(task, rules, now),
        Event::Wait { until } => run::wait(task, rules, until, now),
        Event::DeadOwner { on_trial } => run::dead_owner(task, rules, on_trial, now),
        Event::Deadline => run::deadline(task, rules, now),
        Event::Due => time::due(task, now),
        Event::Woken => time::woken(task, now),
        Event::Prune => time::prune(task),
    }
}
