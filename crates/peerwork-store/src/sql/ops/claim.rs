//! Claiming: ready rows of the granted lanes become running ones; then, outside of the transaction, what their
//! handlers need is read.

use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::moves::{self, Move};
use crate::sql::rows::{Placed, TaskRow, read, readable, select};
use crate::sql::tx::Tx;
use crate::sql::value::Value;
use crate::{Claim, Claimed};
use peerwork_core::{
    BATCH_MAX, Event, Grant, NodeId, Place, Rules, RunId, TaskId, Transition, decide,
};
use std::collections::HashMap;

/// The move from `ready` to `running`.
pub(crate) struct Take {
    claim: Claim,
}

impl Take {
    /// `claim` with one grant for each lane: a lane that is read twice in a statement would give a task twice.
    pub(crate) fn new(mut claim: Claim) -> Self {
        let mut grants: Vec<Grant> = Vec::with_capacity(claim.grants.len());
        for grant in claim.grants.into_iter().filter(|grant| grant.tasks > 0) {
            match grants.iter_mut().find(|known| known.lane == grant.lane) {
                Some(known) => known.tasks = known.tasks.saturating_add(grant.tasks).min(BATCH_MAX),
                None => grants.push(Grant {
                    tasks: grant.tasks.min(BATCH_MAX),
                    ..grant
                }),
            }
        }
        claim.grants = grants;
        Self { claim }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.claim.grants.is_empty() || self.claim.kinds.is_empty()
    }
}

impl Operation for Take {
    const NAME: &'static str = "claim tasks";
    type Answer = Vec<Placed>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Placed>, Fault> {
        let claim = &self.claim;
        let found = if tx.dialect.capabilities.lateral {
            all_lanes(tx, claim).await?
        } else {
            lane_by_lane(tx, claim).await?
        };
        if found.is_empty() {
            return Ok(found);
        }
        let now = tx.now().await?;
        let mut moves = Vec::with_capacity(found.len());
        for old in found {
            if let Ok(Transition::To(to)) = decide(&old.task, &Rules::default(), Event::Claim, now)
            {
                let mut new = old.with(to, now);
                (new.run, new.node, new.started_at) =
                    (Some(claim.run), Some(claim.node), Some(now));
                moves.push(Move::new(old, new));
            }
        }
        let taken = moves.iter().map(|m| m.new.clone()).collect();
        moves::apply(tx, moves, now).await?;
        Ok(taken)
    }
}

const READY: &str = "a task that is to be claimed";

const ORDER: &str = " order by r.rank_no, r.ready_at, r.id limit ";

/// The first rows of every granted lane, in one statement.
async fn all_lanes(tx: &mut Tx<'_>, claim: &Claim) -> Result<Vec<Placed>, Fault> {
    let mut sql = tx.sql("select ");
    sql.now().push(", c.* from unnest(");
    sql.bind(Value::Ids(
        claim
            .grants
            .iter()
            .map(|grant| Some(grant.lane.0))
            .collect(),
    ))
    .push("::uuid[], ");
    sql.bind(Value::Ints(
        claim
            .grants
            .iter()
            .map(|grant| Some(grant.tasks as i64))
            .collect(),
    ));
    sql.push(
        "::bigint[]) g(lane, tasks) cross join lateral (\
         select r.id, r.status, r.ready_at, r.attempt, r.failures, r.crashes, r.lane, r.kind, r.child, r.rank_no, \
         r.ended_by \
         from ~ready r where r.lane = g.lane and ",
    );
    sql.ints("r.kind", claim.kinds.iter().map(|kind| kind.0));
    sql.push(ORDER)
        .push("g.tasks")
        .for_update_skip_locked()
        .push(") c where exists (select 1 from ~node where id = ");
    // Rows are locked one by one as they are asked for: none is locked beyond a batch.
    sql.bind(claim.node)
        .push(" and alive = 1) limit ")
        .bind(BATCH_MAX);
    let mut rows = tx.fetch(sql).await?;
    Ok(rows
        .rows()
        .filter_map(|mut row| readable(READY, read(tx, Place::Ready, &mut row)))
        .collect())
}

