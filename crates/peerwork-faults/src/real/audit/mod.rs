//! The audit: triggers of the test's own that write down every change of a task's rows, in the order of the database.
//!
//! Two transactions that touch one task wait for each other on its row, and a trigger's row is written after the wait: the
//! entries of one task are in the order of their commits, those of one transaction together. What is rolled back leaves
//! nothing. Between tasks the order means nothing.

mod mysql;
mod postgres;
mod sqlite;

use anyhow::{Context, Result, bail};
use peerwork_core::Status;
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use uuid::Uuid;

/// Which table an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Claimable tasks.
    Ready,
    /// Held tasks.
    Running,
    /// Tasks that are neither.
    Parked,
    /// Tasks that are over.
    Done,
    /// Checkpoints.
    Checkpoint,
    /// Nodes.
    Node,
    /// What a task is: its group, its user, its kind.
    Task,
    /// What is set for groups, users and kinds.
    Setting,
}

impl Table {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Ready, "ready"),
        (Self::Running, "running"),
        (Self::Parked, "parked"),
        (Self::Done, "done"),
        (Self::Checkpoint, "checkpoint"),
        (Self::Node, "node"),
        (Self::Task, "task"),
        (Self::Setting, "setting"),
    ];
}

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// It came.
    Insert,
    /// It changed.
    Update,
    /// It went.
    Delete,
}

/// One change of one row, with the row's values after it (before it, where it was deleted).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the order.
    pub seq: i64,
    /// When, by the database's clock, in microseconds since 1970.
    pub at_us: u64,
    /// The connection that did it.
    pub connection: i64,
    /// The table.
    pub table: Table,
    /// What was done.
    pub op: Op,
    /// The task, or the node; nil for a setting.
    pub id: Uuid,
    /// The task's status; for a node 1 while it is alive; for a setting the sort of its scope.
    pub status: i64,
    /// What `status` was before an update.
    pub was: i64,
    /// The run that holds the task, or wrote the checkpoint, or ended the task; of the task itself its lane.
    pub run: Option<Uuid>,
    /// The node that holds the task.
    pub node: Option<Uuid>,
    /// Claims so far; for a node its beat, for a setting its key.
    pub attempt: i64,
    /// Failures so far.
    pub failures: i64,
    /// Crashes so far; for a node the end of its lease.
    pub crashes: i64,
    /// The checkpoint, the output, a node's label; or several [parts](Self::parts).
    pub data: Option<String>,
}

/// Between the parts of what is written down as one text: no name has it.
const BETWEEN: char = '\u{1f}';

impl Change {
    /// The task's status, of a table of tasks.
    pub fn task_status(&self) -> Option<Status> {
        Status::from_code(self.status)
    }

    /// Of a task its group, user and kind; of a held one its lane and the keys of the settings that count it, of group, user, user in
    /// group and kind; of a setting its two names, since when it is unsettled, and what is set.
    pub fn parts<const N: usize>(&self) -> Option<[&str; N]> {
        let parts: Vec<_> = self.data.as_deref()?.split(BETWEEN).collect();
        parts.try_into().ok()
    }

    /// What [`parts`](Self::parts) takes apart.
    pub fn join(parts: &[&str]) -> String {
        parts.join(&BETWEEN.to_string())
    }
}

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MySql,
}

impl Dialect {
    /// Of a database's URL.
    ///
    /// # Errors
    /// If it is none of the three.
    pub fn of_url(url: &str) -> Result<Self> {
        match url.split(':').next() {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres") => Ok(Self::Postgres),
            Some("mysql") => Ok(Self::MySql),
            _ => bail!("{url:?} is no URL of a database that can be audited"),
        }
    }
}

/// A connection behind peerwork's back.
///
/// # Errors
/// If the database cannot be reached.
pub async fn connect(url: &str) -> Result<AnyConnection> {
    sqlx::any::install_default_drivers();
    let connected = AnyConnection::connect(url).await;
    connected.with_context(|| format!("connect to {url} for the audit"))
}

/// Puts the triggers on the tables that begin with `prefix`.
///
/// # Errors
/// If the tables are not there.
pub async fn install(url: &str, prefix: &str) -> Result<()> {
    let mut connection = connect(url).await?;
    let statements = match Dialect::of_url(url)? {
        Dialect::Sqlite => sqlite::statements(prefix),
        Dialect::Postgres => postgres::statements(prefix),
        Dialect::MySql => mysql::statements(prefix),
    };
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut connection)
            .await
            .with_context(|| format!("install the audit: {statement}"))?;
    }
    Ok(())
}

