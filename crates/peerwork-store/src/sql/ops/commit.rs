//! The fence of a run's own transaction, and how what became of one is read back.
//!
//! *Not here:* the transaction itself (`sql/fenced.rs`); what is recorded in it beside the fence (`save.rs`, `end.rs`).

use crate::sql::batch;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::rows::by_id;
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use peerwork_core::{Place, RunId, Status, TaskId};

/// Which run's transaction it is, and the how-manieth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fence {
    pub id: TaskId,
    pub run: RunId,
    /// How many of the run's transactions were committed before.
    pub commits: u64,
}

/// Counts the transaction on the row of its run, which is locked from then on to the end of the transaction: whoever
/// takes the task away comes before, and then no row is found, or after.
///
/// False: the run does not hold the task any more.
pub(crate) async fn pass(tx: &mut Tx<'_>, fence: Fence) -> Result<bool, Fault> {
    if count(tx, fence).await? {
        return Ok(true);
    }
    if !batch::are_kept(tx) {
        return Ok(false);
    }
    batch::unfold_with(tx, &[fence.id]).await?;
    count(tx, fence).await
}

async fn count(tx: &mut Tx<'_>, fence: Fence) -> Result<bool, Fault> {
    let mut sql = tx.sql("update ~running");
    sql.push_on(Database::MySql, by_id(Place::Running))
        .push(" set commits = commits + 1 where id = ")
        .bind(fence.id)
        .push(" and run_id = ")
        .bind(fence.run)
        .push(" and commits = ")
        .bind(fence.commits);
    Ok(tx.execute(sql).await? == 1)
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds its task, and so many of its transactions were committed.
    Holds {
        /// How many.
        commits: u64,
    },
    /// It was the last run of its task, which has finished.
    Finished,
    /// It does not hold its task any more, and no more is known.
    Gone,
}

/// Reads where a run stands, after whatever of its own is still under way in the database.
pub(crate) struct ReadStanding {
    pub id: TaskId,
    pub run: RunId,
}

impl ReadStanding {
    /// Under a lock: a commit whose connection is gone may still be on its way to the disk.
    async fn commits(&self, tx: &mut Tx<'_>) -> Result<Option<u64>, Fault> {
        let mut sql = tx.sql("select commits from ~running");
        sql.push_on(Database::MySql, by_id(Place::Running))
            .push(" where id = ")
            .bind(self.id)
            .push(" and run_id = ")
            .bind(self.run)
            .for_update();
        let mut rows = tx.fetch(sql).await?;
        let commits = rows.first().map(|mut row| row.int()).transpose()?;
        Ok(commits.map(|commits| u64::try_from(commits).unwrap_or_default()))
    }
}

impl Operation for ReadStanding {
    const NAME: &'static str = "read a commit back";
    type Answer = Standing;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Standing, Fault> {
        let mut commits = self.commits(tx).await?;
        if commits.is_none() && batch::are_kept(tx) {
            batch::unfold_with(tx, &[self.id]).await?;
            commits = self.commits(tx).await?;
        }
        if let Some(commits) = commits {
            return Ok(Standing::Holds { commits });
        }
        // Nothing but its own finish leaves a run's id on a finished task.
        let mut sql = tx.sql("select id from ~done");
        sql.push_on(Database::MySql, by_id(Place::Done))
            .push(" where id = ")
            .bind(self.id)
            .push(" and run_id = ")
            .bind(self.run)
            .push(" and status = ")
            .number(Status::Finished.code());
        let finished = tx.fetch(sql).await?.first().is_some();
        Ok(if finished {
            Standing::Finished
        } else {
            Standing::Gone
        })
    }
}
