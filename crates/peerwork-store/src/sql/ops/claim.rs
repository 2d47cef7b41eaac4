//! Claiming: ready rows of the granted lanes become running ones, and what their handlers need is read: on PostgreSQL
//! [in one statement](super::claim_at_once), on SQLite [by ranges](super::claim_ranges), elsewhere some [lanes at a time](super::lanes_at_once), and after the
//! transaction.

use super::claim_at_once::TakeAtOnce;
use super::claim_ranges::TakeByRange;
use super::claim_read::{HeldBy, load, with_checkpoints, with_inputs};
use super::lanes_at_once;
use crate::sql::dialect::{ID_HEX, Sql};
use crate::sql::engine::{Engine, Operation};
use crate::sql::fault::{Fault, FaultSort};
use crate::sql::limits::CountedUnder;
use crate::sql::moves::{self, Move};
use crate::sql::rows::{Placed, RUNNING, TaskRow, by_id, push_selected, read, readable};
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::sql::value::{Row, ids_json};
use crate::{Claim, ClaimAnswer, Claimed};
use peerwork_core::{
    BATCH_MAX, Event, NodeId, Place, Rank, Rules, RunId, SETTLE_MS, Status, Task, Timestamp,
    Transition, Work, decide,
};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The move from `ready` to `running`.
pub(crate) struct Take {
    claim: Claim,
}

impl Take {
    pub(crate) fn new(mut claim: Claim) -> Self {
        claim.sort();
        Self { claim }
    }

    /// The same in one statement, as a batch from so many tasks on.
    pub(crate) fn at_once(self, batch_min: usize) -> TakeAtOnce {
        let claim = self.claim;
        TakeAtOnce { claim, batch_min }
    }

    /// The same where nobody else writes.
    pub(crate) fn by_range(self) -> TakeByRange {
        TakeByRange { claim: self.claim }
    }

    /// What is to be claimed.
    pub(crate) fn into_claim(self) -> Claim {
        self.claim
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.claim.grants.is_empty() || self.claim.kinds.is_empty()
    }
}

impl Operation for Take {
    const NAME: &'static str = "claim tasks";
    /// None: it was decided on other settings.
    type Answer = Option<Vec<(Rank, Placed)>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        let (claim, begun) = (&self.claim, Instant::now());
        let (is_current, is_alive) = may_claim(tx, claim).await?;
        if !is_current || !is_alive {
            return Ok(is_current.then(Vec::new));
        }
        let found = find(tx, claim, begun).await?;
        if found.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let now = tx.now().await?;
        let mut taken = Vec::with_capacity(found.len());
        for old in found {
            if let Ok(Transition::To(to)) = decide(&old.task, &Rules::default(), Event::Claim, now)
            {
                let mut new = old.with(to, now);
                (new.run, new.node, new.started_at) =
                    (Some(claim.run), Some(claim.node), Some(now));
                taken.push((old, new));
            }
        }
        if !taken.is_empty() {
            self.write(tx, &taken, now).await?;
        }
        if is_too_late(begun) {
            return Err(Fault::moved());
        }
        let rank = |old: &Placed| Rank::new(old.task.status, old.priority);
        let ranked = taken.into_iter().map(|(old, new)| (rank(&old), new));
        Ok(Some(ranked.collect()))
    }
}

impl Take {
    async fn write(
        &self,
        tx: &mut Tx<'_>,
        taken: &[(Placed, Placed)],
        now: Timestamp,
    ) -> Result<(), Fault> {
        if tx.database() != Database::MySql {
            let moves = taken.iter().cloned();
            let moves = moves.map(|(old, new)| Move::new(old, new)).collect();
            return moves::apply(tx, moves, now).await;
        }
        // They are written from the rows that are locked: a list of their ids says it all.
        let mut ids: Vec<_> = taken.iter().map(|(old, _)| old.id.0).collect();
        ids.sort_unstable();
        let mut sql = insert_running(tx, &self.claim).await?;
        sql.json_rows("v", &[("id", ID_HEX)], ids_json(&ids))
            .push(" straight_join ~ready r")
            .push(by_id(Place::Ready))
            .push(" on r.id = unhex(v.id)");
        tx.execute_exactly(sql, ids.len()).await?;
        moves::delete(tx, Place::Ready, ids).await
    }
}

