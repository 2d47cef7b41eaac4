//! The one error of this crate: opaque, with predicates.

use peerwork_core::{NameError, Refused, TaskId};
use peerwork_store::ErrorKind;
use std::error::Error as StdError;
use std::fmt;

/// What calls of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not do what was asked. Ask it with its predicates; its text says what to do.
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Store(ErrorKind),
    NotFound,
    Gone,
    Refused(Refused),
    Invalid,
    /// Of a kind that no node has had.
    Unknown,
    /// Of another kind than the handler's.
    Mismatched,
    TaskFailed,
    Stopped,
}

impl Error {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn not_found(id: TaskId) -> Self {
        let message = format!(
            "task {id} does not exist, or is not one you may see; check the id and the user"
        );
        Self::new(Kind::NotFound, message)
    }

    pub(crate) fn gone(id: TaskId) -> Self {
        Self::new(Kind::Gone, format!("task {id} is deleted"))
    }

    pub(crate) fn refused(what: &str, id: TaskId, why: Refused) -> Self {
        Self::new(
            Kind::Refused(why),
            format!("cannot {what} task {id}: {why}"),
        )
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub(crate) fn unknown_kind(kind: &str) -> Self {
        let message = format!(
            "no node has ever had the kind {kind:?}; check its spelling, or start a node that registers it"
        );
        Self::new(Kind::Unknown, message)
    }

    pub(crate) fn wrong_kind(id: TaskId, is: &str, asked: &str) -> Self {
        Self::new(
            Kind::Mismatched,
            format!("task {id} is of kind {is:?}, not {asked:?}; use the handler of its own kind"),
        )
    }

    pub(crate) fn task_failed(id: TaskId, why: Option<&str>) -> Self {
        Self::new(
            Kind::TaskFailed,
            format!(
                "task {id} failed: {}",
                why.unwrap_or("no reason was recorded")
            ),
        )
    }

    pub(crate) fn stopped(what: &str) -> Self {
        Self::new(
            Kind::Stopped,
            format!("cannot {what}: its runtime or node has stopped; make a new one"),
        )
    }

    /// True if there is no such task, or it belongs to another user than the one asked for.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }

    /// True if the task is deleted.
    pub fn is_gone(&self) -> bool {
        matches!(self.kind, Kind::Gone | Kind::Refused(Refused::Gone))
    }

    /// Why the operation has no effect in the task's status, if that is why it failed.
    pub fn refused_because(&self) -> Option<Refused> {
        match self.kind {
            Kind::Refused(why) => Some(why),
            _ => None,
        }
    }

    /// True if the operation has no effect in the task's status.
    pub fn is_refused(&self) -> bool {
        self.refused_because().is_some()
    }

    /// True if what was handed in cannot be used: a name, a payload, a setting.
    pub fn is_invalid(&self) -> bool {
        matches!(self.kind, Kind::Invalid | Kind::Store(ErrorKind::Invalid))
    }

    /// True if no node has ever had the kind.
    pub fn is_unknown_kind(&self) -> bool {
        self.kind == Kind::Unknown
    }

    /// True if the task is of another kind than the handler that it was asked for with.
    pub fn is_wrong_kind(&self) -> bool {
        self.kind == Kind::Mismatched
    }

    /// True if the task whose result was awaited failed.
    pub fn is_task_failed(&self) -> bool {
        self.kind == Kind::TaskFailed
    }

    /// True if the same call may succeed later: the database was away, busy or in conflict.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            Kind::Store(ErrorKind::Transient | ErrorKind::Ambiguous)
        )
    }

    /// True if the call may have been carried out although it failed. Every call may be repeated.
    pub fn is_ambiguous(&self) -> bool {
        self.kind == Kind::Store(ErrorKind::Ambiguous)
    }

    /// True if the schema is missing, older or newer than this version of peerwork.
    pub fn is_schema(&self) -> bool {
        self.kind == Kind::Store(ErrorKind::Schema)
    }
}

impl From<peerwork_store::Error> for Error {
    fn from(error: peerwork_store::Error) -> Self {
        Self {
            kind: Kind::Store(error.kind()),
            message: error.to_string(),
            source: Some(error.into()),
        }
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Self {
        Self::new(Kind::Invalid, error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The store's error has the same text: its own cause is what is new.
        self.source.as_deref().and_then(|source| source.source())
    }
}
