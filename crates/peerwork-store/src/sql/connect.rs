//! How a [`SqlStore`] comes to its connections.

use super::SqlStore;
use super::batch::Batches;
use super::dialect::Dialect;
use super::engine::Engine;
use super::fault::{Fault, FaultSort};
#[cfg(feature = "sqlite")]
use super::file::SharedFile;
use super::hints::Origin;
use super::link::{Connections, Pool};
use super::settings::{Database, Settings};
use crate::{Error, ErrorKind, Result};
use sqlx::{ConnectOptions, Connection};
#[cfg(feature = "sqlite")]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection of ours may take to be made before the database counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that a connection of ours keeps prepared: all that there are, in all their sizes.
const STATEMENTS_MAX: usize = 512;

/// Rows of an answer that SQLite's thread hands over without waiting.
#[cfg(feature = "sqlite")]
const ROWS_MAX: usize = peerwork_core::BATCH_MAX;

/// Server-side limits of a node's connections, in milliseconds. No database future is ever under a client's timeout,
/// so these are what ends a statement that hangs. The second is shorter than a lease's margin.
const STATEMENT_MS_MAX: u32 = 30_000;
const LOCK_MS_MAX: u32 = 5_000;

impl SqlStore {
    /// A store in a SQLite file, over the caller's pool.
    ///
    /// # Errors
    /// `Invalid` if the settings cannot be part of SQL, or the database is in memory: each connection would have one
    /// of its own.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(pool: sqlx::SqlitePool, settings: Settings) -> Result<Self> {
        let file = pool.connect_options().get_filename().to_owned();
        refuse_memory(&file)?;
        Self::over(Connections::shared(Pool::Sqlite(pool)), settings)
    }

    /// A store in PostgreSQL, over the caller's pool.
    ///
    /// # Errors
    /// `Invalid` if the settings cannot be part of SQL.
    #[cfg(feature = "postgres")]
    pub fn postgres(pool: sqlx::PgPool, settings: Settings) -> Result<Self> {
        Self::over(Connections::shared(Pool::Postgres(pool)), settings)
    }

    /// A store in MariaDB or MySQL, over the caller's pool.
    ///
    /// # Errors
    /// `Invalid` if the settings cannot be part of SQL.
    #[cfg(feature = "mysql")]
    pub fn mysql(pool: sqlx::MySqlPool, settings: Settings) -> Result<Self> {
        Self::over(Connections::shared(Pool::MySql(pool)), settings)
    }

    /// A store at `url` (`sqlite:`, `postgres:`, `mysql:` or `mariadb:`), with at most `max_connections` connections
    /// of its own. A SQLite file that is not there is made.
    ///
    /// Cancel safe: at worst a connection is opened and closed again.
    ///
    /// # Errors
    /// `Invalid` for a URL that names no database, `Transient` if the database cannot be reached; neither tells the
    /// password.
    pub async fn connect(url: &str, settings: Settings, max_connections: u32) -> Result<Self> {
        let scheme = url
            .split_once(':')
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        let pool = match scheme.as_deref() {
            #[cfg(feature = "sqlite")]
            Some("sqlite") => own_sqlite(sqlite_options(url)?, max_connections),
            #[cfg(feature = "postgres")]
            Some("postgres" | "postgresql") => {
                let options = postgres_options(url)?;
                let sessions = settings.capabilities.sessions && keeps_statements(&options);
                own_postgres(options, max_connections, sessions)
            }
            #[cfg(feature = "mysql")]
            Some("mysql" | "mariadb") => own_mysql(mysql_options(url)?, max_connections),
            _ => return Err(unknown_scheme(scheme.as_deref())),
        };
        let store = Self::over(
            Connections::own(pool, max_connections.max(1) as usize),
            settings,
        )?;
        store
            .engine
            .connections
            .pool
            .try_connect()
            .await
            .map_err(|fault| {
                let error = fault.into_error(&format!("connect to {}", without_password(url)));
                let advice = "is the database there, and is the URL right?";
                Error::new(error.kind(), format!("{error}; {advice}")).with_source(error)
            })?;
        Ok(store)
    }

    /// The same store over at most `n` new connections to the same database, set up as a node needs them. They are
    /// made when they are needed.
    ///
    /// It does not hear the hints that it has sent itself: a node that wakes others is awake.
    pub fn own_connections(&self, n: u32) -> Self {
        let pool = match &self.engine.connections.pool {
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => own_sqlite((*pool.connect_options()).clone(), n),
            #[cfg(feature = "postgres")]
            Pool::Postgres(pool) => own_postgres(
                (*pool.connect_options()).clone(),
                n,
                self.engine.dialect.capabilities.sessions,
            ),
            #[cfg(feature = "mysql")]
            Pool::MySql(pool) => own_mysql((*pool.connect_options()).clone(), n),
        };
        let engine = Engine {
            connections: Arc::new(Connections::own(pool, n.max(1) as usize)),
            dialect: self.engine.dialect.clone(),
            file: self.engine.file.clone(),
            origin: Some(Origin::random()),
            batches: Batches::new(self.engine.dialect.batch_min),
        };
        Self {
            engine: Arc::new(engine),
        }
    }

    fn over(connections: Connections, settings: Settings) -> Result<Self> {
        let database = connections.pool.database();
        settings.check(database)?;
        #[cfg(feature = "postgres")]
        let settings = without_sessions_behind_a_pooler(settings, &connections.pool);
        let file = match &connections.pool {
            #[cfg(feature = "sqlite")]
            Pool::Sqlite(pool) => Some(SharedFile::of(pool.connect_options().get_filename())),
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => None,
            #[cfg(feature = "mysql")]
            Pool::MySql(_) => None,
        };
        let dialect = Arc::new(Dialect::new(database, &settings));
        let batches = Batches::new(dialect.batch_min);
        Ok(Self {
            engine: Arc::new(Engine {
                connections: Arc::new(connections),
                dialect,
                file,
                origin: None,
                batches,
            }),
        })
    }
}

