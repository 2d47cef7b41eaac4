//! What any node may do at any time: promote what is due, wake parents, take tasks from dead nodes, remove tombstones.

use super::failures::{self, Failed};
use super::operations;
use crate::record::death_text;
use crate::sql::batch;
use crate::sql::dialect::Sql;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::lock::lock;
use crate::sql::moves::{self, Move};
use crate::sql::rows::{KindRules, Placed, read, select};
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::{Promoted, Swept};
use peerwork_core::{
    Event, Place, Rules, Status, TOMBSTONE_MS, TaskId, Timestamp, Transition, decide,
};
use std::collections::HashMap;
use uuid::Uuid;

/// Rows of `sql`, at most `limit`; and whether there are more.
async fn first(
    tx: &mut Tx<'_>,
    place: Place,
    sql: Sql,
    limit: usize,
) -> Result<(Vec<Placed>, bool), Fault> {
    let mut rows = tx.fetch(sql).await?;
    let mut found: Vec<Placed> = rows
        .rows()
        .map(|mut row| read(tx, place, &mut row))
        .collect::<Result<_, _>>()?;
    let more = found.len() > limit;
    found.truncate(limit);
    Ok((found, more))
}

pub(crate) struct Promote {
    pub limit: usize,
}

impl Operation for Promote {
    const NAME: &'static str = "promote tasks";
    type Answer = Promoted;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Promoted, Fault> {
        let mut sql = select(tx, Place::Parked);
        sql.push(" where due_at <= ")
            .now()
            .push(" order by due_at limit ")
            .bind(self.limit + 1);
        sql.for_update_skip_locked();
        let (due, more) = first(tx, Place::Parked, sql, self.limit).await?;
        let now = tx.now().await?;
        let mut moves = Vec::with_capacity(due.len());
        for old in due {
            if let Ok(Transition::To(to)) = decide(&old.task, &Rules::default(), Event::Due, now) {
                moves.push(Move::new(old.clone(), old.with(to, now)));
            }
        }
        let tasks = moves.len();
        moves::apply(tx, moves, now).await?;
        Ok(Promoted { tasks, more })
    }
}

pub(crate) struct Sweep {
    pub limit: usize,
}

impl Operation for Sweep {
    const NAME: &'static str = "sweep dead nodes";
    type Answer = Swept;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Swept, Fault> {
        let dead = dead_holders(tx).await?;
        if dead.is_empty() {
            return Ok(Swept::default());
        }
        let more_batches = batch::unfold_of(tx, &dead, self.limit).await?;
        let mut sql = select(tx, Place::Running);
        sql.push(" where ")
            .ids("node", dead)
            .push(" order by node, id limit ")
            .bind(self.limit + 1);
        sql.for_update_skip_locked();
        let (orphans, more) = first(tx, Place::Running, sql, self.limit).await?;
        let rules = KindRules::read(tx, orphans.iter().map(|row| row.kind)).await?;
        let now = tx.now().await?;
        let (mut swept, mut moves, mut failed) = (
            Swept {
                more: more || more_batches,
                ..Swept::default()
            },
            Vec::new(),
            Vec::new(),
        );
        for old in orphans {
            let dead_owner = Event::DeadOwner {
                on_trial: old.on_trial,
            };
            if let Ok(Transition::To(to)) = decide(&old.task, &rules.of(old.kind), dead_owner, now)
            {
                if matches!(to.status, Status::Failed | Status::CleanupFailed) {
                    failed.push(Failed {
                        id: old.id,
                        attempt: old.task.attempt,
                        error: death_text(&to),
                    });
                }
                swept.tasks.push((old.id, to.status));
                moves.push(Move::new(old.clone(), old.with(to, now)));
            }
        }
        failures::record(tx, failed, now).await?;
        moves::apply(tx, moves, now).await?;
        Ok(swept)
    }
}

/// The nodes that hold tasks and are not alive: one step of an index for each holder.
///
/// A node that is dead stays dead, so what is read here without a lock cannot become wrong.
async fn dead_holders(tx: &mut Tx<'_>) -> Result<Vec<Uuid>, Fault> {
    let holders = match tx.database() {
        Database::Postgres => {
            "with recursive h(node) as ((select node from ~running order by node limit 1) union all \
             select (select r.node from ~running r where r.node > h.node order by r.node limit 1) \
             from h where h.node is not null)"
        }
        Database::Sqlite => {
            "with recursive h(node) as (select min(node) from ~running union all \
             select (select min(r.node) from ~running r where r.node > h.node) from h where h.node is not null)"
        }
        // Its optimizer steps through the index by itself.
        Database::MySql => "with h(node) as (select distinct node from ~running)",
    };
    let mut sql = tx.sql(holders);
    sql.push(
        " select h.node from h where h.node is not null \
         and not exists (select 1 from ~node n where n.id = h.node and n.alive = 1)",
    )
    .push_on(
        Database::Postgres,
        " union select b.node from ~batch b where (select n.alive from ~node n where n.id = b.node) is distinct from 1",
    );
    let mut rows = tx.fetch(sql).await?;
    rows.rows().map(|mut row| row.id()).collect()
}

