//! The most frequent end of a run, success, without reading a row.
//!
//! What becomes of such a task is decided by [`decide`] like everything else, only beforehand: where success changes nothing but the
//! status, whatever the rules, the rows are written from themselves under a guard of those statuses and the fence. Whatever is
//! not so (a child, a deletion under way, a superseded run, a repetition) is left to [`EndRuns`](super::end::EndRuns), which reads
//! and decides row by row. What is in a [batch](super::finish_batches) has gone another way before.

use crate::End;
use crate::sql::dialect::{BYTES_HEX, Dialect, ID_HEX, Sql};
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::moves;
use crate::sql::rows::{DONE, by_id};
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::{Value, push_hex};
use peerwork_core::{
    BATCH_BYTES_MAX, Event, Place, Rules, Status, Task, TaskId, Timestamp, Transition, decide,
};
use std::collections::HashSet;
use uuid::Uuid;

const SUCCESS: Event = Event::Ok { forget: false };

/// Successful runs, of different tasks.
pub(crate) struct Finish {
    ends: Vec<End>,
}

impl Finish {
    /// Those of `ends` for which this may be the way, in the order in which all who lock rows do so.
    pub(crate) fn plain(ends: &[End]) -> Vec<&End> {
        let mut sorted: Vec<&End> = ends.iter().collect();
        sorted.sort_unstable_by_key(|end| end.id);
        let mut bytes = 0;
        // Several ends of one task are recorded in their order.
        let alone = sorted
            .chunk_by(|a, b| a.id == b.id)
            .filter(|one| one.len() == 1);
        let is_plain = |end: &&&End| {
            bytes += end.output.as_ref().map_or(0, Vec::len);
            end.event == SUCCESS && bytes <= BATCH_BYTES_MAX
        };
        alone.flatten().filter(is_plain).copied().collect()
    }

