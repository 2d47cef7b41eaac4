//! The outcomes as a table: a line for each policy and class of users.

use crate::output::text;
use peerwork::simulate::{Class, Outcome};

const HEAD: [&str; 10] = [
    "POLICY", "JAIN", "USED", "WHO", "USERS", "TASKS", "WAIT P50", "P95", "P99", "GOT/FAIR",
];

/// USED is the utilisation; GOT/FAIR what a class got to its fair share. Waits are in seconds.
pub(super) fn of(outcomes: &[Outcome]) -> String {
    let mut rows = Vec::new();
    for outcome in outcomes {
        for (i, class) in outcome.classes().iter().enumerate() {
            rows.push(row((i == 0).then_some(outcome), class));
        }
    }
    text::table(&HEAD, &rows)
}

/// What is true of the policy stands in its first line.
fn row(outcome: Option<&Outcome>, class: &Class) -> Vec<String> {
    let first = |cell: fn(&Outcome) -> String| outcome.map(cell).unwrap_or_default();
    let waits = class.waits;
    vec![
        first(|outcome| text::name(&outcome.policy)),
        first(|outcome| format!("{:.3}", outcome.jain)),
        first(|outcome| format!("{:.3}", outcome.utilisation)),
        text::name(&class.name),
        class.users.len().to_string(),
        waits.tasks.to_string(),
        seconds(waits.p50_us),
        seconds(waits.p95_us),
        seconds(waits.p99_us),
        class
            .ratio
            .map(|ratio| format!("{ratio:.2}"))
            .unwrap_or_default(),
    ]
}

fn seconds(us: u64) -> String {
    let seconds = us as f64 / 1e6;
    match us {
        0..10_000_000 => format!("{seconds:.3} s"),
        _ => format!("{seconds:.0} s"),
    }
}
