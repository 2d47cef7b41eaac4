//! What a handler returns instead of its output, and why a run is told to stop.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// Why a run ends without an output: it failed, it was told to stop, or it waits.
///
/// Any [`std::error::Error`] becomes a failure through `?`, except a [`Stop`], which stays what it is.
pub struct TaskError(pub(crate) Cause);

pub(crate) enum Cause {
    Failed {
        text: String,
        permanent: bool,
        retry_after: Option<Duration>,
    },
    Stopped(Stop),
    Waits(Waits),
}

/// What a run waits for without holding a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub children: u32,
    pub until: Option<std::time::SystemTime>,
}

impl TaskError {
    /// A failure with this text. It is tried again as the kind's rules say.
    pub fn new(text: impl fmt::Display) -> Self {
        Self(Cause::Failed {
            text: text.to_string(),
            permanent: false,
            retry_after: None,
        })
    }

    /// A failure that trying again cannot help.
    pub fn permanent(text: impl fmt::Display) -> Self {
        Self(Cause::Failed {
            text: text.to_string(),
            permanent: true,
            retry_after: None,
        })
    }

    /// The same failure, tried again after `delay` instead of the kind's back-off.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        if let Cause::Failed { retry_after, .. } = &mut self.0 {
            *retry_after = Some(delay);
        }
        self
    }
}

impl TaskError {
    /// A failure with the texts of `error` and of its causes.
    pub(crate) fn because(error: &dyn StdError) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(text)
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        if let Some(stop) = (&error as &dyn Any).downcast_ref::<Stop>() {
            return Self(Cause::Stopped(*stop));
        }
        if let Some(SaveError::Stop(stop)) = (&error as &dyn Any).downcast_ref::<SaveError>() {
            return Self(Cause::Stopped(*stop));
        }
        Self::because(&error)
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cause::Failed {
                text,
                permanent: true,
                ..
            } => write!(f, "permanent failure: {text}"),
            Cause::Failed { text, .. } => write!(f, "failure: {text}"),
            Cause::Stopped(stop) => write!(f, "{stop}"),
            Cause::Waits(waits) => write!(
                f,
                "waits for {} children, until {:?}",
                waits.children, waits.until
            ),
        }
    }
}

/// The run was told to stop. Return it with `?`: everything saved so far is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("told to stop: {reason}")]
pub struct Stop {
    /// Why.
    pub reason: Reason,
}

/// Why a run is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A user paused the task.
    Pause,
    /// A user deletes the task.
    Delete,
    /// Its node shuts down: the task goes on elsewhere.
    Drain,
    /// The run does not hold the task any more: nothing it writes is accepted.
    LeaseLost,
    /// It did not stop in time.
    Deadline,
    /// It was silent for longer than its kind allows: the attempt fails.
    Timeout,
    /// A gate was closed that asks what runs to stop: the task resumes by itself once it is open.
    Gate,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "the task was paused",
            Self::Delete => "the task is being deleted",
            Self::Drain => "its node shuts down",
            Self::LeaseLost => "the run does not hold the task any more",
            Self::Deadline => "it did not stop in time",
            Self::Timeout => "it made no progress in time",
            Self::Gate => "its gate was closed",
        })
    }
}

/// Why a checkpoint was not saved, or why the run should end after it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// The run was told to stop. Unless the reason is [`Reason::LeaseLost`], the checkpoint is durable.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// The checkpoint cannot be encoded, or is too large; nothing was saved.
    #[error("{0}")]
    Invalid(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(result: Result<(), TaskError>) -> Cause {
        result.unwrap_err().0
    }

    #[test]
    fn a_stop_stays_a_stop_through_the_question_mark() {
        let stop = Stop {
            reason: Reason::Pause,
        };
        let direct = || -> Result<(), TaskError> { Err(stop)? };
        let saved = || -> Result<(), TaskError> { Err(SaveError::Stop(stop))? };
        assert!(matches!(cause(direct()), Cause::Stopped(found) if found == stop));
        assert!(matches!(cause(saved()), Cause::Stopped(found) if found == stop));
    }

    #[test]
    fn an_error_keeps_the_texts_of_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading the frame")]
        struct Outer(#[source] std::io::Error);
        let failed =
            || -> Result<(), TaskError> { Err(Outer(std::io::Error::other("disk on fire")))? };
        let Cause::Failed {
            text,
            permanent: false,
            retry_after: None,
        } = cause(failed())
        else {
            panic!()
        };
        assert_eq!(text, "reading the frame: disk on fire");
    }

    #[test]
    fn a_failure_says_more_when_asked() {
        let error = TaskError::permanent("bad input").retry_after(Duration::from_secs(9));
        assert!(matches!(
            error.0,
            Cause::Failed {
                permanent: true,
                retry_after: Some(_),
                ..
            }
        ));
    }
}
