//! The outcomes as JSON lines, one for each policy. Their fields are stable, as those of all lines are.

use peerwork::simulate::{Class, Outcome};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct OutcomeLine<'a> {
    policy: &'a str,
    jain: f64,
    utilisation: f64,
    end_ms: f64,
    tasks: usize,
    users: usize,
    waits: Vec<WaitsField>,
    mistakes: usize,
    mistake: Option<String>,
}

#[derive(Serialize)]
struct WaitsField {
    class: String,
    users: usize,
    tasks: usize,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    got_to_fair: Option<f64>,
}

impl<'a> OutcomeLine<'a> {
    pub fn new(outcome: &'a Outcome) -> Self {
        Self {
            policy: &outcome.policy,
            jain: outcome.jain,
            utilisation: outcome.utilisation,
            end_ms: ms(outcome.end_us),
            tasks: outcome.waits.len(),
            users: outcome.users.len(),
            waits: outcome
                .classes()
                .into_iter()
                .map(WaitsField::from)
                .collect(),
            mistakes: outcome.mistaken,
            mistake: outcome.mistakes.first().map(ToString::to_string),
        }
    }
}

impl From<Class> for WaitsField {
    fn from(class: Class) -> Self {
        Self {
            class: class.name,
            users: class.users.len(),
            tasks: class.waits.tasks,
            p50_ms: ms(class.waits.p50_us),
            p95_ms: ms(class.waits.p95_us),
            p99_ms: ms(class.waits.p99_us),
            max_ms: ms(class.waits.max_us),
            got_to_fair: class.ratio,
        }
    }
}

fn ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}
