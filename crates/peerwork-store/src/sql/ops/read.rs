//! Reading tasks by their ids: records without payloads, and payloads.

use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::rows::TaskRow;
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::{Row, status};
use crate::{Failure, Payload, Progress, TaskRecord};
use peerwork_core::{NodeId, RunId, Status, Task, TaskId};
use std::collections::HashMap;
use uuid::Uuid;

pub(crate) struct Get {
    pub ids: Vec<TaskId>,
}

impl Operation for Get {
    const NAME: &'static str = "read tasks";
    type Answer = HashMap<TaskId, TaskRecord>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        records(tx, self.ids.iter().map(|id| id.0).collect()).await
    }
}

/// How a task is joined with what there is about it: as any database takes it, and so that PostgreSQL, whose plan may
/// be from when these tables were empty, looks it up by its id all the same.
const JOINS: [(&str, &str); 5] = [
    (
        " left join ~ready r on r.id = t.id",
        " left join lateral (select * from ~ready where id = t.id limit 1) r on true",
    ),
    (
        " left join ~running u on u.id = t.id",
        " left join lateral (select * from ~running where id = t.id limit 1) u on true",
    ),
    (
        " left join ~parked p on p.id = t.id",
        " left join lateral (select * from ~parked where id = t.id limit 1) p on true",
    ),
    (
        " left join ~done d on d.id = t.id",
        " left join lateral (select * from ~done where id = t.id limit 1) d on true",
    ),
    (
        " left join ~checkpoint c on c.task_id = t.id",
        " left join lateral (select * from ~checkpoint where task_id = t.id limit 1) c on true",
    ),
];

/// What is the same in several places, and what is added to it of tasks in a [batch](crate::sql::batch).
const COALESCED: [(&str, &str); 8] = [
    (
        "r.status, u.status, p.status, d.status",
        ", case when b.run_id is not null then 5 end",
    ),
    (
        "r.ready_at, u.ready_at, p.ready_at, d.ready_at",
        ", b.ready_ats[array_position(b.ids, t.id)]",
    ),
    ("r.attempt, u.attempt, p.attempt, d.attempt", ", 1"),
    ("r.failures, u.failures, p.failures, d.failures", ", 0"),
    ("r.crashes, u.crashes, p.crashes, d.crashes", ", 0"),
    ("u.run_id, d.run_id", ", b.run_id"),
    ("u.node, d.node", ", b.node"),
    ("u.started_at, d.started_at", ", b.started_at"),
];

/// The records of the tasks among `ids` that exist. One statement, so that no task is between two places in it.
pub(crate) async fn records(
    tx: &mut Tx<'_>,
    ids: Vec<Uuid>,
) -> Result<HashMap<TaskId, TaskRecord>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut sql = tx.sql("select ");
    sql.push(TaskRow::COLUMNS);
    for (placed, batched) in COALESCED {
        sql.push(", coalesce(")
            .push(placed)
            .push_on(Database::Postgres, batched)
            .push(")");
    }
    sql.push(
        ", p.returns_to, p.wake_at, coalesce(p.forced, 0), d.finished_at, c.done, c.total, \
         (select f.error from ~failure f where f.task_id = t.id order by f.attempt desc limit 1) from ~task t",
    );
    for (join, lateral) in JOINS {
        sql.push(if tx.dialect.capabilities.lateral {
            lateral
        } else {
            join
        });
    }
    // What has a place is not looked for in all batches.
    sql.push_on(
        Database::Postgres,
        if tx.dialect.capabilities.lateral {
            " left join lateral (select * from ~batch where r.id is null and u.id is null and p.id is null \
             and d.id is null and t.id = any(ids) limit 1) b on true"
        } else {
            " left join ~batch b on r.id is null and u.id is null and p.id is null and d.id is null \
             and t.id = any(b.ids)"
        },
    );
    sql.push(" where ");
    sql.ids("t.id", ids);
    let mut records = HashMap::new();
    for mut row in tx.fetch(sql).await?.rows() {
        if let Some(record) = record(&mut row)? {
            records.insert(record.id, record);
        }
    }
    Ok(records)
}

