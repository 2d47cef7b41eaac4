//! The databases that are servers, and what they call things.

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::shared::{MYSQL_URL_VAR, POSTGRES_URL_VAR};

/// A database that is a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

impl Database {
    /// The variable that names the server for tests.
    pub fn url_var(self) -> &'static str {
        match self {
            Self::Postgres => POSTGRES_URL_VAR,
            Self::MariaDb => MYSQL_URL_VAR,
        }
    }

    /// The name people know it by.
    pub fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
        }
    }

    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mysql",
        }
    }

    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "peerwork",
        }
    }

    pub(crate) fn default_name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "peerwork",
        }
    }

    /// Disconnects the server's clients and has it write everything out.
    pub(crate) fn stop_signal(self) -> Signal {
        match self {
            // "Fast" shutdown; at SIGTERM it would wait for its clients to leave.
            Self::Postgres => Signal::INT,
            Self::MariaDb => Signal::TERM,
        }
    }

    /// Ends a server whose data nobody wants at once.
    pub(crate) fn abort_signal(self) -> Signal {
        match self {
            // "Immediate" shutdown: it writes nothing, but gives its shared memory back.
            Self::Postgres => Signal::QUIT,
            Self::MariaDb => Signal::KILL,
        }
    }
}