/// Everything that was written down, in order.
///
/// # Errors
/// If it cannot be read, or holds what no trigger writes.
pub async fn read(url: &str, prefix: &str) -> Result<Vec<Change>> {
    /// Rows that are read at once.
    const PAGE: i64 = 20_000;
    let dialect = Dialect::of_url(url)?;
    let mut connection = connect(url).await?;
    let mut changes: Vec<Change> = Vec::new();
    loop {
        let after = changes.last().map_or(0, |change| change.seq);
        let statement = page(dialect, prefix, after, PAGE);
        let rows = sqlx::query(AssertSqlSafe(statement))
            .fetch_all(&mut connection)
            .await
            .context("read the audit")?;
        for row in &rows {
            changes.push(change(row)?);
        }
        if rows.len() < usize::try_from(PAGE)? {
            return Ok(changes);
        }
    }
}

fn page(dialect: Dialect, prefix: &str, after: i64, limit: i64) -> String {
    let hex = |column: &str| match dialect {
        Dialect::Sqlite | Dialect::MySql => format!("lower(hex({column}))"),
        Dialect::Postgres => format!("replace({column}::text, '-', '')"),
    };
    let (id, run, node) = (hex("id"), hex("run_id"), hex("node"));
    format!(
        "select seq, at_us, conn, tbl, op, {id} as id, status, was, {run} as run_id, {node} as node, \
         attempt, failures, crashes, data from {prefix}audit where seq > {after} order by seq limit {limit}"
    )
}

fn change(row: &sqlx::any::AnyRow) -> Result<Change> {
    let id = |column: &str| -> Result<Option<Uuid>> {
        let text: Option<String> = row.try_get(column)?;
        let text = text.filter(|text| !text.is_empty());
        Ok(text.map(|text| Uuid::parse_str(&text)).transpose()?)
    };
    let int = |column: &str| row.try_get::<i64, _>(column);
    let table: String = row.try_get("tbl")?;
    let table = Table::ALL.iter().find(|(_, name)| *name == table);
    let op: String = row.try_get("op")?;
    Ok(Change {
        seq: int("seq")?,
        at_us: u64::try_from(int("at_us")?)?,
        connection: int("conn")?,
        table: table.context("a table that is not audited")?.0,
        op: match op.as_str() {
            "insert" => Op::Insert,
            "update" => Op::Update,
            "delete" => Op::Delete,
            _ => bail!("the audit holds the operation {op:?}"),
        },
        id: id("id")?.context("a change without an id")?,
        status: int("status")?,
        was: int("was")?,
        run: id("run_id")?,
        node: id("node")?,
        attempt: int("attempt")?,
        failures: int("failures")?,
        crashes: int("crashes")?,
        data: row.try_get("data")?,
    })
}

/// What of a row a trigger writes down: expressions over the row `r`, for (id, status, run_id, node, attempt, failures,
/// crashes, data).
struct Columns {
    id: &'static str,
    status: &'static str,
    run: &'static str,
    node: &'static str,
    attempt: &'static str,
    failures: &'static str,
    crashes: &'static str,
    data: &'static [Part],
}

