//! A run's own transaction: the user's statements, and what becomes of the run, all or nothing.
//!
//! ```text
//! Run::commit -> a task of its own -> begin -> the user's closure -> record (fence, checkpoint, end) -> commit
//!                                                                       an answer that was lost is read back
//! ```
//!
//! Invariants: nothing of the user's is committed unless the run held its task at the commit; one commit of a run is
//! under way at a time, and its end is recorded after it; the answer says what happened, or that the lease is lost.
//! *Not here:* the statements (`peerwork-store`, `sql/fenced.rs`).

use crate::client::Client;
use crate::node::Core;
use crate::run::{Committed, Control, SAVE_AGAIN, wished};
use crate::{
    CommitError, Draft, Error, Handler, Reason, Result, Run, Stop, TaskHandle, TaskKind, payload,
};
use peerwork_core::{Event, Work};
use peerwork_store::{
    Committer, Database, End, Hint, OpenTransaction, Record, Recorded, Save, SqlDatabase, Standing,
};
use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a closure returns that is given to [`Run::commit`].
pub type CommitFuture<'t, T> = Pin<Box<dyn Future<Output = Result<T, CommitError>> + Send + 't>>;

/// A transaction in which a run's own statements go together with its checkpoint, its end and the tasks it creates.
///
/// It dereferences to sqlx's connection: hand `&mut **tx` to sqlx. A transaction that you begin on it is a savepoint.
/// Do not commit or roll back by statement, and let no statement's error pass: what ends the transaction early is found
/// and reported, but cannot be undone.
pub struct Transaction<'c, DB: SqlDatabase, H: Handler> {
    open: OpenTransaction<'c, DB>,
    client: Client,
    work: Work,
    written: Written,
    handler: PhantomData<fn() -> H>,
}

/// What the user wants written beside its own statements.
#[derive(Default)]
struct Written {
    checkpoint: Option<Vec<u8>>,
    output: Option<Vec<u8>>,
    created: bool,
}

impl<'c, DB: SqlDatabase, H: Handler> Transaction<'c, DB, H> {
    fn into_parts(self) -> (OpenTransaction<'c, DB>, Written) {
        (self.open, self.written)
    }

    /// Creates a task, which exists if and only if the transaction is committed.
    ///
    /// # Errors
    /// As [`Client::create_in`]; return it by `?`.
    pub async fn create<K: TaskKind>(&mut self, draft: Draft<K>) -> Result<TaskHandle<K>> {
        let task = self.client.resolve_here(draft)?;
        let id = task.id;
        self.open.create(task).await?;
        self.written.created = true;
        Ok(self.client.handle(id))
    }

    /// Saves a checkpoint with the transaction. The last one counts.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) if it cannot be stored.
    pub fn save(&mut self, checkpoint: &H::Checkpoint) -> Result<()> {
        self.written.checkpoint = Some(payload::encode(H::KIND, "checkpoint", checkpoint)?);
        Ok(())
    }

    /// Ends the run with the transaction: the task has finished with this output, or is what a wish that came before
    /// makes of a finished run. Return the same output from the handler then; whatever it returns is not recorded any
    /// more.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) if the output cannot be stored, and in a cleanup, which has none.
    pub fn finish(&mut self, output: &H::Output) -> Result<()> {
        if self.work == Work::Cleanup {
            return Err(Error::invalid(format!(
                "a cleanup of kind {:?} cannot finish with an output; return Ok(()) from it",
                H::KIND
            )));
        }
        self.written.output = Some(payload::encode(H::KIND, "output", output)?);
        Ok(())
    }
}

impl<DB: SqlDatabase, H: Handler> Deref for Transaction<'_, DB, H> {
    type Target = DB::Connection;
    fn deref(&self) -> &DB::Connection {
        self.open.connection()
    }
}

impl<DB: SqlDatabase, H: Handler> DerefMut for Transaction<'_, DB, H> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.open.connection_mut()
    }
}

