//! The tables' columns, and the rows of the four places as one type.
//!
//! A task's status is the table that holds its row with a small code in it; outside of this file and
//! [`moves`](super::moves) it is one [`Placed`].

use super::dialect::Sql;
use super::fault::Fault;
use super::tx::{Bulk, Tx};
use super::value::{Row, Sort, status};
use crate::{Claimed, Options, TaskRecord};
use peerwork_core::{
    Event, KindKey, LaneId, Name, NodeId, Place, Rank, Rules, RunId, Status, Task, TaskId,
    Timestamp, Transition, decide,
};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// A column's name and type.
pub(crate) struct Column(pub &'static str, pub Sort);

/// A table with the columns that are written when a row is inserted.
pub(crate) struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
}

use Sort::{Bytes, Id, Int, Text};

pub(crate) static TASK: Table = Table {
    name: "task",
    columns: &[
        Column("id", Id),
        Column("lane", Id),
        Column("created_at", Int),
        Column("usr", Text),
        Column("grp", Text),
        Column("kind", Text),
        Column("priority", Int),
        Column("options", Int),
        Column("parent", Id),
        Column("input", Bytes),
    ],
};

pub(crate) static READY: Table = Table {
    name: "ready",
    columns: &[
        Column("lane", Id),
        Column("rank_no", Int),
        Column("ready_at", Int),
        Column("id", Id),
        Column("kind", Int),
        Column("status", Int),
        Column("attempt", Int),
        Column("failures", Int),
        Column("crashes", Int),
        Column("child", Int),
        Column("ended_by", Id),
    ],
};

pub(crate) static RUNNING: Table = Table {
    name: "running",
    columns: &[
        Column("id", Id),
        Column("run_id", Id),
        Column("node", Id),
        Column("lane", Id),
        Column("kind", Int),
        Column("priority", Int),
        Column("status", Int),
        Column("attempt", Int),
        Column("failures", Int),
        Column("crashes", Int),
        Column("ready_at", Int),
        Column("started_at", Int),
        Column("child", Int),
    ],
};

pub(crate) static PARKED: Table = Table {
    name: "parked",
    columns: &[
        Column("id", Id),
        Column("lane", Id),
        Column("kind", Int),
        Column("priority", Int),
        Column("status", Int),
        Column("returns_to", Int),
        Column("wake_at", Int),
        Column("due_at", Int),
        Column("attempt", Int),
        Column("failures", Int),
        Column("crashes", Int),
        Column("ready_at", Int),
        Column("forced", Int),
        Column("awaited", Int),
        Column("child", Int),
        Column("ended_by", Id),
    ],
};

pub(crate) static DONE: Table = Table {
    name: "done",
    columns: &[
        Column("id", Id),
        Column("status", Int),
        Column("run_id", Id),
        Column("node", Id),
        Column("started_at", Int),
        Column("finished_at", Int),
        Column("ready_at", Int),
        Column("attempt", Int),
        Column("failures", Int),
        Column("crashes", Int),
        Column("output", Bytes),
    ],
};

/// The table of a place.
pub(crate) fn table(place: Place) -> &'static Table {
    match place {
        Place::Ready => &READY,
        Place::Running => &RUNNING,
        Place::Parked => &PARKED,
        Place::Done => &DONE,
    }
}

/// In the order in which every transaction locks them.
pub(crate) const PLACES: [Place; 4] = [Place::Ready, Place::Running, Place::Parked, Place::Done];

/// A task's row in one of the four places.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed {
    pub id: TaskId,
    pub task: Task,
    /// Of its runs, whatever it waits for now. In `done` it is not kept: see [`TaskRow`].
    pub lane: LaneId,
    pub kind: KindKey,
    pub priority: i16,
    /// Whether it has a parent.
    pub child: bool,
    pub run: Option<RunId>,
    pub node: Option<NodeId>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// While it waits, or is paused in its waiting: for how many children.
    pub awaited: u32,
    /// While it is held: whether it is tried as a suspect.
    pub on_trial: bool,
    /// While it is ready or parked: the run that brought it there by its own end, so that a repetition of that end is
    /// known as one. In `done` that is `run`.
    pub ended_by: Option<RunId>,
}

