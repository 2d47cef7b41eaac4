//! Checkpoints and progress of runs.

use crate::sql::batch;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::lock::lock_running;
use crate::sql::rows::{Column, Placed, Table, by_id};
use crate::sql::settings::Database;
use crate::sql::tx::{Bulk, OnDuplicate, Tx};
use crate::sql::value::{Sort, Value};
use crate::{Progress, Save, Saved};
use peerwork_core::{Place, RunId, TaskId};
use std::collections::{BTreeMap, HashMap};

static CHECKPOINT: Table = Table {
    name: "checkpoint",
    columns: &[
        Column("task_id", Sort::Id),
        Column("run_id", Sort::Id),
        Column("saved_at", Sort::Int),
        Column("data", Sort::Bytes),
        Column("done", Sort::Int),
        Column("total", Sort::Int),
    ],
};

/// What is not given stays as it is.
const KEEP: OnDuplicate = OnDuplicate::Do {
    standard: "(task_id) do update set run_id = excluded.run_id, saved_at = excluded.saved_at, \
               data = coalesce(excluded.data, old.data), done = coalesce(excluded.done, old.done), \
               total = coalesce(excluded.total, old.total)",
    mysql: "run_id = values(run_id), saved_at = values(saved_at), data = coalesce(values(data), data), \
            done = coalesce(values(done), done), total = coalesce(values(total), total)",
};

pub(crate) struct SaveRuns {
    pub saves: Vec<Save>,
}

impl Operation for SaveRuns {
    const NAME: &'static str = "save checkpoints";
    type Answer = Vec<Saved>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Saved>, Fault> {
        let ids = self.saves.iter().map(|save| save.id);
        let held: HashMap<TaskId, Placed> = lock_running(tx, ids)
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        let mut answers = Vec::with_capacity(self.saves.len());
        // The last word on each task; a batch may hold several.
        let mut kept: BTreeMap<TaskId, (Option<&Vec<u8>>, Option<Progress>)> = BTreeMap::new();
        for save in &self.saves {
            match held.get(&save.id).filter(|row| row.run == Some(save.run)) {
                None => answers.push(Saved::Lost),
                Some(row) => {
                    let (data, progress) = kept.entry(save.id).or_default();
                    *data = save.checkpoint.as_ref().or(*data);
                    *progress = save.progress.or(*progress);
                    answers.push(Saved::Kept(row.task.status));
                }
            }
        }
        kept.retain(|_, (data, progress)| data.is_some() || progress.is_some());
        let revived = kept
            .iter()
            .filter(|(id, (data, _))| data.is_some() && held[id].task.crashes > 0);
        clear_crashes(tx, revived.map(|(id, _)| *id).collect()).await?;
        let mut bulk = Bulk::new(&CHECKPOINT, kept.len());
        for (id, (data, progress)) in kept {
            bulk.row([
                id.into(),
                held[&id].run.into(),
                Value::Now,
                data.cloned().into(),
                progress.map(|progress| clamp(progress.done)).into(),
                progress.map(|progress| clamp(progress.total)).into(),
            ]);
        }
        tx.insert(bulk, KEEP).await?;
        Ok(answers)
    }
}

/// A saved checkpoint is progress: what its node's deaths had counted up is forgiven.
async fn clear_crashes(tx: &mut Tx<'_>, ids: Vec<TaskId>) -> Result<(), Fault> {
    if ids.is_empty() {
        return Ok(());
    }
    let expected = ids.len();
    let mut sql = tx.sql("update ~running");
    sql.push_on(Database::MySql, by_id(Place::Running))
        .push(" set crashes = 0, trial = 0 where ");
    sql.ids("id", ids.into_iter().map(|id| id.0));
    tx.execute_exactly(sql, expected).await
}

/// Marks a run as that of a suspect on trial.
pub(crate) struct TrySuspect {
    pub id: TaskId,
    pub run: RunId,
}

impl Operation for TrySuspect {
    const NAME: &'static str = "try a suspect";
    type Answer = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        if self.mark(tx).await? {
            return Ok(true);
        }
        if batch::are_kept(tx) {
            batch::unfold_with(tx, &[self.id]).await?;
            return self.mark(tx).await;
        }
        // MariaDB counts rows that changed: one that was marked before is not among them.
        let mut sql = tx.sql("select count(*) from ~running where id = ");
        sql.bind(self.id).push(" and run_id = ").bind(self.run);
        Ok(tx.fetch(sql).await?.single_int()? > 0)
    }
}

impl TrySuspect {
    async fn mark(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let mut sql = tx.sql("update ~running");
        sql.push_on(Database::MySql, by_id(Place::Running))
            .push(" set trial = 1 where id = ")
            .bind(self.id)
            .push(" and run_id = ")
            .bind(self.run);
        Ok(tx.execute(sql).await? > 0)
    }
}

fn clamp(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}
