//! Batches: on PostgreSQL a large claim is one row with the ids of its tasks, instead of one row for each in `running`.
//!
//! A short task is then deleted from `ready`, inserted into `done`, and nothing in between. For as long as the row is
//! there, each of its tasks is in none of the four places, or has ended in `done`; so nothing has happened to any but its end.
//! Whatever else is to happen to one of them, whoever wants it, *unfolds* the batch first: all that have not ended get rows in
//! `running`, and the batch is gone. So does the node itself with a batch that is not over after a moment.
//!
//! ```text
//! ready --claim--> batch --finish--> done
//!                    '--unfold--> running --> wherever
//! ```
//!
//! Who locks rows of `ready`, `running` and `batch` does so in this order, then those of `parked` and `done`; whoever looks into `running` once
//! more, after a batch was unfolded, may have to begin again.
//!
//! *Not here:* the claim ([`claim_at_once`](super::ops::claim_at_once)) and the finish
//! ([`finish_batches`](super::ops::finish_batches)).

use super::dialect::Sql;
use super::engine::Operation;
use super::fault::Fault;
use super::settings::Database;
use super::tx::Tx;
use super::value::Value;
use peerwork_core::{RunId, TaskId, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// From so many tasks on a claim is kept as a batch, if [`Settings`](super::Settings) say nothing else.
const TASKS_MIN: usize = 64;

/// A batch that is older is unfolded at the next look.
const AGE_MAX: Duration = Duration::from_secs(1);

/// For how long nothing is kept in batches, after one had to be unfolded with much of it still open: its tasks were not short.
const PAUSE: Duration = Duration::from_secs(10);

/// What batches hold, with the columns of `running`: what is known of a task follows from its being there.
macro_rules! members {
    () => {
        "select m.id, b.run_id, b.node, m.lane, m.kind, (select t.priority from ~task t where t.id = m.id), 5, 1, 0, 0, \
         m.ready_at, b.started_at, 0 \
         from ~batch b cross join unnest(b.ids, b.lanes, b.kinds, b.ready_ats) m(id, lane, kind, ready_at) \
         where (select d.id from ~done d where d.id = m.id) is null \
         and (select t.id from ~task t where t.id = m.id) is not null"
    };
}

/// The columns of [`members!`], in a table of their own.
macro_rules! columns {
    () => {
        "id, run_id, node, lane, kind, priority, status, attempt, failures, crashes, ready_at, started_at, child"
    };
}

/// What runs, with a row of its own or not.
pub(crate) const HELD: &str = concat!(
    "(select ",
    columns!(),
    ", trial from ~running union all select h.*, 0 from (",
    members!(),
    ") h)"
);

/// What this process knows of its own batches: what it does not know is found in the database, only slower.
#[derive(Debug)]
pub(crate) struct Batches {
    tasks_min: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    batches: HashMap<RunId, Members>,
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Members {
    since: Instant,
    /// When they became ready.
    tasks: HashMap<TaskId, Timestamp>,
    /// How many have not ended.
    open: usize,
}

impl Batches {
    pub(crate) fn new(tasks_min: Option<usize>) -> Self {
        Self {
            tasks_min: tasks_min.unwrap_or(TASKS_MIN).max(1),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From how many tasks on a claim is kept as a batch now.
    pub(crate) fn tasks_min(&self, now: Instant) -> usize {
        match self.known().paused_until {
            Some(until) if now < until => usize::MAX,
            _ => self.tasks_min,
        }
    }

    /// Notes what a claim has put into a batch.
    pub(crate) fn add(&self, run: RunId, tasks: impl Iterator<Item = (TaskId, Timestamp)>) {
        let tasks: HashMap<_, _> = tasks.collect();
        if tasks.is_empty() {
            return;
        }
        let members = Members {
            since: Instant::now(),
            open: tasks.len(),
            tasks,
        };
        self.known().batches.insert(run, members);
    }

    /// When tasks of batches became ready, in their order; none for those that are in no batch.
    pub(crate) fn ready_ats(
        &self,
        tasks: impl Iterator<Item = (RunId, TaskId)>,
    ) -> Vec<Option<Timestamp>> {
        let known = self.known();
        let of = |(run, task)| known.batches.get(&run)?.tasks.get(&task).copied();
        tasks.map(of).collect()
    }

    /// Takes note of ends, one for each of `runs`: of those whose batch is among `there`. The others were unfolded before.
    pub(crate) fn ended(&self, runs: &[RunId], there: &HashSet<RunId>) {
        let mut known = self.known();
        for run in runs {
            if !there.contains(run) {
                known.forget(*run);
            } else if let Some(members) = known.batches.get_mut(run) {
                members.open = members.open.saturating_sub(1);
                if members.open == 0 {
                    known.batches.remove(run);
                }
            }
        }
    }

    /// Forgets batches that were unfolded.
    pub(crate) fn unfolded(&self, runs: &[RunId]) {
        let mut known = self.known();
        runs.iter().for_each(|run| known.forget(*run));
    }

    /// Those that are not over after a moment.
    pub(crate) fn old(&self, now: Instant) -> Vec<RunId> {
        let known = self.known();
        let is_old = |members: &Members| now.duration_since(members.since) >= AGE_MAX;
        let old = known.batches.iter().filter(|(_, members)| is_old(members));
        old.map(|(run, _)| *run).collect()
    }
}

impl Known {
    /// Forgets a batch that is gone before it is over.
    fn forget(&mut self, run: RunId) {
        if let Some(members) = self.batches.remove(&run)
            && members.open * 4 > members.tasks.len()
        {
            // Whoever wonders why claims write rows finds it here.
            tracing::debug!(run = %run.0, open = members.open, "a batch was unfolded with much of it open; keeping none for a while");
            self.paused_until = Some(Instant::now() + PAUSE);
        }
    }
}

/// Whether a task that has no row in `running` may be held all the same.
pub(crate) fn are_kept(tx: &Tx<'_>) -> bool {
    tx.database() == Database::Postgres
}

/// Unfolds the batches in which one of these tasks is, and answers how many there were.
///
/// None also where somebody else was faster, for whom this has waited: who has looked into `running` before looks there again.
pub(crate) async fn unfold_with(tx: &mut Tx<'_>, tasks: &[TaskId]) -> Result<usize, Fault> {
    if tasks.is_empty() || !are_kept(tx) {
        return Ok(0);
    }
    // The inner list is read once and looked up by hashes: `is true` keeps the planner from making a join of it.
    let mut sql = tx.sql(
        "select b.run_id from ~batch b where exists (select 1 from unnest(b.ids) m(id) \
         where (m.id in (select unnest(",
    );
    sql.bind(Value::ids(tasks.iter().map(|task| task.0)))
        .push("::uuid[]))) is true) order by b.run_id")
        .for_update();
    unfold_found(tx, sql).await
}

/// Unfolds the batches whose run ids `sql` selects and locks, and answers how many there were.
async fn unfold_found(tx: &mut Tx<'_>, sql: Sql) -> Result<usize, Fault> {
    let mut rows = tx.fetch(sql).await?;
    let runs: Result<_, _> = rows.rows().map(|mut row| row.id()).collect();
    unfold(tx, runs?).await
}

/// Unfolds batches of these nodes that nobody else has locked, until `tasks` have rows, and says whether there are more.
pub(crate) async fn unfold_of(
    tx: &mut Tx<'_>,
    nodes: &[Uuid],
    tasks: usize,
) -> Result<bool, Fault> {
    if !are_kept(tx) {
        return Ok(false);
    }
    let mut sql = tx.sql("select run_id, open from ~batch where ");
    sql.ids("node", nodes.iter().copied())
        .push(" order by run_id")
        .for_update_skip_locked();
    let (mut runs, mut open, mut more) = (Vec::new(), 0, false);
    for mut row in tx.fetch(sql).await?.rows() {
        more = open >= tasks;
        if more {
            break;
        }
        runs.push(row.id()?);
        open += usize::try_from(row.int()?).unwrap_or_default();
    }
    unfold(tx, runs).await?;
    Ok(more)
}

/// Unfolds batches that are locked: what has ended of them until then is seen. Answers how many there were.
async fn unfold(tx: &mut Tx<'_>, runs: Vec<Uuid>) -> Result<usize, Fault> {
    if runs.is_empty() {
        return Ok(0);
    }
    // A version that knows no batches may have moved one of them meanwhile.
    let mut sql = tx.sql(concat!(
        "insert into ~running (",
        columns!(),
        ") ",
        members!(),
        " and (select r.id from ~ready r where r.id = m.id) is null \
         and (select r.id from ~running r where r.id = m.id) is null \
         and (select p.id from ~parked p where p.id = m.id) is null and "
    ));
    sql.ids("b.run_id", runs.iter().copied());
    tx.execute(sql).await?;
    let (count, mut sql) = (runs.len(), tx.sql("delete from ~batch where "));
    sql.ids("run_id", runs);
    tx.execute_exactly(sql, count).await?;
    Ok(count)
}

/// Unfolds batches in a transaction of their own.
pub(crate) enum Unfold {
    /// All there are.
    All,
    /// Those of these runs that nobody else has locked: whoever has finishes or unfolds them.
    Of(Vec<RunId>),
}

impl Operation for Unfold {
    const NAME: &'static str = "unfold batches";
    type Answer = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let mut sql = tx.sql("select run_id from ~batch ");
        match self {
            Self::All => sql.push("order by run_id").for_update(),
            Self::Of(runs) => sql
                .push("where ")
                .ids("run_id", runs.iter().map(|run| run.0))
                .push(" order by run_id")
                .for_update_skip_locked(),
        };
        unfold_found(tx, sql).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerwork_core::Status;

    const RUN: RunId = RunId(Uuid::from_u128(1));

    fn tasks(n: u128) -> impl Iterator<Item = (TaskId, Timestamp)> {
        (0..n).map(|i| (TaskId(Uuid::from_u128(i)), Timestamp(7)))
    }

    fn knowing(n: u128) -> Batches {
        let batches = Batches::new(None);
        batches.add(RUN, tasks(n));
        batches
    }

    fn is_paused(batches: &Batches) -> bool {
        batches.tasks_min(Instant::now()) == usize::MAX
    }

    #[test]
    fn what_is_in_a_batch_is_said_to_run() {
        assert_eq!(Status::Running.code(), 5);
    }

    #[test]
    fn a_batch_is_forgotten_with_its_last_end() {
        let batches = knowing(100);
        let ready = |n| batches.ready_ats([(RUN, TaskId(Uuid::from_u128(n)))].into_iter());
        assert_eq!(ready(5), [Some(Timestamp(7))]);
        assert_eq!(ready(100), [None]);
        let later = Instant::now() + AGE_MAX;
        batches.ended(&[RUN; 99], &HashSet::from([RUN]));
        assert_eq!(batches.old(later), [RUN]);
        batches.ended(&[RUN], &HashSet::from([RUN]));
        assert_eq!((batches.old(later), ready(5)), (Vec::new(), vec![None]));
        assert!(!is_paused(&batches));
    }

    #[test]
    fn a_batch_is_old_after_a_moment() {
        let batches = knowing(100);
        assert!(batches.old(Instant::now()).is_empty());
        assert_eq!(batches.old(Instant::now() + AGE_MAX), [RUN]);
    }

    #[test]
    fn where_tasks_are_not_short_there_are_no_batches_for_a_while() {
        let mostly_over = knowing(100);
        mostly_over.ended(&[RUN; 75], &HashSet::from([RUN]));
        mostly_over.unfolded(&[RUN]);
        assert!(!is_paused(&mostly_over));
        let mostly_open = knowing(100);
        mostly_open.ended(&[RUN; 74], &HashSet::from([RUN]));
        mostly_open.unfolded(&[RUN]);
        assert!(is_paused(&mostly_open));
        let after = Instant::now() + PAUSE;
        assert_eq!(mostly_open.tasks_min(after), TASKS_MIN);
    }

    #[test]
    fn a_batch_that_is_gone_is_forgotten_when_one_of_its_tasks_ends() {
        let batches = knowing(100);
        batches.ended(&[RUN], &HashSet::new());
        assert!(batches.old(Instant::now() + AGE_MAX).is_empty());
        assert!(is_paused(&batches));
    }
}
