//! What a caller chooses about the tables and the database's abilities.

use crate::{Error, ErrorKind, Result};
use peerwork_core::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// How a [`SqlStore`](super::SqlStore) uses its database.
///
/// # Behind a pooler
///
/// A pooler in transaction mode, such as pgbouncer, lends a connection of PostgreSQL for one transaction only. Say so in
/// the URL, `postgres://pooler/jobs?statement-cache-capacity=0`, or set
/// `statement_cache_capacity(0)` in the `PgConnectOptions` of a pool of your own: [`Capabilities::sessions`] is then off.
/// Statements of yours beside ours, in [`create_in`](super::Transactional::create_in)'s transaction or in a run's own
/// commit, then need `.persistent(false)`.
/// pgbouncer itself needs `ignore_startup_parameters = extra_float_digits`, whatever uses sqlx behind it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Begins the name of every table; `peerwork_` if empty.
    pub prefix: String,
    /// The PostgreSQL schema of the tables, made by `migrate` if it is not there; none: the first of the search path.
    pub schema: Option<String>,
    /// Whose time it is.
    pub clock: Clock,
    /// What the database is able to do.
    pub capabilities: Capabilities,
    /// How far transactions are kept apart, on PostgreSQL.
    pub isolation: Isolation,
    /// From how many tasks on a claim on PostgreSQL is kept as one row, with which short tasks take about a third less of the database;
    /// none: from 64 on. What is not over after a second gets rows of its own.
    pub batch_min: Option<usize>,
    /// Faults, for tests.
    #[cfg(feature = "failpoints")]
    #[doc(hidden)]
    pub failpoints: Option<super::failpoints::Failpoints>,
}

/// Whose time it is.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The database's.
    #[default]
    Database,
    /// Microseconds since 1970 that a test sets.
    Injected(Arc<AtomicI64>),
}

/// How far transactions are kept apart, on PostgreSQL. Correct at both; the databases that know only one are why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// READ COMMITTED.
    #[default]
    ReadCommitted,
    /// SERIALIZABLE.
    Serializable,
}

/// What a database is able to do beyond what every one of them can. Switching one off costs speed, never safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `FOR UPDATE SKIP LOCKED`.
    pub skip_locked: bool,
    /// `LISTEN` and `NOTIFY`.
    pub listen_notify: bool,
    /// What a connection was told holds beyond a transaction: prepared statements, settings, `LISTEN`. Off behind a
    /// pooler in transaction mode: every call is then a transaction, nothing is prepared by name, and others' hints are
    /// not heard, so that their work is seen when a node looks for itself, once a second.
    ///
    /// PostgreSQL only. Left on there, statements of different clients get into each other's way.
    pub sessions: bool,
    /// `RETURNING`, also of a statement within a `WITH`.
    pub returning: bool,
    /// `CROSS JOIN LATERAL`, and locking within it.
    pub lateral: bool,
    /// Locks that belong to no row: eight nodes that migrate at once wait for each other.
    pub advisory_locks: bool,
}

impl Default for Capabilities {
    /// All of them: each database is asked only for those that it has.
    fn default() -> Self {
        Self {
            skip_locked: true,
            listen_notify: true,
            sessions: true,
            returning: true,
            lateral: true,
            advisory_locks: true,
        }
    }
}

impl Capabilities {
    /// None of them.
    pub const NONE: Self = Self {
        skip_locked: false,
        listen_notify: false,
        sessions: false,
        returning: false,
        lateral: false,
        advisory_locks: false,
    };
}

/// One of the three databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Database {
    /// SQLite, in a file.
    Sqlite,
    /// PostgreSQL, and what speaks its language.
    Postgres,
    /// MariaDB and MySQL.
    MySql,
}

impl Database {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MariaDB/MySQL",
        }
    }
}

impl Settings {
    /// Longest prefix: it is part of the names of indexes, which PostgreSQL cuts at 63 bytes.
    const PREFIX_BYTES_MAX: usize = 32;

    const DEFAULT_PREFIX: &'static str = "peerwork_";

    /// The same with tables whose names begin with `prefix`.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The same with tables in this PostgreSQL schema.
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// The same with this clock.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The same with these capabilities.
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The same with this isolation.
    pub fn with_isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// The same with claims kept as one row from so many tasks on.
    pub fn with_batch_min(mut self, tasks: usize) -> Self {
        self.batch_min = Some(tasks);
        self
    }

    /// The same with these faults.
    #[cfg(feature = "failpoints")]
    #[doc(hidden)]
    pub fn with_failpoints(mut self, failpoints: super::failpoints::Failpoints) -> Self {
        self.failpoints = Some(failpoints);
        self
    }

    /// The prefix in force.
    pub(crate) fn prefix(&self) -> &str {
        if self.prefix.is_empty() {
            Self::DEFAULT_PREFIX
        } else {
            &self.prefix
        }
    }

    /// Checks what becomes part of SQL text.
    ///
    /// # Errors
    /// `Invalid`, saying what a prefix and a schema are made of.
    pub(crate) fn check(&self, database: Database) -> Result<()> {
        let plain = |text: &str, bytes_max: usize| {
            text.len() <= bytes_max
                && text.starts_with(|c: char| c.is_ascii_lowercase())
                && text
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let invalid = |message| Err(Error::new(ErrorKind::Invalid, message));
        if !plain(self.prefix(), Self::PREFIX_BYTES_MAX) {
            return invalid(format!(
                "table prefix {:?}: use up to {} of a-z, 0-9 and _, beginning with a letter",
                self.prefix(),
                Self::PREFIX_BYTES_MAX
            ));
        }
        match &self.schema {
            Some(schema) if database != Database::Postgres => invalid(format!(
                "schema {schema:?}: only PostgreSQL has schemas; use a prefix on {}",
                database.name()
            )),
            Some(schema) if !plain(schema, 63) => invalid(format!(
                "schema {schema:?}: use up to 63 of a-z, 0-9 and _, beginning with a letter"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl Clock {
    /// The injected time.
    pub(crate) fn injected(&self) -> Option<Timestamp> {
        match self {
            Self::Database => None,
            Self::Injected(at) => Some(Timestamp(at.load(Ordering::SeqCst))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_part_of_sql_text_is_checked() {
        let check =
            |settings: Settings, database| settings.check(database).map_err(|e| e.to_string());
        assert_eq!(check(Settings::default(), Database::Sqlite), Ok(()));
        assert_eq!(
            check(Settings::default().with_prefix("app_1"), Database::MySql),
            Ok(())
        );
        for bad in ["1a", "A", "a-b", "a;", "a\"", &"a".repeat(33)] {
            assert!(
                check(Settings::default().with_prefix(bad), Database::Sqlite).is_err(),
                "{bad}"
            );
        }
        let schema = Settings::default().with_schema("jobs");
        assert_eq!(check(schema.clone(), Database::Postgres), Ok(()));
        assert!(
            check(schema, Database::Sqlite)
                .unwrap_err()
                .contains("only PostgreSQL")
        );
        assert!(check(Settings::default().with_schema("a.b"), Database::Postgres).is_err());
    }
}
