//! The errors of attempts: written at their ends, the newest few kept.

use crate::sql::fault::Fault;
use crate::sql::rows::{Column, Table};
use crate::sql::tx::{Bulk, OnDuplicate, Tx};
use crate::sql::value::Sort;
use peerwork_core::{ERRORS_KEPT_MAX, TaskId, Timestamp, bounded_error};
use std::collections::BTreeMap;

static FAILURE: Table = Table {
    name: "failure",
    columns: &[
        Column("task_id", Sort::Id),
        Column("attempt", Sort::Int),
        Column("failed_at", Sort::Int),
        Column("error", Sort::Text),
    ],
};

/// The error of one attempt.
pub(crate) struct Failed {
    pub id: TaskId,
    pub attempt: u32,
    pub error: String,
}

pub(crate) async fn record(
    tx: &mut Tx<'_>,
    failed: Vec<Failed>,
    now: Timestamp,
) -> Result<(), Fault> {
    if failed.is_empty() {
        return Ok(());
    }
    // A task with so few attempts cannot have too many.
    let many = |failed: &&Failed| failed.attempt as usize > ERRORS_KEPT_MAX;
    let crowded: Vec<TaskId> = failed.iter().filter(many).map(|failed| failed.id).collect();
    let mut bulk = Bulk::new(&FAILURE, failed.len());
    for failed in failed {
        bulk.row([
            failed.id.into(),
            failed.attempt.into(),
            now.into(),
            bounded_error(&failed.error).into(),
        ]);
    }
    let replace = OnDuplicate::Do {
        standard: "(task_id, attempt) do update set failed_at = excluded.failed_at, error = excluded.error",
        mysql: "failed_at = values(failed_at), error = values(error)",
    };
    tx.insert(bulk, replace).await?;
    forget_oldest(tx, crowded).await
}

async fn forget_oldest(tx: &mut Tx<'_>, ids: Vec<TaskId>) -> Result<(), Fault> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut sql = tx.sql("select task_id, attempt from ~failure where ");
    sql.ids("task_id", ids.into_iter().map(|id| id.0))
        .push(" order by task_id, attempt");
    let mut attempts: BTreeMap<_, Vec<i64>> = BTreeMap::new();
    for mut row in tx.fetch(sql).await?.rows() {
        attempts.entry(row.id()?).or_default().push(row.int()?);
    }
    for (id, attempts) in attempts {
        if attempts.len() > ERRORS_KEPT_MAX {
            let oldest_kept = attempts[attempts.len() - ERRORS_KEPT_MAX];
            let mut sql = tx.sql("delete from ~failure where task_id = ");
            sql.bind(id).push(" and attempt < ").bind(oldest_kept);
            tx.execute(sql).await?;
        }
    }
    Ok(())
}
