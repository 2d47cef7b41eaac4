//! What there is around a task that may keep it from running.
//!
//! Each part is bounded: what is ahead in line is counted to a bound, what runs is counted in indexes, and there are only so many nodes.

use super::lanes::step_through_lanes;
use crate::explain::facts_of;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::limits::{Limit, count, counted, parse};
use crate::sql::ops::read::records;
use crate::sql::rows::readable;
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::Row;
use peerwork_core::explain::{
    AHEAD_MAX, Children, Count, Facts, LANES_MAX, Line, NodeFacts, ScopeFacts,
};
use peerwork_core::{
    KindKey, LaneId, NodeId, Place, Rank, Scope, ScopeKey, Setting, Status, TaskId, Work,
};
use std::collections::{BTreeSet, HashMap};

pub(crate) struct Explain {
    pub id: TaskId,
}

impl Operation for Explain {
    const NAME: &'static str = "explain a task";
    type Answer = Option<Facts>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Facts>, Fault> {
        let now = tx.now().await?;
        let Some(record) = records(tx, vec![self.id.0]).await?.remove(&self.id) else {
            return Ok(None);
        };
        let rank = Rank::new(record.task.status, record.priority);
        let mut facts = facts_of(record, now);
        let status = facts.task.status;
        match status.place() {
            Place::Done => return Ok(Some(facts)),
            Place::Running => {
                facts.nodes = nodes(tx, Which::Holder(facts.node)).await?;
                return Ok(Some(facts));
            }
            Place::Ready => facts.line = Some(line(tx, &facts, rank).await?),
            Place::Parked if status == Status::Waiting => {
                facts.children = children(tx, self.id).await?;
            }
            Place::Parked => {}
        }
        facts.nodes = nodes(tx, Which::Alive).await?;
        facts.kinds = kinds(tx, &facts.nodes).await?;
        if status.work() == Work::Run {
            facts.scopes = scopes(tx, &facts).await?;
        }
        let sql = tx.sql("select policy from ~config where id = 1");
        if let Some(mut row) = tx.fetch(sql).await?.first() {
            facts.policy = row.opt_text()?;
        }
        Ok(Some(facts))
    }
}

/// The place in line, in one statement: the tasks of smaller rank, those of the same rank that were ready before, and those of the same
/// time with smaller ids are three ranges of one index.
async fn line(tx: &mut Tx<'_>, facts: &Facts, rank: Rank) -> Result<Line, Fault> {
    let mut sql = match tx.database() {
        Database::Sqlite | Database::Postgres => step_through_lanes(tx, None),
        // Its optimizer steps through the index by itself, or walks along it, and stops at the limit; where it was not told which
        // index, it would rather read all of a table of which it wants a part.
        Database::MySql => {
            let mut sql = tx.sql(
                "with k(lane) as (select lane from ~ready force index (primary) group by lane limit ",
            );
            sql.bind(LANES_MAX + 1).push(") ");
            sql
        }
    };
    sql.push("select (select count(*) from (select lane from k where lane is not null limit ")
        .bind(LANES_MAX + 1)
        .push(") n)");
    let (at, lane) = (facts.task.ready_at, facts.lane());
    for part in 0..3 {
        sql.push(", (select count(*) from (select 1 from ~ready r")
            .push_on(Database::MySql, " force index (primary)")
            .push(" where r.lane = ")
            .bind(lane);
        match part {
            0 => sql.push(" and r.rank_no < ").bind(rank),
            1 => {
                sql.push(" and r.rank_no = ").bind(rank);
                sql.push(" and r.ready_at < ").bind(at)
            }
            _ => {
                sql.push(" and r.rank_no = ").bind(rank);
                sql.push(" and r.ready_at = ").bind(at);
                sql.push(" and r.id < ").bind(facts.id)
            }
        };
        sql.push(" limit ").bind(AHEAD_MAX + 1).push(") a)");
    }
    let mut rows = tx.fetch(sql).await?;
    let mut row = rows
        .first()
        .ok_or_else(|| Fault::broken("counts have no row"))?;
    let lanes = unsigned(&mut row)?;
    let ahead = unsigned(&mut row)? + unsigned(&mut row)? + unsigned(&mut row)?;
    Ok(Line {
        ahead: Count::up_to(ahead, AHEAD_MAX),
        lanes: Count::up_to(lanes, LANES_MAX),
    })
}

async fn children(tx: &mut Tx<'_>, id: TaskId) -> Result<Option<Children>, Fault> {
    let mut sql = tx.sql(
        "select p.awaited, (select count(*) from ~inbox i where i.task_id = p.id) from ~parked p where p.id = ",
    );
    sql.bind(id);
    let mut rows = tx.fetch(sql).await?;
    let Some(mut row) = rows.first() else {
        return Ok(None);
    };
    let (of, over) = (row.count()?, row.count()?);
    Ok((of > 0).then_some(Children { over, of }))
}

enum Which {
    Alive,
    Holder(Option<NodeId>),
}

async fn nodes(tx: &mut Tx<'_>, which: Which) -> Result<Vec<NodeFacts>, Fault> {
    let mut sql = tx.sql(
        "select n.id, n.label, n.lease_until, n.alive, n.slots, n.kinds, (select count(*) from ",
    );
    sql.held()
        .push_on(Database::MySql, " force index (~running_node)")
        .push(" where r.node = n.id and r.status in (")
        .numbers(counted())
        .push(")) from ~node n where ");
    match which {
        Which::Alive => sql.push("n.alive = 1"),
        Which::Holder(node) => sql.push("n.id = ").bind(node),
    };
    let mut rows = tx.fetch(sql).await?;
    let mut nodes: Vec<_> = rows
        .rows()
        .map(|mut row| node_facts(&mut row))
        .collect::<Result<_, Fault>>()?;
    nodes.sort_unstable_by_key(|node| node.id);
    Ok(nodes)
}

