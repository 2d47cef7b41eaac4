//! The one error of this crate: opaque, with predicates.

use std::error::Error as StdError;
use std::fmt;

/// What every call of a store returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call of a store that had no outcome. A lost race is an outcome, not an error.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The database could not be reached, went away, was busy for too long, or gave up a conflict: try again later.
    Transient,
    /// As [`Transient`](Self::Transient), and the call may have been carried out.
    Ambiguous,
    /// The schema is missing, older or newer than this version of peerwork.
    Schema,
    /// What was handed in cannot be stored.
    Invalid,
    /// The database refused, for a reason that trying again does not change.
    Permanent,
}

impl Error {
    /// An error with a message in lower case that names the operation and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same, caused by `source`.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// True if the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Transient | ErrorKind::Ambiguous)
    }

    /// True if the call may have been carried out although it failed: its answer was lost.
    pub fn is_ambiguous(&self) -> bool {
        self.kind == ErrorKind::Ambiguous
    }

    /// True if the schema is missing, older or newer than this version of peerwork.
    pub fn is_schema(&self) -> bool {
        self.kind == ErrorKind::Schema
    }

    /// True if what was handed in cannot be stored.
    pub fn is_invalid(&self) -> bool {
        self.kind == ErrorKind::Invalid
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        if let Some(source) = &self.source {
            write!(f, " ({source})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
