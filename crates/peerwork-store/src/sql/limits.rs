//! The rows of `setting`, and what runs under them.
//!
//! Invariant: whoever raises what runs under a limit takes a [turn](take_turn) first. That is a write, and a statement of its own:
//! where a lock and a count are one statement, the count is of before the lock was had; and where a lock is no write, a transaction
//! at REPEATABLE READ goes on counting what was there before. Both let two claimers exceed a limit.

use super::dialect::Sql;
use super::fault::Fault;
use super::lock::lock_running;
use super::rows::readable;
use super::settings::Database;
use super::tx::Tx;
use super::value::{Row, Value};
use peerwork_core::{
    BATCH_MAX, KindKey, LaneId, Scope, ScopeKey, ScopeSort, Setting, Status, TaskId, Timestamp,
    Work,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// A row of `setting`, as claims need it.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub sort: ScopeSort,
    pub setting: Setting,
    /// When its bucket is full again.
    pub full_at: Timestamp,
}

/// The columns of `running` that hold the settings which count a task, in the order of their numbers.
const COLUMNS: [(ScopeSort, &str); 4] = [
    (ScopeSort::Group, "lim_group"),
    (ScopeSort::User, "lim_user"),
    (ScopeSort::UserIn, "lim_lane"),
    (ScopeSort::Kind, "lim_kind"),
];

/// The column of `running` for scopes of this sort; none where tasks cannot be limited.
fn column(sort: ScopeSort) -> Option<&'static str> {
    let column = COLUMNS.iter().find(|(known, _)| *known == sort);
    column.map(|(_, column)| *column)
}

/// The statuses in which a task counts: those in which a node holds it to run it.
pub(crate) fn counted() -> impl Iterator<Item = u8> {
    let counts = |status: &Status| status.is_held() && status.work() == Work::Run;
    Status::ALL.into_iter().filter(counts).map(Status::code)
}

/// What is done where somebody else has the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is waited for.
    Awaited,
    /// That setting is passed over.
    IfFree,
}

/// Takes care that nobody else changes what runs under these settings until the end of the transaction, and returns those whose turn it
/// has. Those that are not set are passed over.
pub(crate) async fn take_turn(
    tx: &mut Tx<'_>,
    keys: &BTreeSet<ScopeKey>,
    turn: Turn,
) -> Result<HashMap<ScopeKey, Limit>, Fault> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let ints = |keys: &BTreeSet<ScopeKey>| keys.iter().map(|key| key.0).collect::<Vec<_>>();
    let lock = |sql: &mut Sql| {
        // In the order of their keys, so that nobody waits for somebody who waits for him.
        sql.push(" order by id");
        match turn {
            Turn::Awaited => sql.for_update(),
            Turn::IfFree => sql.for_update_skip_locked(),
        };
    };
    match tx.database() {
        // Nobody else writes.
        Database::Sqlite => read_limits(tx, keys).await,
        Database::Postgres => {
            let mut sql = tx.sql(
                "update ~setting set seq = seq + 1 where id = any(array(select id from ~setting where ",
            );
            sql.ints("id", ints(keys));
            lock(&mut sql);
            sql.push(")) returning ").push(LIMIT_COLUMNS);
            fetch_limits(tx, sql).await
        }
        Database::MySql => {
            // Told to use the key, because it would lock all of a small table, and with that what others wait for.
            let mut sql = tx.sql("select ");
            sql.push(LIMIT_COLUMNS)
                .push(" from ~setting force index (primary) where ")
                .ints("id", ints(keys));
            lock(&mut sql);
            let limits = fetch_limits(tx, sql).await?;
            if !limits.is_empty() {
                let mut sql =
                    tx.sql("update ~setting force index (primary) set seq = seq + 1 where ");
                sql.ints("id", ints(&limits.keys().copied().collect()));
                tx.execute(sql).await?;
            }
            Ok(limits)
        }
    }
}

const LIMIT_COLUMNS: &str = "id, sort, spec, full_at";

