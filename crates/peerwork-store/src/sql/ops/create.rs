//! Creating tasks: many in a transaction of ours, in which a node may claim them as well, or one in the caller's.

use super::claim::is_too_late;
use super::create_alike::Alike;
use super::create_claimed::{Taker, push_running};
use crate::sql::dialect::Dialect;
use crate::sql::engine::Operation;
use crate::sql::fault::{Fault, FaultSort};
use crate::sql::rows::{PARKED, Placed, READY, RUNNING, TASK};
use crate::sql::settings::{Database, Isolation};
use crate::sql::tx::{Bulk, OnDuplicate, Tx};
use crate::sql::value::Value;
use crate::{ClaimNew, Claimed, Created, NewTask};
use peerwork_core::{KindKey, Place, Reach, Task, TaskId, Timestamp};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use uuid::Uuid;

/// Creates all of them, or none.
pub(crate) struct Create {
    /// Sorted by id, without duplicates.
    tasks: Vec<NewTask>,
    /// Who wants to run them at once, and where others would be that are before them.
    claim: Option<(ClaimNew, Vec<Reach>)>,
    /// Set once it has taken too long to claim them: from then on they are only created.
    is_late: AtomicBool,
    /// Set once it was tried: perhaps a task is there already, so from then on those are looked for first.
    looks_first: AtomicBool,
}

impl Create {
    pub(crate) fn new(mut tasks: Vec<NewTask>, claim: Option<ClaimNew>) -> Self {
        tasks.sort_by_key(|task| task.id);
        tasks.dedup_by_key(|task| task.id);
        let claim = claim.filter(|claim| claim.can_run(&tasks));
        let claim = claim.and_then(|claim| claim.before(&tasks).map(|before| (claim, before)));
        Self {
            tasks,
            claim,
            is_late: AtomicBool::new(false),
            looks_first: AtomicBool::new(false),
        }
    }
}

impl Operation for Create {
    const NAME: &'static str = "create tasks";
    /// Those that are new, and of those the ones that are claimed.
    type Answer = (HashSet<TaskId>, Vec<Claimed>);

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault> {
        if tx.dialect.capabilities.returning {
            let claim = self.claim.as_ref();
            let claim = claim.map(|(claim, before)| (claim, before.as_slice()));
            return insert_returning(tx, &self.tasks, claim).await;
        }
        let begun = Instant::now();
        let there = if self.looks_first.swap(true, Ordering::Relaxed) {
            existing(tx, &self.tasks).await?
        } else {
            HashSet::new()
        };
        let new: Vec<&NewTask> = self
            .tasks
            .iter()
            .filter(|task| !there.contains(&task.id))
            .collect();
        let taker = match &self.claim {
            Some((claim, before)) if !self.is_late.load(Ordering::Relaxed) => {
                Taker::find(tx, claim, before).await?
            }
            _ => None,
        };
        insert(tx, &new, taker.as_ref()).await?;
        if taker.is_some() && is_too_late(begun) {
            self.is_late.store(true, Ordering::Relaxed);
            return Err(Fault::moved());
        }
        let claimed = taker.map(|taker| taker.claimed(new.iter().copied()));
        let new = new.iter().map(|task| task.id).collect();
        Ok((new, claimed.unwrap_or_default()))
    }

    fn is_one_statement(&self, dialect: &Dialect) -> bool {
        dialect.capabilities.returning && dialect.isolation == Isolation::ReadCommitted
    }

    fn retries_duplicates(&self) -> bool {
        true
    }
}

/// The row of a task as it is created at `now`.
pub(super) fn placed(new: &NewTask, now: Timestamp) -> Placed {
    let task = Task::new(new.start, new.due, now);
    Placed::new(
        new.id,
        task,
        new.lane(),
        KindKey::new(&new.kind),
        new.priority,
        new.parent.is_some(),
    )
}

async fn existing(tx: &mut Tx<'_>, tasks: &[NewTask]) -> Result<HashSet<TaskId>, Fault> {
    let mut sql = tx.sql("select id from ~task where ");
    sql.ids("id", tasks.iter().map(|task| task.id.0));
    let mut rows = tx.fetch(sql).await?;
    rows.rows().map(|mut row| row.id().map(TaskId)).collect()
}

