//! Success of runs that are in [batches](crate::sql::batch): only `done` gets rows, under the fence of the batch.
//!
//! A batch that is there says that nothing has happened to any of its tasks but their ends, so these need no look at a row of their
//! own. A task that has ended already is in `done`: its second end is refused there as a duplicate, and the whole statement with it.

use super::finish::push_columns;
use crate::End;
use crate::sql::batch::Batches;
use crate::sql::dialect::Dialect;
use crate::sql::engine::{Engine, Operation};
use crate::sql::fault::{Fault, FaultSort};
use crate::sql::tx::Tx;
use crate::sql::value::Value;
use peerwork_core::{RunId, Status, TaskId, Timestamp};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// Finishes those of these successful runs that are in batches, and answers which they were. Those of batches that are gone are left.
pub(crate) async fn finish_batches(
    engine: &Engine,
    ends: &[&End],
) -> Result<HashSet<TaskId>, Fault> {
    let mut finished = HashSet::new();
    let Some(finish) = FinishBatches::of(ends, &engine.batches) else {
        return Ok(finished);
    };
    let there = match engine.write_here(&finish).await {
        Ok(there) => there,
        // One of them is finished already: they are looked at one by one.
        Err(fault) if fault.sort == FaultSort::Duplicate => return Ok(finished),
        Err(fault) => return Err(fault),
    };
    let runs = finish.ids.iter().zip(&finish.runs);
    finished.extend(
        runs.filter(|(_, run)| there.contains(run))
            .map(|(id, _)| *id),
    );
    engine.batches.ended(&finish.runs, &there);
    Ok(finished)
}

/// Successful runs that are in batches.
pub(crate) struct FinishBatches {
    ids: Vec<TaskId>,
    runs: Vec<RunId>,
    ready_ats: Vec<Timestamp>,
    outputs: Arc<Vec<Option<Vec<u8>>>>,
}

impl FinishBatches {
    /// Those of `ends` that are; none if there are none.
    pub(crate) fn of(ends: &[&End], batches: &Batches) -> Option<Self> {
        let ready_ats = batches.ready_ats(ends.iter().map(|end| (end.run, end.id)));
        let in_batches = ends.iter().zip(ready_ats);
        let in_batches = in_batches.filter_map(|(end, ready_at)| Some((*end, ready_at?)));
        let in_batches: Vec<_> = in_batches.collect();
        let ends = in_batches.iter().map(|(end, _)| end);
        (!in_batches.is_empty()).then(|| Self {
            ids: ends.clone().map(|end| end.id).collect(),
            runs: ends.clone().map(|end| end.run).collect(),
            ready_ats: in_batches.iter().map(|(_, ready_at)| *ready_at).collect(),
            outputs: Arc::new(ends.map(|end| end.output.clone()).collect()),
        })
    }
}

impl Operation for FinishBatches {
    const NAME: &'static str = "finish batches";
    /// The batches that are there.
    type Answer = HashSet<RunId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<HashSet<RunId>, Fault> {
        let runs: BTreeSet<_> = self.runs.iter().map(|run| run.0).collect();
        let mut sql = tx.sql("with n as materialized (select ");
        sql.now().push(
            " as at), b as materialized (select run_id, node, started_at, open from ~batch where ",
        );
        sql.ids("run_id", runs)
            .push(" order by run_id")
            .for_update();
        sql.push(
            "), m as materialized (select u.id, u.run_id, u.ready_at, u.output, b.node, b.started_at from ",
        )
        .unnest_columns([
            Value::ids(self.ids.iter().map(|id| id.0)),
            Value::ids(self.runs.iter().map(|run| run.0)),
            Value::ints(self.ready_ats.iter().map(|ready_at| ready_at.0)),
            Value::Blobs(self.outputs.clone()),
        ])
        .push(
            " u(id, run_id, ready_at, output) cross join lateral \
             (select b.node, b.started_at from b where b.run_id = u.run_id limit 1) b), w as (insert into ~done ",
        );
        push_columns(&mut sql);
        sql.push(" select m.id, ")
            .number(Status::Finished.code())
            .push(
                ", m.run_id, m.node, m.started_at, n.at, m.ready_at, 1, 0, 0, m.output from m, n), \
                 e as materialized (select b.run_id, b.open - count(*) as open from b, m where m.run_id = b.run_id \
                 group by b.run_id, b.open), \
                 g as (delete from ~batch x using e where x.run_id = e.run_id and e.open <= 0), \
                 l as (update ~batch x set open = e.open from e where x.run_id = e.run_id and e.open > 0) \
                 select run_id from b",
            );
        let mut rows = tx.fetch(sql).await?;
        rows.rows().map(|mut row| Ok(RunId(row.id()?))).collect()
    }

    fn is_one_statement(&self, _: &Dialect) -> bool {
        true
    }
}
