//! A handler whose runs do what a test says, and the user's own table, of which each row is an effect.

use crate::kit::Place;
use peerwork::{Handler, Node, NodeBuilder, Run, SqlDatabase, TaskError, Transaction};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// One of the databases, as the tests' own statements need it.
pub trait Bank: SqlDatabase {
    /// Runs a statement; how many rows it touched.
    fn run<'c>(connection: &'c mut Self::Connection, statement: &str) -> Counted<'c>;
    /// Begins what the user takes for a transaction of its own, runs a statement in it, and commits it.
    fn run_within<'c>(connection: &'c mut Self::Connection, statement: &str) -> Counted<'c>;
}

pub type Counted<'c> = Pin<Box<dyn Future<Output = sqlx::Result<u64>> + Send + 'c>>;

macro_rules! bank {
    ($($database:ident),+) => {$(
        impl Bank for sqlx::$database {
            fn run<'c>(connection: &'c mut Self::Connection, statement: &str) -> Counted<'c> {
                let statement = sqlx::AssertSqlSafe(statement.to_owned());
                Box::pin(async move {
                    let done = sqlx::raw_sql(statement).execute(connection).await?;
                    Ok(done.rows_affected())
                })
            }
            fn run_within<'c>(connection: &'c mut Self::Connection, statement: &str) -> Counted<'c> {
                let statement = sqlx::AssertSqlSafe(statement.to_owned());
                Box::pin(async move {
                    let mut inner = sqlx::Connection::begin(connection).await?;
                    let done = sqlx::raw_sql(statement).execute(&mut *inner).await?;
                    inner.commit().await?;
                    Ok(done.rows_affected())
                })
            }
        }
    )+};
}

bank!(Sqlite, Postgres, MySql);

/// What a run does.
pub type Script<DB> = Arc<
    dyn for<'r> Fn(&'r mut Run<Teller<DB>>, Ledger<DB>) -> Act<'r, Result<i64, TaskError>>
        + Send
        + Sync,
>;

pub type Act<'r, T> = Pin<Box<dyn Future<Output = T> + Send + 'r>>;

/// The handler of the kind `teller`.
pub struct Teller<DB: Bank> {
    ledger: Ledger<DB>,
    script: Script<DB>,
}

impl<DB: Bank> Handler for Teller<DB> {
    const KIND: &'static str = "teller";
    type Input = i64;
    type Checkpoint = i64;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        (self.script)(run, self.ledger.clone()).await
    }
}

/// The user's table.
pub struct Ledger<DB> {
    table: Arc<str>,
    database: PhantomData<fn() -> DB>,
}

impl<DB> Clone for Ledger<DB> {
    fn clone(&self) -> Self {
        Self {
            table: self.table.clone(),
            database: PhantomData,
        }
    }
}

impl<DB: Bank> Ledger<DB> {
    /// A fresh one, with accounts 1 and 2, which count what is entered on them.
    pub async fn open(place: &Place) -> Self {
        let table = place.sql().table("ledger");
        let create = format!(
            "create table {table} (account bigint not null primary key, entries bigint not null)"
        );
        place.sql().execute(&create).await;
        let accounts = format!("insert into {table} values (1, 0), (2, 0)");
        place.sql().execute(&accounts).await;
        Self {
            table: table.into(),
            database: PhantomData,
        }
    }

    /// All entries.
    pub async fn entries(&self, place: &Place) -> i64 {
        // The sum of integers is a decimal number on two of the databases.
        let of = |account| {
            format!(
                "select entries from {} where account = {account}",
                self.table
            )
        };
        place.sql().number(&of(1)).await + place.sql().number(&of(2)).await
    }

    /// The statement that makes an entry.
    pub fn entry_on(&self, account: u8) -> String {
        let table = &self.table;
        format!("update {table} set entries = entries + 1 where account = {account}")
    }

    /// Makes an entry on the first account, in a run's transaction.
    pub async fn enter(&self, tx: &mut Transaction<'_, DB, Teller<DB>>) -> Result<(), sqlx::Error> {
        assert_eq!(DB::run(tx, &self.entry_on(1)).await?, 1);
        Ok(())
    }

    /// A handler whose runs do this.
    pub fn teller<S>(&self, script: S) -> Teller<DB>
    where
        S: for<'r> Fn(&'r mut Run<Teller<DB>>, Ledger<DB>) -> Act<'r, Result<i64, TaskError>>
            + Send
            + Sync
            + 'static,
    {
        Teller {
            ledger: self.clone(),
            script: Arc::new(script),
        }
    }

    /// A node with it.
    pub fn node<S>(&self, place: &Place, script: S) -> NodeBuilder
    where
        S: for<'r> Fn(&'r mut Run<Teller<DB>>, Ledger<DB>) -> Act<'r, Result<i64, TaskError>>
            + Send
            + Sync
            + 'static,
    {
        place.node().register(self.teller(script))
    }

    /// Ends the node, and removes the table.
    pub async fn close(self, place: &Place, node: Node) {
        node.drain().await;
        place
            .sql()
            .execute(&format!("drop table {}", self.table))
            .await;
    }
}

/// Where a run waits for the test.
#[derive(Clone)]
pub struct Gate(Arc<(Semaphore, Semaphore)>);

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    /// A run comes here, and waits until it is let through.
    pub async fn pass(&self) {
        self.0.0.add_permits(1);
        self.0.1.acquire().await.expect("never closed").forget();
    }

    /// The test waits until a run has come.
    pub async fn reached(&self) {
        self.0.0.acquire().await.expect("never closed").forget();
    }

    /// The test lets it through.
    pub fn open(&self) {
        self.0.1.add_permits(1);
    }
}

/// Makes a test on each of the databases of a behaviour that is generic over them.
macro_rules! on_each_bank {
    (@one $behaviour:ident $($name:ident $database:ident),+) => {
        mod $behaviour {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::kit::run_on(stringify!($name), super::$behaviour::<sqlx::$database>).await;
                }
            )+
        }
    };
    ($($behaviour:ident),+ $(,)?) => {
        $(on_each_bank!(@one $behaviour sqlite Sqlite, postgres Postgres, mysql MySql);)+
    };
}

/// The same for behaviours that need two writers at once.
macro_rules! on_each_server {
    ($($behaviour:ident),+ $(,)?) => {
        $(on_each_bank!(@one $behaviour postgres Postgres, mysql MySql);)+
    };
}
pub(super) use {on_each_bank, on_each_server};