/// Those of these settings that there are.
pub(crate) async fn read_limits(
    tx: &mut Tx<'_>,
    keys: &BTreeSet<ScopeKey>,
) -> Result<HashMap<ScopeKey, Limit>, Fault> {
    let mut sql = tx.sql("select ");
    sql.push(LIMIT_COLUMNS)
        .push(" from ~setting")
        .push_on(Database::MySql, " force index (primary)")
        .push(" where ")
        .ints("id", keys.iter().map(|key| key.0));
    fetch_limits(tx, sql).await
}

async fn fetch_limits(tx: &mut Tx<'_>, sql: Sql) -> Result<HashMap<ScopeKey, Limit>, Fault> {
    let mut rows = tx.fetch(sql).await?;
    let read = |mut row: Row<'_>| readable("a setting", limit(&mut row));
    Ok(rows.rows().filter_map(read).collect())
}

fn limit(row: &mut Row<'_>) -> Result<(ScopeKey, Limit), Fault> {
    let key = ScopeKey(row.int()?);
    let limit = Limit {
        sort: sort(row)?,
        setting: parse(&row.text()?)?,
        full_at: row.time()?,
    };
    Ok((key, limit))
}

pub(crate) fn sort(row: &mut Row<'_>) -> Result<ScopeSort, Fault> {
    let code = row.int()?;
    ScopeSort::from_code(code).ok_or_else(|| {
        Fault::broken(format!(
            "{code} is no sort of setting that this version knows; upgrade it"
        ))
    })
}

pub(crate) fn parse(spec: &str) -> Result<Setting, Fault> {
    serde_json::from_str(spec).map_err(|error| Fault::broken(format!("a setting: {error}")))
}

/// How many tasks run under each of these limits.
pub(crate) async fn count(
    tx: &mut Tx<'_>,
    limits: &HashMap<ScopeKey, Limit>,
) -> Result<HashMap<ScopeKey, u64>, Fault> {
    let mut sql = tx.sql("");
    let mut is_first = true;
    for (sort, column) in COLUMNS {
        let keys: BTreeSet<i64> = limits
            .iter()
            .filter(|(_, limit)| limit.sort == sort && limit.setting.max_running.is_some())
            .map(|(key, _)| key.0)
            .collect();
        if keys.is_empty() {
            continue;
        }
        sql.push(if is_first {
            "select "
        } else {
            " union all select "
        });
        sql.push(column)
            .push(", count(*) from ~running")
            .push_on(Database::MySql, " force index (~running_limited)")
            .push(" where ")
            .push_on(Database::MySql, "limited = 1 and ")
            .ints(column, keys)
            .push(" group by ")
            .push(column);
        is_first = false;
    }
    if is_first {
        return Ok(HashMap::new());
    }
    let mut rows = tx.fetch(sql).await?;
    let read = |mut row: Row<'_>| {
        let key = ScopeKey(row.int()?);
        Ok((key, u64::try_from(row.int()?).unwrap_or_default()))
    };
    rows.rows().map(read).collect()
}

/// Notes when buckets are full again, after starts were taken from them.
pub(crate) async fn empty_buckets(
    tx: &mut Tx<'_>,
    buckets: Vec<(ScopeKey, Timestamp)>,
) -> Result<(), Fault> {
    if buckets.is_empty() {
        return Ok(());
    }
    let known = buckets.iter();
    let known = known.map(|(key, full_at)| (Value::from(key.0), full_at.0));
    let mut sql = tx.sql("update ~setting");
    sql.push_on(Database::MySql, " force index (primary)")
        .push(" set full_at = ");
    push_value_of(tx, &mut sql, "id", "::bigint[]", known.collect());
    sql.push(" where ")
        .ints("id", buckets.iter().map(|(key, _)| key.0));
    tx.execute_exactly(sql, buckets.len()).await
}

/// Under which settings the tasks of a claim are counted.
#[derive(Debug, Default)]
pub(crate) struct CountedUnder {
    lanes: BTreeMap<LaneId, [Option<i64>; 3]>,
    kinds: BTreeMap<KindKey, i64>,
}

