//! Creating tasks that differ in nothing but their ids and inputs, as the tasks of one call mostly do: one statement with two arrays. On
//! PostgreSQL.

use crate::NewTask;
use crate::sql::fault::Fault;
use crate::sql::tx::Tx;
use crate::sql::value::{Cell, Value};
use peerwork_core::{TaskId, Timestamp};
use std::collections::HashSet;

/// What tasks have in common that become ready.
pub(super) struct Alike<'a> {
    tasks: &'a [NewTask],
    first: &'a NewTask,
}

impl<'a> Alike<'a> {
    /// None if they are not alike, or wait for something.
    pub(super) fn of(tasks: &'a [NewTask]) -> Option<Self> {
        let first = tasks.first()?;
        let are_alike = tasks.iter().all(|task| is_like(task, first));
        (are_alike && first.rank().is_some()).then_some(Self { tasks, first })
    }

    /// Creates them, and answers which are new.
    pub(super) async fn insert(&self, tx: &mut Tx<'_>) -> Result<HashSet<TaskId>, Fault> {
        let Self { tasks, first } = self;
        let row = super::create::placed(first, Timestamp(0));
        let inputs = tasks.iter().map(|task| Some(task.input.clone()));
        let mut sql = tx.sql("with n as materialized (select ");
        sql.now().push(
            " as at), t as (insert into ~task (id,lane,created_at,usr,grp,kind,priority,options,parent,input) select u.id, ",
        );
        sql.bind(row.lane)
            .push(", n.at, ")
            .bind(&first.user)
            .push(", ")
            .bind(&first.group)
            .push(", ")
            .bind(&first.kind)
            .push(", ")
            .bind(first.priority)
            .push(", ")
            .bind(first.options.code())
            .push(", ")
            .bind(first.parent)
            .push(", u.input from ");
        sql.unnest_columns([
            Value::ids(tasks.iter().map(|task| task.id.0)),
            Value::blobs(inputs),
        ])
        .push(
            " u(id,input), n on conflict (id) do nothing returning id), \
             r as (insert into ~ready (lane,rank_no,ready_at,id,kind,status,attempt,failures,crashes,child) select ",
        );
        sql.bind(row.lane)
            .push(", ")
            .bind(first.rank())
            .push(", n.at, t.id, ")
            .bind(row.kind)
            .push(", ")
            .bind(row.task.status)
            .push(", 0, 0, 0, ")
            .bind(row.child)
            // A row for each would be work for the driver, and mostly it says nothing.
            .push(" from t, n) select case when count(*) < ")
            .bind(tasks.len())
            .push(" then array_agg(t.id) end, count(*) from t");
        let mut rows = tx.fetch(sql).await?;
        let mut row = rows.first().ok_or_else(Fault::moved)?;
        let new = row.list()?;
        if row.int()? == tasks.len() as i64 {
            return Ok(tasks.iter().map(|task| task.id).collect());
        }
        let id = |cell| match cell {
            Cell::Id(id) => Some(TaskId(id)),
            _ => None,
        };
        Ok(new.into_iter().filter_map(id).collect())
    }
}

fn is_like(task: &NewTask, other: &NewTask) -> bool {
    let NewTask {
        id: _,
        kind,
        user,
        group,
        priority,
        start,
        due,
        input: _,
        options,
        parent,
    } = task;
    kind == &other.kind
        && user == &other.user
        && group == &other.group
        && (priority, start, due) == (&other.priority, &other.start, &other.due)
        && (options, parent) == (&other.options, &other.parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use peerwork_core::Name;
    use uuid::Uuid;

    fn task(id: u128) -> NewTask {
        NewTask {
            id: TaskId(Uuid::from_u128(id)),
            kind: Name::new("kind", "k").unwrap(),
            user: Name::default(),
            group: Name::default(),
            priority: 3,
            start: true,
            due: None,
            input: id.to_be_bytes().into(),
            options: Options::default(),
            parent: None,
        }
    }

    #[test]
    fn tasks_are_alike_that_differ_in_id_and_input_only() {
        assert!(Alike::of(&[]).is_none());
        assert!(Alike::of(&[task(1)]).is_some());
        assert!(Alike::of(&[task(1), task(2)]).is_some());
        let name = || Name::new("name", "other").unwrap();
        let others: [fn(&mut NewTask, Name); 7] = [
            |task, name| task.kind = name,
            |task, name| task.user = name,
            |task, name| task.group = name,
            |task, _| task.priority = 4,
            |task, _| task.start = false,
            |task, _| task.options.forget_on_finish = true,
            |task, _| task.parent = Some(TaskId(Uuid::from_u128(9))),
        ];
        for change in others {
            let mut other = task(2);
            change(&mut other, name());
            assert!(Alike::of(&[task(1), other]).is_none());
        }
    }

    #[test]
    fn what_waits_is_not_for_this() {
        let mut waiting = task(1);
        waiting.start = false;
        assert!(Alike::of(&[waiting]).is_none());
        let mut due = task(1);
        due.due = Some(Timestamp(7));
        assert!(Alike::of(&[due]).is_none());
    }
}
