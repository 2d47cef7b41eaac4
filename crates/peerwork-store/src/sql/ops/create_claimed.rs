//! Claiming tasks in the transaction that creates them: the part of [creating](super::create) that decides whether, and writes it.

use super::claim::{VERSION, push_claimed_statuses, read_claimant, select_claimant};
use super::create::placed;
use crate::sql::dialect::Sql;
use crate::sql::fault::Fault;
use crate::sql::rows::{Placed, TaskRow};
use crate::sql::tx::Tx;
use crate::sql::value::Value;
use crate::{ClaimNew, Claimed, NewTask};
use peerwork_core::{Event, Reach, Rules, SETTLE_MS, Timestamp, Transition, decide};

/// Who claims tasks as they are created, once it is known that nothing stands in the way.
pub(super) struct Taker<'a> {
    pub claim: &'a ClaimNew,
    /// When they are created and claimed.
    pub now: Timestamp,
}

impl<'a> Taker<'a> {
    /// None: what is set has changed, the node is not alive, or somebody is before them in line, in one of these ranges.
    pub async fn find(
        tx: &mut Tx<'_>,
        claim: &'a ClaimNew,
        before: &[Reach],
    ) -> Result<Option<Self>, Fault> {
        let mut sql = select_claimant(tx, claim.node);
        sql.push(", case when 1 = 0");
        // Few different texts, because each is prepared and kept: padded with the last one.
        let padded = match before.len() {
            0 => 0,
            ranges => ranges.next_power_of_two(),
        };
        let last = before.last().into_iter().cycle();
        for reach in before.iter().chain(last).take(padded).copied() {
            sql.push(" or exists (select 1 from ~ready r where r.lane = ")
                .bind(reach.lane)
                .within_ranks(reach)
                .push(" and ")
                .ints("r.kind", claim.kinds.iter().map(|kind| kind.0));
            sql.push(")");
        }
        sql.push(" then 1 else 0 end");
        let mut rows = tx.fetch(sql).await?;
        let mut row = rows.first().ok_or_else(Fault::moved)?;
        let (version, is_alive) = read_claimant(tx, &mut row)?;
        let is_current = u64::try_from(version).is_ok_and(|version| version == claim.version);
        let may_claim = is_current && is_alive && !row.flag()?;
        let now = tx.now().await?;
        Ok(may_claim.then_some(Self { claim, now }))
    }

    /// The row of a task that it takes as it is created; none, if that is not claimable.
    pub fn take(&self, new: &NewTask) -> Option<Placed> {
        let old = placed(new, self.now);
        let claimed = decide(&old.task, &Rules::default(), Event::Claim, self.now);
        let Ok(Transition::To(to)) = claimed else {
            return None;
        };
        let mut row = old.with(to, self.now);
        let (run, node) = (self.claim.run, self.claim.node);
        (row.run, row.node, row.started_at) = (Some(run), Some(node), Some(self.now));
        Some(row)
    }

    /// What handlers need of those that it takes, in the order in which they are to start.
    pub fn claimed<'b>(&self, tasks: impl Iterator<Item = &'b NewTask>) -> Vec<Claimed> {
        let claimed = |new: &NewTask| {
            let row = TaskRow {
                id: new.id,
                lane: new.lane(),
                created_at: self.now,
                user: new.user.clone(),
                group: new.group.clone(),
                kind: new.kind.clone(),
                priority: new.priority,
                options: new.options,
                parent: new.parent,
            };
            let (rank, to) = (new.rank()?, self.take(new)?.task);
            Some(row.claimed(self.claim.run, rank, to, new.input.clone()))
        };
        let mut claimed: Vec<_> = tasks.filter_map(claimed).collect();
        claimed.sort_by_key(|task| (task.rank, task.id));
        claimed
    }
}

/// Appends that the new tasks are claimed at once, if they may be: `c` says whether, `w` does it.
///
/// The version of what is set is as of the statement's beginning, and to write the tasks may wait for another transaction with the same ids. So
/// the time is looked at once they are written: if a setting may have been changed and settled meanwhile, none is claimed.
pub(super) fn push_running(sql: &mut Sql, claim: &ClaimNew, before: &[Reach]) {
    sql.push(
        "c as materialized (select (select count(*) from t) > 0 \
         and clock_timestamp() - statement_timestamp() < interval '1 millisecond' * ",
    );
    sql.number(SETTLE_MS as i64 * 3 / 8)
        .push(" and coalesce((")
        .push(VERSION)
        .push("), 0) = ");
    sql.bind(claim.version)
        .push(" and exists (select 1 from ~node where id = ")
        .bind(claim.node)
        .push(" and alive = 1) and not exists (select 1 from ");
    let ranges = |of: fn(&Reach) -> i64| Value::ints(before.iter().map(of));
    sql.unnest_columns([
        Value::ids(before.iter().map(|reach| reach.lane.0)),
        ranges(|reach| reach.rank.0.into()),
        ranges(|reach| reach.since.0),
        ranges(|reach| reach.until.0.into()),
    ]);
    sql.push(
        " g(lane, rank_no, since, until) cross join lateral (select 1 from ~ready r where r.lane = g.lane \
         and (r.rank_no, r.ready_at) >= (g.rank_no, g.since) and r.rank_no < g.until and ",
    );
    sql.ints("r.kind", claim.kinds.iter().map(|kind| kind.0));
    sql.push(
        " limit 1) r) as may), \
         w as (insert into ~running (id,run_id,node,lane,kind,priority,status,attempt,failures,crashes,ready_at,\
         started_at,child) select u.id,",
    );
    sql.bind(claim.run)
        .push("::uuid,")
        .bind(claim.node)
        .push("::uuid,u.lane,u.kind_key,u.priority,case u.status");
    push_claimed_statuses(sql);
    sql.push(
        " end,1,0,0,n.at,n.at,u.child from u, n where u.rank_no is not null and (u.id in (select id from t)) is true \
         and (select may from c)), ",
    );
}