impl<H: Handler> Run<H> {
    /// Carries out statements of your own and what becomes of the run in one transaction, in the database in which the
    /// tasks are: all of it is committed while the run holds its task, or nothing is. That makes the effects of `work`
    /// happen once, also when a run that was given up wakes again, a node dies in the middle, or an answer is lost.
    ///
    /// ```
    /// # use peerwork::*;
    /// use sqlx::Sqlite;
    ///
    /// struct Bill;
    ///
    /// impl Handler for Bill {
    ///     const KIND: &'static str = "bill";
    ///     type Input = Vec<i64>;
    ///     type Checkpoint = usize; // how many lines are written
    ///     type Output = usize;
    ///
    ///     async fn run(&self, run: &mut Run<Self>) -> Result<usize, TaskError> {
    ///         let lines = run.input().clone();
    ///         for n in run.checkpoint().unwrap_or(0)..lines.len() {
    ///             let cents = lines[n];
    ///             run.commit(move |tx: &mut Transaction<'_, Sqlite, Self>| {
    ///                 Box::pin(async move {
    ///                     sqlx::query("insert into line (cents) values (?)")
    ///                         .bind(cents)
    ///                         .execute(&mut **tx)
    ///                         .await?;
    ///                     tx.save(&(n + 1))?; // the line is there if and only if this is saved
    ///                     Ok(())
    ///                 })
    ///             })
    ///             .await?;
    ///         }
    ///         Ok(lines.len())
    ///     }
    /// }
    /// ```
    ///
    /// `work` gets the [`Transaction`]; beside statements it may [save](Transaction::save) the checkpoint,
    /// [create](Transaction::create) tasks and [finish](Transaction::finish) the run. An error that it returns rolls
    /// everything back and comes out of this call. Then the fence is passed, a guarded change of the run's own row, which is
    /// the last thing before the commit: a run that does not hold its task any more has nothing committed.
    ///
    /// Keep it short, and let `work` use nothing but its transaction. It has one of a few connections of the node's (4
    /// transactions at once), apart from those on which the node beats, claims and writes. If it has not come to its end
    /// when the node's lease ends, or its statements leave the server without a word for as long as what was left of the
    /// lease at the beginning, it is rolled back. **On SQLite nobody else can write meanwhile**, the node's own beat
    /// included: half of what is left of the lease is the limit there, and `work` must not await other calls that write
    /// (`run.client().create(..)`, say), because these wait for it.
    ///
    /// Statements run at READ COMMITTED on PostgreSQL and MariaDB. The limits of a statement are 30 s, and 5 s for a lock.
    ///
    /// `work` is called at most once: it may take things along that cannot be had again. So what others were faster than
    /// (a deadlock) is not tried again here. Loop, if that is to be expected:
    ///
    /// ```
    /// # use peerwork::*;
    /// # use sqlx::Sqlite;
    /// # async fn withdraw<H: Handler>(run: &mut Run<H>) -> Result<(), TaskError> {
    /// loop {
    ///     let done = run.commit(|tx: &mut Transaction<'_, Sqlite, H>| Box::pin(async move {
    ///         sqlx::query("update account set cents = cents - 1").execute(&mut **tx).await?;
    ///         Ok(())
    ///     }));
    ///     match done.await {
    ///         Err(error) if error.is_transient() => run.check()?,
    ///         done => break Ok(done?),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Runs to its end once it has begun: dropping the future abandons the answer, never a transaction. The end of the run
    /// is recorded after it. A commit whose answer was lost is read back, so that `Ok` means committed and an error that it was
    /// not, but for the stops below.
    ///
    /// # Errors
    /// [`CommitError::stop`]: the run was told to stop. Unless the reason is [`Reason::LeaseLost`] everything was
    /// committed, as with [`save`](Self::save); after a lost lease it may have been, together with its checkpoint, from
    /// which the next run starts. A transaction that finished the run answers `Ok` instead.
    /// [`CommitError::is_transient`]: nothing was committed, and the same may succeed later. Otherwise what `work`
    /// returned, a payload that cannot be stored, or a database that is not `DB`'s.
    pub async fn commit<DB, T, W>(&mut self, work: W) -> Result<T, CommitError>
    where
        DB: SqlDatabase,
        T: Send + 'static,
        W: for<'t, 'c> FnOnce(&'t mut Transaction<'c, DB, H>) -> CommitFuture<'t, T>
            + Send
            + 'static,
    {
        let commit = Commit::<H> {
            committer: self.core.committer()?,
            core: self.core.clone(),
            control: self.control.clone(),
            end: End {
                id: self.claimed.id,
                run: self.claimed.run,
                event: Event::Ok {
                    forget: self.claimed.options.forget_on_finish,
                },
                rules: self.core.rules(&self.claimed.kind),
                output: None,
                error: None,
                awaited_children: 0,
            },
            work: self.claimed.task.status.work(),
            handler: PhantomData,
        };
        // In a task of its own: whoever drops this future abandons the answer, never a transaction.
        let carried_out = self.core.spawn(commit.carry_out(work)).await;
        let done = carried_out.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(lost()),
        })?;
        if let Some(checkpoint) = done.written.checkpoint {
            self.claimed.checkpoint = Some(checkpoint);
            self.control.has_saved();
        }
        if let Recorded::Held(_) = done.recorded {
            self.check()?;
        }
        Ok(done.value)
    }
}