fn task_row(bulk: &mut Bulk, new: &NewTask, now: Value) {
    bulk.row([
        new.id.into(),
        new.lane().into(),
        now,
        (&new.user).into(),
        (&new.group).into(),
        (&new.kind).into(),
        new.priority.into(),
        Value::Int(Some(new.options.code())),
        new.parent.into(),
        new.input.clone().into(),
    ]);
}

async fn insert(
    tx: &mut Tx<'_>,
    tasks: &[&NewTask],
    taker: Option<&Taker<'_>>,
) -> Result<(), Fault> {
    let mut bulk = Bulk::new(&TASK, tasks.len());
    for new in tasks {
        let now = taker.map_or(Value::Now, |taker| taker.now.into());
        task_row(&mut bulk, new, now);
    }
    tx.insert(bulk, OnDuplicate::Fail).await?;
    insert_places(tx, tasks, taker).await
}

async fn insert_places(
    tx: &mut Tx<'_>,
    tasks: &[&NewTask],
    taker: Option<&Taker<'_>>,
) -> Result<(), Fault> {
    let bulk = |table| Bulk::new(table, tasks.len());
    let (mut ready, mut parked, mut running) = (bulk(&READY), bulk(&PARKED), bulk(&RUNNING));
    for new in tasks {
        if let Some(row) = taker.and_then(|taker| taker.take(new)) {
            row.insert_into(&mut running, None);
            continue;
        }
        // Its time is not known yet, and no part of what is decided here.
        let row = placed(new, Timestamp(0));
        let bulk = if row.place() == Place::Ready {
            &mut ready
        } else {
            &mut parked
        };
        row.insert_into(bulk, None);
        bulk.set_now("ready_at");
    }
    for bulk in [ready, parked, running] {
        tx.insert(bulk, OnDuplicate::Fail).await?;
    }
    Ok(())
}

/// Everything in one statement, for databases whose `WITH` may write.
async fn insert_returning(
    tx: &mut Tx<'_>,
    tasks: &[NewTask],
    claim: Option<(&ClaimNew, &[Reach])>,
) -> Result<(HashSet<TaskId>, Vec<Claimed>), Fault> {
    let claim = claim.filter(|_| tx.dialect.capabilities.lateral);
    if let (None, Some(alike)) = (claim, Alike::of(tasks)) {
        return Ok((alike.insert(tx).await?, Vec::new()));
    }
    let mut columns = Columns::default();
    for new in tasks {
        columns.push(new);
    }
    // `is true` keeps the planner from making a join of it, which on our connections would compare each with each.
    let mut sql = tx.sql("with u as materialized (select * from ");
    sql.unnest_columns(columns.into_values());
    sql.push(
        " u(id,lane,usr,grp,kind,priority,options,parent,input,kind_key,status,rank_no,wake_at,due_at,child)), \
         n as materialized (select ",
    );
    sql.now().push(
        " as at), \
         t as (insert into ~task (id,lane,created_at,usr,grp,kind,priority,options,parent,input) \
         select id,lane,n.at,usr,grp,kind,priority,options,parent,input from u, n \
         on conflict (id) do nothing returning id), ",
    );
    if let Some((claim, before)) = claim {
        push_running(&mut sql, claim, before);
    }
    sql.push(
        "r as (insert into ~ready (lane,rank_no,ready_at,id,kind,status,attempt,failures,crashes,child) \
         select u.lane,u.rank_no,n.at,u.id,u.kind_key,u.status,0,0,0,u.child from u, n \
         where u.rank_no is not null and (u.id in (select id from t)) is true",
    );
    sql.push(if claim.is_some() {
        " and not (select may from c)"
    } else {
        ""
    });
    sql.push(
        "), p as (insert into ~parked (id,lane,kind,priority,status,returns_to,wake_at,due_at,attempt,failures,\
         crashes,ready_at,forced,awaited,child) \
         select u.id,u.lane,u.kind_key,u.priority,u.status,null,u.wake_at,u.due_at,0,0,0,n.at,0,0,u.child \
         from u, n where u.rank_no is null and (u.id in (select id from t)) is true) ",
    );
    sql.push(if claim.is_some() {
        "select t.id, n.at, case when (select may from c) then 1 else 0 end from t, n"
    } else {
        "select id from t"
    });
    let (mut new, mut taker) = (HashSet::new(), None);
    for mut row in tx.fetch(sql).await?.rows() {
        new.insert(TaskId(row.id()?));
        if let Some((claim, _)) = claim {
            let now = row.time()?;
            taker = row.flag()?.then_some(Taker { claim, now });
        }
    }
    let is_new = |task: &&NewTask| new.contains(&task.id);
    let claimed = taker.map(|taker| taker.claimed(tasks.iter().filter(is_new)));
    Ok((new, claimed.unwrap_or_default()))
}

