//! Claiming tasks that were named: the part of a [claim under limits](super::claim_within) that finds them.

use super::claim::READY;
use super::claim_within::TakeWithin;
use crate::sql::fault::Fault;
use crate::sql::rows::{Placed, by_id, read, readable, select};
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use peerwork_core::{LaneId, Place, Rooms, TaskId};
use std::collections::HashMap;

impl TakeWithin {
    /// Those of the tasks that are claimable and for which there is room, in this order, locked.
    pub(super) async fn find_these(
        &self,
        tx: &mut Tx<'_>,
        these: &[(TaskId, LaneId)],
        rooms: &mut Rooms,
        found: &mut Vec<Placed>,
    ) -> Result<(), Fault> {
        let mut ids: Vec<_> = these.iter().map(|(id, _)| id.0).collect();
        ids.sort_unstable();
        let mut sql = select(tx, Place::Ready);
        sql.push(" r")
            .push_on(Database::MySql, by_id(Place::Ready))
            .push(" where ")
            .ids("r.id", ids)
            .push(" and ")
            .ints("r.kind", self.claim.kinds.iter().map(|kind| kind.0))
            .for_update_skip_locked();
        let mut rows = tx.fetch(sql).await?;
        let rows = rows.rows();
        let rows = rows.filter_map(|mut row| readable(READY, read(tx, Place::Ready, &mut row)));
        let mut there: HashMap<TaskId, Placed> = rows.map(|row| (row.id, row)).collect();
        for (id, lane) in these {
            let Some(row) = there.remove(id) else {
                continue;
            };
            // In another lane it counts under limits of which this claim has taken no turn.
            let is_there = row.lane.of(row.task.status.work()) == *lane;
            let keys = self.bounds.keys(*lane, row.kind);
            if is_there && rooms.left(&keys) > 0 {
                rooms.take(&keys, 1);
                found.push(row);
            }
        }
        Ok(())
    }
}
