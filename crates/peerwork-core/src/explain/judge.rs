//! Which causes hold, and in which order.

use super::{Cause, Children, Count, Facts, Health, Holder, NodeFacts, ScopeFacts, Slots, Why};
use crate::{KindKey, Place, State, Status, Timestamp, Work};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// All causes that hold, at least one, the most binding one first.
pub(super) fn causes(facts: &Facts) -> Vec<Cause> {
    let status = facts.status();
    let mut causes: Vec<Cause> = own(facts).into_iter().collect();
    if matches!(status.place(), Place::Ready | Place::Parked) {
        causes.extend(no_node(facts));
        // A cleanup passes every gate and counts nowhere.
        if status.work() == Work::Run {
            let due = causes.iter().find_map(due_at);
            causes.extend(gates(facts, due));
        }
        if status.place() == Place::Ready && status.work() == Work::Run {
            let scopes = || facts.scopes.iter();
            causes.extend(scopes().filter_map(|scope| limit(facts, scope)));
            causes.extend(scopes().filter_map(|scope| limit_per_node(facts, scope)));
            causes.extend(scopes().filter_map(|scope| bucket(facts, scope)));
        }
    }
    if status.place() == Place::Ready || causes.is_empty() {
        causes.extend(line(facts, causes.is_empty()));
    }
    causes.sort_by_key(order);
    causes
}

/// What its status says by itself.
fn own(facts: &Facts) -> Option<Cause> {
    let task = &facts.task;
    let later = |why| {
        let at = task.wake_at?;
        Some(Cause::Later { at, why })
    };
    let failures = task.failures;
    match task.status {
        Status::Created => Some(Cause::NotStarted),
        Status::Scheduled if failures > 0 => later(Why::Retry { failures }),
        Status::Scheduled => later(Why::DueTime),
        Status::Queued | Status::Resuming | Status::CleanupQueued => None,
        Status::Running => Some(Cause::Running(holder(facts)?)),
        Status::Pausing => Some(Cause::Stopping {
            holder: holder(facts)?,
            deletes: false,
        }),
        Status::DeletingRun => Some(Cause::Stopping {
            holder: holder(facts)?,
            deletes: true,
        }),
        Status::Cleaning => Some(Cause::Cleaning(holder(facts)?)),
        Status::Waiting => match (facts.children, task.wake_at) {
            (None, Some(_)) => later(Why::Timer),
            (children, until) => {
                let Children { over, of } = children.unwrap_or_default();
                Some(Cause::Children { over, of, until })
            }
        },
        Status::Paused => Some(Cause::Paused {
            forced: task.forced,
            failures,
            error: facts.error.clone().filter(|_| failures > 0),
        }),
        Status::CleanupScheduled => later(Why::CleanupRetry { failures }),
        Status::CleanupFailed => Some(Cause::CleanupFailed {
            error: facts.error.clone(),
        }),
        Status::Finished | Status::Failed | Status::Deleted => Some(Cause::Over {
            state: State::of(task.status, failures),
            at: facts.finished_at,
            error: facts
                .error
                .clone()
                .filter(|_| task.status == Status::Failed),
        }),
    }
}

/// The node that holds it; none where the facts do not say which that is.
fn holder(facts: &Facts) -> Option<Holder> {
    let node = facts.node?;
    let row = facts.nodes.iter().find(|row| row.id == node);
    Some(Holder {
        node,
        label: row.map(|row| row.label.clone()),
        since: facts.started_at?,
        health: match row {
            Some(row) if row.is_live(facts.now) => Health::Live,
            Some(row) if row.alive => Health::Late,
            Some(_) | None => Health::Dead,
        },
        slots: row.map_or(0, |row| row.slots),
        running: row.map_or(0, |row| row.running),
    })
}

fn due_at(cause: &Cause) -> Option<Timestamp> {
    match cause {
        Cause::Later { at, .. } => Some(*at),
        _ => None,
    }
}

/// The closed gates, but for those that are open by the time at which it is due.
fn gates(facts: &Facts, due: Option<Timestamp>) -> impl Iterator<Item = Cause> {
    facts.scopes.iter().filter_map(move |scope| {
        let gate = scope.setting.closed(facts.now)?.clone();
        let is_in_time = gate.until.is_some() && gate.until <= due;
        let scope = scope.scope.clone();
        (!is_in_time).then_some(Cause::Gate { scope, gate })
    })
}

