//! An explanation: a sentence with the other causes below it, or one JSON object.

use super::json::{GateField, ScopeField, node_health, starts_per_second, time};
use peerwork::TaskId;
use peerwork::explain::{Basis, Cause, Count, Explanation, Holder, Prediction, Why};
use serde::Serialize;

/// The sentence, and a line for each further cause.
pub(crate) fn page(explanation: &Explanation) -> String {
    let sentence = explanation.to_string();
    let others = explanation.causes.iter().skip(1);
    let others = others.map(|cause| format!("also: {cause}"));
    let lines: Vec<_> = std::iter::once(sentence).chain(others).collect();
    lines.join("\n")
}

/// `task explain`: why a task is not running.
#[derive(Serialize)]
pub(crate) struct ExplainLine<'a> {
    id: TaskId,
    state: &'static str,
    status: &'static str,
    now: String,
    sentence: String,
    causes: Vec<CauseField<'a>>,
    starts: Option<StartsField>,
}

impl<'a> ExplainLine<'a> {
    pub fn new(explanation: &'a Explanation) -> Self {
        Self {
            id: explanation.id,
            state: explanation.state.name(),
            status: explanation.status.name(),
            now: explanation.now.to_string(),
            sentence: explanation.to_string(),
            causes: explanation.causes.iter().map(CauseField::new).collect(),
            starts: explanation.starts.map(StartsField::new),
        }
    }
}

/// When it starts at the earliest.
#[derive(Serialize)]
struct StartsField {
    earliest: String,
    basis: &'static str,
    /// Those that start before it, where that counts.
    ahead: Option<u64>,
}

impl StartsField {
    fn new(starts: Prediction) -> Self {
        let (basis, ahead) = match starts.basis {
            Basis::Due => ("due", None),
            Basis::Gate => ("gate", None),
            Basis::Bucket { ahead } => ("starts_per_second", Some(ahead)),
        };
        Self {
            earliest: starts.earliest.to_string(),
            basis,
            ahead,
        }
    }
}

/// A number that was counted up to a bound.
#[derive(Serialize)]
struct CountField {
    n: u64,
    at_least: bool,
}

impl From<Count> for CountField {
    fn from(count: Count) -> Self {
        Self {
            n: count.n,
            at_least: count.is_bound,
        }
    }
}

/// The node that holds a task.
#[derive(Serialize)]
struct HolderField<'a> {
    node: String,
    label: Option<&'a str>,
    since: String,
    node_state: &'static str,
    node_running: u64,
    node_slots: u32,
}

impl<'a> From<&'a Holder> for HolderField<'a> {
    fn from(holder: &'a Holder) -> Self {
        Self {
            node: holder.node.to_string(),
            label: holder.label.as_deref(),
            since: holder.since.to_string(),
            node_state: node_health(holder.health),
            node_running: holder.running,
            node_slots: holder.slots,
        }
    }
}

/// A cause with its figures. Its text is for people.
#[derive(Serialize)]
struct CauseField<'a> {
    cause: &'static str,
    text: String,
    #[serde(flatten)]
    figures: Figures<'a>,
}

/// What belongs to each cause.
#[derive(Serialize)]
#[serde(untagged)]
enum Figures<'a> {
    None {},
    Over {
        at: Option<String>,
        error: Option<&'a str>,
    },
    Held(HolderField<'a>),
    Paused {
        forced: bool,
        failures: u32,
        error: Option<&'a str>,
    },
    Error {
        error: Option<&'a str>,
    },
    Gate {
        scope: ScopeField<'a>,
        gate: GateField<'a>,
    },
    NoNode {
        kind: &'a str,
        live_nodes: u32,
        their_kinds: Vec<&'a str>,
    },
    Children {
        over: u32,
        of: u32,
        until: Option<String>,
    },
    Later {
        at: String,
        failures: Option<u32>,
    },
    Limit {
        scope: ScopeField<'a>,
        limit: u32,
        running: u64,
        ahead: CountField,
    },
    LimitPerNode {
        scope: ScopeField<'a>,
        limit_per_node: u32,
        nodes: u32,
        ahead: CountField,
    },
    Bucket {
        scope: ScopeField<'a>,
        starts_per_second: f64,
        burst: u32,
        next_at: String,
    },
    Line {
        ahead: CountField,
        lanes: CountField,
        slots: Option<u64>,
        slots_taken: Option<u64>,
        policy: Option<&'a str>,
    },
}