impl CountedUnder {
    /// Those of the keys of each lane and kind that are limits of what runs.
    pub(crate) fn of(bounds: &peerwork_core::Bounds, limits: &HashMap<ScopeKey, Limit>) -> Self {
        let counts = |key: &ScopeKey| {
            let limit = limits.get(key)?;
            limit.setting.max_running.map(|_| limit.sort)
        };
        let mut under = Self::default();
        for (lane, keys) in &bounds.lanes {
            let columns = under.lanes.entry(*lane).or_default();
            for key in keys {
                let sort = counts(key);
                let at = COLUMNS.iter().position(|(known, _)| Some(*known) == sort);
                if let Some(column) = at.and_then(|at| columns.get_mut(at)) {
                    *column = Some(key.0);
                }
            }
        }
        for (kind, key) in &bounds.kinds {
            if counts(key) == Some(ScopeSort::Kind) {
                under.kinds.insert(*kind, key.0);
            }
        }
        under
    }

    /// Appends the names of the columns.
    pub(crate) fn push_columns(sql: &mut Sql) {
        for (_, column) in COLUMNS {
            sql.push(", ").push(column);
        }
    }

    /// Appends the values of the columns for a row `r` of `ready`.
    pub(crate) fn push_values(&self, tx: &Tx<'_>, sql: &mut Sql) {
        for at in 0..3 {
            let lanes = self.lanes.iter();
            let keys = lanes.filter_map(|(lane, keys)| Some((Value::from(*lane), keys[at]?)));
            sql.push(", ");
            push_value_of(tx, sql, "r.lane", "::uuid[]", keys.collect());
        }
        let kinds = self.kinds.iter();
        let keys = kinds.map(|(kind, key)| (Value::from(*kind), *key));
        sql.push(", ");
        push_value_of(tx, sql, "r.kind", "::bigint[]", keys.collect());
    }
}

/// Appends the value that belongs to a column's.
fn push_value_of(
    tx: &Tx<'_>,
    sql: &mut Sql,
    column: &'static str,
    array: &'static str,
    mut known: Vec<(Value, i64)>,
) {
    if tx.database() == Database::Postgres {
        let of = |(of, _): &(Value, i64)| of.clone();
        let ofs: Value = match array {
            "::uuid[]" => Value::Ids(known.iter().map(of).map(as_id).collect()),
            _ => Value::Ints(known.iter().map(of).map(as_int).collect()),
        };
        let values = Value::ints(known.iter().map(|(_, value)| *value));
        sql.push("(")
            .bind(values)
            .push("::bigint[])[array_position(");
        sql.bind(ofs).push(array).push(", ").push(column).push(")]");
        return;
    }
    let Some(last) = known.last().cloned() else {
        sql.push("null");
        return;
    };
    // Of few lengths, as other lists are: what is said twice of a value is not looked at.
    known.resize(known.len().next_power_of_two(), last);
    sql.push("case ").push(column);
    for (of, value) in known {
        sql.push(" when ").bind(of).push(" then ").bind(value);
    }
    sql.push(" end");
}

fn as_id(value: Value) -> Option<Uuid> {
    match value {
        Value::Id(id) => id,
        other => unreachable!("{other:?} is no id"),
    }
}

fn as_int(value: Value) -> Option<i64> {
    match value {
        Value::Int(int) => int,
        other => unreachable!("{other:?} is no number"),
    }
}