/// One commit, on its way.
struct Commit<H: Handler> {
    core: Arc<Core>,
    control: Arc<Control>,
    committer: Committer,
    /// The run's end, if the transaction finishes it.
    end: End,
    work: Work,
    handler: PhantomData<fn() -> H>,
}

/// What was committed.
struct Done<T> {
    value: T,
    written: Written,
    recorded: Recorded,
}

/// Why it is not known to be committed.
enum Failed<T, W> {
    /// It was not begun, and the work has not been touched.
    NotBegun(peerwork_store::Error, W),
    /// It is rolled back, or will be with its connection.
    RolledBack(CommitError),
    /// Its commit has failed, or has no answer.
    Unanswered(peerwork_store::Error, Done<T>),
}

impl<H: Handler> Commit<H> {
    async fn carry_out<DB, T, W>(self, mut work: W) -> Result<Done<T>, CommitError>
    where
        DB: SqlDatabase,
        W: for<'t, 'c> FnOnce(&'t mut Transaction<'c, DB, H>) -> CommitFuture<'t, T>,
    {
        // One whose answer was abandoned may still be under way.
        let mut committed = self.control.committed.lock().await;
        loop {
            match self.attempt(committed.commits, work).await {
                Ok(done) => return Ok(self.acknowledged(&mut committed, done)),
                Err(Failed::RolledBack(error)) => return Err(error),
                Err(Failed::Unanswered(error, done)) => {
                    let is_end = matches!(done.recorded, Recorded::Ended(_));
                    return if self.is_committed(committed.commits, is_end).await? {
                        Ok(self.acknowledged(&mut committed, done))
                    } else {
                        Err(CommitError::not_committed(error))
                    };
                }
                Err(Failed::NotBegun(error, untouched)) if error.is_transient() => {
                    tracing::debug!(task = %self.end.id, %error, "transaction not begun yet");
                    work = untouched;
                    tokio::time::sleep(SAVE_AGAIN).await;
                }
                Err(Failed::NotBegun(error, _)) => return Err(Error::from(error).into()),
            }
        }
    }

    async fn attempt<DB, T, W>(&self, commits: u64, work: W) -> Result<Done<T>, Failed<T, W>>
    where
        DB: SqlDatabase,
        W: for<'t, 'c> FnOnce(&'t mut Transaction<'c, DB, H>) -> CommitFuture<'t, T>,
    {
        let room = tokio::select! {
            biased;
            error = self.cut_off(None) => return Err(Failed::RolledBack(error)),
            room = self.committer.room() => room,
        };
        let mut session = match self.committer.session::<DB>(room).await {
            Ok(session) => session,
            Err(error) => return Err(Failed::NotBegun(error, work)),
        };
        let left = self.left();
        if left.is_zero() {
            return Err(Failed::RolledBack(lost()));
        }
        let open = match session.begin(left).await {
            Ok(open) => open,
            Err(error) => return Err(Failed::NotBegun(error, work)),
        };
        let mut transaction = Transaction {
            open,
            client: self.core.client(),
            work: self.work,
            written: Written::default(),
            handler: PhantomData,
        };
        // A statement in flight may be dropped here, because its connection goes with it: it is kept only below.
        let worked = tokio::select! {
            biased;
            error = self.cut_off(Some(left)) => return Err(Failed::RolledBack(error)),
            worked = work(&mut transaction) => worked,
        };
        let (mut open, written) = transaction.into_parts();
        let recorded = match worked {
            Ok(value) => self
                .record(&mut open, commits, &written)
                .await
                .map(|recorded| (value, recorded)),
            Err(error) => Err(error),
        };
        let (value, recorded) = match recorded {
            Ok(recorded) => recorded,
            Err(error) => {
                if open.rollback().await.is_ok() {
                    session.keep();
                }
                return Err(Failed::RolledBack(error));
            }
        };
        let done = Done {
            value,
            written,
            recorded,
        };
        match open.commit().await {
            Ok(()) => {
                session.keep();
                Ok(done)
            }
            Err(error) => Err(Failed::Unanswered(error, done)),
        }
    }