/// A pool of at most `n` connections to the same database, for users' own statements: with the limits of a node's
/// connections, and without what those do to the plans of their statements. Without `sessions` each transaction has to
/// set the limits.
pub(super) fn commit_pool(of: &Pool, n: u32, sessions: bool) -> Pool {
    // Only PostgreSQL is ever without them.
    let _ = sessions;
    match of {
        #[cfg(feature = "sqlite")]
        Pool::Sqlite(pool) => own_sqlite((*pool.connect_options()).clone(), n),
        #[cfg(feature = "postgres")]
        Pool::Postgres(pool) => {
            let limits = match sessions {
                true => postgres_limits("set"),
                false => String::new(),
            };
            let pool = sqlx::postgres::PgPoolOptions::new()
                .max_connections(n)
                .acquire_timeout(CONNECT_TIMEOUT)
                .after_connect(move |connection, _| {
                    let limits = limits.clone();
                    Box::pin(async move {
                        if !limits.is_empty() {
                            sqlx::raw_sql(sqlx::AssertSqlSafe(limits))
                                .execute(connection)
                                .await?;
                        }
                        Ok(())
                    })
                })
                .connect_lazy_with((*pool.connect_options()).clone());
            Pool::Postgres(pool)
        }
        #[cfg(feature = "mysql")]
        Pool::MySql(pool) => {
            let limits = format!(
                "set session transaction isolation level read committed; \
                 set session innodb_lock_wait_timeout = {} /*M! , max_statement_time = {} */",
                LOCK_MS_MAX / 1_000,
                STATEMENT_MS_MAX / 1_000
            );
            let pool = sqlx::mysql::MySqlPoolOptions::new()
                .max_connections(n)
                .acquire_timeout(CONNECT_TIMEOUT)
                .after_connect(move |connection, _| {
                    let limits = limits.clone();
                    Box::pin(async move {
                        sqlx::raw_sql(sqlx::AssertSqlSafe(limits))
                            .execute(connection)
                            .await?;
                        Ok(())
                    })
                })
                .connect_lazy_with((*pool.connect_options()).clone());
            Pool::MySql(pool)
        }
    }
}

/// Has the server end a transaction in which nothing was asked for as long as `idle`. Of SQLite nobody else does: its
/// transactions end with their process.
pub(super) fn idle_limit(dialect: &Dialect, idle: Duration) -> String {
    match dialect.database {
        Database::Sqlite => String::new(),
        Database::Postgres => {
            let ms = idle.as_millis().max(1);
            let limits = match dialect.capabilities.sessions {
                true => String::new(),
                false => format!("{}; ", postgres_limits("set local")),
            };
            format!("{limits}set local idle_in_transaction_session_timeout = {ms}; ")
        }
        // MariaDB has a limit for transactions; MySQL only one for connections, which their pool finds closed.
        Database::MySql => {
            let s = idle.as_secs().max(1);
            format!(
                "set session /*M! idle_transaction_timeout = {s} */ /*!80000 wait_timeout = {s} */; "
            )
        }
    }
}

