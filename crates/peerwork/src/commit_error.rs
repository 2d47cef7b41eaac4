//! Why a run's own transaction was not committed, or why the run should end after it was.

use crate::{Reason, Stop, TaskError};
use std::any::Any;
use std::error::Error as StdError;
use std::fmt;

/// Why a [commit](crate::Run::commit) gave no value. Ask it with its predicates, or pass it on with `?`: it becomes a
/// [`TaskError`].
///
/// Any [`std::error::Error`] becomes one by `?` within the transaction, and rolls it back; so does a [`TaskError`].
pub struct CommitError(Cause);

enum Cause {
    Stop(Stop),
    Task(TaskError),
    Failed {
        error: Box<dyn StdError + Send + Sync>,
        transient: bool,
    },
}

impl CommitError {
    /// The stop, if the run was told to stop. Unless its reason is [`Reason::LeaseLost`], the transaction was committed.
    pub fn stop(&self) -> Option<Stop> {
        match self.0 {
            Cause::Stop(stop) => Some(stop),
            Cause::Task(_) | Cause::Failed { .. } => None,
        }
    }

    /// True if nothing was committed and the same may succeed later: others were faster (a deadlock, a serialization
    /// failure), or the database was away. Also for an error of sqlx that the transaction's own statements have led to.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.0,
            Cause::Failed {
                transient: true,
                ..
            }
        )
    }

    /// The error of this type that the transaction's own code has returned.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        match &self.0 {
            Cause::Failed { error, .. } => error.downcast_ref(),
            Cause::Stop(_) | Cause::Task(_) => None,
        }
    }

    /// The run is dropped: nothing was committed, and nobody is there to be told.
    pub(crate) fn rolled_back(reason: Reason) -> Self {
        let text = format!("rolled back, because the run is dropped: {reason}");
        Self(Cause::Task(TaskError::new(text)))
    }

    /// A commit failed with `error`, and it is known that nothing was committed.
    pub(crate) fn not_committed(error: peerwork_store::Error) -> Self {
        Self(Cause::Failed {
            transient: error.is_transient(),
            error: format!("not committed: {error}").into(),
        })
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for CommitError {
    fn from(error: E) -> Self {
        if let Some(stop) = (&error as &dyn Any).downcast_ref::<Stop>() {
            return Self(Cause::Stop(*stop));
        }
        let transient = match (&error as &dyn Any).downcast_ref::<crate::Error>() {
            Some(error) => error.is_transient(),
            None => peerwork_store::is_transient_sqlx(&error),
        };
        Self(Cause::Failed {
            error: error.into(),
            transient,
        })
    }
}

impl From<TaskError> for CommitError {
    fn from(error: TaskError) -> Self {
        Self(Cause::Task(error))
    }
}

impl From<CommitError> for TaskError {
    fn from(error: CommitError) -> Self {
        match error.0 {
            Cause::Stop(stop) => stop.into(),
            Cause::Task(error) => error,
            Cause::Failed { error, .. } => Self::because(&*error),
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Stop(stop) => stop.fmt(f),
            Cause::Task(error) => fmt::Debug::fmt(error, f),
            Cause::Failed { error, .. } => error.fmt(f),
        }
    }
}

impl fmt::Debug for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transient = if self.is_transient() {
            "transient: "
        } else {
            ""
        };
        write!(f, "{transient}{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no such account")]
    struct NoAccount(#[source] Option<sqlx::Error>);

    #[test]
    fn what_the_own_code_returned_is_found_again() {
        let error = CommitError::from(NoAccount(None));
        assert!(!error.is_transient() && error.stop().is_none());
        assert!(error.downcast_ref::<NoAccount>().is_some());
        assert!(format!("{:?}", TaskError::from(error)).contains("no such account"));
    }

    #[test]
    fn an_error_of_the_database_is_transient_also_where_another_wraps_it() {
        let away = || sqlx::Error::PoolTimedOut;
        assert!(CommitError::from(away()).is_transient());
        assert!(CommitError::from(NoAccount(Some(away()))).is_transient());
        assert!(!CommitError::from(NoAccount(Some(sqlx::Error::RowNotFound))).is_transient());
    }

    #[test]
    fn a_stop_stays_a_stop() {
        let stop = Stop {
            reason: Reason::Drain,
        };
        assert_eq!(CommitError::from(stop).stop(), Some(stop));
    }
}