impl Placed {
    /// A task as it is created.
    pub(crate) fn new(
        id: TaskId,
        task: Task,
        lane: LaneId,
        kind: KindKey,
        priority: i16,
        child: bool,
    ) -> Self {
        Self {
            id,
            task,
            lane,
            kind,
            priority,
            child,
            run: None,
            node: None,
            started_at: None,
            finished_at: None,
            awaited: 0,
            on_trial: false,
            ended_by: None,
        }
    }

    pub(crate) fn place(&self) -> Place {
        self.task.status.place()
    }

    /// The same task with the facts that were decided.
    pub(crate) fn with(&self, to: Task, now: Timestamp) -> Self {
        let mut row = Self {
            task: to,
            ..self.clone()
        };
        match to.status.place() {
            Place::Running => row.ended_by = None,
            Place::Ready | Place::Parked => {
                (row.run, row.node, row.started_at, row.finished_at) = (None, None, None, None);
            }
            Place::Done => (row.run, row.ended_by, row.finished_at) = (None, None, Some(now)),
        }
        row.on_trial &= to.status.is_held();
        if to.status != Status::Waiting && to.returns_to != Some(Status::Waiting) {
            row.awaited = 0;
        }
        row
    }

    /// When it wakes by itself: the very condition under which [`decide`] lets it.
    pub(crate) fn due_at(&self) -> Option<Timestamp> {
        let at = self.task.wake_at?;
        match decide(&self.task, &Rules::default(), Event::Due, at) {
            Ok(Transition::To(_)) => Some(at),
            Ok(Transition::Same | Transition::Erase) | Err(_) => None,
        }
    }

    /// Appends its row to those of its table.
    pub(crate) fn insert_into(&self, bulk: &mut Bulk, output: Option<Vec<u8>>) {
        let task = &self.task;
        match self.place() {
            Place::Ready => bulk.row([
                self.lane.of(task.status.work()).into(),
                Rank::new(task.status, self.priority).into(),
                task.ready_at.into(),
                self.id.into(),
                self.kind.into(),
                task.status.into(),
                task.attempt.into(),
                task.failures.into(),
                task.crashes.into(),
                self.child.into(),
                self.ended_by.into(),
            ]),
            Place::Running => bulk.row([
                self.id.into(),
                self.run.into(),
                self.node.into(),
                self.lane.into(),
                self.kind.into(),
                self.priority.into(),
                task.status.into(),
                task.attempt.into(),
                task.failures.into(),
                task.crashes.into(),
                task.ready_at.into(),
                self.started_at.into(),
                self.child.into(),
            ]),
            Place::Parked => bulk.row([
                self.id.into(),
                self.lane.into(),
                self.kind.into(),
                self.priority.into(),
                task.status.into(),
                task.returns_to.into(),
                task.wake_at.into(),
                self.due_at().into(),
                task.attempt.into(),
                task.failures.into(),
                task.crashes.into(),
                task.ready_at.into(),
                task.forced.into(),
                self.awaited.into(),
                self.child.into(),
                self.ended_by.into(),
            ]),
            Place::Done => bulk.row([
                self.id.into(),
                task.status.into(),
                self.run.into(),
                self.node.into(),
                self.started_at.into(),
                self.finished_at.into(),
                task.ready_at.into(),
                task.attempt.into(),
                task.failures.into(),
                task.crashes.into(),
                output.into(),
            ]),
        }
    }

    fn blank(id: TaskId, status: Status, ready_at: Timestamp) -> Self {
        let task = Task {
            status,
            returns_to: None,
            attempt: 0,
            failures: 0,
            crashes: 0,
            wake_at: None,
            ready_at,
            forced: false,
        };
        Self::new(id, task, LaneId(Uuid::nil()), KindKey(0), 0, false)
    }
}