fn record(row: &mut Row<'_>) -> Result<Option<TaskRecord>, Fault> {
    let task = TaskRow::read(row)?;
    let Some(code) = row.opt_int()? else {
        tracing::error!(task = %task.id, "a task has no row in any of the four places; somebody else changed the tables");
        return Ok(None);
    };
    let facts = Task {
        status: status(code)?,
        ready_at: row.time()?,
        attempt: row.count()?,
        failures: row.count()?,
        crashes: row.count()?,
        returns_to: None,
        wake_at: None,
        forced: false,
    };
    let (run, node) = (row.opt_id()?.map(RunId), row.opt_id()?.map(NodeId));
    let started_at = row.opt_time()?;
    let facts = Task {
        returns_to: row.opt_int()?.map(status).transpose()?,
        wake_at: row.opt_time()?,
        forced: row.flag()?,
        ..facts
    };
    let finished_at = row.opt_time()?;
    let progress = match (row.opt_int()?, row.opt_int()?) {
        (Some(done), Some(total)) => Some(Progress {
            done: u64::try_from(done).unwrap_or_default(),
            total: u64::try_from(total).unwrap_or_default(),
        }),
        _ => None,
    };
    Ok(Some(TaskRecord {
        id: task.id,
        kind: task.kind,
        user: task.user,
        group: task.group,
        priority: task.priority,
        options: task.options,
        parent: task.parent,
        created_at: task.created_at,
        task: facts,
        node,
        run,
        started_at,
        finished_at,
        progress,
        error: row.opt_text()?,
    }))
}

pub(crate) struct ReadPayload {
    pub id: TaskId,
    pub which: Payload,
}

impl Operation for ReadPayload {
    const NAME: &'static str = "read a payload";
    type Answer = Option<Vec<u8>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Vec<u8>>, Fault> {
        let mut sql = tx.sql(match self.which {
            Payload::Input => "select input from ~task where id = ",
            Payload::Checkpoint => "select data from ~checkpoint where task_id = ",
            Payload::Output => "select output from ~done where id = ",
        });
        sql.bind(self.id);
        if self.which == Payload::Output {
            sql.push(" and status = ").number(Status::Finished.code());
        }
        tx.fetch(sql)
            .await?
            .first()
            .map_or(Ok(None), |mut row| row.opt_bytes())
    }
}

pub(crate) struct Outputs {
    pub ids: Vec<TaskId>,
}

impl Operation for Outputs {
    const NAME: &'static str = "read outputs";
    type Answer = Vec<Option<Vec<u8>>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        let mut sql = tx.sql("select id, output from ~done where status = ");
        sql.number(Status::Finished.code())
            .push(" and output is not null and ");
        sql.ids("id", self.ids.iter().map(|id| id.0));
        let mut outputs = HashMap::new();
        for mut row in tx.fetch(sql).await?.rows() {
            outputs.insert(TaskId(row.id()?), row.opt_bytes()?);
        }
        Ok(self
            .ids
            .iter()
            .map(|id| outputs.get(id).cloned().flatten())
            .collect())
    }
}

pub(crate) struct Failures {
    pub id: TaskId,
}

impl Operation for Failures {
    const NAME: &'static str = "read failures";
    type Answer = Vec<Failure>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Failure>, Fault> {
        let mut sql = tx.sql("select attempt, failed_at, error from ~failure where task_id = ");
        sql.bind(self.id).push(" order by attempt");
        let mut rows = tx.fetch(sql).await?;
        rows.rows()
            .map(|mut row| {
                Ok(Failure {
                    attempt: row.count()?,
                    at: row.time()?,
                    error: row.text()?,
                })
            })
            .collect()
    }
}

/// Which of these runs still hold their tasks.
pub(crate) struct Verify {
    pub runs: Vec<(TaskId, RunId)>,
}

impl Operation for Verify {
    const NAME: &'static str = "verify runs";
    type Answer = Vec<Option<Status>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        let mut sql = tx.sql("select id, run_id, status from ");
        sql.held().push(" where ");
        sql.ids("id", self.runs.iter().map(|(id, _)| id.0));
        let mut held = HashMap::new();
        for mut row in tx.fetch(sql).await?.rows() {
            held.insert((TaskId(row.id()?), RunId(row.id()?)), row.status()?);
        }
        Ok(self.runs.iter().map(|run| held.get(run).copied()).collect())
    }
}

/// What a node holds.
pub(crate) struct HeldRuns {
    pub node: NodeId,
    pub limit: usize,
}

impl Operation for HeldRuns {
    const NAME: &'static str = "read what a node holds";
    type Answer = Vec<(TaskId, RunId)>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        let mut sql = tx.sql("select id, run_id from ");
        sql.held()
            .push(" where node = ")
            .bind(self.node)
            .push(" limit ")
            .bind(self.limit);
        let mut held: Vec<_> = tx
            .fetch(sql)
            .await?
            .rows()
            .map(|mut row| Ok((TaskId(row.id()?), RunId(row.id()?))))
            .collect::<Result<_, Fault>>()?;
        // Not by the database: it would walk through all that is running in this order, to stop at the limit.
        held.sort_unstable();
        Ok(held)
    }
}
