//! Creating a task in the caller's own transaction: it exists if and only if the caller commits.

use super::SqlStore;
use super::fault::{Fault, FaultSort};
use super::link::Link;
use super::ops::create::create_in;
use super::settings::Database;
use super::store::check_new;
use super::tx::Tx;
use crate::{Created, NewTask, Result};
use std::future::Future;

mod sealed {
    use super::{Created, NewTask, Result, SqlStore};
    use std::future::Future;

    pub trait Sealed {
        fn create(
            &mut self,
            store: &SqlStore,
            task: NewTask,
        ) -> impl Future<Output = Result<Created>> + Send;
    }
}

/// A connection of one of the three databases, in the caller's transaction.
///
/// Sealed: it is implemented for sqlx's three connection types, and for nothing else.
pub trait Transactional: sealed::Sealed {
    /// Creates `task` in the transaction that is open on this connection, with the tables of `store`: one statement
    /// on PostgreSQL, two elsewhere, and no reads. The task is claimable when the caller has committed.
    ///
    /// Not cancel safe: a statement may be in flight; roll the transaction back.
    ///
    /// # Errors
    /// `Invalid` if the store is on another database or the input is too long; otherwise what the database said.
    /// Conflicts are not tried again, since only the caller can repeat its transaction.
    fn create_in(
        &mut self,
        store: &SqlStore,
        task: NewTask,
    ) -> impl Future<Output = Result<Created>> + Send {
        self.create(store, task)
    }
}

/// What the error messages call it.
const NAME: &str = "create a task in a transaction";

async fn create(
    link: &mut dyn Link,
    database: Database,
    store: &SqlStore,
    task: NewTask,
) -> Result<Created> {
    let dialect = store.engine.dialect.clone();
    if dialect.database != database {
        let text = format!(
            "it is one of {}, the store is on {}",
            database.name(),
            dialect.database.name()
        );
        return Err(Fault::new(FaultSort::Invalid, text).into_error(NAME));
    }
    check_new(std::slice::from_ref(&task))?;
    create_in(&mut Tx::new(link, dialect, NAME), &task)
        .await
        .map_err(|fault| fault.into_error(NAME))
}

macro_rules! transactional {
    ($feature:literal, $connection:ty, $database:ident) => {
        #[cfg(feature = $feature)]
        impl sealed::Sealed for $connection {
            async fn create(&mut self, store: &SqlStore, task: NewTask) -> Result<Created> {
                create(self, Database::$database, store, task).await
            }
        }
        #[cfg(feature = $feature)]
        impl Transactional for $connection {}
    };
}

transactional!("sqlite", sqlx::SqliteConnection, Sqlite);
transactional!("postgres", sqlx::PgConnection, Postgres);
transactional!("mysql", sqlx::MySqlConnection, MySql);
