//! The lanes that have work: one step of an index for each, whatever the number of tasks in them.
//!
//! [`Lanes`] finds all of them, and walks over the dead entries at the front of each; [`Heads`] looks at those that a node knows,
//! from where on it has not claimed yet. [`RunningElsewhere`] tells which of them other nodes work on.

use crate::RunningIn;
use crate::sql::dialect::Sql;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::rows::readable;
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::{Row, Value};
use peerwork_core::{KindKey, LaneId, LaneLook, LaneView, NodeId, Rank, Reach, Status, Work};
use std::collections::BTreeMap;

pub(crate) struct Lanes {
    pub kinds: Vec<KindKey>,
    pub look: LaneLook,
}

/// Ends a subquery that finds the first task of a lane.
const FIRST: &str = " order by r.rank_no, r.ready_at, r.id limit 1) ";

impl Operation for Lanes {
    const NAME: &'static str = "look at the lanes";
    type Answer = Vec<LaneView>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<LaneView>, Fault> {
        if self.kinds.is_empty() || self.look.limit == 0 {
            return Ok(Vec::new());
        }
        let kinds = self.kinds.iter().map(|kind| kind.0);
        let mut sql = self.steps(tx);
        sql.push("select h.lane, t.grp, t.usr, h.status, h.rank_no, h.ready_at from ");
        sql.push(match self.look.by_rank {
            true => "l ",
            false => "k l ",
        });
        let of_rank = match self.look.by_rank {
            true => "r.lane = l.lane and r.rank_no = l.rank_no and ",
            false => "r.lane = l.lane and ",
        };
        if tx.dialect.capabilities.lateral {
            // The limits keep it from joining in another order, which is as good where it was planned on tables that
            // were empty then.
            sql.push(
                "cross join lateral (select r.lane, r.id, r.status, r.rank_no, r.ready_at from ~ready r where ",
            );
            sql.push(of_rank).ints("r.kind", kinds).push(FIRST).push(
                "h cross join lateral (select t.grp, t.usr from ~task t where t.id = h.id limit 1) t ",
            );
        } else {
            sql.push("join ~ready h on h.id = (select r.id from ~ready r where ");
            sql.push(of_rank)
                .ints("r.kind", kinds)
                .push(FIRST)
                .push("join ~task t on t.id = h.id ");
        }
        // Not by h.lane: there is an index in that order, over all that is ready.
        sql.push(match self.look.by_rank {
            true => "where l.rank_no is not null order by l.lane, l.rank_no limit ",
            false => "where l.lane is not null order by l.lane limit ",
        });
        sql.bind(self.look.limit);
        let mut rows = tx.fetch(sql).await?;
        Ok(rows
            .rows()
            .filter_map(|mut row| readable("the first task of a lane", view(&mut row)))
            .collect())
    }
}

impl Lanes {
    /// Begins a statement on `k`, the lanes behind the one that it begins at, or on `l`, their ranks.
    fn steps(&self, tx: &Tx<'_>) -> Sql {
        if tx.database() == Database::MySql {
            // Its optimizer steps through the index by itself here, and not in the other form, where it walks
            // through all entries once for each lane.
            let mut sql = tx.sql(match self.look.by_rank {
                true => "with l(lane, rank_no) as (select distinct lane, rank_no from ~ready",
                false => "with k(lane) as (select distinct lane from ~ready",
            });
            push_behind(&mut sql, self.look.after);
            sql.push(") ");
            return sql;
        }
        let mut sql = step_through_lanes(tx, self.look.after);
        if self.look.by_rank {
            sql.push(
                ", l(lane, rank_no) as (\
                 select k.lane, (select min(r.rank_no) from ~ready r where r.lane = k.lane) from k where k.lane is not null \
                 union all \
                 select l.lane, (select min(r.rank_no) from ~ready r where r.lane = l.lane and r.rank_no > l.rank_no) \
                 from l where l.rank_no is not null) ",
            );
        }
        sql
    }
}

/// Begins a statement on `k`, the lanes behind this one and after them a null: one step of the index for each. Not for MariaDB.
pub(super) fn step_through_lanes(tx: &Tx<'_>, after: Option<LaneId>) -> Sql {
    let mut sql = tx.sql("with recursive k(lane) as (");
    // PostgreSQL has no min() of uuids.
    let is_postgres = tx.database() == Database::Postgres;
    sql.push(match is_postgres {
        true => "(select lane from ~ready",
        false => "select min(lane) from ~ready",
    });
    push_behind(&mut sql, after);
    sql.push(match is_postgres {
        true => {
            " order by lane limit 1) union all select \
             (select r.lane from ~ready r where r.lane > k.lane order by r.lane limit 1)"
        }
        false => " union all select (select min(r.lane) from ~ready r where r.lane > k.lane)",
    });
    sql.push(" from k where k.lane is not null) ");
    sql
}

fn push_behind(sql: &mut Sql, after: Option<LaneId>) {
    if let Some(after) = after {
        sql.push(" where lane > ").bind(after);
    }
}

/// What runs on other nodes, by lane: all running rows are read, of which there are as many as there are slots and credits.
pub(crate) struct RunningElsewhere {
    pub node: NodeId,
}

