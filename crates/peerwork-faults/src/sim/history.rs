//! The history of a simulation, checked as it is written.
//!
//! Numbers are those of the invariants that it checks: see `docs/invariants.md`.

use peerwork_core::{KindKey, NodeId, RunId, Status, TaskId, lifecycle};
use peerwork_store::{Change, Claimed, Seen};
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
    /// The same in words, if it was asked for.
    pub lines: Vec<String>,
}

/// The calls that claim.
pub(super) const CLAIMS: [&str; 3] = ["claim", "claim within", "create and claim"];

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
    /// Each node's last beat that was written: its number, when that was, and the ttl.
    beats: BTreeMap<NodeId, (u64, u64, u64)>,
    /// The run whose end each task was left by, until it goes on.
    ended_by: BTreeMap<TaskId, RunId>,
    /// How many tasks each node has claimed.
    claims: BTreeMap<NodeId, u64>,
    /// Whether what happens is also kept in words.
    verbose: bool,
    /// Whether the database has lost acknowledged commits: then only class S* is asserted, and I30.
    lossy: bool,
    /// Every task as the last change left it.
    rows: BTreeMap<TaskId, Seen>,
    /// The node that claimed each run.
    nodes: BTreeMap<RunId, NodeId>,
    leases: BTreeMap<NodeId, Lease>,
    dead: BTreeSet<NodeId>,
    /// Handlers whose future exists.
    alive: BTreeSet<(TaskId, RunId)>,
    /// The run of each task whose handler began last.
    newest: BTreeMap<TaskId, RunId>,
    /// Runs that were answered that they are to stop.
    told: BTreeSet<(TaskId, RunId)>,
}

/// What a node was told about its lease.
struct Lease {
    ttl_ms: u64,
    /// When each beat that is not acknowledged was first sent.
    sent: BTreeMap<u64, u64>,
    acknowledged: u64,
    /// When the acknowledged beat was first sent.
    since: u64,
    memory: Memory,
}

/// Whether a node knows that the database has lost what it acknowledged.
#[derive(PartialEq, Eq)]
enum Memory {
    Sound,
    Lost,
    Noticed,
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
    pub fn happened(&self, what: &'static str, details: impl Hash + fmt::Debug) {
        self.with(|record| {
            record.say(|| format!("{what}: {details:?}"));
            (what, Hashed(details)).hash(&mut record.hash);
            *record.report.happened.entry(what).or_default() += 1;
        });
    }

    pub fn violation(&self, invariant: &'static str, what: String) {
        self.with(|record| record.report.violations.push(Violation { invariant, what }));
    }

    /// A node that has `kinds` has claimed these.
    pub fn claimed_for(&self, kinds: &[KindKey], tasks: &[Claimed]) {
        let is_foreign = |task: &&Claimed| !kinds.contains(&KindKey::new(&task.kind));
        for task in tasks.iter().filter(is_foreign) {
            let what = format!(
                "task {} of kind {} was claimed by a node without it",
                task.id, task.kind
            );
            self.violation("I27", what);
        }
    }

