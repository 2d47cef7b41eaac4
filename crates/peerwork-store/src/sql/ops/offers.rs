//! What is claimable, as queues outside are told of it: page by page through all of it, the first ones of lanes, or by ids.
//!
//! Each is a range or a look-up of the index in whose order it is claimed, and the tasks are looked up one by one.

use crate::sql::dialect::Sql;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::rows::{by_id, readable};
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::{Row, Value};
use crate::{Offer, Sought, Spot};
use peerwork_core::{KindKey, LaneId, Place, Rank, TaskId};
use std::collections::HashMap;
use uuid::Uuid;

pub(crate) struct Offers {
    pub sought: Sought,
    pub limit: usize,
}

/// Lanes that one statement looks into where each has to be written out.
const LANES_MAX: usize = 16;

/// What is read of a row `r` of `ready` and a row `t` of `task`.
const COLUMNS: &str =
    "select r.id, r.lane, r.status, r.rank_no, r.ready_at, t.grp, t.usr, t.kind from ";

/// What a subquery hands on of a row of `ready`.
const ROW: &str = "(select r.id, r.lane, r.status, r.rank_no, r.ready_at from ~ready r";

const IN_LANE: &str = " order by r.rank_no, r.ready_at, r.id limit ";

impl Operation for Offers {
    const NAME: &'static str = "read what is claimable";
    type Answer = Vec<Offer>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Offer>, Fault> {
        match &self.sought {
            Sought::After(after) => {
                let mut offers = fetch(tx, self.page(tx, *after)).await?;
                // A join may leave the order in which its rows came.
                offers.sort_unstable_by_key(Offer::spot);
                Ok(offers)
            }
            Sought::First { lanes, kinds } => self.first(tx, lanes, kinds).await,
            Sought::These(ids) => {
                let found = fetch(tx, by_ids(tx, ids)).await?;
                let mut found: HashMap<TaskId, Offer> =
                    found.into_iter().map(|offer| (offer.task, offer)).collect();
                let offers = ids.iter().filter_map(|id| found.remove(id));
                Ok(offers.take(self.limit).collect())
            }
        }
    }
}

impl Offers {
    fn page(&self, tx: &Tx<'_>, after: Option<Spot>) -> Sql {
        let mut sql = tx.sql(COLUMNS);
        sql.push(ROW)
            .push_on(Database::MySql, " force index (primary)");
        // Also from the beginning, so that it is a range of the index for whoever plans it.
        let spot = after.unwrap_or_else(|| Spot::before(LaneId(Uuid::nil())));
        sql.push(" where ");
        behind(tx, &mut sql, spot);
        sql.push(" order by r.lane, r.rank_no, r.ready_at, r.id limit ")
            .bind(self.limit)
            .push(") r");
        push_task(tx, &mut sql);
        sql
    }

    async fn first(
        &self,
        tx: &mut Tx<'_>,
        lanes: &[LaneId],
        kinds: &[KindKey],
    ) -> Result<Vec<Offer>, Fault> {
        let mut lanes: Vec<LaneId> = lanes.iter().copied().take(self.limit).collect();
        lanes.sort_unstable();
        lanes.dedup();
        if lanes.is_empty() || kinds.is_empty() {
            return Ok(Vec::new());
        }
        let each = self.limit / lanes.len();
        let mut offers = Vec::new();
        if tx.dialect.capabilities.lateral {
            let mut sql = tx.sql(COLUMNS);
            sql.push("unnest(")
                .bind(Value::ids(lanes.iter().map(|lane| lane.0)))
                .push("::uuid[]) l(lane) cross join lateral ")
                .push(ROW)
                .push(" where r.lane = l.lane and ")
                .ints("r.kind", kinds.iter().map(|kind| kind.0))
                .push(IN_LANE)
                .bind(each)
                .push(") r");
            push_task(tx, &mut sql);
            offers = fetch(tx, sql).await?;
        } else {
            for lanes in lanes.chunks(LANES_MAX) {
                let mut sql = tx.sql("");
                for (i, lane) in lanes.iter().enumerate() {
                    sql.push(if i > 0 { " union all " } else { "" });
                    sql.push(COLUMNS)
                        .push(ROW)
                        .push(" where r.lane = ")
                        .bind(*lane)
                        .push(" and ")
                        .ints("r.kind", kinds.iter().map(|kind| kind.0))
                        .push(IN_LANE)
                        .bind(each)
                        .push(") r");
                    push_task(tx, &mut sql);
                }
                offers.extend(fetch(tx, sql).await?);
            }
        }
        offers.sort_unstable_by_key(Offer::spot);
        Ok(offers)
    }
}

