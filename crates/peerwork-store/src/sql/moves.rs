//! Writes what was decided: moves of rows between the four places, set by set, with everything that goes with them.
//!
//! The only code that moves a task, but for those that write its row from the old one: a claim and a
//! [finish](super::ops::finish). It relies on its callers having locked the old rows; that as many rows are
//! gone as were decided about is checked all the same, and where they are not, the transaction starts again.

use super::dialect::ID_HEX;
use super::fault::Fault;
use super::rows::{PLACES, Placed, by_id, table};
use super::settings::Database;
use super::tx::{Bulk, OnDuplicate, Tx};
use super::value::ids_json;
use peerwork_core::{LaneId, Place, Status, TaskId, Timestamp};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A task's row as it was read under a lock, and as it was decided.
pub(crate) struct Move {
    pub old: Placed,
    pub new: Placed,
    /// What its handler returned; kept in `done` only.
    pub output: Option<Vec<u8>>,
    /// It starts from the beginning: checkpoint and failures go.
    pub starts_anew: bool,
}

impl Move {
    pub(crate) fn new(old: Placed, new: Placed) -> Self {
        Self {
            old,
            new,
            output: None,
            starts_anew: false,
        }
    }

    /// Whether its row stays where it is: a held task that is told something.
    fn is_in_place(&self) -> bool {
        self.old.place() == Place::Running && self.new.place() == Place::Running
    }
}

/// Writes `moves`, of different tasks.
pub(crate) async fn apply(tx: &mut Tx<'_>, moves: Vec<Move>, now: Timestamp) -> Result<(), Fault> {
    if moves.is_empty() {
        return Ok(());
    }
    let effects = Effects::of(&moves);
    for place in PLACES {
        let leaves = moves
            .iter()
            .filter(|m| m.old.place() == place && !m.is_in_place());
        delete(tx, place, leaves.map(|m| m.old.id.0).collect()).await?;
    }
    update_running(tx, moves.iter().filter(|m| m.is_in_place())).await?;
    let mut bulks = PLACES.map(|place| Bulk::new(table(place), moves.len()));
    for m in moves.into_iter().filter(|m| !m.is_in_place()) {
        m.new
            .insert_into(&mut bulks[m.new.place() as usize], m.output);
    }
    for bulk in bulks {
        tx.insert(bulk, OnDuplicate::Fail).await?;
    }
    effects.write(tx, now).await
}

/// Deletes rows that are locked.
pub(crate) async fn delete(tx: &mut Tx<'_>, place: Place, mut ids: Vec<Uuid>) -> Result<(), Fault> {
    if ids.is_empty() {
        return Ok(());
    }
    ids.sort_unstable();
    let expected = ids.len();
    let name = table(place).name;
    let mut sql = tx.sql("delete ");
    if tx.database() == Database::MySql {
        // Where the table is small its optimizer would read and lock all of it, whatever index it is told to use: then
        // a node that stands still in the middle of a transaction would be in everybody's way. A row for each id of a
        // list, which is made first, leaves it no choice.
        sql.push("r from ")
            .json_rows("v", &[("id", ID_HEX)], ids_json(&ids))
            .push(" straight_join ~")
            .push(name)
            .push(" as r")
            .push(by_id(place))
            .push(" on r.id = unhex(v.id)");
    } else {
        sql.push("from ~").push(name).push(" where ").ids("id", ids);
    }
    tx.execute_exactly(sql, expected).await
}

async fn update_running(tx: &mut Tx<'_>, moves: impl Iterator<Item = &Move>) -> Result<(), Fault> {
    let mut groups: BTreeMap<(Status, LaneId, i16), Vec<Uuid>> = BTreeMap::new();
    for m in moves {
        let facts = (m.new.task.status, m.new.lane, m.new.priority);
        groups.entry(facts).or_default().push(m.old.id.0);
    }
    for ((status, lane, priority), ids) in groups {
        let expected = ids.len();
        let mut sql = tx.sql("update ~running");
        sql.push_on(Database::MySql, by_id(Place::Running));
        sql.push(" set status = ")
            .bind(status)
            .push(", lane = ")
            .bind(lane)
            .push(", priority = ")
            .bind(priority);
        sql.push(" where ").ids("id", ids);
        tx.execute_exactly(sql, expected).await?;
    }
    Ok(())
}

