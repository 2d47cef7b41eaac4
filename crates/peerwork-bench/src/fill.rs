//! Fills tables with raw SQL: the very rows that the engine would have written, faster.

use crate::place::Place;
use crate::target::Sort;
use peerwork_core::{KindKey, LaneId, Name, Rank, Status};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Rows in one transaction.
const CHUNK: usize = 100_000;

/// Tasks that were created together: their rows have one time. As the engine does it.
const BATCH: usize = 1_000;

/// Where rows go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// No-op tasks, claimable now.
    Queued,
    /// The same, over since long ago.
    Finished,
}

/// The lane of a group's tasks without a user.
pub fn lane(group: &str) -> LaneId {
    let name = |what, text| Name::new(what, text).expect("a short name");
    LaneId::new(&name("group", group), &name("user", ""))
}

pub fn kind_key(kind: &str) -> KindKey {
    KindKey::new(&Name::new("kind", kind).expect("a short name"))
}

/// `count` queued tasks of `kind` in `group`, whose inputs are numbers.
pub async fn queued(place: &Place, kind: &str, group: &str, count: usize) -> anyhow::Result<()> {
    fill(place, Rows::Queued, kind, group, count, CHUNK).await
}

/// The same in a single transaction: all of them appear at once.
pub async fn queued_at_once(
    place: &Place,
    kind: &str,
    group: &str,
    count: usize,
) -> anyhow::Result<()> {
    fill(place, Rows::Queued, kind, group, count, count).await
}

/// `count` finished tasks.
pub async fn finished(place: &Place, kind: &str, group: &str, count: usize) -> anyhow::Result<()> {
    fill(place, Rows::Finished, kind, group, count, CHUNK).await
}

async fn fill(
    place: &Place,
    rows: Rows,
    kind: &str,
    group: &str,
    count: usize,
    chunk: usize,
) -> anyhow::Result<()> {
    let mut raw = place.raw().await?;
    let mut from = 0;
    while from < count {
        let to = (from + chunk.max(1)).min(count);
        let written = write(place, rows, kind, group, (from, to));
        raw.run(&format!(
            "{}; {}; {}; commit",
            begin(place.sort),
            written[0],
            written[1]
        ))
        .await?;
        from = to;
    }
    Ok(())
}

fn begin(sort: Sort) -> &'static str {
    match sort {
        Sort::Sqlite => "begin immediate",
        Sort::Postgres | Sort::MySql => "begin",
    }
}

/// The statements for the rows numbered `from..to`: `task`'s, and those of their place.
fn write(
    place: &Place,
    rows: Rows,
    kind: &str,
    group: &str,
    (from, to): (usize, usize),
) -> [String; 2] {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (now_us, now_ms) = (now.as_micros(), now.as_millis());
    let sort = place.sort;
    let numbers = numbers(sort, from, to);
    let at = format!("{now_us} + n / {BATCH}");
    let id = id(sort, now_ms);
    let lane = bytes(sort, lane(group).0.simple().to_string());
    let input = input(sort);
    let task = format!(
        "insert into ~task (id, lane, created_at, usr, grp, kind, priority, options, parent, input) \
         select {id}, {lane}, {at}, '', '{group}', '{kind}', 0, 0, null, {input} from {numbers}"
    );
    let held = match rows {
        Rows::Queued => format!(
            "insert into ~ready (lane, rank_no, ready_at, id, kind, status, attempt, failures, crashes, child, ended_by) \
             select {lane}, {rank}, {at}, {id}, {key}, {status}, 0, 0, 0, 0, null from {numbers}",
            rank = Rank::new(Status::Queued, 0).0,
            key = kind_key(kind).0,
            status = Status::Queued.code(),
        ),
        Rows::Finished => format!(
            "insert into ~done (id, status, run_id, node, started_at, finished_at, ready_at, attempt, failures, crashes, output) \
             select {id}, {status}, {lane}, {lane}, {at}, {at}, {at}, 1, 0, 0, {output} from {numbers}",
            status = Status::Finished.code(),
            output = bytes(sort, "6e756c6c".to_owned()),
        ),
    };
    [place.sql(&task), place.sql(&held)]
}

/// A table expression with a column `n`.
fn numbers(sort: Sort, from: usize, to: usize) -> String {
    let last = to - 1;
    match sort {
        Sort::Postgres => format!("generate_series({from}::bigint, {last}) as s(n)"),
        Sort::MySql => format!("(select seq as n from seq_{from}_to_{last}) as s"),
        Sort::Sqlite => format!(
            "(with recursive s(n) as (select {from} union all select n + 1 from s where n < {last}) select n from s) as s"
        ),
    }
}

/// In the order of UUIDv7: the time first. The numbers keep those of one chunk apart, and a count of chunks the chunks.
fn id(sort: Sort, now_ms: u128) -> String {
    static CHUNKS: AtomicU32 = AtomicU32::new(0);
    let chunk = CHUNKS.fetch_add(1, Ordering::Relaxed) % 0x1000;
    let head = format!("{now_ms:012x}7{chunk:03x}8000");
    match sort {
        Sort::Postgres => format!("('{head}' || lpad(to_hex(n), 12, '0'))::uuid"),
        Sort::MySql => format!("unhex(concat('{head}', lpad(hex(n), 12, '0')))"),
        Sort::Sqlite => format!("unhex('{head}' || printf('%012x', n))"),
    }
}

/// The number as JSON.
fn input(sort: Sort) -> &'static str {
    match sort {
        Sort::Postgres => "convert_to(n::text, 'UTF8')",
        Sort::MySql => "cast(n as char)",
        Sort::Sqlite => "cast(cast(n as text) as blob)",
    }
}

fn bytes(sort: Sort, hex: String) -> String {
    match sort {
        // An id or a payload: the column's type takes either text.
        Sort::Postgres if hex.len() == 32 => format!("'{hex}'::uuid"),
        Sort::Postgres => format!(r"'\x{hex}'::bytea"),
        Sort::MySql | Sort::Sqlite => format!("x'{hex}'"),
    }
}