/// A column that is written down as text.
#[derive(Clone, Copy)]
enum Part {
    /// Bytes of any length, which are cut.
    Bytes(&'static str),
    Text(&'static str),
    Id(&'static str),
    /// Perhaps null, which is an empty text.
    Number(&'static str),
}

/// How a dialect says it.
trait Spells {
    /// An id that is all zeros.
    const NIL: &'static str;

    /// The text of a part of the row `new` or `old`.
    fn part(part: Part, row: &str) -> String;

    /// Texts with [`BETWEEN`] between them.
    fn join(parts: Vec<String>) -> String;
}

/// What changes of a setting are written down: not that somebody takes his turn at it.
const SETTING_CHANGES: [&str; 2] = ["spec", "unsettled"];

fn columns(table: Table) -> Columns {
    let task = Columns {
        id: "id",
        status: "status",
        run: "",
        node: "",
        attempt: "attempt",
        failures: "failures",
        crashes: "crashes",
        data: &[],
    };
    let other = Columns {
        status: "",
        attempt: "",
        failures: "",
        crashes: "",
        ..task
    };
    match table {
        Table::Ready | Table::Parked => task,
        Table::Running => Columns {
            run: "run_id",
            node: "node",
            data: &[
                Part::Id("lane"),
                Part::Number("lim_group"),
                Part::Number("lim_user"),
                Part::Number("lim_lane"),
                Part::Number("lim_kind"),
            ],
            ..task
        },
        Table::Done => Columns {
            run: "run_id",
            node: "node",
            data: &[Part::Bytes("output")],
            ..task
        },
        Table::Checkpoint => Columns {
            id: "task_id",
            run: "run_id",
            data: &[Part::Bytes("data")],
            ..other
        },
        Table::Node => Columns {
            status: "alive",
            attempt: "seq",
            failures: "ttl_ms",
            crashes: "lease_until",
            data: &[Part::Text("label")],
            ..task
        },
        Table::Task => Columns {
            run: "lane",
            data: &[Part::Text("grp"), Part::Text("usr"), Part::Text("kind")],
            ..other
        },
        Table::Setting => Columns {
            id: "",
            status: "sort",
            attempt: "id",
            data: &[
                Part::Text("name"),
                Part::Text("user_name"),
                Part::Number("unsettled"),
                Part::Text("spec"),
            ],
            ..other
        },
    }
}

/// The columns of `row` (`new` or `old`) as a list of values; `was` is the status before an update.
fn values<S: Spells>(table: Table, row: &str, op: &str) -> String {
    let columns = columns(table);
    let of = |row: &str, column: &str, absent: &str| match column {
        "" => absent.to_owned(),
        column => format!("{row}.{column}"),
    };
    let parts = columns.data.iter().map(|part| S::part(*part, row));
    let text = match columns.data.len() {
        0 => "null".to_owned(),
        1 => parts.collect(),
        _ => S::join(parts.collect()),
    };
    let was = match op {
        "update" => of("old", columns.status, "0"),
        _ => "0".to_owned(),
    };
    [
        of(row, columns.id, S::NIL),
        of(row, columns.status, "0"),
        was,
        of(row, columns.run, "null"),
        of(row, columns.node, "null"),
        of(row, columns.attempt, "0"),
        of(row, columns.failures, "0"),
        of(row, columns.crashes, "0"),
        text,
    ]
    .join(", ")
}

/// The names of the columns that [`values`] fills.
const COLUMNS: &str = "id, status, was, run_id, node, attempt, failures, crashes, data";

/// Every trigger: (table, its name, operation, the row it looks at).
fn triggers() -> impl Iterator<Item = (Table, &'static str, &'static str, &'static str)> {
    let ops = [("insert", "new"), ("update", "new"), ("delete", "old")];
    Table::ALL
        .into_iter()
        .flat_map(move |(table, name)| ops.map(|(op, row)| (table, name, op, row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_to_a_row_is_written_down_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}?mode=rwc", folder.path().join("a.db").display());
        let client = peerwork::Client::connect(
            peerwork::Database::connect_with(&url, peerwork::Settings::default().with_prefix("t_"))
                .await
                .unwrap(),
        )
        .await
        .unwrap();
        install(&url, "t_").await.unwrap();
        let draft = peerwork::Draft::<peerwork::Untyped>::of_kind("steps", &1);
        let task = client.create(draft).await.unwrap();
        task.pause().await.unwrap();
        let found: Vec<_> = read(&url, "t_").await.unwrap();
        let of_task = |change: &&Change| !matches!(change.table, Table::Task | Table::Setting);
        let seen: Vec<_> = found
            .iter()
            .filter(of_task)
            .map(|change| (change.table, change.op, change.task_status().unwrap()))
            .collect();
        assert_eq!(
            seen,
            [
                (Table::Ready, Op::Insert, Status::Queued),
                (Table::Ready, Op::Delete, Status::Queued),
                (Table::Parked, Op::Insert, Status::Paused),
            ]
        );
        assert!(found.iter().all(|change| change.id == task.id().0));
    }

    #[tokio::test]
    async fn what_is_set_is_written_down_and_turns_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}?mode=rwc", folder.path().join("a.db").display());
        let settings = peerwork::Settings::default().with_prefix("t_");
        let database = peerwork::Database::connect_with(&url, settings)
            .await
            .unwrap();
        let client = peerwork::Client::connect(database).await.unwrap();
        install(&url, "t_").await.unwrap();
        let draft = peerwork::Draft::<peerwork::Untyped>::of_kind("steps", &1);
        client
            .create(draft.user("ann").group("maths"))
            .await
            .unwrap();
        client.user_in("maths", "ann").limit(2).await.unwrap();
        let mut connection = connect(&url).await.unwrap();
        sqlx::raw_sql("update t_setting set seq = seq + 1")
            .execute(&mut connection)
            .await
            .unwrap();
        client.user_in("maths", "ann").clear().await.unwrap();
        let found = read(&url, "t_").await.unwrap();
        let task = found.iter().find(|change| change.table == Table::Task);
        assert_eq!(task.unwrap().parts(), Some(["maths", "ann", "steps"]));
        let set: Vec<_> = found
            .iter()
            .filter(|change| change.table == Table::Setting)
            .collect();
        let ops: Vec<_> = set.iter().map(|change| change.op).collect();
        assert_eq!(ops, [Op::Insert, Op::Delete]);
        let [name, user, unsettled, spec] = set[0].parts().unwrap();
        assert_eq!((name, user, unsettled), ("maths", "ann", ""));
        assert!(spec.contains("\"max_running\":2"), "{spec}");
    }
}