/// The columns of new tasks, for a statement that takes them as arrays.
#[derive(Default)]
struct Columns {
    ids: Vec<Option<Uuid>>,
    lanes: Vec<Option<Uuid>>,
    users: Vec<Option<String>>,
    groups: Vec<Option<String>>,
    kinds: Vec<Option<String>>,
    priorities: Vec<Option<i64>>,
    options: Vec<Option<i64>>,
    parents: Vec<Option<Uuid>>,
    inputs: Vec<Option<Vec<u8>>>,
    kind_keys: Vec<Option<i64>>,
    statuses: Vec<Option<i64>>,
    ranks: Vec<Option<i64>>,
    wakes: Vec<Option<i64>>,
    dues: Vec<Option<i64>>,
    children: Vec<Option<i64>>,
}

impl Columns {
    fn push(&mut self, new: &NewTask) {
        let row = placed(new, Timestamp(0));
        self.ids.push(Some(new.id.0));
        self.lanes.push(Some(row.lane.0));
        self.users.push(Some(new.user.as_str().to_owned()));
        self.groups.push(Some(new.group.as_str().to_owned()));
        self.kinds.push(Some(new.kind.as_str().to_owned()));
        self.priorities.push(Some(new.priority.into()));
        self.options.push(Some(new.options.code()));
        self.parents.push(new.parent.map(|parent| parent.0));
        self.inputs.push(Some(new.input.clone()));
        self.kind_keys.push(Some(row.kind.0));
        self.statuses.push(Some(row.task.status.code().into()));
        // A rank says that it goes to `ready`, none that it goes to `parked`.
        self.ranks.push(new.rank().map(|rank| rank.0.into()));
        self.wakes.push(row.task.wake_at.map(|at| at.0));
        self.dues.push(row.due_at().map(|at| at.0));
        self.children.push(Some(row.child.into()));
    }

    fn into_values(self) -> [Value; 15] {
        [
            Value::Ids(self.ids),
            Value::Ids(self.lanes),
            Value::Texts(self.users),
            Value::Texts(self.groups),
            Value::Texts(self.kinds),
            Value::Ints(self.priorities),
            Value::Ints(self.options),
            Value::Ids(self.parents),
            Value::blobs(self.inputs),
            Value::Ints(self.kind_keys),
            Value::Ints(self.statuses),
            Value::Ints(self.ranks),
            Value::Ints(self.wakes),
            Value::Ints(self.dues),
            Value::Ints(self.children),
        ]
    }
}

/// Creates one task in the caller's transaction: one statement where `WITH` may write, two elsewhere, no reads.
pub(crate) async fn create_in(tx: &mut Tx<'_>, task: &NewTask) -> Result<Created, Fault> {
    let one = std::slice::from_ref(task);
    if tx.dialect.capabilities.returning {
        let (new, _) = insert_returning(tx, one, None).await?;
        return Ok(if new.is_empty() {
            Created::Existed
        } else {
            Created::New
        });
    }
    let mut bulk = Bulk::new(&TASK, 1);
    task_row(&mut bulk, task, Value::Now);
    let inserted = match tx.database() {
        // A duplicate ends this statement there, not the transaction. (A no-op `on duplicate key update` would say
        // "1 row" in both cases, because sqlx counts rows found, not rows changed.)
        Database::MySql => match tx.insert(bulk, OnDuplicate::Fail).await {
            Err(fault) if fault.sort == FaultSort::Duplicate => 0,
            other => other?,
        },
        Database::Sqlite | Database::Postgres => {
            tx.insert(
                bulk,
                OnDuplicate::Do {
                    standard: "(id) do nothing",
                    mysql: "",
                },
            )
            .await?
        }
    };
    if inserted == 0 {
        return Ok(Created::Existed);
    }
    insert_places(tx, &[task], None).await?;
    Ok(Created::New)
}
