//! A run's own transaction: the user's statements, then the fence, what is recorded of the run, and the commit.
//!
//! ```text
//! Committer --room--> a place among few --session--> a connection --begin--> OpenTransaction
//!    the user's statements, tasks created with them
//!    record: no statement has ended the transaction; the fence; the checkpoint; the end of the run
//!    commit
//! ```
//!
//! The fence comes after everything of the user's, so that the run's row is locked for a moment only, and holds to the
//! end of the transaction. Whatever goes wrong before the commit is rolled back, by closing the connection if there is
//! no other way. *Not here:* until when a transaction may go on, and what becomes of a commit whose answer was lost
//! (`peerwork`).

use super::SqlStore;
use super::batch::Batches;
use super::connect::{commit_pool, idle_limit};
use super::dialect::Dialect;
use super::engine::{Engine, Operation};
use super::fault::{Fault, FaultSort};
use super::link::{self, Connections, Link, Pool};
use super::ops::commit::{Fence, ReadStanding, Standing, pass};
use super::ops::create::create_in;
use super::ops::end::EndRuns;
use super::ops::save::SaveRuns;
use super::settings::{Database, Isolation};
use super::store::{check_end, check_new, check_save};
use super::transactional::Transactional;
use super::tx::Tx;
use crate::{Created, End, Ended, NewTask, Result, Save, Saved};
use peerwork_core::{RunId, Status, TaskId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Connections for runs' own transactions, of each node. They are apart from those on which a node beats, claims and
/// writes ends, so that slow users' statements hold up nothing but each other.
const CONNECTIONS: u32 = 4;

/// Marks the beginning of the transaction. It is gone where a statement has ended the transaction, say a change of
/// tables on MariaDB, or a deadlock that was passed over: what follows is not to be committed by itself.
const MARK: &str = "peerwork_begin";

/// What the error messages call it.
const NAME: &str = "commit a run's transaction";

// Nobody outside can name this trait, nor what it speaks of.
#[allow(private_interfaces)]
mod sealed {
    use super::{Database, Link, Pool};

    pub trait Sealed: sqlx::Database {
        const DATABASE: Database;
        fn pool(pool: &Pool) -> Option<&sqlx::Pool<Self>>;
        fn link(connection: &mut Self::Connection) -> &mut dyn Link;
    }
}

/// One of sqlx's databases that tasks can live in.
///
/// Sealed: it is implemented for `sqlx::Sqlite`, `sqlx::Postgres` and `sqlx::MySql`, and for nothing else.
pub trait SqlDatabase: sqlx::Database<Connection: Transactional> + sealed::Sealed {}

macro_rules! sql_database {
    ($feature:literal, $database:ident) => {
        #[cfg(feature = $feature)]
        #[allow(private_interfaces)]
        impl sealed::Sealed for sqlx::$database {
            const DATABASE: Database = Database::$database;
            fn pool(pool: &Pool) -> Option<&sqlx::Pool<Self>> {
                match pool {
                    Pool::$database(pool) => Some(pool),
                    #[allow(unreachable_patterns)] // with one database there is no other
                    _ => None,
                }
            }
            fn link(connection: &mut Self::Connection) -> &mut dyn Link {
                connection
            }
        }
        #[cfg(feature = $feature)]
        impl SqlDatabase for sqlx::$database {}
    };
}

sql_database!("sqlite", Sqlite);
sql_database!("postgres", Postgres);
sql_database!("mysql", MySql);

/// Where runs' own transactions get their connections. Clones share them.
#[derive(Clone)]
pub struct Committer {
    engine: Arc<Engine>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").finish_non_exhaustive()
    }
}

/// A place among those who may have a transaction open. On SQLite it is the only one who may write.
#[derive(Debug)]
pub struct Room {
    _place: OwnedSemaphorePermit,
    _writing: Option<OwnedMutexGuard<()>>,
}

impl SqlStore {
    /// Connections for runs' own transactions, apart from those of this store; made when they are needed.
    pub fn committer(&self) -> Committer {
        // One more, for reading back.
        let pool = commit_pool(
            &self.engine.connections.pool,
            CONNECTIONS + 1,
            self.engine.dialect.capabilities.sessions,
        );
        let engine = Engine {
            connections: Arc::new(Connections::shared(pool)),
            dialect: self.engine.dialect.clone(),
            file: self.engine.file.clone(),
            origin: None,
            batches: Batches::new(self.engine.dialect.batch_min),
        };
        Committer {
            engine: Arc::new(engine),
            places: Arc::new(Semaphore::new(CONNECTIONS as usize)),
        }
    }
}