/// The version of what is set; none, if nothing ever was.
pub(super) const VERSION: &str = "select version from ~config where id = 1";

/// Whether a claim that begun then has taken so long that what it was decided on may have been settled otherwise: it must not be
/// committed any more.
pub(super) fn is_too_late(begun: Instant) -> bool {
    begun.elapsed() > Duration::from_millis(SETTLE_MS * 3 / 4)
}

/// Whether a claim that begun then should do with what it has found.
pub(super) fn is_late(begun: Instant) -> bool {
    begun.elapsed() > Duration::from_millis(SETTLE_MS * 3 / 8)
}

/// Begins `insert into running select .. from`, the rows of `ready` that are to be called `r`.
pub(super) async fn insert_running(tx: &mut Tx<'_>, claim: &Claim) -> Result<Sql, Fault> {
    insert_running_under(tx, claim, None).await
}

/// The same for tasks that count under limits.
pub(super) async fn insert_running_under(
    tx: &mut Tx<'_>,
    claim: &Claim,
    under: Option<&CountedUnder>,
) -> Result<Sql, Fault> {
    let now = tx.now().await?;
    let mut sql = tx.sql("insert into ~running (");
    push_running_columns(&mut sql);
    if under.is_some() {
        CountedUnder::push_columns(&mut sql);
    }
    sql.push(") ");
    push_running_values(&mut sql, claim, |sql| sql.bind(now));
    if let Some(under) = under {
        under.push_values(tx, &mut sql);
    }
    sql.push(" from ");
    Ok(sql)
}

/// Appends the names of the columns of `running` that a claim writes.
pub(super) fn push_running_columns(sql: &mut Sql) {
    for (i, column) in RUNNING.columns.iter().enumerate() {
        sql.push(if i > 0 { "," } else { "" }).push(column.0);
    }
}

/// Appends `select` and their values for a claimed row `r` of `ready`, in that order.
pub(super) fn push_running_values(
    sql: &mut Sql,
    claim: &Claim,
    now: impl FnOnce(&mut Sql) -> &mut Sql,
) {
    sql.push("select r.id, ").bind(claim.run);
    sql.push(", ")
        .bind(claim.node)
        .push(", case when r.status in (");
    // The lane of its cleanups is made of that of its runs.
    let runs = claimed_as().into_iter().map(|(from, _)| from);
    let runs = runs.filter(|from| from.work() == Work::Run);
    sql.numbers(runs.map(Status::code))
        .push(") then r.lane else (select t.lane from ~task t where t.id = r.id) end, r.kind, r.rank_no - case r.status");
    for (from, _) in claimed_as() {
        sql.push(" when ").number(from.code());
        sql.push(" then ").number(Rank::new(from, 0).0);
    }
    sql.push(" end, case r.status");
    push_claimed_statuses(sql);
    sql.push(" end, r.attempt + 1, r.failures, r.crashes, r.ready_at, ");
    now(sql).push(", r.child");
}

pub(super) const READY: &str = "a task that is to be claimed";

pub(super) const ORDER: &str = " order by r.rank_no, r.ready_at, r.id limit ";

/// Whether the settings are those on which a claim was decided, and whether its node is alive.
pub(super) async fn may_claim(tx: &mut Tx<'_>, claim: &Claim) -> Result<(bool, bool), Fault> {
    let sql = select_claimant(tx, claim.node);
    let mut rows = tx.fetch(sql).await?;
    let mut row = rows.first().ok_or_else(Fault::moved)?;
    let (version, is_alive) = read_claimant(tx, &mut row)?;
    Ok((claim.is_of(version), is_alive))
}

/// Begins a statement that asks for the version of what is set, and whether a node is alive.
pub(super) fn select_claimant(tx: &Tx<'_>, node: NodeId) -> Sql {
    let mut sql = tx.sql("select ");
    sql.now()
        .push(", coalesce((")
        .push(VERSION)
        .push("), 0), (select count(*) from ~node where id = ")
        .bind(node)
        .push(" and alive = 1)");
    sql
}