fn by_ids(tx: &Tx<'_>, ids: &[TaskId]) -> Sql {
    let mut sql = tx.sql(COLUMNS);
    sql.push("~ready r")
        .push_on(Database::MySql, by_id(Place::Ready));
    push_task(tx, &mut sql);
    sql.push(" where ").ids("r.id", ids.iter().map(|id| id.0));
    sql
}

/// Joins the task of each row. The limit keeps PostgreSQL from joining in another order, which is as good where it was planned on tables
/// that were empty then.
fn push_task(tx: &Tx<'_>, sql: &mut Sql) {
    sql.push(match tx.dialect.capabilities.lateral {
        true => {
            " cross join lateral (select t.grp, t.usr, t.kind from ~task t where t.id = r.id limit 1) t"
        }
        false => match tx.database() {
            Database::MySql => " straight_join ~task t force index (primary) on t.id = r.id",
            Database::Sqlite => " cross join ~task t on t.id = r.id",
            Database::Postgres => " join ~task t on t.id = r.id",
        },
    });
}

/// Appends that a row `r` of `ready` is behind a spot.
fn behind(tx: &Tx<'_>, sql: &mut Sql, spot: Spot) {
    if tx.database() != Database::MySql {
        sql.push("(r.lane, r.rank_no, r.ready_at, r.id) > (")
            .bind(spot.lane)
            .push(", ")
            .bind(spot.rank)
            .push(", ")
            .bind(spot.since)
            .push(", ")
            .bind(spot.task)
            .push(")");
        return;
    }
    // Spelled out: MariaDB makes no range of a comparison of rows.
    sql.push("(r.lane > ")
        .bind(spot.lane)
        .push(" or (r.lane = ")
        .bind(spot.lane)
        .push(" and r.rank_no > ")
        .bind(spot.rank)
        .push(") or (r.lane = ")
        .bind(spot.lane)
        .push(" and r.rank_no = ")
        .bind(spot.rank)
        .push(" and r.ready_at > ")
        .bind(spot.since)
        .push(") or (r.lane = ")
        .bind(spot.lane)
        .push(" and r.rank_no = ")
        .bind(spot.rank)
        .push(" and r.ready_at = ")
        .bind(spot.since)
        .push(" and r.id > ")
        .bind(spot.task)
        .push("))");
}

async fn fetch(tx: &mut Tx<'_>, sql: Sql) -> Result<Vec<Offer>, Fault> {
    let mut rows = tx.fetch(sql).await?;
    let rows = rows.rows();
    let offers = rows.filter_map(|mut row| readable("a claimable task", offer(&mut row)));
    Ok(offers.collect())
}

fn offer(row: &mut Row<'_>) -> Result<Offer, Fault> {
    let (task, lane) = (TaskId(row.id()?), LaneId(row.id()?));
    let status = row.status()?;
    Ok(Offer {
        task,
        lane,
        work: status.work(),
        rank: Rank(i32::try_from(row.int()?).unwrap_or_default()),
        since: row.time()?,
        group: row.name("group")?,
        user: row.name("user")?,
        kind: row.name("kind")?,
    })
}
