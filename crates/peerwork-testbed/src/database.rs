//! The databases that are servers, and what they call things.

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::home::Ending;
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

    pub(crate) fn ending(self) -> Ending {
        match self {
            Self::Postgres => Ending {
                name: "postgres",
                // "Fast" shutdown; at SIGTERM it would wait for its clients to leave.
                stop: Signal::INT,
                // "Immediate" shutdown: it writes nothing, but gives its shared memory back.
                abort: Signal::QUIT,
            },
            Self::MariaDb => Ending {
                name: "mysql",
                stop: Signal::TERM,
                abort: Signal::KILL,
            },
        }
    }
}