/// The columns that [`read`] reads, of each place.
fn columns(place: Place) -> &'static str {
    match place {
        Place::Ready => {
            "id, status, ready_at, attempt, failures, crashes, lane, kind, child, rank_no, ended_by"
        }
        Place::Running => {
            "id, status, ready_at, attempt, failures, crashes, lane, kind, child, priority, run_id, node, started_at, \
             trial"
        }
        Place::Parked => {
            "id, status, ready_at, attempt, failures, crashes, lane, kind, child, priority, returns_to, wake_at, \
             forced, awaited, ended_by"
        }
        Place::Done => {
            "id, status, ready_at, attempt, failures, crashes, run_id, node, started_at, finished_at"
        }
    }
}

/// Begins `select now, columns from place`.
pub(crate) fn select(tx: &Tx<'_>, place: Place) -> Sql {
    let mut sql = tx.sql("select ");
    push_selected(&mut sql, place);
    sql
}

/// Begins `select now, columns from` what runs, with a row of its own in `running` or in a [batch](super::batch).
pub(crate) fn select_held(tx: &Tx<'_>) -> Sql {
    let mut sql = tx.sql("select ");
    sql.now()
        .push(", ")
        .push(columns(Place::Running))
        .push(" from ")
        .held();
    sql
}

/// Appends `now, columns from place`.
pub(crate) fn push_selected(sql: &mut Sql, place: Place) {
    sql.now()
        .push(", ")
        .push(columns(place))
        .push(" from ~")
        .push(table(place).name);
}

/// Reads a row of [`select`].
pub(crate) fn read(tx: &mut Tx<'_>, place: Place, row: &mut Row<'_>) -> Result<Placed, Fault> {
    let now = row.time()?;
    tx.set_now(now);
    read_columns(place, row)
}

pub(crate) fn read_columns(place: Place, row: &mut Row<'_>) -> Result<Placed, Fault> {
    let id = TaskId(row.id()?);
    let mut placed = Placed::blank(id, row.status()?, row.time()?);
    placed.task.attempt = row.count()?;
    placed.task.failures = row.count()?;
    placed.task.crashes = row.count()?;
    if place != Place::Done {
        placed.lane = LaneId(row.id()?);
        placed.kind = KindKey(row.int()?);
        placed.child = row.flag()?;
    }
    match place {
        Place::Ready => {
            // The lane of its cleanups is made of that of its runs; the same step leads back.
            placed.lane = placed.lane.of(placed.task.status.work());
            placed.priority = Rank(i32::try_from(row.int()?).unwrap_or_default()).priority();
            placed.ended_by = row.opt_id()?.map(RunId);
        }
        Place::Running => {
            placed.priority = small(row.int()?);
            placed.run = row.opt_id()?.map(RunId);
            placed.node = row.opt_id()?.map(NodeId);
            placed.started_at = row.opt_time()?;
            placed.on_trial = row.flag()?;
        }
        Place::Parked => {
            placed.priority = small(row.int()?);
            placed.task.returns_to = row.opt_int()?.map(status).transpose()?;
            placed.task.wake_at = row.opt_time()?;
            placed.task.forced = row.flag()?;
            placed.awaited = row.count()?;
            placed.ended_by = row.opt_id()?.map(RunId);
        }
        Place::Done => {
            placed.run = row.opt_id()?.map(RunId);
            placed.node = row.opt_id()?.map(NodeId);
            placed.started_at = row.opt_time()?;
            placed.finished_at = row.opt_time()?;
        }
    }
    Ok(placed)
}

/// What was read of a row, or nothing where it is not as we write it, say of a newer version: one row must not stand in
/// the way of all others.
pub(crate) fn readable<T>(what: &'static str, read: Result<T, Fault>) -> Option<T> {
    read.inspect_err(|fault| tracing::error!(what, %fault, "a row cannot be read; passing it over"))
        .ok()
}

pub(crate) fn small(int: i64) -> i16 {
    i16::try_from(int).unwrap_or_default()
}

/// The index by which rows of a place are found by their ids, where MariaDB must be told: its optimizer would
/// rather lock a whole small table.
pub(crate) fn by_id(place: Place) -> &'static str {
    match place {
        Place::Ready => " force index (~ready_id)",
        Place::Running | Place::Parked | Place::Done => " force index (primary)",
    }
}