pub(crate) struct Wake {
    pub limit: usize,
}

impl Operation for Wake {
    const NAME: &'static str = "wake parents";
    type Answer = usize;

    /// A child that ends does not lock its parent, so the order matters: first what there is is marked as seen,
    /// then it is counted. What arrives in between is counted or stays unseen, or both; a wake-up is never lost.
    async fn run(&self, tx: &mut Tx<'_>) -> Result<usize, Fault> {
        let mut sql =
            tx.sql("select distinct task_id from ~inbox where seen = 0 order by task_id limit ");
        sql.bind(self.limit);
        let mut rows = tx.fetch(sql).await?;
        let parents: Vec<TaskId> = rows
            .rows()
            .map(|mut row| row.id().map(TaskId))
            .collect::<Result<_, _>>()?;
        if parents.is_empty() {
            return Ok(0);
        }
        let locked = lock(tx, &parents).await?;
        self.forget_strangers(tx, &parents, &locked).await?;
        let ids = || parents.iter().map(|id| id.0);
        let mut sql = tx.sql("update ~inbox set seen = 1 where seen = 0 and ");
        sql.ids("task_id", ids());
        tx.execute(sql).await?;
        let mut sql = tx.sql("select task_id, count(*) from ~inbox where ");
        sql.ids("task_id", ids()).push(" group by task_id");
        let mut over = HashMap::new();
        for mut row in tx.fetch(sql).await?.rows() {
            over.insert(TaskId(row.id()?), row.int()?);
        }
        let now = tx.now().await?;
        let is_woken = |row: &Placed| {
            row.task.status == Status::Waiting
                && row.awaited > 0
                && over
                    .get(&row.id)
                    .is_some_and(|over| *over >= i64::from(row.awaited))
        };
        let mut moves = Vec::new();
        for (old, _) in locked.into_values().filter(|(row, _)| is_woken(row)) {
            if let Ok(Transition::To(to)) = decide(&old.task, &Rules::default(), Event::Woken, now)
            {
                moves.push(Move::new(old.clone(), old.with(to, now)));
            }
        }
        moves.sort_by_key(|m| m.old.id);
        let woken = moves.len();
        moves::apply(tx, moves, now).await?;
        Ok(woken)
    }
}

impl Wake {
    /// Rows for parents that never were or are long gone would be looked at for ever.
    async fn forget_strangers<T>(
        &self,
        tx: &mut Tx<'_>,
        parents: &[TaskId],
        known: &HashMap<TaskId, T>,
    ) -> Result<(), Fault> {
        let strangers: Vec<Uuid> = parents
            .iter()
            .filter(|id| !known.contains_key(id))
            .map(|id| id.0)
            .collect();
        if strangers.is_empty() {
            return Ok(());
        }
        let mut sql = tx.sql("delete from ~inbox where ");
        sql.ids("task_id", strangers);
        tx.execute(sql).await?;
        Ok(())
    }
}

pub(crate) struct Prune {
    pub limit: usize,
}

impl Operation for Prune {
    const NAME: &'static str = "prune tombstones";
    type Answer = usize;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<usize, Fault> {
        let before = tx.now().await?.minus_ms(TOMBSTONE_MS);
        let mut sql = tx.sql("delete from ~node where alive = 0 and died_at <= ");
        sql.bind(before)
            .push(" and not exists (select 1 from ~running r where r.node = ~node.id)")
            .push_on(
                Database::Postgres,
                " and not exists (select 1 from ~batch b where b.node = ~node.id)",
            );
        tx.execute(sql).await?;
        let operations = operations::prune(tx, before, self.limit).await?;
        let tombs = self.tombs(tx, before).await?;
        if tombs.is_empty() {
            return Ok(operations);
        }
        for (sql, column) in [
            ("delete from ~done where ", "id"),
            ("delete from ~task where ", "id"),
            ("delete from ~inbox where ", "task_id"),
        ] {
            let mut sql = tx.sql(sql);
            sql.ids(column, tombs.iter().copied());
            tx.execute(sql).await?;
        }
        Ok(tombs.len().max(operations))
    }
}

impl Prune {
    async fn tombs(&self, tx: &mut Tx<'_>, before: Timestamp) -> Result<Vec<Uuid>, Fault> {
        let now = tx.now().await?;
        let mut sql = select(tx, Place::Done);
        sql.push(" where status = ")
            .number(Status::Deleted.code())
            .push(" and finished_at <= ")
            .bind(before);
        sql.push(" order by finished_at limit ")
            .bind(self.limit)
            .for_update_skip_locked();
        let mut rows = tx.fetch(sql).await?;
        let mut tombs = Vec::new();
        for mut row in rows.rows() {
            let placed = read(tx, Place::Done, &mut row)?;
            if decide(&placed.task, &Rules::default(), Event::Prune, now) == Ok(Transition::Erase) {
                tombs.push(placed.id.0);
            }
        }
        Ok(tombs)
    }
}