impl Pool {
    /// Makes one connection and closes it. A pool would try until its time is over, and then only tell that.
    async fn try_connect(&self) -> std::result::Result<(), Fault> {
        let attempt = async {
            match self {
                #[cfg(feature = "sqlite")]
                Self::Sqlite(pool) => pool.connect_options().connect().await?.close().await,
                #[cfg(feature = "postgres")]
                Self::Postgres(pool) => pool.connect_options().connect().await?.close().await,
                #[cfg(feature = "mysql")]
                Self::MySql(pool) => pool.connect_options().connect().await?.close().await,
            }
        };
        // A connection that nobody else has may be dropped at any time.
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(connected) => connected.map_err(|error| self.sort_connect(error)),
            Err(_) => Err(Fault::new(FaultSort::Unavailable, "no answer")),
        }
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn unknown_scheme(scheme: Option<&str>) -> Error {
    let mut known: Vec<&str> = Vec::new();
    if cfg!(feature = "sqlite") {
        known.push("sqlite:FILE");
    }
    if cfg!(feature = "postgres") {
        known.push("postgres://USER@HOST/DATABASE");
    }
    if cfg!(feature = "mysql") {
        known.push("mysql://USER@HOST/DATABASE");
    }
    let known = known.join(", ");
    invalid(match scheme {
        Some(scheme) => format!("database url with scheme {scheme:?}: use one of {known}"),
        None => format!("database url without a scheme: use one of {known}"),
    })
}

/// The URL for people.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = path.split('?').next().unwrap_or_default();
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => authority.split('?').next().unwrap_or_default().to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

#[cfg(feature = "sqlite")]
fn refuse_memory(file: &Path) -> Result<()> {
    let name = file.to_string_lossy();
    if name.is_empty()
        || name.contains(":memory:")
        || name.contains("mode=memory")
        || name.contains("sqlx-in-memory")
    {
        return Err(invalid(
            "sqlite in memory: every connection would see a database of its own; use a file"
                .to_owned(),
        ));
    }
    Ok(())
}

#[cfg(feature = "sqlite")]
fn sqlite_options(url: &str) -> Result<sqlx::sqlite::SqliteConnectOptions> {
    let rest = &url[url.find(':').map_or(0, |at| at + 1)..];
    let (file, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_memory = query.split('&').any(|part| part == "mode=memory");
    refuse_memory(Path::new(if is_memory {
        ""
    } else {
        file.trim_start_matches("//")
    }))?;
    let options: sqlx::sqlite::SqliteConnectOptions = url
        .parse()
        .map_err(|error| invalid(format!("database url {url:?}: {error}")))?;
    refuse_memory(options.get_filename())?;
    Ok(options.create_if_missing(true))
}

#[cfg(feature = "sqlite")]
fn own_sqlite(options: sqlx::sqlite::SqliteConnectOptions, n: u32) -> Pool {
    use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Short: our own retry sleeps at random, and never in SQLite's thread.
        .busy_timeout(Duration::from_millis(5))
        .statement_cache_capacity(STATEMENTS_MAX)
        // A whole batch: its thread need not wait for ours in the middle of an answer.
        .row_buffer_size(ROWS_MAX)
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-16384");
    let pool = sqlx::sqlite::SqlitePoolOptions::new()
        .max_connections(n.max(1))
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_lazy_with(options);
    Pool::Sqlite(pool)
}

#[cfg(feature = "postgres")]
fn postgres_options(url: &str) -> Result<sqlx::postgres::PgConnectOptions> {
    url.parse()
        .map_err(|error| invalid(format!("database url {:?}: {error}", without_password(url))))
}

#[cfg(feature = "postgres")]
fn without_sessions_behind_a_pooler(mut settings: Settings, pool: &Pool) -> Settings {
    #[allow(irrefutable_let_patterns)] // with one database there is no other
    if let Pool::Postgres(pool) = pool {
        settings.capabilities.sessions &= keeps_statements(&pool.connect_options());
    }
    settings
}

/// Whether prepared statements are wanted: a pooler in transaction mode is why they would not be. The options tell it
/// in their URL only.
#[cfg(feature = "postgres")]
fn keeps_statements(options: &sqlx::postgres::PgConnectOptions) -> bool {
    let url = options.to_url_lossy();
    let mut choices = url.query_pairs();
    !choices.any(|(name, value)| name == "statement-cache-capacity" && value == "0")
}

/// What our connections are told, by `set` for good or by `set local` for a transaction.
///
/// Plans for lists of unknown length are made once, and must not depend on what the tables held at that moment:
/// an index is there for everything that these connections ask.
#[cfg(feature = "postgres")]
pub(super) fn postgres_settings(set: &str) -> String {
    format!(
        "{}; {set} idle_in_transaction_session_timeout = {LOCK_MS_MAX}; {set} plan_cache_mode = force_generic_plan; \
         {set} enable_seqscan = off; {set} enable_hashjoin = off; {set} enable_mergejoin = off; \
         {set} enable_sort = off; {set} enable_bitmapscan = off; {set} jit = off",
        postgres_limits(set)
    )
}

/// The same for statements that are not ours.
fn postgres_limits(set: &str) -> String {
    format!("{set} statement_timeout = {STATEMENT_MS_MAX}; {set} lock_timeout = {LOCK_MS_MAX}")
}

#[cfg(feature = "postgres")]
fn own_postgres(options: sqlx::postgres::PgConnectOptions, n: u32, sessions: bool) -> Pool {
    let (capacity, settings) = match sessions {
        true => (STATEMENTS_MAX, postgres_settings("set")),
        // Each transaction says it itself.
        false => (0, String::new()),
    };
    let options = options.statement_cache_capacity(capacity);
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(n.max(1))
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move {
                if !settings.is_empty() {
                    sqlx::raw_sql(sqlx::AssertSqlSafe(settings))
                        .execute(connection)
                        .await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Pool::Postgres(pool)
}

#[cfg(feature = "mysql")]
fn mysql_options(url: &str) -> Result<sqlx::mysql::MySqlConnectOptions> {
    let url = url.replacen("mariadb:", "mysql:", 1);
    url.parse().map_err(|error| {
        invalid(format!(
            "database url {:?}: {error}",
            without_password(&url)
        ))
    })
}

#[cfg(feature = "mysql")]
fn own_mysql(options: sqlx::mysql::MySqlConnectOptions, n: u32) -> Pool {
    let options = options.statement_cache_capacity(STATEMENTS_MAX);
    // A server may be set up to commit nothing by itself, and some of ours are one statement without a transaction.
    let required = format!(
        "set session transaction isolation level read committed; set session autocommit = 1, innodb_lock_wait_timeout = {}",
        LOCK_MS_MAX / 1_000
    );
    // MariaDB only: it would make a subquery of a long list, and limit statements in its own unit. Without the last one a
    // node that is cut off in the middle of a transaction would keep its locks for hours.
    let optional = format!(
        "set session in_predicate_conversion_threshold = 0, max_statement_time = {}, idle_transaction_timeout = {}",
        STATEMENT_MS_MAX / 1_000,
        LOCK_MS_MAX / 1_000
    );
    let pool = sqlx::mysql::MySqlPoolOptions::new()
        .max_connections(n.max(1))
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(move |connection, _| {
            let (required, optional) = (required.clone(), optional.clone());
            Box::pin(async move {
                sqlx::raw_sql(sqlx::AssertSqlSafe(required))
                    .execute(&mut *connection)
                    .await?;
                if let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(optional))
                    .execute(&mut *connection)
                    .await
                {
                    tracing::debug!(%error, "this server has no such settings");
                }
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Pool::MySql(pool)
}

impl SqlStore {
    /// Which of the three databases this is.
    pub fn database(&self) -> Database {
        self.engine.dialect.database
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            (
                "postgres://ann:s3cret@db:5432/jobs?sslmode=require",
                "postgres://ann@db:5432/jobs",
            ),
            ("mysql://root@127.0.0.1/test", "mysql://root@127.0.0.1/test"),
            ("postgres://a:p@ss@db/x", "postgres://a@db/x"),
            ("sqlite:tasks.db", "sqlite:tasks.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_those_that_are_known() {
        let error = unknown_scheme(Some("oracle"));
        assert!(error.is_invalid());
        assert!(error.to_string().contains("\"oracle\""), "{error}");
    }
}