fn no_node(facts: &Facts) -> Option<Cause> {
    if facts.able().next().is_some() {
        return None;
    }
    let live: Vec<_> = facts
        .nodes
        .iter()
        .filter(|node| node.is_live(facts.now))
        .collect();
    let keys: BTreeSet<KindKey> = live
        .iter()
        .flat_map(|node| node.kinds.iter().flatten().copied())
        .collect();
    let known = facts.kinds.iter().filter(|(key, _)| keys.contains(key));
    let mut kinds: Vec<_> = known.map(|(_, name)| name.clone()).collect();
    kinds.sort_unstable();
    Some(Cause::NoNode {
        kind: facts.kind.clone(),
        live: u32::try_from(live.len()).unwrap_or(u32::MAX),
        kinds,
    })
}

fn ahead(facts: &Facts) -> Count {
    facts.line.map(|line| line.ahead).unwrap_or_default()
}

fn limit(facts: &Facts, scope: &ScopeFacts) -> Option<Cause> {
    let max = scope.setting.max_running?;
    (scope.running >= u64::from(max)).then(|| Cause::Limit {
        scope: scope.scope.clone(),
        max,
        running: scope.running,
        ahead: ahead(facts),
    })
}

fn limit_per_node(facts: &Facts, scope: &ScopeFacts) -> Option<Cause> {
    let max = scope.setting.max_running_per_node?;
    let running_on = |id| {
        let found = scope.running_on.iter().find(|(node, _)| *node == id);
        found.map_or(0, |(_, running)| *running)
    };
    let nodes = facts.able().count();
    let is_full = facts
        .able()
        .all(|node| running_on(node.id) >= u64::from(max));
    (nodes > 0 && is_full).then(|| Cause::LimitPerNode {
        scope: scope.scope.clone(),
        max,
        nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
        ahead: ahead(facts),
    })
}

fn bucket(facts: &Facts, scope: &ScopeFacts) -> Option<Cause> {
    let rate = scope.setting.rate_at(facts.now)?;
    (rate.room(scope.full_at, facts.now) == 0).then(|| Cause::Bucket {
        scope: scope.scope.clone(),
        rate,
        next_at: rate.next_at(scope.full_at, facts.now),
    })
}

/// Its place in line, where that keeps it waiting, or where nothing else says why it waits.
fn line(facts: &Facts, is_alone: bool) -> Option<Cause> {
    let line = facts.line.unwrap_or_default();
    let work = facts.status().work();
    let slots = (work == Work::Run).then(|| {
        let add = |sum: Slots, node: &NodeFacts| Slots {
            total: sum.total + u64::from(node.slots),
            // What a node holds beyond its slots waits on it for one.
            taken: sum.taken + node.running.min(u64::from(node.slots)),
        };
        facts.able().fold(Slots::default(), add)
    });
    let is_full = slots.is_some_and(|slots| slots.total > 0 && slots.taken >= slots.total);
    (is_alone || line.ahead.n > 0 || is_full).then(|| Cause::Line {
        work,
        ahead: line.ahead,
        lanes: line.lanes,
        slots,
        policy: facts.policy.clone(),
    })
}

/// The order of causes: what binds longest goes first. Those that end at a time are in the order of their ends, the last one first.
fn order(cause: &Cause) -> (u8, Reverse<Timestamp>) {
    let (class, until) = match cause {
        Cause::Over { .. } | Cause::Running(_) | Cause::Stopping { .. } | Cause::Cleaning(_) => {
            (0, None)
        }
        Cause::NotStarted | Cause::Paused { .. } | Cause::CleanupFailed { .. } => (1, None),
        Cause::Gate { gate, .. } if gate.until.is_none() => (2, None),
        Cause::NoNode { .. } => (3, None),
        Cause::Children { .. } => (4, None),
        Cause::Gate { gate, .. } => (5, gate.until),
        Cause::Later { at, .. } => (5, Some(*at)),
        Cause::Limit { .. } => (6, None),
        Cause::LimitPerNode { .. } => (7, None),
        Cause::Bucket { next_at, .. } => (8, Some(*next_at)),
        Cause::Line { .. } => (9, None),
    };
    (class, Reverse(until.unwrap_or_default()))
}
