//! A claim in one statement: ready rows of the granted lanes become running ones, or a [batch](crate::sql::batch), and what their handlers
//! need is read. On PostgreSQL.

use super::claim::{
    ORDER, READY, Take, VERSION, claimed_as, push_running_columns, push_running_values,
    read_claimed,
};
use crate::sql::dialect::{Dialect, Sql};
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::rows::readable;
use crate::sql::tx::Tx;
use crate::sql::value::{Cell, Row, Rows, Value};
use crate::{Claim, Claimed};
use peerwork_core::{BATCH_MAX, Status};

/// The move from `ready` to `running` in one statement, with what the handlers need but their checkpoints.
///
/// The rows are deleted by their places after they were locked, and written again elsewhere. What [`decide`](peerwork_core::decide) makes of them is decided
/// beforehand, for each status: see [`claimed_as`].
pub(crate) struct TakeAtOnce {
    pub(super) claim: Claim,
    /// From how many tasks on they are kept as a batch.
    pub(super) batch_min: usize,
}

/// What was taken, and which of it is in a batch.
type Taken = Vec<(Claimed, bool)>;

impl Operation for TakeAtOnce {
    const NAME: &'static str = Take::NAME;
    /// None: it was decided on other settings.
    type Answer = Option<Taken>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        let claim = &self.claim;
        let lanes = claim.grants.iter().map(|grant| grant.lane.0);
        let tasks = claim.grants.iter().map(|grant| grant.tasks as i64);
        let mut sql = tx.sql("with n as materialized (select ");
        sql.now()
            .push(" as at, coalesce((")
            .push(VERSION)
            .push("), 0) as version), c as materialized (select c.* from unnest(");
        sql.bind(Value::ids(lanes)).push("::uuid[], ");
        sql.bind(Value::ints(tasks));
        // The ranges are looked up by their places in arrays, which takes no time however many lanes there are.
        let ranges = Ranges::of(claim);
        sql.push("::bigint[], ").bind(Value::ints(ranges.firsts));
        sql.push("::bigint[], ").bind(Value::ints(ranges.lasts));
        sql.push(
            "::bigint[]) g(lane, tasks, first, last) cross join lateral (select r.place \
             from generate_series(g.first::int, g.last::int) i cross join lateral (select r.ctid as place \
             from ~ready r where r.lane = g.lane and (r.rank_no, r.ready_at) >= ((",
        );
        sql.bind(Value::ints(ranges.ranks))
            .push("::bigint[])[i], (");
        sql.bind(Value::ints(ranges.sinces))
            .push("::bigint[])[i]) and r.rank_no < (");
        sql.bind(Value::ints(ranges.untils))
            .push("::bigint[])[i] and ");
        sql.ints("r.kind", claim.kinds.iter().map(|kind| kind.0));
        let statuses = claimed_as();
        sql.push(" and r.status in (")
            .numbers(statuses.iter().map(|(from, _)| from.code()))
            .push(")")
            .push(ORDER)
            .push("g.tasks")
            .for_update_skip_locked()
            .push(") r limit g.tasks) c where exists (select 1 from ~node where id = ");
        // Rows are locked one by one as they are asked for: none is locked beyond a batch.
        sql.bind(claim.node)
            .push(" and alive = 1) and (select version from n) = ")
            .bind(claim.version)
            .push(" limit ")
            .bind(BATCH_MAX);
        // By their places in an array: one visit of the table, in the order of its pages.
        sql.push(
            "), d as (delete from ~ready r where r.ctid = any(array(select place from c)) returning r.*, ",
        );
        push_is_plain(&mut sql);
        sql.push(" as is_plain), s as materialized (select count(*) >= ")
            .bind(self.batch_min)
            .push(" as is_batch from d r where r.is_plain), w as (insert into ~running (");
        push_running_columns(&mut sql);
        sql.push(") ");
        push_running_values(&mut sql, claim, |sql| sql.push("(select at from n)"));
        sql.push(
            " from d r where not (r.is_plain and (select is_batch from s))), \
             b as (insert into ~batch (run_id, node, started_at, open, ids, lanes, kinds, ready_ats) select ",
        )
        .bind(claim.run)
        .push(", ")
        .bind(claim.node)
        .push(
            ", (select at from n), count(*), array_agg(r.id), array_agg(r.lane), array_agg(r.kind), array_agg(r.ready_at) \
             from d r where r.is_plain and (select is_batch from s) having count(*) > 0) \
             select n.version, n.at, s.is_batch, a.* from n cross join s cross join (select array_agg(r.is_plain)",
        );
        for (column, of) in COLUMNS {
            sql.push(", array_agg(").push(column).push(match of {
                Of::All => ")",
                Of::Others => ") filter (where not r.is_plain)",
            });
        }
        // Without its limit the look-up of the tasks would become a join, and on tables that seem empty read all of them.
        sql.push(
            " from d r cross join lateral (select * from ~task t where t.id = r.id limit 1) t) a",
        );
        let mut rows = tx.fetch(sql).await?;
        let mut row = rows.first().ok_or_else(Fault::moved)?;
        if !claim.is_of(row.int()?) {
            return Ok(None);
        }
        let (now, is_batch) = (row.time()?, row.flag()?);
        // Arrays: as many rows are more work for the driver, and meanwhile the connection claims nothing.
        let is_plain = row.list()?;
        let columns = COLUMNS.iter().map(|(_, of)| match of {
            Of::All => row.list(),
            Of::Others => Ok(filled(&is_plain, row.list()?)),
        });
        let columns: Result<_, _> = columns.collect();
        let mut rows = Rows::of_columns(columns?);
        let read = |(mut row, is_plain): (Row<'_>, &Cell)| {
            let claimed = read_claimed(&mut row, claim.run, |_| Ok(now))?;
            Ok((claimed, is_batch && is_true(is_plain)))
        };
        let taken = rows.rows().zip(&is_plain);
        let taken = taken.filter_map(|row| readable(READY, read(row)));
        Ok(Some(taken.collect()))
    }

    fn is_one_statement(&self, _: &Dialect) -> bool {
        true
    }
}

