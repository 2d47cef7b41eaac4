//! The history of a simulation, checked as it is written.
//!
//! Numbers are those of the invariants that it checks: see `docs/invariants.md`.

use peerwork_core::{NodeId, RunId, Status, TaskId, lifecycle};
use peerwork_store::{Change, Seen};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant, as `I7`.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What a simulation found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The promises that were broken.
    pub violations: Vec<Violation>,
    /// How often each thing happened that the simulation is to make happen.
    pub happened: BTreeMap<&'static str, u64>,
    /// Of everything that happened, in order: equal for two runs of one seed.
    pub trace: u64,
}

/// The one record of a simulation.
#[derive(Clone, Default)]
pub(super) struct History(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    report: Report,
    hash: DefaultHasher,
    legal: BTreeSet<(Status, Status)>,
    /// The newest checkpoint of each task that was acknowledged.
    acknowledged: BTreeMap<TaskId, u64>,
    /// Tasks whose pause is acknowledged and not taken back.
    paused: BTreeSet<TaskId>,
    /// Tasks whose deletion is acknowledged.
    deleted: BTreeSet<TaskId>,
    created: BTreeSet<TaskId>,
    cleaned: BTreeSet<TaskId>,
    /// When each node's last acknowledged beat was written, by the database's clock, with its ttl.
    beats: BTreeMap<NodeId, (i64, u64)>,
}

impl History {
    pub fn new() -> Self {
        let record = Record {
            legal: lifecycle::transitions(),
            ..Record::default()
        };
        Self(Arc::new(Mutex::new(record)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Record) -> T) -> T {
        act(&mut self.0.lock().expect("no panic under the lock"))
    }

    /// Counts something, and makes it part of the trace.
    pub fn happened(&self, what: &'static str, details: impl Hash) {
        self.with(|record| {
            (what, Hashed(details)).hash(&mut record.hash);
            *record.report.happened.entry(what).or_default() += 1;
        });
    }

    pub fn violation(&self, invariant: &'static str, what: String) {
        self.with(|record| record.report.violations.push(Violation { invariant, what }));
    }

    /// The changes that one call of the store has made.
    pub fn changed(&self, call: &'static str, now: i64, changes: &[Change]) {
        self.with(|record| {
            for change in changes {
                (call, now, change).hash(&mut record.hash);
                record.check(call, change);
            }
        });
    }

    /// A run was told that its checkpoint `value` is durable.
    pub fn saved(&self, id: TaskId, value: u64) {
        self.with(|record| {
            let newest = record.acknowledged.entry(id).or_default();
            *newest = (*newest).max(value);
        });
    }

    /// A run starts from checkpoint `value`.
    pub fn started(&self, id: TaskId, run: RunId, value: u64) {
        self.with(|record| {
            ("started", id, run, value).hash(&mut record.hash);
            let newest = record.acknowledged.get(&id).copied().unwrap_or(0);
            if value < newest {
                let what = format!("task {id} starts from {value} after {newest} was acknowledged");
                record.report.violations.push(Violation {
                    invariant: "I11",
                    what,
                });
            }
        });
    }

    pub fn cleaned(&self, id: TaskId) {
        self.with(|record| record.cleaned.insert(id));
    }

    pub fn created(&self, id: TaskId) {
        self.with(|record| record.created.insert(id));
    }

    pub fn pause_acknowledged(&self, id: TaskId) {
        self.with(|record| record.paused.insert(id));
    }

    /// From here on a resume may take effect.
    pub fn resume_asked(&self, id: TaskId) {
        self.with(|record| record.paused.remove(&id));
    }

    pub fn delete_acknowledged(&self, id: TaskId) {
        self.with(|record| record.deleted.insert(id));
    }

    pub fn beat_acknowledged(&self, node: NodeId, now: i64, ttl_ms: u64) {
        self.with(|record| record.beats.insert(node, (now, ttl_ms)));
    }

    pub fn declared_dead(&self, node: NodeId, now: i64) {
        self.happened("declared dead", (node, now));
        self.with(|record| {
            let Some((beat, ttl_ms)) = record.beats.get(&node).copied() else {
                return;
            };
            if now - beat < ttl_ms as i64 * 1_000 {
                let what = format!(
                    "node {node} was declared dead {} us after a beat that was acknowledged",
                    now - beat
                );
                record.report.violations.push(Violation {
                    invariant: "I21",
                    what,
                });
            }
        });
    }

    /// What is left at the end, when everything should be over.
    pub fn ended(&self, left: impl IntoIterator<Item = (TaskId, Seen)>) {
        let left: BTreeMap<_, _> = left.into_iter().collect();
        self.with(|record| {
            for id in record.created.clone() {
                match left.get(&id) {
                    None => record.violate(
                        "I5",
                        format!("task {id} was acknowledged and does not exist"),
                    ),
                    Some(seen) if !seen.task.status.is_final() => {
                        record.violate(
                            "I20",
                            format!("task {id} is still {} after the faults", seen.task.status),
                        );
                    }
                    Some(seen)
                        if record.deleted.contains(&id) && seen.task.status != Status::Deleted =>
                    {
                        record.violate(
                            "I13",
                            format!("task {id} was deleted and is {}", seen.task.status),
                        );
                    }
                    Some(seen)
                        if seen.task.status == Status::Deleted && !record.cleaned.contains(&id) =>
                    {
                        record.violate("I13", format!("task {id} is gone without its cleanup"));
                    }
                    Some(_) => {}
                }
            }
        });
    }

    pub fn report(&self) -> Report {
        self.with(|record| Report {
            trace: record.hash.finish(),
            ..record.report.clone()
        })
    }
}

impl Record {
    fn violate(&mut self, invariant: &'static str, what: String) {
        self.report.violations.push(Violation { invariant, what });
    }

    fn check(&mut self, call: &'static str, change: &Change) {
        let id = change.id;
        let (Some(before), Some(after)) = (change.before, change.after) else {
            if change
                .before
                .is_some_and(|before| before.task.status != Status::Deleted)
            {
                self.violate(
                    "I5",
                    format!("{call} removed task {id}, which was not deleted"),
                );
            }
            return;
        };
        let (from, to) = (before.task.status, after.task.status);
        let say = || format!("{call} of task {id}: {from} -> {to}");
        if from != to && !self.legal.contains(&(from, to)) {
            self.violate("I7", say());
        }
        if from.is_held() && to.is_held() && before.run != after.run {
            self.violate("I2", format!("{}, from one run to another", say()));
        }
        if from.is_final() && from != to && call != "steer" && call != "prune" {
            self.violate("I8", say());
        }
        let claimed = !from.is_held() && to.is_held();
        if after.task.attempt != before.task.attempt + u32::from(claimed) {
            self.violate(
                "I3",
                format!(
                    "{}, attempt {} -> {}",
                    say(),
                    before.task.attempt,
                    after.task.attempt
                ),
            );
        }
        if claimed && call != "claim" {
            self.violate("I7", format!("{}, which only a claim may do", say()));
        }
        if claimed && to == Status::Running {
            if self.paused.contains(&id) {
                self.violate("I12", format!("{} after its pause was acknowledged", say()));
            }
            if self.deleted.contains(&id) {
                self.violate(
                    "I13",
                    format!("{} after its deletion was acknowledged", say()),
                );
            }
        }
    }
}

/// Hashes what it holds without a name for its type.
struct Hashed<T>(T);

impl<T: Hash> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
