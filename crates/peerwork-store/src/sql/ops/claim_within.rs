//! Claiming under limits: one transaction of separate statements. First the claim takes its turn under every limit, then it counts
//! what runs under them, then it takes no more than is left.
//!
//! Many limits at once are mostly those of many groups, in which others claim as well: where all waited for each other, they would take
//! their turns one after the other, each holding those that it has. So a lane is left out for now whose turn somebody else has. Only who
//! is left without any lane waits, for the first of them. A kind's turn is waited for always: there are few, and most lanes need them.

use super::claim::{ORDER, READY, Take, insert_running_under, is_late, is_too_late, may_claim};
use super::claim_read::{HeldBy, complete};
use crate::sql::dialect::ID_HEX;
use crate::sql::engine::{Engine, Operation};
use crate::sql::fault::{Fault, FaultSort};
use crate::sql::limits::{CountedUnder, Limit, Turn, count, empty_buckets, take_turn};
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
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Instant;

/// The move from `ready` to `running`, under limits.
pub(crate) struct TakeWithin {
    pub(super) claim: Claim,
    pub(super) bounds: Bounds,
    /// Instead of the first ones of the granted lanes: these, each in its lane.
    pub(super) these: Option<Vec<(TaskId, LaneId)>>,
    /// What is done about a lane under whose limits others claim.
    turn: Turn,
}

/// What was taken, if the settings are those on which it was decided.
#[derive(Default)]
pub(crate) struct Taken {
    rows: Vec<(Rank, Placed)>,
    full: Vec<(ScopeKey, Option<Timestamp>)>,
    /// The lanes that were not looked into.
    unseen: BTreeSet<LaneId>,
}

impl Taken {
    /// The lanes that were not looked into.
    #[cfg(test)]
    pub(crate) fn unseen(&self) -> BTreeSet<LaneId> {
        self.unseen.clone()
    }

    /// Whether none of its lanes was looked into: others were claiming in all of them, or there was no time left.
    fn saw_nothing(&self, take: &TakeWithin) -> bool {
        take.turn == Turn::IfFree && self.unseen.len() == take.claim.grants.len()
    }

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
            turn: Turn::IfFree,
        }
    }

    /// The same of tasks that were named.
    pub(crate) fn these(claim: &ClaimThese, bounds: Bounds) -> Self {
        Self {
            claim: claim.to_claim(),
            bounds,
            these: Some(claim.distinct()),
            turn: Turn::Awaited,
        }
    }

    /// The same of its first lane alone, whose turn is waited for.
    pub(crate) fn first(mut self) -> Self {
        self.claim.grants.truncate(1);
        let is_granted = |lane: &LaneId| self.claim.grants.iter().any(|grant| grant.lane == *lane);
        self.bounds.lanes.retain(|lane, _| is_granted(lane));
        let keys = self.bounds.lanes.values().flatten();
        let keys: BTreeSet<_> = keys.chain(self.bounds.kinds.values()).copied().collect();
        self.bounds.bounds.retain(|bound| keys.contains(&bound.key));
        self.turn = Turn::Awaited;
        self
    }

    /// The limits whose turn this claim has; none if one is gone whose turn it has waited for.
    ///
    /// Those of kinds come first, whoever claims: so nobody waits for one who has a kind's turn and waits for him.
    async fn take_turns(&self, tx: &mut Tx<'_>) -> Result<Option<HashMap<ScopeKey, Limit>>, Fault> {
        let kinds: BTreeSet<_> = self.bounds.kinds.values().collect();
        let (kinds, others): (BTreeSet<_>, BTreeSet<_>) =
            self.shared().partition(|key| kinds.contains(key));
        let mut limits = HashMap::new();
        for (keys, turn) in [(kinds, Turn::Awaited), (others, self.turn)] {
            let taken = take_turn(tx, &keys, turn).await?;
            if turn == Turn::Awaited && taken.len() < keys.len() {
                return Ok(None);
            }
            limits.extend(taken);
        }
        Ok(Some(limits))
    }

    /// The limits that hold on all nodes together.
    fn shared(&self) -> impl Iterator<Item = ScopeKey> {
        let bounds = self.bounds.bounds.iter();
        bounds
            .filter(|bound| bound.is_shared)
            .map(|bound| bound.key)
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
        let Some(limits) = self.take_turns(tx).await? else {
            return Ok(None);
        };
        // Not the time in line: what counts is how old the version is that is read next.
        let begun = Instant::now();
        let (is_current, is_alive) = may_claim(tx, claim).await?;
        if !is_current {
            return Ok(None);
        }
        if !is_alive {
            return Ok(Some(Taken::default()));
        }
        let running = count(tx, &limits).await?;
        let now = tx.now().await?;
        let mut rooms = Rooms::new(now);
        for bound in &self.bounds.bounds {
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
        let (mut found, mut unseen) = (Vec::new(), BTreeSet::new());
        match &self.these {
            Some(these) => self.find_these(tx, these, &mut rooms, &mut found).await?,
            None => {
                let is_others = |key: &ScopeKey| !limits.contains_key(key);
                let others: BTreeSet<_> = self.shared().filter(is_others).collect();
                for grant in &claim.grants {
                    let mut of_lane = self.bounds.lanes.get(&grant.lane).into_iter().flatten();
                    match is_late(begun) || of_lane.any(|key| others.contains(key)) {
                        true => drop(unseen.insert(grant.lane)),
                        false => self.find(tx, grant, &mut rooms, &mut found).await?,
                    }
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
            unseen,
        }))
    }
}

/// Claims under limits, and reads what handlers need.
pub(crate) async fn claim_within(
    engine: &Engine,
    mut take: TakeWithin,
) -> Result<ClaimAnswer, Fault> {
    if take.is_empty() {
        return Ok(ClaimAnswer::default());
    }
    let taken = match take_within(engine, &take).await? {
        Some(taken) if taken.saw_nothing(&take) => {
            let mut unseen = taken.unseen;
            take = take.first();
            let taken = take_within(engine, &take).await?;
            if let Some(first) = take.claim.grants.first() {
                unseen.remove(&first.lane);
            }
            taken.map(|mut taken| {
                taken.unseen.append(&mut unseen);
                taken
            })
        }
        taken => taken,
    };
    let Some(taken) = taken else {
        return Ok(ClaimAnswer::stale());
    };
    Ok(ClaimAnswer {
        tasks: complete(engine, taken.rows).await?,
        full: taken.full,
        unseen: taken.unseen,
        is_stale: false,
    })
}

async fn take_within(engine: &Engine, take: &TakeWithin) -> Result<Option<Taken>, Fault> {
    match engine.write_here(take).await {
        // The run id is fresh: whatever it holds was taken by this very claim.
        Err(fault) if fault.sort == FaultSort::Ambiguous => {
            let held = engine.read_here(&HeldBy::of(&take.claim)).await;
            Ok(Some(Taken {
                rows: held.map_err(|_| fault)?,
                // Which limits it found full is not known: all of them are asked about.
                full: take.shared().map(|key| (key, None)).collect(),
                unseen: BTreeSet::new(),
            }))
        }
        other => other,
    }
}