impl Operation for RunningElsewhere {
    const NAME: &'static str = "look at what runs elsewhere";
    type Answer = Vec<RunningIn>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<RunningIn>, Fault> {
        let any = match tx.database() {
            // It has no min() of uuids.
            Database::Postgres => "(array_agg(r.id))[1]",
            Database::Sqlite | Database::MySql => "min(r.id)",
        };
        let mut sql = tx.sql("select x.lane, t.grp, t.usr, x.tasks from (select r.lane, ");
        sql.push(any)
            .push(" as id, count(*) as tasks from ")
            .held()
            .push(" where r.node <> ")
            .bind(self.node)
            .push(" and r.status in (");
        let runs = Status::ALL.into_iter();
        let runs = runs.filter(|status| status.is_held() && status.work() == Work::Run);
        sql.numbers(runs.map(Status::code))
            .push(") group by r.lane) x ");
        sql.push(match tx.dialect.capabilities.lateral {
            true => {
                "cross join lateral (select t.grp, t.usr from ~task t where t.id = x.id limit 1) t"
            }
            false => "join ~task t on t.id = x.id",
        });
        let mut rows = tx.fetch(sql).await?;
        let read = |mut row: Row<'_>| readable("what runs in a lane", running_in(&mut row));
        Ok(rows.rows().filter_map(read).collect())
    }
}

fn running_in(row: &mut Row<'_>) -> Result<RunningIn, Fault> {
    Ok(RunningIn {
        lane: LaneId(row.id()?),
        group: row.name("group")?,
        user: row.name("user")?,
        tasks: usize::try_from(row.int()?).unwrap_or_default(),
    })
}

/// The first tasks of lanes that are known, within the ranges in which they are still to be claimed.
pub(crate) struct Heads {
    pub kinds: Vec<KindKey>,
    pub reaches: Vec<Reach>,
}

/// Ranges that one statement looks into where each has to be written out.
const RANGES_MAX: usize = 16;

impl Operation for Heads {
    const NAME: &'static str = "look at known lanes";
    type Answer = Vec<LaneView>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<LaneView>, Fault> {
        let mut heads: BTreeMap<LaneId, LaneView> = BTreeMap::new();
        if self.kinds.is_empty() {
            return Ok(Vec::new());
        }
        let at_once = match tx.dialect.capabilities.lateral {
            true => self.reaches.len().max(1),
            false => RANGES_MAX,
        };
        for reaches in self.reaches.chunks(at_once) {
            let sql = match tx.dialect.capabilities.lateral {
                true => self.by_join(tx, reaches),
                false => self.one_by_one(tx, reaches),
            };
            let mut rows = tx.fetch(sql).await?;
            for mut row in rows.rows() {
                let head = readable("the first task of a range", view(&mut row));
                // Of a lane the first range with something in it counts: they are in order, and the smaller rank is in the earlier.
                if let Some(head) = head {
                    let known = heads.entry(head.lane).or_insert_with(|| head.clone());
                    if (head.rank, head.since) < (known.rank, known.since) {
                        *known = head;
                    }
                }
            }
        }
        Ok(heads.into_values().collect())
    }
}

impl Heads {
    fn by_join(&self, tx: &Tx<'_>, reaches: &[Reach]) -> Sql {
        let mut sql =
            tx.sql("select h.lane, t.grp, t.usr, h.status, h.rank_no, h.ready_at from unnest(");
        sql.bind(Value::ids(reaches.iter().map(|reach| reach.lane.0)))
            .push("::uuid[], ");
        sql.bind(Value::ints(reaches.iter().map(|reach| reach.rank.0.into())))
            .push("::bigint[], ");
        sql.bind(Value::ints(reaches.iter().map(|reach| reach.since.0)))
            .push("::bigint[], ");
        sql.bind(Value::ints(
            reaches.iter().map(|reach| reach.until.0.into()),
        ));
        sql.push(
            "::bigint[]) b(lane, rank_no, since, until) cross join lateral (\
             select r.lane, r.id, r.status, r.rank_no, r.ready_at from ~ready r where r.lane = b.lane \
             and (r.rank_no, r.ready_at) >= (b.rank_no, b.since) and r.rank_no < b.until and ",
        );
        sql.ints("r.kind", self.kinds.iter().map(|kind| kind.0)).push(FIRST).push(
            "h cross join lateral (select t.grp, t.usr from ~task t where t.id = h.id limit 1) t",
        );
        sql
    }

    fn one_by_one(&self, tx: &Tx<'_>, reaches: &[Reach]) -> Sql {
        let mut sql = tx.sql("");
        for (i, reach) in reaches.iter().enumerate() {
            sql.push(if i > 0 { " union all " } else { "" });
            sql.push(
                "select h.lane, t.grp, t.usr, h.status, h.rank_no, h.ready_at from (\
                      select r.lane, r.id, r.status, r.rank_no, r.ready_at from ~ready r where ",
            );
            sql.within(*reach)
                .push(" and ")
                .ints("r.kind", self.kinds.iter().map(|kind| kind.0));
            sql.push(FIRST).push("h join ~task t on t.id = h.id");
        }
        sql
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