/// Reads what that asks for.
pub(super) fn read_claimant(tx: &mut Tx<'_>, row: &mut Row<'_>) -> Result<(i64, bool), Fault> {
    tx.set_now(row.time()?);
    Ok((row.int()?, row.int()? > 0))
}

/// The first tasks of the granted lanes, locked.
async fn find(tx: &mut Tx<'_>, claim: &Claim, begun: Instant) -> Result<Vec<Placed>, Fault> {
    let most = match tx.database() {
        Database::MySql => lanes_at_once::LANES_MAX,
        // It locks nothing in a union.
        Database::Postgres | Database::Sqlite => 1,
    };
    let grants = &claim.grants;
    let mut found: Vec<Vec<Placed>> = grants.iter().map(|_| Vec::new()).collect();
    let reaches = grants.iter().map(|grant| claim.reaches_of(grant.lane));
    let reaches: Vec<_> = reaches.collect();
    let mut left = BATCH_MAX;
    // A lane's ranges one after the other: the next is looked into if those before are not enough.
    let deepest = reaches.iter().map(Vec::len).max().unwrap_or(0);
    for depth in 0..deepest {
        let is_due =
            |at: &usize| depth < reaches[*at].len() && found[*at].len() < grants[*at].tasks;
        let due: Vec<_> = (0..grants.len()).filter(is_due).collect();
        let mut due = due.as_slice();
        while !due.is_empty() && left > 0 && !is_late(begun) {
            let room = |at: &usize| grants[*at].tasks - found[*at].len();
            let lanes = lanes_at_once::fitting(due.iter().map(room), most, left);
            let (piece, after) = due.split_at(lanes);
            due = after;
            let mut sql = tx.sql("");
            let (open, close) = match lanes {
                1 => ("", ""),
                _ => ("(", ")"),
            };
            for (number, at) in (0i64..).zip(piece) {
                sql.push(if number > 0 { " union all " } else { "" });
                sql.push(open).push("select ").number(number).push(", ");
                push_selected(&mut sql, Place::Ready);
                sql.push(" r where ")
                    .within(reaches[*at][depth])
                    .push(" and ");
                sql.ints("r.kind", claim.kinds.iter().map(|kind| kind.0));
                sql.push(ORDER)
                    .bind(room(at).min(left))
                    .for_update_skip_locked()
                    .push(close);
            }
            let mut rows = tx.fetch(sql).await?;
            for mut row in rows.rows() {
                let at = piece[lanes_at_once::number_of(&mut row, lanes)?];
                if let Some(row) = readable(READY, read(tx, Place::Ready, &mut row)) {
                    found[at].push(row);
                    left -= 1;
                }
            }
        }
    }
    Ok(found.into_iter().flatten().collect())
}

/// Reads [`TaskRow::COLUMNS`], the input, and what a row of `ready` tells of its task: status, ready time, counters.
pub(super) fn read_claimed<'a>(
    row: &mut Row<'a>,
    run: RunId,
    now: impl FnOnce(&mut Row<'a>) -> Result<Timestamp, Fault>,
) -> Result<Claimed, Fault> {
    let task = TaskRow::read(row)?;
    let input = row.opt_bytes()?.unwrap_or_default();
    let (was, ready_at) = (row.status()?, row.time()?);
    let old = Task {
        status: was,
        attempt: row.count()?,
        failures: row.count()?,
        crashes: row.count()?,
        ..Task::new(true, None, ready_at)
    };
    let now = now(row)?;
    let Ok(Transition::To(to)) = decide(&old, &Rules::default(), Event::Claim, now) else {
        return Err(Fault::moved());
    };
    let rank = Rank::new(was, task.priority);
    Ok(task.claimed(run, rank, to, input))
}

/// Sorts in the order in which they are to start.
pub(super) fn sort(claim: &Claim, claimed: &mut [Claimed]) {
    let places = claim.grants.iter().enumerate();
    let places: HashMap<_, _> = places.map(|(place, grant)| (grant.lane, place)).collect();
    let place = |c: &Claimed| (places.get(&c.lane), c.rank, c.task.ready_at, c.id);
    if !claimed.is_sorted_by_key(place) {
        claimed.sort_by_cached_key(place);
    }
}

