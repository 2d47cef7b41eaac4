//! Runs operations: a connection, a transaction, another try after a conflict, all in a task of its own.
//!
//! Invariants: a database future is never dropped by a caller (it runs in a spawned task to its end); a call never
//! needs two connections; on SQLite at most one transaction of this process writes a file at any time.

use super::batch::Batches;
use super::dialect::Dialect;
use super::fault::{Fault, FaultSort};
use super::file::SharedFile;
use super::hints::Origin;
use super::link::Connections;
use super::retry::Patience;
use super::settings::Database;
use super::tx::Tx;
use crate::{Error, ErrorKind, Result};
use std::future::Future;
use std::sync::Arc;

/// A unit of work on the database. It may be run several times, if others are faster.
pub(crate) trait Operation: Send + Sync + 'static {
    /// For messages.
    const NAME: &'static str;

    type Answer: Send + 'static;

    fn run(&self, tx: &mut Tx<'_>) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;

    /// Whether it is one statement where it changes something, which needs no transaction around it.
    fn is_one_statement(&self, _dialect: &Dialect) -> bool {
        false
    }

    /// Whether to try again after a duplicate key.
    fn retries_duplicates(&self) -> bool {
        false
    }
}

/// A database, as operations see it.
pub(crate) struct Engine {
    pub connections: Arc<Connections>,
    pub dialect: Arc<Dialect>,
    /// SQLite: what all stores of this process share that use the file.
    pub file: Option<Arc<SharedFile>>,
    /// Whose hints it passes over as its own.
    pub origin: Option<Origin>,
    /// What it has claimed in batches.
    pub batches: Batches,
}

impl Engine {
    /// Runs `operation` in a transaction.
    pub(crate) async fn write<O: Operation>(self: &Arc<Self>, operation: O) -> Result<O::Answer> {
        let engine = self.clone();
        spawned(O::NAME, async move { engine.write_here(&operation).await }).await
    }

    /// Runs `operation`, which only reads, each statement for itself where the database allows it.
    pub(crate) async fn read<O: Operation>(self: &Arc<Self>, operation: O) -> Result<O::Answer> {
        let engine = self.clone();
        spawned(O::NAME, async move { engine.read_here(&operation).await }).await
    }

    /// As [`write`](Self::write), in the caller's own task.
    pub(crate) async fn write_here<O: Operation>(&self, operation: &O) -> Result<O::Answer, Fault> {
        let alone = self.dialect.capabilities.sessions && operation.is_one_statement(&self.dialect);
        self.patiently::<O, _>(operation, || self.attempt(operation, alone))
            .await
    }

    /// As [`read`](Self::read), in the caller's own task.
    pub(crate) async fn read_here<O: Operation>(&self, operation: &O) -> Result<O::Answer, Fault> {
        self.patiently::<O, _>(operation, || async {
            let mut lease = self.connections.lease().await?;
            let own = lease.are_own();
            let mut tx = Tx::new(lease.link(), self.dialect.clone(), O::NAME);
            if self.dialect.capabilities.sessions {
                let answer = operation.run(&mut tx).await?;
                lease.sound();
                return Ok(answer);
            }
            // Without a transaction, a statement would be parsed on one connection and executed on another.
            tx.begin(own).await?;
            let answer = operation.run(&mut tx).await;
            if tx.rollback().await.is_ok() {
                lease.sound();
            }
            answer
        })
        .await
    }

    async fn patiently<O: Operation, F: Future<Output = Result<O::Answer, Fault>>>(
        &self,
        operation: &O,
        attempt: impl Fn() -> F,
    ) -> Result<O::Answer, Fault> {
        let mut patience = Patience::new();
        loop {
            let fault = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let again = fault.is_conflict()
                || (fault.sort == FaultSort::Duplicate && operation.retries_duplicates());
            if !again || !patience.again().await {
                return Err(fault);
            }
            tracing::debug!(operation = O::NAME, tries = patience.tries(), %fault, "trying again");
        }
    }

    async fn attempt<O: Operation>(&self, operation: &O, alone: bool) -> Result<O::Answer, Fault> {
        // Before the connection: whoever waits here must not keep the only one from whoever writes.
        let _writing = match &self.file {
            Some(file) => Some(file.writer.lock().await),
            None => None,
        };
        let mut lease = self.connections.lease().await?;
        let own = lease.are_own();
        // The caller's connections to MariaDB may be set to commit nothing by themselves.
        let alone = alone && (own || self.dialect.database != Database::MySql);
        let mut tx = Tx::new(lease.link(), self.dialect.clone(), O::NAME);
        if alone {
            let answer = operation.run(&mut tx).await;
            return match answer {
                Ok(answer) => {
                    lease.sound();
                    Ok(answer)
                }
                Err(fault) => {
                    if fault.sort != FaultSort::Lost {
                        lease.sound();
                    }
                    Err(fault.at_commit())
                }
            };
        }
        if let Err(fault) = tx.begin(own).await {
            if fault.is_conflict() {
                lease.sound();
            }
            return Err(fault);
        }
        let answer = match operation.run(&mut tx).await {
            Ok(answer) => tx.commit().await.map(|()| answer),
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(answer) => {
                lease.sound();
                Ok(answer)
            }
            Err(fault) => {
                // Explicitly: MariaDB keeps a transaction open whose lock wait timed out.
                let broken = matches!(fault.sort, FaultSort::Lost | FaultSort::Ambiguous);
                if !broken && tx.rollback().await.is_ok() {
                    lease.sound();
                }
                Err(fault)
            }
        }
    }
}

/// Runs `work` in a task of its own, so that whoever waits for it may stop waiting.
pub(crate) async fn spawned<T: Send + 'static>(
    name: &'static str,
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(answer) => answer.map_err(|fault| fault.into_error(name)),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::new(
                ErrorKind::Ambiguous,
                format!(
                    "{name}: the runtime shut down in the middle; it may have been carried out"
                ),
            )),
        },
    }
}
