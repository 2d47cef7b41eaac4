//! The lanes that have work: one step of an index for each, whatever the number of tasks in them.

use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::rows::readable;
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::Row;
use peerwork_core::{KindKey, LaneId, LaneView, Rank};

pub(crate) struct Lanes {
    pub kinds: Vec<KindKey>,
    pub limit: usize,
}

impl Operation for Lanes {
    const NAME: &'static str = "look at the lanes";
    type Answer = Vec<LaneView>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<LaneView>, Fault> {
        if self.kinds.is_empty() || self.limit == 0 {
            return Ok(Vec::new());
        }
        let kinds = self.kinds.iter().map(|kind| kind.0);
        let mut sql = tx.sql(match tx.database() {
            // It has no min() of uuids.
            Database::Postgres => {
                "with recursive l(lane) as ((select lane from ~ready order by lane limit 1) union all \
                 select (select r.lane from ~ready r where r.lane > l.lane order by r.lane limit 1) \
                 from l where l.lane is not null) "
            }
            Database::Sqlite => {
                "with recursive l(lane) as (select min(lane) from ~ready union all \
                 select (select min(r.lane) from ~ready r where r.lane > l.lane) from l where l.lane is not null) "
            }
            // Its optimizer steps through the index by itself here, and not in the other form, where it walks
            // through all entries once for each lane.
            Database::MySql => "with l(lane) as (select distinct lane from ~ready) ",
        });
        const HEAD: &str = "select h.lane, t.grp, t.usr, h.status, h.rank_no, h.ready_at from l ";
        const FIRST: &str = " order by r.rank_no, r.ready_at, r.id limit 1) ";
        // Not by h.lane: there is an index in that order, over all that is ready.
        const TAIL: &str = "where l.lane is not null order by l.lane limit ";
        sql.push(HEAD);
        if tx.dialect.capabilities.lateral {
            // The limits keep it from joining in another order, which is as good where it was planned on tables that
            // were empty then.
            sql.push(
                "cross join lateral (select r.lane, r.id, r.status, r.rank_no, r.ready_at from ~ready r \
                 where r.lane = l.lane and ",
            );
            sql.ints("r.kind", kinds).push(FIRST).push(
                "h cross join lateral (select t.grp, t.usr from ~task t where t.id = h.id limit 1) t ",
            );
        } else {
            sql.push(
                "join ~ready h on h.id = (select r.id from ~ready r where r.lane = l.lane and ",
            );
            sql.ints("r.kind", kinds)
                .push(FIRST)
                .push("join ~task t on t.id = h.id ");
        }
        sql.push(TAIL);
        sql.bind(self.limit);
        let mut rows = tx.fetch(sql).await?;
        Ok(rows
            .rows()
            .filter_map(|mut row| readable("the first task of a lane", view(&mut row)))
            .collect())
    }
}

fn view(row: &mut Row<'_>) -> Result<LaneView, Fault> {
    Ok(LaneView {
        lane: LaneId(row.id()?),
        group: row.name("group")?,
        user: row.name("user")?,
        work: row.status()?.work(),
        rank: Rank(i32::try_from(row.int()?).unwrap_or_default()),
        since: row.time()?,
    })
}