    pub(crate) fn of(ends: Vec<&End>) -> Self {
        Self {
            ends: ends.into_iter().cloned().collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn columns(&self) -> [Value; 3] {
        let outputs = self.ends.iter().map(|end| end.output.clone());
        [
            Value::ids(self.ends.iter().map(|end| end.id.0)),
            Value::ids(self.ends.iter().map(|end| end.run.0)),
            Value::blobs(outputs),
        ]
    }

    /// One statement: the rows are found by their keys, deleted by their places, and written again elsewhere. The plan cannot
    /// be another one, whatever the statistics say.
    async fn at_once(&self, tx: &mut Tx<'_>) -> Result<HashSet<TaskId>, Fault> {
        let mut sql = tx.sql("with n as materialized (select ");
        sql.now()
            .push(" as at), k as materialized (select r.place, u.output from ")
            .unnest_columns(self.columns())
            .push(
                " u(id, run_id, output) cross join lateral (select r.ctid as place from ~running r \
                 where r.id = u.id and r.run_id = u.run_id and ",
            );
        push_guard(&mut sql);
        sql.push(
            " for update) r), d as (delete from ~running r using k where r.ctid = k.place returning r.*, k.output), \
             w as (insert into ~done ",
        );
        push_columns(&mut sql);
        sql.push(" select ");
        push_row(&mut sql, |sql| sql.push("n.at"));
        sql.push(", r.output from d r, n) select id from d");
        let mut rows = tx.fetch(sql).await?;
        rows.rows().map(|mut row| Ok(TaskId(row.id()?))).collect()
    }

    /// Two statements in a transaction, and a third one where not all are as they should be. The first one locks the rows.
    async fn in_turn(&self, tx: &mut Tx<'_>) -> Result<HashSet<TaskId>, Fault> {
        let mut sql = tx.sql("insert into ~done ");
        push_columns(&mut sql);
        sql.push(" select ");
        push_row(&mut sql, Sql::now);
        sql.push(", unhex(u.output) from ");
        self.push_running(&mut sql);
        let written = tx.execute(sql).await?;
        let ids: Vec<_> = if written == self.ends.len() as u64 {
            self.ends.iter().map(|end| end.id.0).collect()
        } else {
            self.written(tx).await?
        };
        if ids.len() as u64 != written {
            return Err(Fault::moved());
        }
        let finished = ids.iter().copied().map(TaskId).collect();
        moves::delete(tx, Place::Running, ids).await?;
        Ok(finished)
    }

    /// Of these, the tasks that were written: they fulfil the same condition, and nobody else can have changed them.
    async fn written(&self, tx: &mut Tx<'_>) -> Result<Vec<Uuid>, Fault> {
        let mut sql = tx.sql("select r.id from ");
        self.push_running(&mut sql);
        let mut rows = tx.fetch(sql).await?;
        rows.rows().map(|mut row| row.id()).collect()
    }

    /// The rows to finish as `r`, with their outputs in `u`, looked up one by one: the other way round all rows would be locked.
    fn push_running(&self, sql: &mut Sql) {
        const COLUMNS: [(&str, &str); 3] =
            [("id", ID_HEX), ("run_id", ID_HEX), ("output", BYTES_HEX)];
        sql.json_rows("u", &COLUMNS, self.json())
            .push_on(Database::Sqlite, " cross join ~running r")
            .push_on(Database::MySql, " straight_join ~running r")
            .push_on(Database::MySql, by_id(Place::Running))
            .push(" on r.id = unhex(u.id) and r.run_id = unhex(u.run_id) and ");
        push_guard(sql);
        sql.for_update();
    }

    /// `[[id, run, output], ..]`, in hexadecimal digits.
    fn json(&self) -> String {
        let mut json = String::with_capacity(self.ends.len() * 90 + 2);
        json.push('[');
        for (i, end) in self.ends.iter().enumerate() {
            json.push_str(if i > 0 { ",[\"" } else { "[\"" });
            push_hex(&mut json, end.id.0.as_bytes());
            json.push_str("\",\"");
            push_hex(&mut json, end.run.0.as_bytes());
            match &end.output {
                Some(output) => {
                    json.push_str("\",\"");
                    push_hex(&mut json, output);
                    json.push_str("\"]");
                }
                None => json.push_str("\",null]"),
            }
        }
        json.push(']');
        json
    }
}

impl Operation for Finish {
    const NAME: &'static str = "finish runs";
    /// Those that are recorded now.
    type Answer = HashSet<TaskId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<HashSet<TaskId>, Fault> {
        if tx.dialect.is_at_once() {
            self.at_once(tx).await
        } else {
            self.in_turn(tx).await
        }
    }

    fn is_one_statement(&self, dialect: &Dialect) -> bool {
        dialect.is_at_once()
    }
}

/// Appends the names of all columns of `done`.
pub(super) fn push_columns(sql: &mut Sql) {
    sql.push("(");
    for (i, column) in DONE.columns.iter().enumerate() {
        sql.push(if i > 0 { "," } else { "" }).push(column.0);
    }
    sql.push(")");
}

/// The values of all columns of `done` but the output, out of `r`, in their order.
fn push_row(sql: &mut Sql, now: impl FnOnce(&mut Sql) -> &mut Sql) {
    sql.push("r.id, ")
        .number(Status::Finished.code())
        .push(", r.run_id, r.node, r.started_at, ");
    now(sql).push(", r.ready_at, r.attempt, r.failures, r.crashes");
}

/// That success changes nothing but the status. The end of a child is told to its parent besides.
fn push_guard(sql: &mut Sql) {
    let statuses = finished_from().into_iter().map(Status::code);
    sql.push("r.status in (")
        .numbers(statuses)
        .push(") and r.child = 0");
}

/// The statuses of held tasks which success turns into finished ones, and changes nothing else.
fn finished_from() -> Vec<Status> {
    let sample = |status| Task {
        status,
        attempt: 3,
        failures: 2,
        crashes: 1,
        ..Task::new(true, None, Timestamp(5))
    };
    let is_plain = |status: &Status| {
        let task = sample(*status);
        let finished = Task {
            status: Status::Finished,
            ..task
        };
        status.is_held()
            && decide(&task, &Rules::default(), SUCCESS, Timestamp(7))
                == Ok(Transition::To(finished))
    };
    Status::ALL.into_iter().filter(is_plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_finishes_what_runs_or_is_to_pause_and_nothing_else() {
        assert_eq!(finished_from(), [Status::Running, Status::Pausing]);
    }
}