    /// The last step before the commit.
    async fn record<DB: SqlDatabase>(
        &self,
        open: &mut OpenTransaction<'_, DB>,
        commits: u64,
        written: &Written,
    ) -> Result<Recorded, CommitError> {
        let record = Record {
            save: Save {
                id: self.end.id,
                run: self.end.run,
                checkpoint: written.checkpoint.clone(),
                progress: self.control.take_progress(),
            },
            end: written.output.clone().map(|output| End {
                output: Some(output),
                ..self.end.clone()
            }),
            commits,
        };
        let recorded = open.record(record).await.map_err(Error::from)?;
        if recorded == Recorded::Lost {
            self.control.tell(Reason::LeaseLost);
        }
        if recorded == Recorded::Lost || self.left().is_zero() {
            return Err(lost());
        }
        Ok(recorded)
    }

    /// Whether a transaction was committed whose answer was lost: asked until it is known, or the lease is over.
    async fn is_committed(&self, before: u64, is_end: bool) -> Result<bool, CommitError> {
        loop {
            match self.committer.standing(self.end.id, self.end.run).await {
                Ok(Standing::Holds { commits }) => return Ok(commits > before),
                Ok(Standing::Finished) if is_end => return Ok(true),
                Ok(Standing::Finished | Standing::Gone) => {
                    self.control.tell(Reason::LeaseLost);
                    return Err(lost());
                }
                Err(error) if error.is_transient() && !self.left().is_zero() => {
                    tracing::debug!(task = %self.end.id, %error, "commit not read back yet");
                    tokio::time::sleep(SAVE_AGAIN).await;
                }
                Err(error) => {
                    // Nothing that follows may build on what is not known.
                    tracing::warn!(task = %self.end.id, %error, "a commit cannot be read back; the run ends");
                    self.control.tell(Reason::LeaseLost);
                    return Err(lost());
                }
            }
        }
    }

    fn acknowledged<T>(&self, committed: &mut Committed, done: Done<T>) -> Done<T> {
        committed.commits += 1;
        match done.recorded {
            Recorded::Ended(status) => committed.ended = Some(status),
            Recorded::Held(status) => {
                if let Some(reason) = wished(status) {
                    self.control.tell(reason);
                }
            }
            Recorded::Lost => unreachable!("it was rolled back"),
        }
        self.core.client.hub.tell(Hint {
            ready: done.written.created,
            change: true,
            ..Hint::default()
        });
        done
    }

    /// What is left of the lease.
    fn left(&self) -> Duration {
        if self.control.reason() == Some(Reason::LeaseLost) {
            return Duration::ZERO;
        }
        let env = &self.core.client.env;
        self.core.lease.fence_at().since(env.now())
    }

    /// Returns when the work must not go on: with the lease, with its run, or because it is in everybody's way.
    /// `left` is what was left of the lease when it began.
    async fn cut_off(&self, left: Option<Duration>) -> CommitError {
        let lease_end = async {
            while !self.left().is_zero() {
                let at = self.core.lease.fence_at();
                self.core.client.env.sleep_until(at).await;
            }
        };
        let too_long = async {
            match (left, self.committer.database()) {
                (Some(left), Database::Sqlite) => {
                    tokio::time::sleep(left / 2).await;
                    left / 2
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = lease_end => lost(),
            () = self.control.killed.comes() => {
                let reason = self.control.reason().unwrap_or(Reason::LeaseLost);
                CommitError::rolled_back(reason)
            }
            limit = too_long => Error::invalid(format!(
                "a transaction of kind {:?} was not over after {} ms, in which nobody else could write on SQLite; \
                 do less in it, and do not wait in it for other calls that write",
                H::KIND,
                limit.as_millis()
            ))
            .into(),
        }
    }
}

/// The answer to a run that does not hold its task any more.
fn lost() -> CommitError {
    Stop {
        reason: Reason::LeaseLost,
    }
    .into()
}