/// What a claim makes of each status; it counts the attempt, and changes nothing else that `ready` or `running` keep.
pub(super) fn claimed_as() -> Vec<(Status, Status)> {
    let sample = |status| Task {
        status,
        ..Task::new(true, None, Timestamp(5))
    };
    let claim = |status| {
        let claimed = decide(
            &sample(status),
            &Rules::default(),
            Event::Claim,
            Timestamp(7),
        );
        match claimed {
            Ok(Transition::To(to)) => Some((status, to.status)),
            _ => None,
        }
    };
    Status::ALL.into_iter().filter_map(claim).collect()
}

/// Appends, after `case status`, what a claim makes of each.
pub(super) fn push_claimed_statuses(sql: &mut Sql) {
    for (from, to) in claimed_as() {
        sql.push(" when ").number(from.code());
        sql.push(" then ").number(to.code());
    }
}

/// Claims, and reads what handlers need.
pub(crate) async fn claim(engine: &Engine, take: Take) -> Result<ClaimAnswer, Fault> {
    let held_by = HeldBy::of(&take.claim);
    let taken = if engine.dialect.is_at_once() {
        let take = take.at_once(engine.batches.tasks_min(Instant::now()));
        let taken = engine.write_here(&take).await;
        taken.map(|taken| {
            let claimed = note_batch(engine, &take.claim, taken?);
            Some(Taken::Loaded(claimed))
        })
    } else if engine.dialect.writes_alone() {
        let claimed = engine.write_here(&take.by_range()).await;
        claimed.map(|claimed| claimed.map(Taken::Loaded))
    } else {
        let taken = engine.write_here(&take).await;
        taken.map(|taken| taken.map(Taken::Rows))
    };
    let taken = match taken {
        // The run id is fresh: whatever it holds was taken by this very claim.
        Err(fault) if fault.sort == FaultSort::Ambiguous => {
            let held = engine.read_here(&held_by).await;
            Some(Taken::Rows(held.map_err(|_| fault)?))
        }
        other => other?,
    };
    let claimed = match taken {
        None => return Ok(ClaimAnswer::stale()),
        Some(Taken::Loaded(claimed)) => with_inputs(engine, claimed).await?,
        Some(Taken::Rows(taken)) => load(engine, taken).await?,
    };
    let claimed = with_checkpoints(engine, claimed).await?;
    Ok(ClaimAnswer::of(claimed))
}

/// Notes what a claim has put into a batch, and puts all of it in order.
fn note_batch(engine: &Engine, claim: &Claim, taken: Vec<(Claimed, bool)>) -> Vec<Claimed> {
    let in_batch = taken.iter().filter(|(_, is_in_batch)| *is_in_batch);
    let in_batch = in_batch.map(|(claimed, _)| (claimed.id, claimed.task.ready_at));
    engine.batches.add(claim.run, in_batch);
    let mut claimed: Vec<_> = taken.into_iter().map(|(claimed, _)| claimed).collect();
    sort(claim, &mut claimed);
    claimed
}

/// What a claim took, with or without what handlers need.
enum Taken {
    Loaded(Vec<Claimed>),
    Rows(Vec<(Rank, Placed)>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_the_priority_and_what_its_status_adds() {
        for (from, _) in claimed_as() {
            for priority in [i16::MIN, -1, 0, 7, i16::MAX] {
                let rank = Rank::new(from, priority).0 - Rank::new(from, 0).0;
                assert_eq!(rank, i32::from(priority));
            }
        }
    }

    #[test]
    fn a_claim_changes_the_status_and_counts_the_attempt() {
        for (from, to) in claimed_as() {
            let task = Task {
                status: from,
                attempt: 4,
                failures: 3,
                crashes: 2,
                ..Task::new(true, None, Timestamp(5))
            };
            let claimed = Task {
                status: to,
                attempt: 5,
                ..task
            };
            let decided = decide(&task, &Rules::default(), Event::Claim, Timestamp(7));
            assert_eq!(decided, Ok(Transition::To(claimed)));
        }
        let ready = Status::ALL
            .into_iter()
            .filter(|status| status.place() == Place::Ready);
        let from: Vec<_> = claimed_as().into_iter().map(|(from, _)| from).collect();
        assert_eq!(
            from,
            ready.collect::<Vec<_>>(),
            "all that is ready is claimable"
        );
    }
}
