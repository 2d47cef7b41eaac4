//! What is claimable in the reference store, as queues outside are told of it.

use super::data::Data;
use crate::{Offer, Sought};
use peerwork_core::{Place, Rank, Reach, TaskId};
use std::collections::BTreeSet;
use std::ops::Bound;

impl Data {
    pub fn offers(&self, sought: Sought, limit: usize) -> Vec<Offer> {
        let ready = &self.table.ready;
        let ids: Vec<TaskId> = match sought {
            Sought::After(None) => ready.iter().map(|entry| entry.3).take(limit).collect(),
            Sought::After(Some(spot)) => {
                let spot = (spot.lane, spot.rank, spot.since, spot.task);
                let behind = ready.range((Bound::Excluded(spot), Bound::Unbounded));
                behind.map(|entry| entry.3).take(limit).collect()
            }
            Sought::First { lanes, kinds } => {
                let lanes: BTreeSet<_> = lanes.into_iter().take(limit).collect();
                let each = limit / lanes.len().max(1);
                let first = |lane| {
                    let ids = self.table.within(Reach::all_of(lane));
                    ids.filter(|id| self.is_one_of(&kinds, id)).take(each)
                };
                lanes.into_iter().flat_map(first).collect()
            }
            Sought::These(ids) => ids.into_iter().take(limit).collect(),
        };
        let mut seen = BTreeSet::new();
        let distinct = ids.into_iter().filter(|id| seen.insert(*id));
        distinct.filter_map(|id| self.ready(id)).collect()
    }

    /// A task, if it is claimable.
    pub fn ready(&self, id: TaskId) -> Option<Offer> {
        let row = self.table.rows.get(&id)?;
        let status = row.task.status;
        (status.place() == Place::Ready).then(|| Offer {
            task: id,
            kind: row.kind.clone(),
            user: row.user.clone(),
            group: row.group.clone(),
            lane: row.lane().of(status.work()),
            work: status.work(),
            rank: Rank::new(status, row.priority),
            since: row.task.ready_at,
        })
    }
}