impl<'a> CauseField<'a> {
    fn new(cause: &'a Cause) -> Self {
        let (name, figures) = figures(cause);
        Self {
            cause: name,
            text: cause.to_string(),
            figures,
        }
    }
}

/// A cause's stable name, and its figures.
fn figures(cause: &Cause) -> (&'static str, Figures<'_>) {
    match cause {
        Cause::Over { at, error, .. } => {
            let (at, error) = (time(*at), error.as_deref());
            ("over", Figures::Over { at, error })
        }
        Cause::Running(holder) => ("running", Figures::Held(holder.into())),
        Cause::Stopping { holder, deletes } => {
            let name = if *deletes {
                "stopping_to_delete"
            } else {
                "pausing"
            };
            (name, Figures::Held(holder.into()))
        }
        Cause::Cleaning(holder) => ("cleaning", Figures::Held(holder.into())),
        Cause::NotStarted => ("not_started", Figures::None {}),
        Cause::Paused {
            forced,
            failures,
            error,
        } => {
            let (forced, failures, error) = (*forced, *failures, error.as_deref());
            let figures = Figures::Paused {
                forced,
                failures,
                error,
            };
            ("paused", figures)
        }
        Cause::CleanupFailed { error } => {
            let error = error.as_deref();
            ("cleanup_failed", Figures::Error { error })
        }
        Cause::Gate { scope, gate } => {
            let figures = Figures::Gate {
                scope: ScopeField::new(scope),
                gate: GateField::new(gate),
            };
            ("gate", figures)
        }
        Cause::NoNode { kind, live, kinds } => {
            let figures = Figures::NoNode {
                kind: kind.as_str(),
                live_nodes: *live,
                their_kinds: kinds.iter().map(|kind| kind.as_str()).collect(),
            };
            ("no_node", figures)
        }
        Cause::Children { over, of, until } => {
            let (over, of, until) = (*over, *of, time(*until));
            ("children", Figures::Children { over, of, until })
        }
        Cause::Later { at, why } => {
            let (name, failures) = match why {
                Why::DueTime => ("due", None),
                Why::Retry { failures } => ("retry", Some(*failures)),
                Why::Timer => ("timer", None),
                Why::CleanupRetry { failures } => ("cleanup_retry", Some(*failures)),
            };
            let at = at.to_string();
            (name, Figures::Later { at, failures })
        }
        Cause::Limit {
            scope,
            max,
            running,
            ahead,
        } => {
            let figures = Figures::Limit {
                scope: ScopeField::new(scope),
                limit: *max,
                running: *running,
                ahead: (*ahead).into(),
            };
            ("limit", figures)
        }
        Cause::LimitPerNode {
            scope,
            max,
            nodes,
            ahead,
        } => {
            let figures = Figures::LimitPerNode {
                scope: ScopeField::new(scope),
                limit_per_node: *max,
                nodes: *nodes,
                ahead: (*ahead).into(),
            };
            ("limit_per_node", figures)
        }
        Cause::Bucket {
            scope,
            rate,
            next_at,
        } => {
            let figures = Figures::Bucket {
                scope: ScopeField::new(scope),
                starts_per_second: starts_per_second(*rate),
                burst: rate.burst,
                next_at: next_at.to_string(),
            };
            ("starts_per_second", figures)
        }
        Cause::Line {
            work,
            ahead,
            lanes,
            slots,
            policy,
        } => {
            let name = match work {
                peerwork::Work::Run => "line",
                peerwork::Work::Cleanup => "cleanup_line",
            };
            let figures = Figures::Line {
                ahead: (*ahead).into(),
                lanes: (*lanes).into(),
                slots: slots.map(|slots| slots.total),
                slots_taken: slots.map(|slots| slots.taken),
                policy: policy.as_deref(),
            };
            (name, figures)
        }
    }
}
