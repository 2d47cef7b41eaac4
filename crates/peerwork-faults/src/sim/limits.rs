//! Limits and gates in a simulation: what people set, and what runs under it, counted anew at every claim (I14).
//!
//! *Not here:* which column counts a run (I15): the store in memory has none. That is for the suite and for `cargo xtask faults`.

use super::history::History;
use peerwork::{Adjustment, Client, Setting, SettingChange, TaskRecord};
use peerwork_core::{Scope, Status, TaskId, Timestamp, Work};
use peerwork_store::{Change, Filter, MemoryStore, Result, Seen, Store};
use std::collections::BTreeSet;
use std::time::Duration;

/// More tasks than a simulation has.
const ALL: usize = 1_000;

/// Sets something, or takes it back, for some of the tasks.
pub(super) async fn set(client: &Client, history: &History, dice: impl Fn(usize) -> usize) {
    let (group, user) = (format!("group{}", dice(3)), format!("user{}", dice(3)));
    let whose = match dice(5) {
        0 | 1 => client.group(&group),
        2 => client.user(&user),
        3 => client.user_in(&group, &user),
        _ => client.kind("count"),
    };
    let (what, adjustment): (_, Adjustment) = match dice(12) {
        0..=4 => ("limit set", whose.limit(1 + dice(3) as u32)),
        5 => ("limit per node set", whose.limit_per_node(1)),
        6 => ("rate set", whose.starts_per_second(1.0).burst(2)),
        7 => ("gate closed", whose.gate("simulated")),
        8 => {
            let gate = whose.gate("simulated").pausing();
            ("gate closed", gate.ramp(1.0, Duration::from_secs(5)))
        }
        9 | 10 => ("gate opened", whose.open()),
        _ => ("setting cleared", whose.clear()),
    };
    let is_known = adjustment.await.is_ok();
    history.happened(what, is_known);
}

/// What is set may not keep anything up for ever: gates are opened. Limits and rates stay.
pub(super) async fn open(store: &MemoryStore) -> Result<()> {
    change(store, SettingChange::Open).await
}

/// Nothing is set any more.
pub(super) async fn clear(store: &MemoryStore) -> Result<()> {
    change(store, SettingChange::Clear).await
}

async fn change(store: &MemoryStore, change: SettingChange) -> Result<()> {
    for row in store.config().await?.settings {
        store.set(row.scope, vec![change.clone()]).await?;
    }
    Ok(())
}

/// Judges what a claim has changed: it has just been carried out, and nothing else since.
pub(super) async fn judge(
    store: &MemoryStore,
    history: &History,
    now: Timestamp,
    changes: &[Change],
) -> Result<()> {
    let is_run = |seen: Option<Seen>| seen.is_some_and(|seen| runs(seen.task.status));
    let claimed = changes
        .iter()
        .filter(|change| is_run(change.after) && !is_run(change.before));
    let claimed: BTreeSet<TaskId> = claimed.map(|change| change.id).collect();
    let settings = store.config().await?.settings;
    if claimed.is_empty() || settings.is_empty() {
        return Ok(());
    }
    let tasks = store.list(Filter::default(), None, ALL).await?.tasks;
    let running: Vec<_> = tasks.iter().filter(|task| runs(task.task.status)).collect();
    for row in settings {
        let is_its = |task: &&&TaskRecord| belongs(task, &row.scope);
        let its: Vec<_> = running.iter().filter(is_its).collect();
        if its.iter().any(|task| claimed.contains(&task.id)) {
            under(history, now, &row.scope, &row.setting, its.len());
        }
    }
    Ok(())
}

/// A claim has taken something under `setting`, where `running` tasks run now.
fn under(history: &History, now: Timestamp, scope: &Scope, setting: &Setting, running: usize) {
    if let Some(limit) = setting.max_running.map(|limit| limit as usize) {
        if running == limit {
            history.happened("limit reached", scope.key());
        }
        if running > limit {
            let what = format!("a claim has {running} run under the limit of {limit} for {scope}");
            history.violation("I14", what);
        }
    }
    if setting.closed(now).is_some() {
        history.violation("I14", format!("a claim passes the closed gate of {scope}"));
    }
}

fn runs(status: Status) -> bool {
    status.is_held() && status.work() == Work::Run
}

fn belongs(task: &TaskRecord, scope: &Scope) -> bool {
    match scope {
        Scope::Everything => true,
        Scope::Group(group) => task.group == *group,
        Scope::User(user) => task.user == *user,
        Scope::UserIn { group, user } => task.group == *group && task.user == *user,
        Scope::Kind(kind) => task.kind == *kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerwork_core::{Gate, Name};

    fn found(setting: &Setting, running: usize) -> Vec<&'static str> {
        let history = History::new();
        let scope = Scope::Group(Name::new("group", "g").expect("it is short"));
        under(&history, Timestamp(7), &scope, setting, running);
        let violations = history.report().violations;
        violations.iter().map(|found| found.invariant).collect()
    }

    #[test]
    fn more_than_a_limit_and_whatever_passes_a_gate_is_found() {
        let limited = Setting {
            max_running: Some(2),
            ..Setting::default()
        };
        assert_eq!(found(&limited, 2), Vec::<&str>::new());
        assert_eq!(found(&limited, 3), ["I14"]);
        let gate = |until| Gate {
            reason: String::new(),
            by: None,
            since: Timestamp(0),
            until,
            pauses: false,
            ramp: None,
        };
        let shut = |until| Setting {
            gate: Some(gate(until)),
            ..Setting::default()
        };
        assert_eq!(found(&shut(None), 1), ["I14"]);
        assert_eq!(found(&shut(Some(Timestamp(7))), 1), Vec::<&str>::new());
    }
}