/// What goes with moves outside of the four places.
#[derive(Default)]
struct Effects {
    /// Their traces go; a tombstone stays.
    deleted: Vec<Uuid>,
    starts_anew: Vec<Uuid>,
    /// Children that are over.
    over: Vec<Uuid>,
    /// They wait for children.
    waiting: Vec<Uuid>,
}

impl Effects {
    fn of(moves: &[Move]) -> Self {
        let mut effects = Self::default();
        for m in moves {
            let TaskId(id) = m.new.id;
            if m.new.task.status == Status::Deleted {
                effects.deleted.push(id);
            }
            if m.starts_anew {
                effects.starts_anew.push(id);
            }
            if m.new.place() == Place::Done && m.new.child {
                effects.over.push(id);
            }
            if m.new.task.status == Status::Waiting && m.new.awaited > 0 {
                effects.waiting.push(id);
            }
        }
        effects
    }

    async fn write(self, tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Fault> {
        let cleared: Vec<Uuid> = self
            .deleted
            .iter()
            .chain(&self.starts_anew)
            .copied()
            .collect();
        if !cleared.is_empty() {
            for sql in [
                "delete from ~checkpoint where ",
                "delete from ~failure where ",
            ] {
                let mut sql = tx.sql(sql);
                sql.ids("task_id", cleared.iter().copied());
                tx.execute(sql).await?;
            }
        }
        if !self.deleted.is_empty() {
            let mut sql = tx.sql("delete from ~inbox where ");
            sql.ids("task_id", self.deleted.iter().copied());
            tx.execute(sql).await?;
            let mut sql = tx.sql("update ~task set input = null where ");
            sql.ids("id", self.deleted);
            tx.execute(sql).await?;
        }
        if !self.over.is_empty() {
            let mut sql = tx
                .sql("insert into ~inbox (task_id, source, arrived_at, seen) select parent, id, ");
            sql.bind(now)
                .push_on(Database::Postgres, "::bigint")
                .push(", 0 from ~task where ")
                .ids("id", self.over);
            sql.push(" and parent is not null");
            sql.push(match tx.database() {
                Database::Sqlite | Database::Postgres => " on conflict do nothing",
                Database::MySql => " on duplicate key update task_id = ~inbox.task_id",
            });
            tx.execute(sql).await?;
        }
        if !self.waiting.is_empty() {
            // What arrived before it waited is looked at again; without this a wake-up would be lost.
            let mut sql = tx.sql("update ~inbox set seen = 0 where seen = 1 and ");
            sql.ids("task_id", self.waiting);
            tx.execute(sql).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerwork_core::{KindKey, Task};

    fn at(status: Status, child: bool) -> Placed {
        let task = Task {
            status,
            ..Task::new(true, None, Timestamp(5))
        };
        Placed::new(
            TaskId(Uuid::from_u128(1)),
            task,
            LaneId(Uuid::from_u128(2)),
            KindKey(3),
            0,
            child,
        )
    }

    #[test]
    fn a_move_knows_what_goes_with_it() {
        let effects = |from, to, child| Effects::of(&[Move::new(at(from, child), at(to, child))]);
        let deleted = effects(Status::Cleaning, Status::Deleted, true);
        assert_eq!((deleted.deleted.len(), deleted.over.len()), (1, 1));
        let finished = effects(Status::Running, Status::Finished, false);
        assert!(finished.deleted.is_empty() && finished.over.is_empty());
        assert_eq!(effects(Status::Running, Status::Failed, true).over.len(), 1);
        assert!(
            effects(Status::Running, Status::Scheduled, true)
                .over
                .is_empty()
        );
    }

    #[test]
    fn places_are_numbered_in_the_order_of_their_locks() {
        for (i, place) in PLACES.into_iter().enumerate() {
            assert_eq!(place as usize, i);
        }
    }
}
