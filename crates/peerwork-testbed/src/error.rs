//! The one error of this crate.

use std::fmt;
use std::io;

/// Why a server could not be started, reached or stopped. Its message says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    kind: Kind,
    source: Option<io::Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    MissingBinary,
    PortTaken,
    NotPermitted,
    Other,
}

impl Error {
    /// A server's program is not installed; the message names the Debian package.
    pub fn is_missing_binary(&self) -> bool {
        self.kind == Kind::MissingBinary
    }

    /// Somebody else listens on the port; another port may do.
    pub fn is_port_taken(&self) -> bool {
        self.kind == Kind::PortTaken
    }

    /// The operating system does not let us; the message says who would be let.
    pub fn is_not_permitted(&self) -> bool {
        self.kind == Kind::NotPermitted
    }

    pub(crate) fn not_permitted(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            kind: Kind::NotPermitted,
            source: None,
        }
    }

    pub(crate) fn missing_binary(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            kind: Kind::MissingBinary,
            source: None,
        }
    }

    pub(crate) fn port_taken(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            kind: Kind::PortTaken,
            source: None,
        }
    }

    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            kind: Kind::Other,
            source: None,
        }
    }

    /// For `map_err`: what we were doing, and what the operating system answered.
    pub(crate) fn io(doing: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            message: format!("{doing}: {source}"),
            kind: Kind::Other,
            source: Some(source),
        }
    }
}