/// Inputs of up to 8 KiB: all values of an array are copied more than once, and there is an end to its size. The others are read
/// [afterwards](super::claim_read::with_inputs).
const INPUT: &str = "case when octet_length(t.input) <= 8192 then t.input end";

/// Of which tasks a column is read.
enum Of {
    All,
    /// Of those that are not plain; of the others it is [`PLAIN`].
    Others,
}

/// What is read of tasks: [`TaskRow::COLUMNS`](crate::sql::rows::TaskRow::COLUMNS), the input, and what [`read_claimed`] reads besides.
const COLUMNS: [(&str, Of); 15] = [
    ("t.id", Of::All),
    ("t.lane", Of::All),
    ("t.created_at", Of::All),
    ("t.usr", Of::All),
    ("t.grp", Of::All),
    ("t.kind", Of::All),
    ("t.priority", Of::All),
    ("t.options", Of::All),
    ("t.parent", Of::All),
    (INPUT, Of::All),
    ("r.status", Of::All),
    ("r.ready_at", Of::All),
    ("r.attempt", Of::Others),
    ("r.failures", Of::Others),
    ("r.crashes", Of::Others),
];

/// The counters of a plain task.
const PLAIN: Cell = Cell::Int(0);

fn is_true(cell: &Cell) -> bool {
    *cell == Cell::Int(1)
}

/// A column of all tasks, made of that of those which are not plain.
fn filled(is_plain: &[Cell], others: Vec<Cell>) -> Vec<Cell> {
    let mut others = others.into_iter();
    let fill = |is_plain| match is_true(is_plain) {
        true => PLAIN,
        false => others.next().unwrap_or(Cell::Null),
    };
    is_plain.iter().map(fill).collect()
}

/// That a row `r` of `ready` is that of a run which a batch can hold: the first of its task, and without a parent.
fn push_is_plain(sql: &mut Sql) {
    let runs = claimed_as().into_iter();
    let runs = runs.filter(|(_, to)| *to == Status::Running);
    sql.push(
        "(r.attempt = 0 and r.failures = 0 and r.crashes = 0 and r.child = 0 and r.status in (",
    )
    .numbers(runs.map(|(from, _)| from.code()))
    .push("))");
}

/// The ranges of all granted lanes, one after the other, and which of them belong to which grant.
#[derive(Default)]
struct Ranges {
    /// Of each grant the first and the last of its ranges, counted from 1.
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    ranks: Vec<i64>,
    sinces: Vec<i64>,
    untils: Vec<i64>,
}

impl Ranges {
    fn of(claim: &Claim) -> Self {
        let mut ranges = Self::default();
        for grant in &claim.grants {
            ranges.firsts.push(ranges.ranks.len() as i64 + 1);
            for reach in claim.reaches_of(grant.lane) {
                ranges.ranks.push(reach.rank.0.into());
                ranges.sinces.push(reach.since.0);
                ranges.untils.push(reach.until.0.into());
            }
            ranges.lasts.push(ranges.ranks.len() as i64);
        }
        ranges
    }
}
