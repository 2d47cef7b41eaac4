//! The JSON lines. Their fields are stable: new ones may come, none goes or changes its meaning.

use peerwork::explain::Health;
use peerwork::{
    Failure, Gate, NodeRow, Rate, Scope, SettingRow, Status, Tally, TaskId, TaskRecord, Timestamp,
};
use serde::Serialize;

/// A task: a line of `task list`, `task wait` and `task follow`.
#[derive(Serialize)]
pub(crate) struct TaskLine<'a> {
    id: TaskId,
    kind: &'a str,
    user: &'a str,
    group: &'a str,
    priority: i16,
    state: &'static str,
    status: &'static str,
    attempt: u32,
    failures: u32,
    crashes: u32,
    progress: Option<ProgressField>,
    node: Option<String>,
    parent: Option<TaskId>,
    created_at: String,
    wake_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct ProgressField {
    done: u64,
    total: u64,
}

impl<'a> TaskLine<'a> {
    pub fn new(record: &'a TaskRecord) -> Self {
        Self {
            id: record.id,
            kind: record.kind.as_str(),
            user: record.user.as_str(),
            group: record.group.as_str(),
            priority: record.priority,
            state: record.state().name(),
            status: record.status().name(),
            attempt: record.task.attempt,
            failures: record.task.failures,
            crashes: record.task.crashes,
            progress: record.progress.map(|progress| ProgressField {
                done: progress.done,
                total: progress.total,
            }),
            node: record.node.map(|node| node.to_string()),
            parent: record.parent,
            created_at: record.created_at.to_string(),
            wake_at: time(record.task.wake_at),
            started_at: time(record.started_at),
            finished_at: time(record.finished_at),
            error: record.error.as_deref(),
        }
    }
}

pub(super) fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// What is set for one scope: a line of `setting list`.
#[derive(Serialize)]
pub(crate) struct SettingLine<'a> {
    group: Option<&'a str>,
    user: Option<&'a str>,
    kind: Option<&'a str>,
    limit: Option<u32>,
    limit_per_node: Option<u32>,
    starts_per_second: Option<f64>,
    burst: Option<u32>,
    weight: Option<u32>,
    gate: Option<GateField<'a>>,
}

/// A gate that is closed.
#[derive(Serialize)]
pub(super) struct GateField<'a> {
    reason: &'a str,
    by: Option<&'a str>,
    since: String,
    until: Option<String>,
    pausing: bool,
}

impl<'a> GateField<'a> {
    pub fn new(gate: &'a Gate) -> Self {
        Self {
            reason: &gate.reason,
            by: gate.by.as_deref(),
            since: gate.since.to_string(),
            until: time(gate.until),
            pausing: gate.pauses,
        }
    }
}

/// What something is set for; all null: for everything.
#[derive(Serialize)]
pub(super) struct ScopeField<'a> {
    pub group: Option<&'a str>,
    pub user: Option<&'a str>,
    pub kind: Option<&'a str>,
}

impl<'a> ScopeField<'a> {
    pub fn new(scope: &'a Scope) -> Self {
        let (group, user, kind) = match scope {
            Scope::Everything => (None, None, None),
            Scope::Group(group) => (Some(group.as_str()), None, None),
            Scope::User(user) => (None, Some(user.as_str()), None),
            Scope::UserIn { group, user } => (Some(group.as_str()), Some(user.as_str()), None),
            Scope::Kind(kind) => (None, None, Some(kind.as_str())),
        };
        Self { group, user, kind }
    }
}

impl<'a> SettingLine<'a> {
    pub fn new(row: &'a SettingRow, now: Timestamp) -> Self {
        let ScopeField { group, user, kind } = ScopeField::new(&row.scope);
        let setting = &row.setting;
        let gate = setting.closed(now).map(GateField::new);
        Self {
            group,
            user,
            kind,
            limit: setting.max_running,
            limit_per_node: setting.max_running_per_node,
            starts_per_second: setting.starts.map(starts_per_second),
            burst: setting.starts.map(|rate| rate.burst),
            weight: setting.weight,
            gate,
        }
    }
}

pub(crate) fn starts_per_second(rate: Rate) -> f64 {
    rate.per_1000_s as f64 / 1_000.0
}

/// `task get`: a task with its failures, and its payloads if they are asked for.
#[derive(Serialize)]
pub(crate) struct TaskPage<'a> {
    #[serde(flatten)]
    pub task: TaskLine<'a>,
    pub errors: Vec<ErrorLine<'a>>,
    #[serde(flatten)]
    pub payloads: Option<Payloads>,
}

/// One failed attempt.
#[derive(Serialize)]
pub(crate) struct ErrorLine<'a> {
    attempt: u32,
    at: String,
    error: &'a str,
}

impl<'a> ErrorLine<'a> {
    pub fn new(failure: &'a Failure) -> Self {
        Self {
            attempt: failure.attempt,
            at: failure.at.to_string(),
            error: &failure.error,
        }
    }
}

/// What a task was given, saved and returned; null where there is nothing.
#[derive(Serialize)]
pub(crate) struct Payloads {
    pub input: Option<serde_json::Value>,
    pub checkpoint: Option<serde_json::Value>,
    pub output: Option<serde_json::Value>,
}

/// A steered task.
#[derive(Serialize)]
pub(crate) struct SteeredLine {
    id: TaskId,
    status: &'static str,
}

impl SteeredLine {
    pub fn new(id: TaskId, status: Status) -> Self {
        Self {
            id,
            status: status.name(),
        }
    }
}

/// Tasks steered by a filter.
#[derive(Serialize)]
pub(crate) struct SteeringLine {
    changed: u64,
    unchanged: u64,
    refused: u64,
}

impl From<Tally> for SteeringLine {
    fn from(steering: Tally) -> Self {
        Self {
            changed: steering.changed,
            unchanged: steering.unchanged,
            refused: steering.refused,
        }
    }
}

/// A line of `node list`.
#[derive(Serialize)]
pub(crate) struct NodeLine<'a> {
    id: String,
    label: &'a str,
    state: &'static str,
    held: u64,
    slots: u32,
    started_at: String,
    lease_until: String,
    ttl_ms: u64,
}

impl<'a> NodeLine<'a> {
    /// `now` is the database's.
    pub fn new(node: &'a NodeRow, now: Timestamp) -> Self {
        Self {
            id: node.id.to_string(),
            label: &node.label,
            state: node_state(node, now),
            held: node.held,
            slots: node.slots,
            started_at: node.started_at.to_string(),
            lease_until: node.lease_until.to_string(),
            ttl_ms: node.ttl_ms,
        }
    }
}

/// `alive`; `late`: its lease has expired, and no peer has declared it dead yet; or `dead`.
pub(crate) fn node_state(node: &NodeRow, now: Timestamp) -> &'static str {
    match (node.alive, node.lease_until >= now) {
        (true, true) => "alive",
        (true, false) => "late",
        (false, _) => "dead",
    }
}

/// The same of a node that holds a task.
pub(super) fn node_health(health: Health) -> &'static str {
    match health {
        Health::Live => "alive",
        Health::Late => "late",
        Health::Dead => "dead",
    }
}

/// `migrate up` and `migrate status`.
#[derive(Serialize)]
pub(crate) struct SchemaLine {
    pub state: &'static str,
    pub version: Option<u32>,
    pub known: u32,
}
