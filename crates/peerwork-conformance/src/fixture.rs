//! A fresh and empty store for one test, with the clock by which it lives.

use crate::sql::Tables;
use peerwork_core::{Status, TaskId, Timestamp};
use peerwork_store::{MemoryStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// The stores that the suite runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The reference, in memory.
    Memory,
    /// SQLite, in a file of its own.
    Sqlite,
    /// PostgreSQL, in a schema of its own.
    Postgres,
    /// PostgreSQL as a database that can do nothing special, at SERIALIZABLE.
    PostgresPlain,
    /// MariaDB or MySQL, in a database of its own.
    MySql,
}

/// A store that nobody else uses.
pub struct Fixture {
    /// Empty and migrated. A database gives it one connection only.
    pub store: Arc<dyn Store>,
    /// What the store takes for the time.
    pub clock: TestClock,
    /// Which one it is.
    pub backend: Backend,
    tables: Option<Tables>,
}

impl Backend {
    /// Whether it has to do without what makes claims fast. What is safe is asserted all the same, what is fast is not.
    pub fn is_plain(self) -> bool {
        self == Self::PostgresPlain
    }

    /// A fresh store.
    pub async fn fixture(self) -> Fixture {
        let clock = TestClock::default();
        if self == Self::Memory {
            let time = clock.clone();
            let store = Arc::new(MemoryStore::with_clock(move || time.now()));
            return Fixture {
                store,
                clock,
                backend: self,
                tables: None,
            };
        }
        let tables = Tables::fresh(self, clock.0.clone()).await;
        let store = Arc::new(tables.store());
        store.migrate().await.expect("migrate");
        Fixture {
            store,
            clock,
            backend: self,
            tables: Some(tables),
        }
    }
}

impl Fixture {
    /// Further handles on the same store, each as of a process of its own.
    pub async fn handles(&self, n: usize) -> Vec<Arc<dyn Store>> {
        let mut handles = Vec::new();
        for _ in 0..n {
            handles.push(match &self.tables {
                Some(tables) => tables.handle().await,
                None => self.store.clone(),
            });
        }
        handles
    }

    /// From now on the database notes every status of every task; the reference cannot.
    pub async fn note_changes(&self) {
        if let Some(tables) = &self.tables {
            tables.note_changes().await;
        }
    }

    /// What was noted, in order. Nothing more is noted.
    pub async fn changes(&self) -> Vec<(TaskId, Status)> {
        match &self.tables {
            Some(tables) => tables.changes().await,
            None => Vec::new(),
        }
    }

    /// Looks at all rows once more, whatever the test was about, and removes them. A test that fails does not come
    /// here: it leaves them for a look.
    pub async fn close(self) {
        if let Some(tables) = self.tables {
            tables.audit().await;
            tables.remove().await;
        }
    }

    /// Removes everything, right or wrong.
    pub(crate) async fn discard(self) {
        if let Some(tables) = self.tables {
            tables.remove().await;
        }
    }
}

/// The time of one store: it stands still until a test moves it.
#[derive(Clone, Debug)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// Some day in 2026, in the middle of a second and of a millisecond: what is cut off shows.
    const START_US: i64 = 1_780_000_000_123_456;

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    /// The clock that a store lives by which was made with `time`.
    #[cfg(feature = "failpoints")]
    pub(crate) fn over(time: Arc<AtomicI64>) -> Self {
        let clock = Self(time);
        clock.reset();
        clock
    }

    /// Begins anew.
    #[cfg(feature = "failpoints")]
    pub(crate) fn reset(&self) {
        self.0.store(Self::START_US, Ordering::SeqCst);
    }

    /// A time that no test lives to see.
    #[cfg(feature = "failpoints")]
    pub(crate) fn far() -> i64 {
        Self::START_US * 2
    }

    /// Lets `ms` milliseconds pass.
    pub fn pass_ms(&self, ms: u64) {
        let us = i64::try_from(ms * 1_000).expect("a test lasts less than an age");
        self.0.fetch_add(us, Ordering::SeqCst);
    }
}

impl TestClock {
    /// Sets the time back by `ms` milliseconds, as a failover to a server whose clock is behind does.
    pub fn set_back_ms(&self, ms: u64) {
        let us = i64::try_from(ms * 1_000).expect("less than an age");
        self.0.fetch_sub(us, Ordering::SeqCst);
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(Self::START_US)))
    }
}