async fn lane_by_lane(tx: &mut Tx<'_>, claim: &Claim) -> Result<Vec<Placed>, Fault> {
    let mut sql = tx.sql("select count(*) from ~node where id = ");
    sql.bind(claim.node).push(" and alive = 1");
    let mut found = Vec::new();
    if tx.fetch(sql).await?.single_int()? == 0 {
        return Ok(found);
    }
    for grant in &claim.grants {
        let room = BATCH_MAX - found.len();
        if room == 0 {
            break;
        }
        let mut sql = select(tx, Place::Ready);
        sql.push(" r where r.lane = ")
            .bind(grant.lane)
            .push(" and ");
        sql.ints("r.kind", claim.kinds.iter().map(|kind| kind.0));
        sql.push(ORDER)
            .bind(grant.tasks.min(room))
            .for_update_skip_locked();
        let mut rows = tx.fetch(sql).await?;
        let rows = rows.rows();
        found.extend(rows.filter_map(|mut row| readable(READY, read(tx, Place::Ready, &mut row))));
    }
    Ok(found)
}

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
    type Answer = Vec<Placed>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Placed>, Fault> {
        let mut sql = select(tx, Place::Running);
        sql.push(" where node = ")
            .bind(self.node)
            .push(" and run_id = ")
            .bind(self.run)
            .push(" order by id");
        let mut rows = tx.fetch(sql).await?;
        rows.rows()
            .map(|mut row| read(tx, Place::Running, &mut row))
            .collect()
    }
}

/// What the handlers of claimed tasks need.
pub(crate) struct Load {
    pub taken: Vec<Placed>,
}

impl Operation for Load {
    const NAME: &'static str = "read claimed tasks";
    type Answer = Vec<Claimed>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Claimed>, Fault> {
        let mut sql = tx.sql("select ");
        sql.push(TaskRow::COLUMNS)
            .push(", t.input from ~task t where ");
        sql.ids("t.id", self.taken.iter().map(|row| row.id.0));
        let mut tasks = HashMap::with_capacity(self.taken.len());
        for mut row in tx.fetch(sql).await?.rows() {
            let task = TaskRow::read(&mut row)?;
            tasks.insert(task.id, (task, row.opt_bytes()?.unwrap_or_default()));
        }
        let mut checkpoints = self.checkpoints(tx).await?;
        let claimed = self.taken.iter().filter_map(|placed| {
            let (task, input) = tasks.remove(&placed.id)?;
            Some(Claimed {
                id: task.id,
                run: placed.run?,
                kind: task.kind,
                user: task.user,
                group: task.group,
                lane: placed.lane.of(placed.task.status.work()),
                options: task.options,
                parent: task.parent,
                task: placed.task,
                created_at: task.created_at,
                input,
                checkpoint: checkpoints.remove(&placed.id),
            })
        });
        Ok(claimed.collect())
    }
}

impl Load {
    /// A task that is claimed for the first time has none.
    async fn checkpoints(&self, tx: &mut Tx<'_>) -> Result<HashMap<TaskId, Vec<u8>>, Fault> {
        let again: Vec<_> = self
            .taken
            .iter()
            .filter(|row| row.task.attempt > 1)
            .map(|row| row.id.0)
            .collect();
        if again.is_empty() {
            return Ok(HashMap::new());
        }
        let mut sql = tx.sql("select task_id, data from ~checkpoint where data is not null and ");
        sql.ids("task_id", again);
        let mut rows = tx.fetch(sql).await?;
        rows.rows()
            .map(|mut row| Ok((TaskId(row.id()?), row.opt_bytes()?.unwrap_or_default())))
            .collect()
    }
}