/// Counts what runs in a scope and is not counted yet, with a row of its own: what is in batches is [unfolded](super::batch::Unfold) before,
/// in a transaction of its own, that nothing waits for this one that has nothing to do with the scope.
pub(crate) async fn fill(tx: &mut Tx<'_>, scope: &Scope) -> Result<(), Fault> {
    let Some(column) = column(scope.sort()) else {
        return Ok(());
    };
    let (first, second) = scope.names();
    let mut after = Uuid::nil();
    loop {
        let mut sql = tx.sql("select r.id, r.lane from ~running r where r.");
        sql.push(column).push(" is null and r.status in (");
        sql.numbers(counted()).push(") and r.id > ").bind(after);
        match scope {
            Scope::Kind(kind) => {
                sql.push(" and r.kind = ").bind(KindKey::new(kind));
            }
            Scope::UserIn { .. } => {
                sql.push(" and r.lane = ")
                    .bind(LaneId::new(&first, &second));
            }
            Scope::Group(name) | Scope::User(name) => {
                // One by one: a group may have a million tasks, and a thousand of them run.
                sql.push(" and (select 1 from ~task t where t.id = r.id and t.lane = r.lane and ")
                    .push(match scope.sort() {
                        ScopeSort::Group => "t.grp = ",
                        _ => "t.usr = ",
                    })
                    .bind(name)
                    .push(" limit 1) is not null");
            }
            Scope::Everything => return Ok(()),
        }
        sql.push(" order by r.id limit ").bind(BATCH_MAX);
        let mut lanes = HashMap::new();
        for mut row in tx.fetch(sql).await?.rows() {
            lanes.insert(TaskId(row.id()?), LaneId(row.id()?));
        }
        let Some(last) = lanes.keys().max().copied() else {
            return Ok(());
        };
        let is_last = lanes.len() < BATCH_MAX;
        let mut ids: Vec<_> = lanes.keys().copied().collect();
        ids.sort_unstable();
        // It may have been moved, or have ended, before it was locked.
        let locked = lock_running(tx, ids).await?;
        let there = locked.iter().filter(|row| lanes[&row.id] == row.lane);
        let ids: Vec<_> = there.map(|row| row.id.0).collect();
        if !ids.is_empty() {
            let mut sql = tx.sql("update ~running set ");
            sql.push(column)
                .push(" = ")
                .bind(scope.key().0)
                .push(" where ")
                .ids("id", ids);
            tx.execute(sql).await?;
        }
        if is_last {
            return Ok(());
        }
        after = last.0;
    }
}

/// A held task that has been moved to another group.
pub(crate) struct Moved {
    pub id: TaskId,
    pub from: Scope,
    pub to: Scope,
    pub from_lane: Scope,
    pub to_lane: Scope,
}

/// Counts moved tasks where they are now. In the transaction that moves them.
pub(crate) async fn recount(tx: &mut Tx<'_>, moved: &[Moved]) -> Result<(), Fault> {
    let scopes = moved
        .iter()
        .flat_map(|moved| [&moved.from, &moved.to, &moved.from_lane, &moved.to_lane]);
    let keys = scopes.map(Scope::key).collect();
    let limits = take_turn(tx, &keys, Turn::Awaited).await?;
    let counts = |scope: &Scope| {
        let key = scope.key();
        let limit = limits.get(&key)?;
        limit.setting.max_running.map(|_| key.0)
    };
    let mut groups: BTreeMap<(Option<i64>, Option<i64>), Vec<Uuid>> = BTreeMap::new();
    for moved in moved {
        let columns = (counts(&moved.to), counts(&moved.to_lane));
        groups.entry(columns).or_default().push(moved.id.0);
    }
    for ((group, lane), ids) in groups {
        let expected = ids.len();
        let mut sql = tx.sql("update ~running set lim_group = ");
        sql.bind(group)
            .push(", lim_lane = ")
            .bind(lane)
            .push(" where ")
            .ids("id", ids);
        tx.execute_exactly(sql, expected).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_a_later_version_is_read_as_far_as_it_is_known() {
        let text = r#"{"max_running":5,"something_new":true}"#;
        let wanted = Setting {
            max_running: Some(5),
            ..Setting::default()
        };
        assert_eq!(parse(text).unwrap(), wanted);
    }

    #[test]
    fn pausing_tasks_and_those_to_be_deleted_count_and_cleanups_do_not() {
        let wanted = [Status::Running, Status::Pausing, Status::DeletingRun];
        let mut codes = wanted.map(Status::code).to_vec();
        codes.sort_unstable();
        let mut counted: Vec<_> = counted().collect();
        counted.sort_unstable();
        assert_eq!(counted, codes);
    }
}
