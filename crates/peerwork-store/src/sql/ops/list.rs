//! Pages of a list, newest first.
//!
//! SQL only narrows down (which tasks might be meant, by a bounded look at an index); [`Filter::matches`] decides.

use super::read::records;
use crate::sql::dialect::Sql;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::{Cursor, Filter, Page};
use peerwork_core::{Place, State, Status, TaskId, Timestamp};

pub(crate) struct List {
    pub filter: Filter,
    pub after: Option<Cursor>,
    /// At least 1.
    pub limit: usize,
}

/// Tasks that one statement looks at, at most: a filter that few tasks match must not keep a snapshot open for long.
const LOOKS_MAX: usize = 10_000;

impl Operation for List {
    const NAME: &'static str = "list tasks";
    type Answer = Page;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Page, Fault> {
        let mut page = Page::default();
        let mut after = self.after;
        // One more than asked for tells whether there is a next page.
        while page.tasks.len() <= self.limit {
            let wanted = self.limit + 1 - page.tasks.len();
            let (found, looked_at) = self.candidates(tx, after, wanted).await?;
            let mut records = records(tx, found.iter().map(|cursor| cursor.id.0).collect()).await?;
            let meant = found.iter().filter_map(|cursor| records.remove(&cursor.id));
            page.tasks
                .extend(meant.filter(|task| self.filter.matches(task)));
            match looked_at {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        if page.tasks.len() > self.limit {
            page.tasks.truncate(self.limit);
            page.next = page.tasks.last().map(|task| Cursor {
                created_at: task.created_at,
                id: task.id,
            });
        }
        Ok(page)
    }
}

impl List {
    /// The next tasks that may be meant, at most `wanted`, and up to where it looked; none: up to the end.
    async fn candidates(
        &self,
        tx: &mut Tx<'_>,
        after: Option<Cursor>,
        wanted: usize,
    ) -> Result<(Vec<Cursor>, Option<Cursor>), Fault> {
        let mut sql = tx.sql("select t.created_at, t.id from (");
        self.window(&mut sql, after, LOOKS_MAX);
        sql.push(") t");
        if !self.filter.states.is_empty() {
            self.join_places(&mut sql, tx.dialect.capabilities.lateral);
        }
        sql.push(" order by t.created_at desc, t.id desc limit ")
            .bind(wanted);
        let found = cursors(tx, sql).await?;
        if found.len() == wanted {
            let last = found.last().copied();
            return Ok((found, last));
        }
        // Fewer than wanted: everything in the window was looked at. Where does it end?
        let mut sql = tx.sql("select w.created_at, w.id from (");
        self.window(&mut sql, after, LOOKS_MAX);
        sql.push(") w order by w.created_at, w.id limit 1");
        let mut count = tx.sql("select count(*) from (");
        self.window(&mut count, after, LOOKS_MAX);
        count.push(") w");
        if tx.fetch(count).await?.single_int()? < LOOKS_MAX as i64 {
            return Ok((found, None));
        }
        let last = cursors(tx, sql).await?.pop();
        Ok((found, last))
    }

    /// The next `limit` tasks by what the task itself says.
    fn window(&self, sql: &mut Sql, after: Option<Cursor>, limit: usize) {
        sql.push("select created_at, id from ~task where 1 = 1");
        // Nobody's tasks are in no index of users: said in the text, for a plan does not know what is bound.
        if let Some(user) = &self.filter.user {
            sql.push(" and usr = ").bind(user);
            sql.push(if user.as_str().is_empty() {
                ""
            } else {
                " and usr <> ''"
            });
        }
        if let Some(group) = &self.filter.group {
            sql.push(" and grp = ").bind(group);
            sql.push(if group.as_str().is_empty() {
                ""
            } else {
                " and grp <> ''"
            });
        }
        if !self.filter.kinds.is_empty() {
            sql.push(" and ").texts(
                "kind",
                self.filter
                    .kinds
                    .iter()
                    .map(|kind| kind.as_str().to_owned()),
            );
        }
        if let Some(parent) = self.filter.parent {
            sql.push(" and parent = ").bind(parent);
        }
        if let Some(Cursor { created_at, id }) = after {
            // Not as a comparison of pairs, which is no index range on MariaDB.
            sql.push(" and created_at <= ").bind(created_at);
            sql.push(" and (created_at < ")
                .bind(created_at)
                .push(" or id < ")
                .bind(id)
                .push(")");
        }
        sql.push(" order by created_at desc, id desc limit ")
            .bind(limit);
    }

    /// Narrows down by state, as far as a status alone tells. With `looks_up`, in the form that looks each task up by its
    /// id even if it was planned when the places were empty.
    fn join_places(&self, sql: &mut Sql, looks_up: bool) {
        const JOINS: [(Place, &str, &str, &str); 4] = [
            (
                Place::Ready,
                " left join ~ready r on r.id = t.id",
                " left join lateral (select status from ~ready where id = t.id limit 1) r on true",
                "r.status in (",
            ),
            (
                Place::Running,
                " left join ~running u on u.id = t.id",
                " left join lateral (select status from ~running where id = t.id limit 1) u on true",
                "u.status in (",
            ),
            (
                Place::Parked,
                " left join ~parked p on p.id = t.id",
                " left join lateral (select status from ~parked where id = t.id limit 1) p on true",
                "p.status in (",
            ),
            (
                Place::Done,
                " left join ~done d on d.id = t.id",
                " left join lateral (select status from ~done where id = t.id limit 1) d on true",
                "d.status in (",
            ),
        ];
        let codes = |place| {
            statuses(&self.filter.states)
                .filter(move |s| s.place() == place)
                .map(Status::code)
        };
        // On PostgreSQL a running task may have no place at all: it is in a batch.
        let finds_batched = sql.database() == Database::Postgres
            && codes(Place::Running).any(|code| code == Status::Running.code());
        let needed = || {
            let has_codes = |place: Place| codes(place).next().is_some();
            JOINS
                .iter()
                .filter(move |(place, ..)| finds_batched || has_codes(*place))
        };
        for (_, join, lateral, _) in needed() {
            sql.push(if looks_up { lateral } else { join });
        }
        sql.push(" where (");
        let asked = needed().filter(|(place, ..)| codes(*place).next().is_some());
        for (i, (place, _, _, status)) in asked.enumerate() {
            sql.push(if i > 0 { " or " } else { "" })
                .push(status)
                .numbers(codes(*place))
                .push(")");
        }
        if finds_batched {
            sql.push(
                " or (r.status is null and u.status is null and p.status is null and d.status is null)",
            );
        }
        sql.push(")");
    }
}

/// The statuses that some task in one of `states` may have, by [`State::of`] alone.
fn statuses(states: &[State]) -> impl Iterator<Item = Status> {
    Status::ALL.into_iter().filter(|status| {
        [0, 1]
            .iter()
            .any(|failures| states.contains(&State::of(*status, *failures)))
    })
}

async fn cursors(tx: &mut Tx<'_>, sql: Sql) -> Result<Vec<Cursor>, Fault> {
    let mut rows = tx.fetch(sql).await?;
    rows.rows()
        .map(|mut row| {
            Ok(Cursor {
                created_at: Timestamp(row.int()?),
                id: TaskId(row.id()?),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_found_by_its_state() {
        for status in Status::ALL {
            for failures in [0, 1, 7] {
                assert!(
                    statuses(&[State::of(status, failures)]).any(|found| found == status),
                    "{status}"
                );
            }
        }
        assert_eq!(
            statuses(&[State::Finished]).collect::<Vec<_>>(),
            [Status::Finished]
        );
    }
}
