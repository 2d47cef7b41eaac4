//! Locks tasks' rows, wherever they are.

use super::batch;
use super::fault::Fault;
use super::rows::{PLACES, Placed, TaskRow, by_id, read, read_tasks, select};
use super::settings::Database;
use super::tx::Tx;
use peerwork_core::{KindKey, Place, TaskId};
use std::collections::{HashMap, HashSet};

/// Locks the rows of what runs among `ids`. Those that are [held in a batch](batch) have rows of their own from then on.
pub(crate) async fn lock_running(
    tx: &mut Tx<'_>,
    ids: impl IntoIterator<Item = TaskId>,
) -> Result<Vec<Placed>, Fault> {
    let ids: Vec<TaskId> = ids.into_iter().collect();
    let mut locked = lock_rows(tx, Place::Running, &ids).await?;
    let missing = without(ids, &locked);
    if !missing.is_empty() && batch::are_kept(tx) {
        batch::unfold_with(tx, &missing).await?;
        // Also where nothing was unfolded here: somebody else may have been faster.
        locked.extend(lock_rows(tx, Place::Running, &missing).await?);
    }
    Ok(locked)
}

/// Those of `ids` that are not among the locked rows.
fn without(ids: Vec<TaskId>, locked: &[Placed]) -> Vec<TaskId> {
    let mut missing: HashSet<TaskId> = ids.into_iter().collect();
    for row in locked {
        missing.remove(&row.id);
    }
    missing.into_iter().collect()
}

async fn lock_rows(tx: &mut Tx<'_>, place: Place, ids: &[TaskId]) -> Result<Vec<Placed>, Fault> {
    let mut sql = select(tx, place);
    sql.push_on(Database::MySql, by_id(place));
    sql.push(" where ")
        .ids("id", ids.iter().map(|id| id.0))
        .push(" order by id")
        .for_update();
    let mut rows = tx.fetch(sql).await?;
    rows.rows()
        .map(|mut row| read(tx, place, &mut row))
        .collect()
}

/// How often rows that moved on while they were looked for are looked for again, within one transaction.
const LOOKS_MAX: usize = 3;

/// Locks the rows of tasks wherever they are, with the task itself.
///
/// The task is read after its row is locked: everything that changes it locks the row first.
pub(crate) async fn lock(
    tx: &mut Tx<'_>,
    ids: &[TaskId],
) -> Result<HashMap<TaskId, (Placed, TaskRow)>, Fault> {
    let mut missing: HashSet<TaskId> = ids.iter().copied().collect();
    let mut placed = HashMap::new();
    let mut tasks = HashMap::new();
    for _ in 0..LOOKS_MAX {
        for place in PLACES {
            if missing.is_empty() {
                break;
            }
            let mut sought: Vec<_> = missing.iter().copied().collect();
            sought.sort_unstable();
            let mut found = lock_rows(tx, place, &sought).await?;
            if place == Place::Running {
                let unheld = without(sought, &found);
                if batch::unfold_with(tx, &unheld).await? > 0 {
                    found.extend(lock_rows(tx, place, &unheld).await?);
                }
            }
            for row in found {
                missing.remove(&row.id);
                placed.insert(row.id, row);
            }
        }
        let unread = ids.iter().filter(|id| !tasks.contains_key(*id)).copied();
        for task in read_tasks(tx, unread).await? {
            tasks.insert(task.id, task);
        }
        // A row that was in no place but has a task moved from a place not yet looked at to one looked at before.
        missing.retain(|id| tasks.contains_key(id));
        if missing.is_empty() {
            let both = placed.into_iter().filter_map(|(id, mut row)| {
                let task = tasks.remove(&id)?;
                if row.place() == Place::Done {
                    row.lane = task.lane;
                    row.kind = KindKey::new(&task.kind);
                    row.priority = task.priority;
                    row.child = task.parent.is_some();
                }
                Some((id, (row, task)))
            });
            return Ok(both.collect());
        }
    }
    Err(Fault::moved())
}