/// A row of `task`, without its input.
#[derive(Clone, Debug)]
pub(crate) struct TaskRow {
    pub id: TaskId,
    pub lane: LaneId,
    pub created_at: Timestamp,
    pub user: Name,
    pub group: Name,
    pub kind: Name,
    pub priority: i16,
    pub options: Options,
    pub parent: Option<TaskId>,
}

impl TaskRow {
    pub(crate) const COLUMNS: &'static str =
        "t.id, t.lane, t.created_at, t.usr, t.grp, t.kind, t.priority, t.options, t.parent";

    pub(crate) fn read(row: &mut Row<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: TaskId(row.id()?),
            lane: LaneId(row.id()?),
            created_at: row.time()?,
            user: row.name("user")?,
            group: row.name("group")?,
            kind: row.name("kind")?,
            priority: small(row.int()?),
            options: Options::from_code(row.int()?),
            parent: row.opt_id()?.map(TaskId),
        })
    }

    /// What its handler needs but a checkpoint, when `run` has claimed it.
    pub(crate) fn claimed(self, run: RunId, rank: Rank, task: Task, input: Vec<u8>) -> Claimed {
        Claimed {
            id: self.id,
            run,
            kind: self.kind,
            user: self.user,
            group: self.group,
            lane: self.lane.of(task.status.work()),
            rank,
            options: self.options,
            parent: self.parent,
            task,
            created_at: self.created_at,
            input,
            checkpoint: None,
        }
    }

    /// What people see, without what only a look at the checkpoint and the failures tells.
    pub(crate) fn record(&self, placed: &Placed) -> TaskRecord {
        TaskRecord {
            id: self.id,
            kind: self.kind.clone(),
            user: self.user.clone(),
            group: self.group.clone(),
            priority: self.priority,
            options: self.options,
            parent: self.parent,
            created_at: self.created_at,
            task: placed.task,
            node: placed.node,
            run: placed.run,
            started_at: placed.started_at,
            finished_at: placed.finished_at,
            progress: None,
            error: None,
        }
    }
}

pub(crate) async fn read_tasks(
    tx: &mut Tx<'_>,
    ids: impl Iterator<Item = TaskId>,
) -> Result<Vec<TaskRow>, Fault> {
    let ids: Vec<_> = ids.map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = tx.sql("select ");
    sql.push(TaskRow::COLUMNS)
        .push(" from ~task t where ")
        .ids("t.id", ids);
    let mut rows = tx.fetch(sql).await?;
    rows.rows().map(|mut row| TaskRow::read(&mut row)).collect()
}

/// The rules of kinds, as nodes published them.
pub(crate) struct KindRules(HashMap<KindKey, Rules>);

impl KindRules {
    pub(crate) async fn read(
        tx: &mut Tx<'_>,
        kinds: impl Iterator<Item = KindKey>,
    ) -> Result<Self, Fault> {
        let kinds: HashSet<i64> = kinds.map(|kind| kind.0).collect();
        if kinds.is_empty() {
            return Ok(Self(HashMap::new()));
        }
        let mut sql = tx.sql("select id, rules from ~kind where ");
        sql.ints("id", kinds);
        let mut rows = tx.fetch(sql).await?;
        let read = |mut row: Row<'_>| {
            let key = KindKey(row.int()?);
            Ok((key, parse_rules(&row.text()?)))
        };
        Ok(Self(rows.rows().map(read).collect::<Result<_, Fault>>()?))
    }

    /// Those of a kind that no node has ever had are the default ones.
    pub(crate) fn of(&self, kind: KindKey) -> Rules {
        self.0.get(&kind).cloned().unwrap_or_default()
    }
}

/// Rules that cannot be read, say of a newer version, are the default ones, which skip nothing: a rescue must not fail
/// for the sake of one kind.
pub(crate) fn parse_rules(text: &str) -> Rules {
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::error!(%error, "the rules of a kind cannot be read; taking the default ones");
        Rules::default()
    })
}