impl Committer {
    /// Which database it is on.
    pub fn database(&self) -> Database {
        self.engine.dialect.database
    }

    /// Where a run stands, after whatever of its own is still under way in the database.
    ///
    /// # Errors
    /// What the database said. Reading is to be repeated after a transient error.
    pub async fn standing(&self, id: TaskId, run: RunId) -> Result<Standing> {
        self.engine.write(ReadStanding { id, run }).await
    }

    /// Waits for a place.
    ///
    /// Cancel safe.
    pub async fn room(&self) -> Room {
        let places = self.places.clone();
        let place = places
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let writing = match &self.engine.file {
            Some(file) => Some(file.writer.clone().lock_owned().await),
            None => None,
        };
        Room {
            _place: place,
            _writing: writing,
        }
    }

    /// A connection to `DB`, for one transaction.
    ///
    /// Not cancel safe, as nothing that follows.
    ///
    /// # Errors
    /// `Invalid` if the tasks are in another database than `DB`; otherwise what the database said.
    pub async fn session<DB: SqlDatabase>(&self, room: Room) -> Result<Session<DB>> {
        let all = &self.engine.connections.pool;
        let Some(pool) = DB::pool(all) else {
            let text = format!(
                "it is one of {}, the tasks are in {}",
                DB::DATABASE.name(),
                self.database().name()
            );
            return Err(Fault::new(FaultSort::Invalid, text).into_error(NAME));
        };
        let connection = pool
            .acquire()
            .await
            .map_err(|error| all.sort_connect(error).into_error(NAME))?;
        Ok(Session {
            connection,
            dialect: self.engine.dialect.clone(),
            is_sound: false,
            _room: room,
        })
    }
}

/// A connection for one transaction. Unless it is kept, it is closed, and what is open on it is rolled back.
#[derive(Debug)]
pub struct Session<DB: SqlDatabase> {
    connection: sqlx::pool::PoolConnection<DB>,
    dialect: Arc<Dialect>,
    is_sound: bool,
    // After the connection: the next one may write when this one is on its way out.
    _room: Room,
}

impl<DB: SqlDatabase> Session<DB> {
    /// Begins. The server ends the transaction if nothing is heard of it for as long as `idle`.
    ///
    /// # Errors
    /// What the database said. After a [conflict](crate::Error::is_transient) it may be begun again.
    pub async fn begin(&mut self, idle: Duration) -> Result<OpenTransaction<'_, DB>> {
        let dialect = self.dialect.clone();
        let statement = match (dialect.database, dialect.isolation) {
            (Database::Sqlite, _) => "begin immediate",
            (Database::Postgres, Isolation::ReadCommitted) => {
                "begin isolation level read committed"
            }
            (Database::Postgres, Isolation::Serializable) => "begin isolation level serializable",
            (Database::MySql, _) => "start transaction",
        };
        // Through sqlx: what the user begins on this connection is then a savepoint, and commits nothing.
        let begin = sqlx::Connection::begin_with(&mut *self.connection, statement);
        let begin = async { begin.await.map_err(sort::<DB>) };
        let begun = dialect.carry_out(NAME, statement, begin).await;
        let mut open = OpenTransaction {
            transaction: begun.map_err(|fault| fault.into_error(NAME))?,
            dialect,
        };
        let text = format!("{}savepoint {MARK}", idle_limit(&open.dialect, idle));
        let marked = open.tx().run(text).await;
        marked.map_err(|fault| fault.into_error(NAME))?;
        Ok(open)
    }

    /// Keeps the connection for the next transaction: nothing is open on it, and nothing was wrong with it.
    pub fn keep(&mut self) {
        self.is_sound = true;
    }
}

impl<DB: SqlDatabase> Drop for Session<DB> {
    fn drop(&mut self) {
        if !self.is_sound {
            self.connection.close_on_drop();
        }
    }
}

/// What is recorded of a run beside the user's statements.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its checkpoint and progress.
    pub save: Save,
    /// Its end.
    pub end: Option<End>,
    /// How many of its transactions were committed before.
    pub commits: u64,
}