fn node_facts(row: &mut Row<'_>) -> Result<NodeFacts, Fault> {
    Ok(NodeFacts {
        id: NodeId(row.id()?),
        label: row.text()?,
        lease_until: row.time()?,
        alive: row.flag()?,
        slots: row.count()?,
        // What cannot be read, of a later version say, is not known.
        kinds: row
            .opt_text()?
            .and_then(|text| readable("a node's kinds", parse_kinds(&text))),
        running: unsigned(row)?,
    })
}

/// Kinds as a node's row holds them.
pub(crate) fn kinds_text(kinds: &[KindKey]) -> String {
    let keys: Vec<i64> = kinds.iter().map(|kind| kind.0).collect();
    serde_json::to_string(&keys).expect("keys are numbers")
}

fn parse_kinds(text: &str) -> Result<Vec<KindKey>, Fault> {
    let keys: Vec<i64> = serde_json::from_str(text)
        .map_err(|error| Fault::broken(format!("the kinds of a node: {error}")))?;
    Ok(keys.into_iter().map(KindKey).collect())
}

/// The names of the kinds that these nodes have.
async fn kinds(
    tx: &mut Tx<'_>,
    nodes: &[NodeFacts],
) -> Result<Vec<(KindKey, peerwork_core::Name)>, Fault> {
    let of_nodes = nodes.iter().flat_map(|node| node.kinds.iter().flatten());
    let keys: BTreeSet<i64> = of_nodes.map(|kind| kind.0).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = tx.sql("select id, name from ~kind where ");
    sql.ints("id", keys);
    let mut rows = tx.fetch(sql).await?;
    let read = |mut row: Row<'_>| Ok((KindKey(row.int()?), row.name("kind")?));
    let mut kinds: Vec<_> = rows.rows().map(read).collect::<Result<_, Fault>>()?;
    kinds.sort_unstable();
    Ok(kinds)
}

/// What is set for the scopes of a task, and how much runs under it.
async fn scopes(tx: &mut Tx<'_>, facts: &Facts) -> Result<Vec<ScopeFacts>, Fault> {
    let scopes = Facts::scopes_of(&facts.group, &facts.user, &facts.kind);
    let mut sql = tx.sql("select id, spec, full_at from ~setting");
    sql.push_on(Database::MySql, " force index (primary)")
        .push(" where ")
        .ints("id", scopes.iter().map(|scope| scope.key().0));
    let mut limits = HashMap::new();
    for mut row in tx.fetch(sql).await?.rows() {
        let key = ScopeKey(row.int()?);
        let (spec, full_at) = (row.text()?, row.time()?);
        let Some(scope) = scopes.iter().find(|scope| scope.key() == key) else {
            continue;
        };
        // As nodes take it: one that cannot be read is a closed gate.
        let setting = readable("a setting", parse(&spec)).unwrap_or_else(Setting::unreadable);
        let sort = scope.sort();
        limits.insert(
            key,
            Limit {
                sort,
                setting,
                full_at,
            },
        );
    }
    let running = count(tx, &limits).await?;
    let mut known = Vec::new();
    for scope in scopes {
        let Some(limit) = limits.remove(&scope.key()) else {
            continue;
        };
        let running_on = match limit.setting.max_running_per_node {
            Some(_) => running_on(tx, facts, &scope).await?,
            None => Vec::new(),
        };
        known.push(ScopeFacts {
            running: running.get(&scope.key()).copied().unwrap_or(0),
            running_on,
            scope,
            setting: limit.setting,
            full_at: limit.full_at,
        });
    }
    Ok(known)
}

/// How many tasks of a scope run on each node that has some: of all that these nodes run, since nothing else is kept of limits for each
/// node.
async fn running_on(
    tx: &mut Tx<'_>,
    facts: &Facts,
    scope: &Scope,
) -> Result<Vec<(NodeId, u64)>, Fault> {
    let nodes: Vec<_> = facts.nodes.iter().map(|node| node.id.0).collect();
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = tx.sql("select r.node, count(*) from ");
    sql.held()
        .push_on(Database::MySql, " force index (~running_node)")
        .push(" where ")
        .ids("r.node", nodes)
        .push(" and r.status in (")
        .numbers(counted())
        .push(")");
    match scope {
        Scope::Everything => {}
        Scope::Kind(kind) => {
            sql.push(" and r.kind = ").bind(KindKey::new(kind));
        }
        Scope::UserIn { group, user } => {
            sql.push(" and r.lane = ").bind(LaneId::new(group, user));
        }
        Scope::Group(name) => {
            sql.push(" and (select 1 from ~task t where t.id = r.id and t.grp = ")
                .bind(name)
                .push(" limit 1) is not null");
        }
        Scope::User(name) => {
            sql.push(" and (select 1 from ~task t where t.id = r.id and t.usr = ")
                .bind(name)
                .push(" limit 1) is not null");
        }
    }
    sql.push(" group by r.node");
    let mut rows = tx.fetch(sql).await?;
    let read = |mut row: Row<'_>| Ok((NodeId(row.id()?), unsigned(&mut row)?));
    let mut running: Vec<_> = rows.rows().map(read).collect::<Result<_, Fault>>()?;
    running.sort_unstable();
    Ok(running)
}

fn unsigned(row: &mut Row<'_>) -> Result<u64, Fault> {
    Ok(u64::try_from(row.int()?).unwrap_or_default())
}