    /// The changes that one call of the store has made.
    pub fn changed(&self, call: &'static str, now: i64, changes: &[Change]) {
        self.with(|record| {
            for change in changes {
                (call, now, change).hash(&mut record.hash);
                record.say(|| format!("{call} at {now}: {change:?}"));
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

    /// Keeps everything in words, too.
    pub fn in_words(&self) {
        self.with(|record| record.verbose = true);
    }

    /// Every node is registered by what it sends first, however often it repeats it.
    pub fn register_sent(&self, node: NodeId, ttl_ms: u64, now: u64) {
        self.with(|record| {
            record.leases.entry(node).or_insert(Lease {
                ttl_ms,
                sent: BTreeMap::new(),
                acknowledged: 0,
                since: now,
                memory: Memory::Sound,
            });
        });
    }

    /// A beat is sent that builds on `acked`.
    pub fn beat_sent(&self, node: NodeId, seq: u64, acked: u64, now: u64) {
        self.with(|record| {
            let Some(lease) = record.leases.get_mut(&node) else {
                return;
            };
            lease.sent.entry(seq).or_insert(now);
            if lease.memory != Memory::Noticed {
                return;
            }
            if acked < lease.acknowledged {
                (lease.acknowledged, lease.memory) = (acked, Memory::Sound);
                return;
            }
            record.violate(
                "I30",
                format!(
                    "node {node} builds on a beat after it was told that the database has lost it"
                ),
            );
        });
    }

    pub fn beat_written(&self, node: NodeId, seq: u64, now: u64, ttl_ms: u64) {
        self.with(|record| record.beats.insert(node, (seq, now, ttl_ms)));
    }

    /// A node has an answer to its beat: the lease is renewed, or it is not.
    pub fn beat_answered(&self, node: NodeId, seq: u64, renewed: bool) {
        self.with(|record| {
            let Some(lease) = record.leases.get_mut(&node) else {
                return;
            };
            // One that renews was given before the loss, and is late.
            if lease.memory == Memory::Lost && !renewed {
                lease.memory = Memory::Noticed;
            }
            if renewed && let Some(sent) = lease.sent.remove(&seq) {
                (lease.acknowledged, lease.since) = (seq, sent);
            }
        });
    }

    /// When the node's newest acknowledged beat was sent.
    pub fn heard(&self, node: NodeId) -> u64 {
        self.with(|record| record.leases.get(&node).map_or(0, |lease| lease.since))
    }

    /// The database went back to these nodes' beats and these tasks; those of the nodes that are alive there.
    pub fn restored(
        &self,
        beats: &BTreeMap<NodeId, u64>,
        alive: &BTreeSet<NodeId>,
        rows: Vec<(TaskId, Seen)>,
    ) {
        self.happened("restored", rows.len());
        self.with(|record| {
            record.lossy = true;
            record.rows = rows.into_iter().collect();
            record.dead.retain(|node| !alive.contains(node));
            for (node, lease) in &mut record.leases {
                if beats.get(node).is_none_or(|seq| *seq < lease.acknowledged) {
                    lease.memory = Memory::Lost;
                }
            }
        });
    }

    /// Whether `run` holds the task, by the changes that were seen.
    pub fn holds(&self, id: TaskId, run: RunId) -> bool {
        self.with(|record| record.holds(id, run))
    }

    /// A write of a run was accepted.
    pub fn accepted(&self, what: &'static str, id: TaskId, run: RunId) {
        self.with(|record| {
            if !record.holds(id, run) {
                let what =
                    format!("a {what} of run {run} was accepted, which does not hold task {id}");
                record.violate("I1", what);
            }
        });
    }

    /// The end of a run was written, whether or not the answer arrives.
    pub fn end_recorded(&self, id: TaskId, run: RunId) {
        self.with(|record| record.ended_by.insert(id, run));
    }

    /// The end of a run was refused: it does not hold the task.
    pub fn end_refused(&self, id: TaskId, run: RunId) {
        self.happened("end refused", (id, run));
        self.with(|record| {
            if record.ended_by.get(&id) == Some(&run) {
                let what =
                    format!("the end of run {run} of task {id} was recorded, and is refused now");
                record.violate("I18", what);
            }
        });
    }

    /// How many tasks the node has claimed so far.
    pub fn claims(&self, node: NodeId) -> u64 {
        self.with(|record| record.claims.get(&node).copied().unwrap_or_default())
    }

    /// A run's node has the answer that the run is to stop.
    pub fn told(&self, id: TaskId, run: RunId) {
        self.with(|record| record.told.insert((id, run)));
    }

    /// A handler's save told it to go on.
    pub fn went_on(&self, id: TaskId, run: RunId) {
        self.with(|record| {
            if record.told.contains(&(id, run)) {
                record.violate("I12", format!("task {id} was not told that it is to stop"));
            }
        });
    }

    /// A handler's future begins.
    pub fn began(&self, id: TaskId, run: RunId) {
        self.with(|record| {
            record.alive.insert((id, run));
            record.newest.insert(id, run);
        });
    }

    /// A handler's future is gone.
    pub fn over(&self, id: TaskId, run: RunId) {
        self.with(|record| record.alive.remove(&(id, run)));
    }

    /// A handler's future is polled.
    pub fn polled(&self, id: TaskId, run: RunId, now: u64, margin_ms: u64) {
        self.with(|record| {
            let node = record.nodes.get(&run);
            if let Some(lease) = node.and_then(|node| record.leases.get(node)) {
                let end = lease.since + (lease.ttl_ms - margin_ms) * 1_000;
                if now >= end {
                    let late = now - end;
                    let what =
                        format!("run {run} of task {id} was polled {late} us past its lease");
                    record.violate("I24", what);
                }
            }
            if record.newest.get(&id).is_some_and(|newest| *newest != run) {
                let what = format!("run {run} of task {id} goes on after another has begun");
                record.violate("I4", what);
            }
        });
    }

    /// A peer's declaration was written that `node` is dead, after beat `seq`. `is_justified`: by what that peer has read.
    pub fn declared_dead(&self, node: NodeId, seq: u64, is_justified: bool, now: u64) {
        self.happened("declared dead", (node, now));
        self.with(|record| {
            record.dead.insert(node);
            if !is_justified {
                let what =
                    format!("node {node} was declared dead by a peer that has not watched it");
                record.violate("I21", what);
            }
            let Some((written, beat, ttl_ms)) = record.beats.get(&node).copied() else {
                return;
            };
            if written != seq {
                let what =
                    format!("node {node} was declared dead after beat {seq}; it was at {written}");
                record.violate("I21", what);
            }
            if now - beat < ttl_ms * 1_000 {
                let late = now - beat;
                let what = format!("node {node} was declared dead {late} us after its beat");
                record.violate("I21", what);
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
            violations: record
                .report
                .violations
                .iter()
                .filter(|violation| !record.lossy || HOLD_IN_LOSS.contains(&violation.invariant))
                .cloned()
                .collect(),
            ..record.report.clone()
        })
    }
}

/// What a database that loses acknowledged commits does not excuse.
const HOLD_IN_LOSS: [&str; 9] = ["I1", "I2", "I6", "I7", "I8", "I20", "I24", "I27", "I30"];

impl Record {
    fn holds(&self, id: TaskId, run: RunId) -> bool {
        let row = self.rows.get(&id);
        row.is_some_and(|seen| seen.task.status.is_held() && seen.run == Some(run))
    }

    fn say(&mut self, line: impl FnOnce() -> String) {
        if self.verbose {
            self.report.lines.push(line());
        }
    }

    fn violate(&mut self, invariant: &'static str, what: String) {
        self.say(|| format!("VIOLATION {invariant}: {what}"));
        self.report.violations.push(Violation { invariant, what });
    }

    fn check(&mut self, call: &'static str, change: &Change) {
        let id = change.id;
        match change.after {
            Some(after) => self.rows.insert(id, after),
            None => self.rows.remove(&id),
        };
        let creates = matches!(call, "create" | "create and claim");
        if change.before.is_none() && !creates {
            self.violate("I6", format!("{call} made task {id}"));
        }
        let before = change.before.or(change.after.and_then(as_created));
        let (Some(before), Some(after)) = (before, change.after) else {
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
        if call != "end" && from != to {
            // Claimed again, or moved on by somebody: that run is forgotten.
            self.ended_by.remove(&id);
        }
        let claimed = !from.is_held() && to.is_held();
        if let (true, Some(run), Some(node)) = (claimed, after.run, after.node) {
            self.nodes.insert(run, node);
            *self.claims.entry(node).or_default() += 1;
            if self.dead.contains(&node) {
                self.violate("I20", format!("{}, for node {node}, which is dead", say()));
            }
        }
        let is_handed_over = matches!(to, Status::Resuming | Status::CleanupQueued)
            && matches!(from, Status::Running | Status::Cleaning);
        let charged = |task: &peerwork_core::Task| (task.failures, task.crashes);
        if call == "end" && is_handed_over && charged(&after.task) != charged(&before.task) {
            let (old, new) = (charged(&before.task), charged(&after.task));
            let what = format!("{}, (failures, crashes) {old:?} -> {new:?}", say());
            self.violate("I23", what);
        }
        if call == "sweep" && before.node.is_none_or(|node| !self.dead.contains(&node)) {
            self.violate(
                "I21",
                format!("{}, and its node was never declared dead", say()),
            );
        }
        if call == "end"
            && !to.is_held()
            && before
                .run
                .is_some_and(|run| self.alive.contains(&(id, run)))
        {
            self.violate("I12", format!("{} while its handler lives", say()));
        }
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
        if claimed && !CLAIMS.contains(&call) {
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

/// What a task that is held was in between, where one call has created and claimed it.
fn as_created(held: Seen) -> Option<Seen> {
    held.task.status.is_held().then(|| Seen {
        task: peerwork_core::Task::new(true, None, held.task.ready_at),
        run: None,
        node: None,
    })
}

/// Hashes what it holds without a name for its type.
struct Hashed<T>(T);

impl<T: Hash> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

#[cfg(test)]
mod tests;
