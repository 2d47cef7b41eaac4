//! Claiming under limits: one transaction of separate statements. First the claim takes its turn under every limit, then it counts
//! what runs under them, then it takes no more than is left.

use super::claim::{ORDER, READY, Take, insert_running_under, is_late, is_too_late, may_claim};
use super::claim_read::{HeldBy, complete};
use crate::sql::dialect::ID_HEX;
use crate::sql::engine::{Engine, Operation};
use crate::sql::fault::{Fault, FaultSort};
use crate::sql::limits::{CountedUnder, count, empty_buckets, take_turn};
use crate::sql::moves;
use crate::sql::rows::{Placed, by_id, read, readable, select};
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::ids_json;
use crate::{Claim, ClaimAnswer, ClaimThese};
use peerwork_core::{
    BATCH_MAX, Bounds, Event, Grant, KindKey, LaneId, Place, Rank, Reach, Rooms, Rules, ScopeKey,
    Setting, TaskId, Timestamp, Transition, decide,
};
use std::collections::HashSet;
use std::time::Instant;

/// The move from `ready` to `running`, under limits.
pub(crate) struct TakeWithin {
    pub(super) claim: Claim,
    pub(super) bounds: Bounds,
    /// Instead of the first ones of the granted lanes: these, each in its lane.
    pub(super) these: Option<Vec<(TaskId, LaneId)>>,
}

/// What was taken, if the settings are those on which it was decided.
pub(crate) struct Taken {
    rows: Vec<(Rank, Placed)>,
    full: Vec<(ScopeKey, Option<Timestamp>)>,
}

impl Taken {
    /// The tasks that were taken.
    #[cfg(test)]
    pub(crate) fn ids(&self) -> Vec<TaskId> {
        self.rows.iter().map(|(_, row)| row.id).collect()
    }
}

impl TakeWithin {
    pub(crate) fn new(claim: Claim, bounds: Bounds) -> Self {
        Self {
            claim: Take::new(claim).into_claim(),
            bounds,
            these: None,
        }
    }

    /// The same of tasks that were named.
    pub(crate) fn these(claim: &ClaimThese, bounds: Bounds) -> Self {
        Self {
            claim: claim.to_claim(),
            bounds,
            these: Some(claim.distinct()),
        }
    }

    fn is_empty(&self) -> bool {
        let has_tasks = match &self.these {
            Some(these) => !these.is_empty(),
            None => !self.claim.grants.is_empty(),
        };
        !has_tasks || self.claim.kinds.is_empty()
    }

    /// The first tasks of a lane for which there is room, locked and taken from it.
    async fn find(
        &self,
        tx: &mut Tx<'_>,
        grant: &Grant,
        rooms: &mut Rooms,
        found: &mut Vec<Placed>,
    ) -> Result<(), Fault> {
        let enough = BATCH_MAX.min(found.len() + grant.tasks);
        for reach in self.claim.reaches_of(grant.lane) {
            let (mut here, room) = (Vec::new(), enough - found.len());
            // Each further look leaves out the kinds that the one before has filled.
            for _ in 0..=self.bounds.kinds.len() {
                let wanted = room - here.len();
                if !self.look(tx, reach, wanted, rooms, &mut here).await? {
                    break;
                }
            }
            found.append(&mut here);
        }
        Ok(())
    }

    /// Whether something was passed over because its kind is full now, so that others may be had instead.
    async fn look(
        &self,
        tx: &mut Tx<'_>,
        reach: Reach,
        wanted: usize,
        rooms: &mut Rooms,
        found: &mut Vec<Placed>,
    ) -> Result<bool, Fault> {
        let of_lane = self.bounds.lanes.get(&reach.lane);
        let left = rooms.left(of_lane.map_or(&[], Vec::as_slice));
        let has_room = |kind: &&KindKey| {
            let key = self.bounds.kinds.get(kind);
            key.is_none_or(|key| rooms.left(&[*key]) > 0)
        };
        let kinds: Vec<i64> = self
            .claim
            .kinds
            .iter()
            .filter(has_room)
            .map(|k| k.0)
            .collect();
        let room = wanted.min(left);
        if room == 0 || kinds.is_empty() {
            return Ok(false);
        }
        let known: HashSet<TaskId> = found.iter().map(|row| row.id).collect();
        let mut sql = select(tx, Place::Ready);
        sql.push(" r where ").within(reach).push(" and ");
        // Those that it has locked already are seen once more.
        sql.ints("r.kind", kinds)
            .push(ORDER)
            .bind(room + known.len())
            .for_update_skip_locked();
        let mut rows = tx.fetch(sql).await?;
        let (mut left, mut passed_over) = (room, false);
        for mut row in rows.rows() {
            let Some(row) = readable(READY, read(tx, Place::Ready, &mut row)) else {
                continue;
            };
            if left == 0 || known.contains(&row.id) {
                continue;
            }
            let keys = self.bounds.keys(reach.lane, row.kind);
            if rooms.left(&keys) == 0 {
                passed_over = true;
                continue;
            }
            rooms.take(&keys, 1);
            left -= 1;
            found.push(row);
        }
        Ok(passed_over)
    }

