//! Claiming where nobody else can write meanwhile: the first rows of a lane are read, and all up to the last of them are moved,
//! by the same condition, without a list of them.
//!
//! What [`decide`](peerwork_core::decide) makes of them is decided beforehand, for each status: see [`claimed_as`]. As many rows
//! must have been moved as were read.

use super::claim::{ORDER, READY, claimed_as, insert_running, may_claim, read_claimed, sort};
use super::lanes_at_once;
use crate::sql::dialect::Sql;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::rows::{TaskRow, readable};
use crate::sql::tx::Tx;
use crate::{Claim, Claimed};
use peerwork_core::{BATCH_MAX, Grant, LaneId, Rank, Reach, TaskId, Timestamp};
use uuid::Uuid;

/// Fewer rows of a lane are moved by their ids, together with those of other lanes: each statement has its price.
const RANGE_MIN: usize = 32;

/// The move from `ready` to `running`, with what the handlers need but their checkpoints.
pub(crate) struct TakeByRange {
    pub claim: Claim,
}

/// What is moved together.
enum Chosen {
    /// All of a lane that the claim may take, up to this row.
    UpTo(LaneId, (Rank, Timestamp, TaskId)),
    These(Vec<Uuid>),
}

/// The first rows of a lane.
struct Front {
    tasks: Vec<Claimed>,
    last: Option<(Rank, Timestamp, TaskId)>,
    /// Whether each of its rows could be read: one that cannot be is passed over, and stays where it is.
    is_whole: bool,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            last: None,
            is_whole: true,
        }
    }
}

impl Operation for TakeByRange {
    const NAME: &'static str = "claim tasks";
    /// None: it was decided on other settings.
    type Answer = Option<Vec<Claimed>>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        let (is_current, is_alive) = may_claim(tx, &self.claim).await?;
        if !is_current || !is_alive {
            return Ok(is_current.then(Vec::new));
        }
        let mut claimed = Vec::new();
        let mut loose = Vec::new();
        let grants = &self.claim.grants;
        let mut rest = grants.as_slice();
        while !rest.is_empty() && claimed.len() < BATCH_MAX {
            let (room, left) = (
                rest.iter().map(|grant| grant.tasks),
                BATCH_MAX - claimed.len(),
            );
            let lanes = lanes_at_once::fitting(room, lanes_at_once::LANES_MAX, left);
            let (piece, after) = rest.split_at(lanes);
            rest = after;
            let fronts = self.fronts(tx, piece, left).await?;
            for (grant, front) in piece.iter().zip(fronts) {
                let by_range =
                    front.is_whole && (front.tasks.len() >= RANGE_MIN || grants.len() == 1);
                match front.last {
                    Some(last) if by_range => {
                        let rows = front.tasks.len();
                        self.take(tx, &Chosen::UpTo(grant.lane, last), rows).await?;
                    }
                    _ => loose.extend(front.tasks.iter().map(|task| task.id.0)),
                }
                claimed.extend(front.tasks);
            }
        }
        if !loose.is_empty() {
            let rows = loose.len();
            self.take(tx, &Chosen::These(loose), rows).await?;
        }
        sort(&self.claim, &mut claimed);
        Ok(Some(claimed))
    }
}

impl TakeByRange {
    /// The first rows of each of these lanes, of none more than are left of the batch.
    async fn fronts(
        &self,
        tx: &mut Tx<'_>,
        lanes: &[Grant],
        left: usize,
    ) -> Result<Vec<Front>, Fault> {
        let now = tx.now().await?;
        let mut sql = tx.sql("");
        for (number, grant) in (0i64..).zip(lanes) {
            sql.push(if number > 0 {
                " union all select "
            } else {
                "select "
            });
            sql.number(number).push(", ").push(TaskRow::COLUMNS).push(
                ", t.input, f.status, f.ready_at, f.attempt, f.failures, f.crashes, f.rank_no, f.id \
                 from (select * from ~ready r where ",
            );
            self.push_lane(&mut sql, grant.lane);
            self.push_claimable(&mut sql);
            sql.push(ORDER)
                .bind(grant.tasks.min(left))
                .push(") f left join ~task t on t.id = f.id");
        }
        let mut rows = tx.fetch(sql).await?;
        let mut fronts: Vec<_> = lanes.iter().map(|_| Front::default()).collect();
        for mut row in rows.rows() {
            let front = &mut fronts[lanes_at_once::number_of(&mut row, lanes.len())?];
            let claimed = read_claimed(&mut row, self.claim.run, |_| Ok(now)).and_then(|task| {
                let rank =
                    Rank(i32::try_from(row.int()?).map_err(|e| Fault::broken(e.to_string()))?);
                Ok(((rank, task.task.ready_at, task.id), task))
            });
            match readable(READY, claimed) {
                Some((key, task)) => {
                    front.last = front.last.max(Some(key));
                    front.tasks.push(task);
                }
                None => front.is_whole = false,
            }
        }
        Ok(fronts)
    }

    async fn take(&self, tx: &mut Tx<'_>, chosen: &Chosen, rows: usize) -> Result<(), Fault> {
        let mut sql = insert_running(tx, &self.claim).await?;
        sql.push("~ready r where ");
        self.push_chosen(&mut sql, chosen);
        tx.execute_exactly(sql, rows).await?;
        let mut sql = tx.sql("delete from ~ready as r where ");
        self.push_chosen(&mut sql, chosen);
        tx.execute_exactly(sql, rows).await
    }

    fn push_chosen(&self, sql: &mut Sql, chosen: &Chosen) {
        match chosen {
            Chosen::UpTo(lane, (rank, ready_at, id)) => {
                self.push_beginning(sql, *lane);
                // Nothing else may bound it from above: of two bounds SQLite takes the first, and walks over all that waits up to it.
                sql.push("(r.rank_no, r.ready_at, r.id) <= (")
                    .bind(*rank)
                    .push(", ")
                    .bind(*ready_at)
                    .push(", ")
                    .bind(*id)
                    .push(") and ");
                self.push_claimable(sql);
            }
            Chosen::These(ids) => {
                sql.ids("r.id", ids.iter().copied());
            }
        }
    }

    /// The ranks of a lane that the claim reaches. Where in them it begins is left alone: here an entry that was deleted is gone, and in
    /// nobody's way.
    fn push_lane(&self, sql: &mut Sql, lane: LaneId) {
        self.push_beginning(sql, lane);
        if let Some((_, until)) = self.ranks(lane) {
            sql.push("r.rank_no < ").bind(until).push(" and ");
        }
    }

    /// The lane, from the first rank on that the claim reaches.
    fn push_beginning(&self, sql: &mut Sql, lane: LaneId) {
        sql.push("r.lane = ").bind(lane).push(" and ");
        if let Some((first, _)) = self.ranks(lane) {
            sql.push("r.rank_no >= ").bind(first).push(" and ");
        }
    }

    /// The first rank that is reached, and the first one behind; none if all are.
    fn ranks(&self, lane: LaneId) -> Option<(Rank, Rank)> {
        let reaches = self.claim.reaches_of(lane);
        let (first, last) = (reaches.first()?, reaches.last()?);
        (reaches != [Reach::all_of(lane)]).then_some((first.rank, last.until))
    }

    fn push_claimable(&self, sql: &mut Sql) {
        sql.ints("r.kind", self.claim.kinds.iter().map(|kind| kind.0));
        let statuses = claimed_as().into_iter().map(|(from, _)| from.code());
        sql.push(" and r.status in (").numbers(statuses).push(")");
    }
}