/// What [`OpenTransaction::record`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The run holds its task, in this status.
    Held(Status),
    /// The run has ended, and this is what its task is now.
    Ended(Status),
    /// The run does not hold its task any more: roll back.
    Lost,
}

/// A transaction in which the user's statements run.
#[derive(Debug)]
pub struct OpenTransaction<'c, DB: SqlDatabase> {
    transaction: sqlx::Transaction<'c, DB>,
    dialect: Arc<Dialect>,
}

impl<DB: SqlDatabase> OpenTransaction<'_, DB> {
    /// The connection it is open on.
    pub fn connection(&self) -> &DB::Connection {
        &self.transaction
    }

    /// The connection it is open on.
    pub fn connection_mut(&mut self) -> &mut DB::Connection {
        &mut self.transaction
    }

    fn tx(&mut self) -> Tx<'_> {
        Tx::new(DB::link(&mut self.transaction), self.dialect.clone(), NAME)
    }

    /// Creates a task.
    ///
    /// # Errors
    /// `Invalid` if it cannot be stored; otherwise what the database said. It cannot be repeated.
    pub async fn create(&mut self, task: NewTask) -> Result<Created> {
        check_new(std::slice::from_ref(&task))?;
        create_in(&mut self.tx(), &task)
            .await
            .map_err(|fault| fault.into_error(NAME))
    }

    /// Passes the fence and records what is to be recorded: the last thing before the commit.
    ///
    /// # Errors
    /// `Permanent` if a statement has ended the transaction; otherwise what the database said. Roll back.
    pub async fn record(&mut self, record: Record) -> Result<Recorded> {
        check_save(&record.save)?;
        if let Some(end) = &record.end {
            check_end(end)?;
        }
        self.recorded(record)
            .await
            .map_err(|fault| fault.into_error(NAME))
    }

    async fn recorded(&mut self, record: Record) -> Result<Recorded, Fault> {
        let mut tx = self.tx();
        tx.run(format!("release savepoint {MARK}"))
            .await
            .map_err(ended_early)?;
        let fence = Fence {
            id: record.save.id,
            run: record.save.run,
            commits: record.commits,
        };
        if !pass(&mut tx, fence).await? {
            return Ok(Recorded::Lost);
        }
        let save = SaveRuns {
            saves: vec![record.save],
        };
        let [Saved::Kept(status)] = save.run(&mut tx).await?[..] else {
            return Ok(Recorded::Lost);
        };
        let Some(end) = record.end else {
            return Ok(Recorded::Held(status));
        };
        let end = EndRuns { ends: vec![end] };
        match end.run(&mut tx).await?[..] {
            [Ended::Recorded(status)] => Ok(Recorded::Ended(status)),
            _ => Ok(Recorded::Lost),
        }
    }

    /// Commits.
    ///
    /// # Errors
    /// What the database said. Whatever it is, the transaction may have been committed:
    /// [read it back](Committer::standing).
    pub async fn commit(self) -> Result<()> {
        let commit = async { self.transaction.commit().await.map_err(sort::<DB>) };
        let committed = self.dialect.carry_out(NAME, "commit", commit).await;
        committed.map_err(|fault| fault.at_commit().into_error(NAME))
    }

    /// Rolls back. If that fails, the session is not to be kept.
    ///
    /// # Errors
    /// What the database said.
    pub async fn rollback(self) -> Result<()> {
        self.transaction
            .rollback()
            .await
            .map_err(|error| sort::<DB>(error).into_error(NAME))
    }
}

fn sort<DB: SqlDatabase>(error: sqlx::Error) -> Fault {
    link::sort(DB::DATABASE, error)
}

/// The mark is gone, or nothing is accepted any more.
fn ended_early(fault: Fault) -> Fault {
    match fault.sort {
        FaultSort::Lost | FaultSort::Unavailable | FaultSort::Conflict => fault,
        _ => Fault::new(
            FaultSort::Permanent,
            "the transaction was over before its end: a statement in it committed, rolled back or changed tables, \
             or failed and was passed over; let the error of each statement end it",
        ),
    }
}

/// Whether a statement that failed with `error`, or with what it was caused by, may succeed when its transaction is
/// carried out again: a lost connection, a conflict.
pub fn is_transient_sqlx(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return link::is_transient(error);
        }
        at = error.source();
    }
    false
}
