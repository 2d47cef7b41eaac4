//! What can go wrong in a statement, sorted by what is to be done about it.

use crate::{Error, ErrorKind};
use std::fmt;

/// Why a statement or a transaction had no outcome.
#[derive(Debug)]
pub(crate) struct Fault {
    pub sort: FaultSort,
    text: String,
    source: Option<sqlx::Error>,
}

/// What is to be done about a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultSort {
    /// A row with this key is there already.
    Duplicate,
    /// Somebody else was faster (deadlock, busy, serialization): run the transaction again.
    Conflict,
    /// No connection could be had, or the server is not accepting work. Nothing was done.
    Unavailable,
    /// The connection went away in the middle. Nothing was done unless it was the commit.
    Lost,
    /// The connection went away while the commit's answer was on its way.
    Ambiguous,
    /// The tables are not those that this version knows.
    Schema,
    /// The same, and a migration does not help.
    Foreign,
    /// What was handed in cannot be stored.
    Invalid,
    /// The database refuses, and will refuse again.
    Permanent,
}

impl Fault {
    pub(crate) fn new(sort: FaultSort, text: impl Into<String>) -> Self {
        Self {
            sort,
            text: text.into(),
            source: None,
        }
    }

    /// The database, with what it says.
    pub(crate) fn from_sqlx(sort: FaultSort, source: sqlx::Error) -> Self {
        Self {
            sort,
            text: source.to_string(),
            source: Some(source),
        }
    }

    /// The same, with what to do about it.
    #[cfg(feature = "postgres")]
    pub(crate) fn with_advice(mut self, advice: &str) -> Self {
        self.text = format!("{}; {advice}", self.text);
        self
    }

    /// A row that cannot be what we wrote.
    pub(crate) fn broken(text: impl Into<String>) -> Self {
        Self::new(FaultSort::Permanent, text)
    }

    /// Rows moved between our reading and our writing.
    pub(crate) fn moved() -> Self {
        Self::new(
            FaultSort::Conflict,
            "rows moved while they were being changed",
        )
    }

    /// The same, when it happened to a commit, or to a statement that is its own transaction.
    pub(crate) fn at_commit(mut self) -> Self {
        if self.sort == FaultSort::Lost {
            self.sort = FaultSort::Ambiguous;
        }
        self
    }

    /// Whether the same may succeed later.
    pub(crate) fn is_transient(sort: FaultSort) -> bool {
        match sort {
            FaultSort::Conflict
            | FaultSort::Unavailable
            | FaultSort::Lost
            | FaultSort::Ambiguous => true,
            FaultSort::Duplicate
            | FaultSort::Schema
            | FaultSort::Foreign
            | FaultSort::Invalid
            | FaultSort::Permanent => false,
        }
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.sort == FaultSort::Conflict
    }

    /// The error of the call named `operation`.
    pub(crate) fn into_error(self, operation: &str) -> Error {
        let (kind, advice) = match self.sort {
            FaultSort::Conflict => (
                ErrorKind::Transient,
                "; others were faster every time: try again later",
            ),
            FaultSort::Unavailable | FaultSort::Lost => (ErrorKind::Transient, "; try again later"),
            FaultSort::Ambiguous => (
                ErrorKind::Ambiguous,
                "; it may have been carried out: repeat it",
            ),
            FaultSort::Schema => (ErrorKind::Schema, "; run `peerwork migrate up`"),
            FaultSort::Foreign => (ErrorKind::Schema, ""),
            FaultSort::Invalid => (ErrorKind::Invalid, ""),
            FaultSort::Duplicate | FaultSort::Permanent => (ErrorKind::Permanent, ""),
        };
        let error = Error::new(kind, format!("{operation}: {}{advice}", self.text));
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What sqlx itself reports; `database` sorts the errors of the server by their codes.
pub(crate) fn sort(
    error: &sqlx::Error,
    database: impl FnOnce(&dyn sqlx::error::DatabaseError) -> FaultSort,
) -> FaultSort {
    match error {
        sqlx::Error::Database(at) => database(&**at),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => FaultSort::Lost,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => FaultSort::Unavailable,
        _ => FaultSort::Permanent,
    }
}
