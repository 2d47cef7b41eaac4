//! Operations that may be repeated under their ids: what was asked, and what was answered.
//!
//! The answers are written in the transaction of the change, after the task's row was locked: of two repetitions that
//! race, the second one waits there and then finds what the first one answered.

use crate::sql::engine::Operation;
use crate::sql::fault::{Fault, FaultSort};
use crate::sql::rows::{Column, Table};
use crate::sql::settings::Database;
use crate::sql::tx::{Bulk, OnDuplicate, Tx};
use crate::sql::value::{Row, Sort, Value, status};
use crate::store::other_wish;
use crate::{Steered, Tally, Wish};
use peerwork_core::{OperationId, Refused, TaskId, Timestamp};
use std::collections::HashMap;
use uuid::Uuid;

static OP: Table = Table {
    name: "op",
    columns: &[
        Column("id", Sort::Id),
        Column("task_id", Sort::Id),
        Column("wish", Sort::Text),
        Column("a", Sort::Int),
        Column("b", Sort::Int),
        Column("c", Sort::Int),
        Column("asked_at", Sort::Int),
    ],
};

/// In place of a task: the sums over a filter.
const ALL: Uuid = Uuid::nil();

/// What was answered under `operation` for those of `ids` that it has dealt with.
pub(crate) async fn recall(
    tx: &mut Tx<'_>,
    operation: OperationId,
    wish: &Wish,
    ids: &[TaskId],
) -> Result<HashMap<TaskId, Steered>, Fault> {
    check_wish(tx, operation, wish).await?;
    let mut sql = tx.sql("select task_id, a, b, c from ~op where id = ");
    sql.bind(operation.0)
        .push(" and ")
        .ids("task_id", ids.iter().map(|id| id.0));
    let mut rows = tx.fetch(sql).await?;
    rows.rows()
        .map(|mut row| Ok((TaskId(row.id()?), answer(&mut row)?)))
        .collect()
}

/// Notes what is answered under `operation`. Of a task that is not there nothing is noted: it may still come.
pub(crate) async fn note(
    tx: &mut Tx<'_>,
    operation: OperationId,
    wish: &Wish,
    answers: impl Iterator<Item = (TaskId, Steered)>,
) -> Result<(), Fault> {
    let (mut bulk, mut rows) = (Bulk::new(&OP, 0), 0);
    for (task, answered) in answers {
        let Some(numbers) = numbers(answered) else {
            continue;
        };
        bulk.row(row(operation, task.0, wish, numbers));
        rows += 1;
    }
    if rows > 0 {
        tx.insert(bulk, OnDuplicate::Fail).await?;
    }
    Ok(())
}

/// Removes what was asked before `before`, at most `limit`; answers how many.
pub(crate) async fn prune(
    tx: &mut Tx<'_>,
    before: Timestamp,
    limit: usize,
) -> Result<usize, Fault> {
    let mut sql = tx.sql("delete from ~op where ");
    if tx.database() == Database::MySql {
        sql.push("asked_at <= ")
            .bind(before)
            .push(" order by asked_at limit ")
            .bind(limit);
    } else {
        sql.push("(id, task_id) in (select id, task_id from ~op where asked_at <= ")
            .bind(before)
            .push(" order by asked_at limit ")
            .bind(limit)
            .push(")");
    }
    Ok(usize::try_from(tx.execute(sql).await?).unwrap_or(limit))
}

pub(crate) struct Concluded {
    pub operation: OperationId,
    pub wish: Wish,
}

impl Operation for Concluded {
    const NAME: &'static str = "read an operation";
    type Answer = Option<Tally>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Tally>, Fault> {
        check_wish(tx, self.operation, &self.wish).await?;
        let mut sql = tx.sql("select a, b, c from ~op where id = ");
        sql.bind(self.operation.0).push(" and task_id = ").bind(ALL);
        let mut rows = tx.fetch(sql).await?;
        let Some(mut row) = rows.first() else {
            return Ok(None);
        };
        let mut sum = || row.int().map(|sum| u64::try_from(sum).unwrap_or_default());
        Ok(Some(Tally {
            changed: sum()?,
            unchanged: sum()?,
            refused: sum()?,
        }))
    }
}

pub(crate) struct Conclude {
    pub operation: OperationId,
    pub wish: Wish,
    pub tally: Tally,
}

impl Operation for Conclude {
    const NAME: &'static str = "conclude an operation";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        check_wish(tx, self.operation, &self.wish).await?;
        let sum = |sum: u64| i64::try_from(sum).unwrap_or(i64::MAX);
        let sums = [
            sum(self.tally.changed),
            sum(self.tally.unchanged),
            sum(self.tally.refused),
        ];
        let mut bulk = Bulk::new(&OP, 1);
        bulk.row(row(self.operation, ALL, &self.wish, sums));
        let keep_first = OnDuplicate::Do {
            standard: "do nothing",
            mysql: "a = a",
        };
        tx.insert(bulk, keep_first).await?;
        Ok(())
    }
}

fn row(operation: OperationId, task: Uuid, wish: &Wish, [a, b, c]: [i64; 3]) -> [Value; 7] {
    [
        operation.0.into(),
        task.into(),
        wish.to_string().into(),
        a.into(),
        b.into(),
        c.into(),
        Value::Now,
    ]
}

/// All rows of an operation are for one wish.
async fn check_wish(tx: &mut Tx<'_>, operation: OperationId, wish: &Wish) -> Result<(), Fault> {
    let mut sql = tx.sql("select wish from ~op where id = ");
    sql.bind(operation.0).push(" limit 1");
    let mut rows = tx.fetch(sql).await?;
    let before = rows.first().map(|mut row| row.text()).transpose()?;
    match before {
        Some(before) if before != wish.to_string() => Err(Fault::new(
            FaultSort::Invalid,
            other_wish(operation, &before, wish).to_string(),
        )),
        _ => Ok(()),
    }
}

const CHANGED: i64 = 1;
const UNCHANGED: i64 = 2;
const REFUSED: i64 = 3;

fn numbers(answered: Steered) -> Option<[i64; 3]> {
    match answered {
        Steered::Changed(to) => Some([CHANGED, to.code().into(), 0]),
        Steered::Unchanged(at) => Some([UNCHANGED, at.code().into(), 0]),
        Steered::Refused(at, why) => Some([REFUSED, at.code().into(), why.code().into()]),
        Steered::NotFound => None,
    }
}

fn answer(row: &mut Row<'_>) -> Result<Steered, Fault> {
    let (sort, at, why) = (row.int()?, status(row.int()?)?, row.int()?);
    match (sort, Refused::from_code(why)) {
        (CHANGED, _) => Ok(Steered::Changed(at)),
        (UNCHANGED, _) => Ok(Steered::Unchanged(at)),
        (REFUSED, Some(why)) => Ok(Steered::Refused(at, why)),
        _ => Err(Fault::broken(format!(
            "{sort} and {why} are no answer that this version knows; upgrade it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::value::{Cell, Rows};
    use peerwork_core::Status;

    #[test]
    fn every_answer_is_read_back_as_it_was_written() {
        for at in Status::ALL {
            let refused = Refused::ALL.map(|why| Steered::Refused(at, why));
            for answered in [Steered::Changed(at), Steered::Unchanged(at)]
                .into_iter()
                .chain(refused)
            {
                let cells = numbers(answered).unwrap().map(Cell::Int).to_vec();
                let mut rows = Rows::new(3, cells);
                assert_eq!(answer(&mut rows.first().unwrap()).unwrap(), answered);
            }
        }
        assert_eq!(numbers(Steered::NotFound), None);
    }
}
