//! What is read for the tasks that a claim has taken: what their handlers need, after the transaction.

use crate::sql::dialect::Sql;
use crate::sql::engine::{Engine, Operation};
use crate::sql::fault::Fault;
use crate::sql::rows::{Placed, TaskRow, read, select_held};
use crate::sql::tx::Tx;
use crate::{Claim, Claimed};
use peerwork_core::{NodeId, Place, Rank, RunId, Status, TaskId};
use std::collections::HashMap;
use uuid::Uuid;

/// What a run holds, after the answer to its claim was lost.
pub(crate) struct HeldBy {
    pub node: NodeId,
    pub run: RunId,
}

impl HeldBy {
    pub(crate) fn of(claim: &Claim) -> Self {
        Self {
            node: claim.node,
            run: claim.run,
        }
    }
}

impl Operation for HeldBy {
    const NAME: &'static str = "read back a claim";
    type Answer = Vec<(Rank, Placed)>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<(Rank, Placed)>, Fault> {
        let mut sql = select_held(tx);
        sql.push(" where node = ")
            .bind(self.node)
            .push(" and run_id = ")
            .bind(self.run)
            .push(" order by id");
        let mut rows = tx.fetch(sql).await?;
        rows.rows()
            .map(|mut row| read(tx, Place::Running, &mut row))
            .map(|row| row.map(|row| (Rank::new(Status::Queued, row.priority), row)))
            .collect()
    }
}

/// What the handlers of claimed tasks need.
pub(crate) struct Load {
    pub taken: Vec<(Rank, Placed)>,
}

impl Operation for Load {
    const NAME: &'static str = "read claimed tasks";
    type Answer = Vec<Claimed>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Claimed>, Fault> {
        let mut sql = tx.sql("select ");
        sql.push(TaskRow::COLUMNS)
            .push(", t.input from ~task t where ");
        sql.ids("t.id", self.taken.iter().map(|(_, row)| row.id.0));
        let mut tasks = HashMap::with_capacity(self.taken.len());
        for mut row in tx.fetch(sql).await?.rows() {
            let task = TaskRow::read(&mut row)?;
            tasks.insert(task.id, (task, row.opt_bytes()?.unwrap_or_default()));
        }
        let claimed = self.taken.iter().filter_map(|(rank, placed)| {
            let (task, input) = tasks.remove(&placed.id)?;
            Some(task.claimed(placed.run?, *rank, placed.task, input))
        });
        Ok(claimed.collect())
    }
}

/// The checkpoints from which claimed tasks go on.
pub(crate) struct LoadCheckpoints {
    /// A task that is claimed for the first time has none.
    ids: Vec<Uuid>,
}

impl LoadCheckpoints {
    pub(crate) fn of(claimed: &[Claimed]) -> Option<Self> {
        let again = claimed.iter().filter(|claimed| claimed.task.attempt > 1);
        let ids: Vec<_> = again.map(|claimed| claimed.id.0).collect();
        (!ids.is_empty()).then_some(Self { ids })
    }
}

impl Operation for LoadCheckpoints {
    const NAME: &'static str = "read checkpoints";
    type Answer = HashMap<TaskId, Vec<u8>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        let mut sql = tx.sql("select task_id, data from ~checkpoint where data is not null and ");
        sql.ids("task_id", self.ids.iter().copied());
        bytes_of(tx, sql).await
    }
}

/// Reads tasks' ids and some bytes of each.
async fn bytes_of(tx: &mut Tx<'_>, sql: Sql) -> Result<HashMap<TaskId, Vec<u8>>, Fault> {
    let mut rows = tx.fetch(sql).await?;
    rows.rows()
        .map(|mut row| Ok((TaskId(row.id()?), row.opt_bytes()?.unwrap_or_default())))
        .collect()
}

/// Reads what the handlers of taken tasks need.
pub(super) async fn complete(
    engine: &Engine,
    taken: Vec<(Rank, Placed)>,
) -> Result<Vec<Claimed>, Fault> {
    let claimed = load(engine, taken).await?;
    with_checkpoints(engine, claimed).await
}

pub(super) async fn with_checkpoints(
    engine: &Engine,
    mut claimed: Vec<Claimed>,
) -> Result<Vec<Claimed>, Fault> {
    if let Some(checkpoints) = LoadCheckpoints::of(&claimed) {
        let read = engine.read_here(&checkpoints).await;
        let mut checkpoints = read.map_err(Fault::at_commit)?;
        for claimed in &mut claimed {
            claimed.checkpoint = checkpoints.remove(&claimed.id);
        }
    }
    Ok(claimed)
}

/// The inputs that a claim has not brought itself.
struct LoadInputs {
    ids: Vec<Uuid>,
}

impl Operation for LoadInputs {
    const NAME: &'static str = "read inputs";
    type Answer = HashMap<TaskId, Vec<u8>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        let mut sql = tx.sql("select id, input from ~task where ");
        sql.ids("id", self.ids.iter().copied());
        bytes_of(tx, sql).await
    }
}

/// Reads the inputs that are missing.
pub(super) async fn with_inputs(
    engine: &Engine,
    mut claimed: Vec<Claimed>,
) -> Result<Vec<Claimed>, Fault> {
    let missing = claimed.iter().filter(|claimed| claimed.input.is_empty());
    let ids: Vec<_> = missing.map(|claimed| claimed.id.0).collect();
    if ids.is_empty() {
        return Ok(claimed);
    }
    let read = engine.read_here(&LoadInputs { ids }).await;
    let mut inputs = read.map_err(Fault::at_commit)?;
    for claimed in &mut claimed {
        if let Some(input) = inputs.remove(&claimed.id) {
            claimed.input = input;
        }
    }
    Ok(claimed)
}

/// After the claim was committed: an error leaves open whether it was carried out, for whoever asks.
pub(super) async fn load(
    engine: &Engine,
    taken: Vec<(Rank, Placed)>,
) -> Result<Vec<Claimed>, Fault> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let loaded = engine.read_here(&Load { taken }).await;
    loaded.map_err(Fault::at_commit)
}