    /// Moves the rows that are locked.
    async fn write(
        &self,
        tx: &mut Tx<'_>,
        taken: &[(Rank, Placed)],
        under: &CountedUnder,
    ) -> Result<(), Fault> {
        let mut ids: Vec<_> = taken.iter().map(|(_, row)| row.id.0).collect();
        ids.sort_unstable();
        let mut sql = insert_running_under(tx, &self.claim, Some(under)).await?;
        if tx.database() == Database::MySql {
            sql.json_rows("v", &[("id", ID_HEX)], ids_json(&ids))
                .push(" straight_join ~ready r")
                .push(by_id(Place::Ready))
                .push(" on r.id = unhex(v.id)");
        } else {
            sql.push("~ready r where ").ids("r.id", ids.iter().copied());
        }
        tx.execute_exactly(sql, ids.len()).await?;
        moves::delete(tx, Place::Ready, ids).await
    }
}

impl Operation for TakeWithin {
    const NAME: &'static str = Take::NAME;
    type Answer = Option<Taken>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Taken>, Fault> {
        let claim = &self.claim;
        let bounds = &self.bounds.bounds;
        let shared = bounds.iter().filter(|bound| bound.is_shared);
        let shared = shared.map(|bound| bound.key).collect();
        let limits = take_turn(tx, &shared).await?;
        // Not the time in line: what counts is how old the version is that is read next.
        let begun = Instant::now();
        let (is_current, is_alive) = may_claim(tx, claim).await?;
        if !is_current || limits.len() < shared.len() {
            return Ok(None);
        }
        let nothing = Taken {
            rows: Vec::new(),
            full: Vec::new(),
        };
        if !is_alive {
            return Ok(Some(nothing));
        }
        let running = count(tx, &limits).await?;
        let now = tx.now().await?;
        let mut rooms = Rooms::new(now);
        for bound in bounds {
            let running = running.get(&bound.key).copied().unwrap_or(0);
            match limits.get(&bound.key) {
                Some(limit) => {
                    rooms.add(
                        bound.key,
                        &limit.setting,
                        running,
                        limit.full_at,
                        bound.here,
                    );
                }
                None => rooms.add(bound.key, &Setting::default(), 0, now, bound.here),
            }
        }
        let mut found = Vec::new();
        match &self.these {
            Some(these) => self.find_these(tx, these, &mut rooms, &mut found).await?,
            None => {
                for grant in &claim.grants {
                    if is_late(begun) {
                        break;
                    }
                    self.find(tx, grant, &mut rooms, &mut found).await?;
                }
            }
        }
        let mut taken = Vec::with_capacity(found.len());
        for old in found {
            let decided = decide(&old.task, &Rules::default(), Event::Claim, now);
            let Ok(Transition::To(to)) = decided else {
                // It is ready, and locked.
                return Err(Fault::moved());
            };
            let mut new = old.with(to, now);
            (new.run, new.node, new.started_at) = (Some(claim.run), Some(claim.node), Some(now));
            taken.push((Rank::new(old.task.status, old.priority), new));
        }
        if !taken.is_empty() {
            let under = CountedUnder::of(&self.bounds, &limits);
            self.write(tx, &taken, &under).await?;
            empty_buckets(tx, rooms.buckets()).await?;
        }
        if is_too_late(begun) {
            return Err(Fault::moved());
        }
        Ok(Some(Taken {
            rows: taken,
            full: rooms.full(),
        }))
    }
}

/// Claims under limits, and reads what handlers need.
pub(crate) async fn claim_within(engine: &Engine, take: TakeWithin) -> Result<ClaimAnswer, Fault> {
    if take.is_empty() {
        return Ok(ClaimAnswer::default());
    }
    let held_by = HeldBy::of(&take.claim);
    let taken = match engine.write_here(&take).await {
        // The run id is fresh: whatever it holds was taken by this very claim.
        Err(fault) if fault.sort == FaultSort::Ambiguous => {
            let held = engine.read_here(&held_by).await;
            // Which limits it found full is not known: all of them are asked about.
            let bounds = take.bounds.bounds.iter().filter(|bound| bound.is_shared);
            Some(Taken {
                rows: held.map_err(|_| fault)?,
                full: bounds.map(|bound| (bound.key, None)).collect(),
            })
        }
        other => other?,
    };
    let Some(taken) = taken else {
        return Ok(ClaimAnswer::stale());
    };
    Ok(ClaimAnswer {
        tasks: complete(engine, taken.rows).await?,
        full: taken.full,
        is_stale: false,
    })
}
