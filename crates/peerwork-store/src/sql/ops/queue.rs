//! The order of tasks in a table of its own: hints, which no task's life depends on.
//!
//! What is in the table may be claimed, moved or over long since, and what is claimable may be missing: whoever reads it claims by the
//! ids, and the rows that tell something else than `ready` are put right from there.

use crate::Offer;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::rows::{Column, Table, readable};
use crate::sql::settings::Database;
use crate::sql::tx::{Bulk, OnDuplicate, Tx};
use crate::sql::value::{Row, Sort};
use peerwork_core::{KindKey, LaneId, TaskId};
use uuid::Uuid;

static QUEUE: Table = Table {
    name: "queue",
    columns: &[
        Column("id", Sort::Id),
        Column("lane", Sort::Id),
        Column("rank_no", Sort::Int),
        Column("ready_at", Sort::Int),
        Column("kind", Sort::Int),
    ],
};

/// Lanes that one statement looks into.
const LANES_MAX: usize = 16;

pub(crate) struct Enqueue {
    offers: Vec<Offer>,
}

impl Enqueue {
    pub(crate) fn new(mut offers: Vec<Offer>) -> Self {
        // All who offer lock in one order, and the last offer of a task counts.
        offers.reverse();
        offers.sort_by_key(|offer| offer.task);
        offers.dedup_by_key(|offer| offer.task);
        Self { offers }
    }
}

impl Operation for Enqueue {
    const NAME: &'static str = "put tasks into the queue's table";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let mut bulk = Bulk::new(&QUEUE, self.offers.len());
        for offer in &self.offers {
            bulk.row([
                offer.task.into(),
                offer.lane.into(),
                offer.rank.into(),
                offer.since.into(),
                KindKey::new(&offer.kind).into(),
            ]);
        }
        // What is there as it is offered is not written again.
        let replace = OnDuplicate::Do {
            standard: "(id) do update set lane = excluded.lane, rank_no = excluded.rank_no, ready_at = excluded.ready_at \
                       where old.lane <> excluded.lane or old.rank_no <> excluded.rank_no or old.ready_at <> excluded.ready_at",
            mysql: "lane = values(lane), rank_no = values(rank_no), ready_at = values(ready_at)",
        };
        tx.insert(bulk, replace).await?;
        Ok(())
    }
}

pub(crate) struct Dequeue {
    pub ids: Vec<TaskId>,
}

impl Operation for Dequeue {
    const NAME: &'static str = "take tasks out of the queue's table";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let mut ids: Vec<_> = self.ids.iter().map(|id| id.0).collect();
        ids.sort_unstable();
        delete(tx, ids).await
    }
}

/// Takes out the first tasks of these lanes and kinds.
pub(crate) struct Pop {
    pub lanes: Vec<LaneId>,
    pub kinds: Vec<KindKey>,
    pub limit: usize,
}

impl Operation for Pop {
    const NAME: &'static str = "take the next tasks from the queue's table";
    type Answer = Vec<TaskId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<TaskId>, Fault> {
        let mut first = Vec::new();
        for lanes in self.lanes.chunks(LANES_MAX) {
            let mut sql = tx.sql("");
            for (i, lane) in lanes.iter().enumerate() {
                sql.push(if i > 0 { " union all " } else { "" })
                    .push("select q.rank_no, q.ready_at, q.id from (select q.rank_no, q.ready_at, q.id from ~queue q")
                    .push_on(Database::MySql, " force index (~queue_order)")
                    .push(" where q.lane = ")
                    .bind(*lane)
                    .push(" and ")
                    .ints("q.kind", self.kinds.iter().map(|kind| kind.0))
                    .push(" order by q.rank_no, q.ready_at, q.id limit ")
                    .bind(self.limit)
                    .push(") q");
            }
            let mut rows = tx.fetch(sql).await?;
            let rows = rows.rows();
            first.extend(rows.filter_map(|mut row| readable("a row of the queue", spot(&mut row))));
        }
        first.sort_unstable();
        first.truncate(self.limit);
        if first.is_empty() {
            return Ok(Vec::new());
        }
        // Whoever is faster has them; another one gets others the next time.
        let mut sql = tx.sql("select q.id from ~queue q");
        let ids = || first.iter().map(|(.., id)| id.0);
        sql.push_on(Database::MySql, " force index (primary)")
            .push(" where ")
            .ids("q.id", ids())
            .for_update_skip_locked();
        let mut rows = tx.fetch(sql).await?;
        let locked: Vec<Uuid> = rows
            .rows()
            .map(|mut row| row.id())
            .collect::<Result<_, _>>()?;
        if locked.is_empty() {
            return Ok(Vec::new());
        }
        delete(tx, locked.clone()).await?;
        let ids = ids().filter(|id| locked.contains(id));
        Ok(ids.map(TaskId).collect())
    }
}

fn spot(row: &mut Row<'_>) -> Result<(i64, i64, TaskId), Fault> {
    Ok((row.int()?, row.int()?, TaskId(row.id()?)))
}

/// What is in the table, by ids.
pub(crate) struct ReadQueue {
    pub after: Option<TaskId>,
    pub limit: usize,
}

impl Operation for ReadQueue {
    const NAME: &'static str = "read the queue's table";
    type Answer = Vec<TaskId>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<TaskId>, Fault> {
        let mut sql = tx.sql("select id from ~queue");
        if let Some(after) = self.after {
            sql.push(" where id > ").bind(after);
        }
        sql.push(" order by id limit ").bind(self.limit);
        let mut rows = tx.fetch(sql).await?;
        rows.rows().map(|mut row| row.id().map(TaskId)).collect()
    }
}

async fn delete(tx: &mut Tx<'_>, ids: Vec<Uuid>) -> Result<(), Fault> {
    let mut sql = tx.sql(match tx.database() {
        // Told so, because it would lock all of a small table.
        Database::MySql => "delete q from ~queue as q force index (primary) where ",
        Database::Sqlite | Database::Postgres => "delete from ~queue as q where ",
    });
    sql.ids("q.id", ids);
    tx.execute(sql).await?;
    Ok(())
}
