//! Whose commits it was that were carried out and not acknowledged.
//!
//! The proxy says when it lost an answer to which process, and resets the connection: the last thing that the database's
//! end of this connection wrote down is what was committed.

use super::facts::Facts;
use super::{Evidence, Verdict};
use crate::real::audit::{Change, Op, Table};
use std::collections::HashMap;

/// The controller looks at its proxies this often, and a little more.
const LOOK_US: u64 = 400_000;

pub(super) fn check(facts: &Facts<'_>, evidence: &Evidence, verdict: &mut Verdict) {
    if facts.swallowed.is_empty() {
        return;
    }
    let mut last: HashMap<i64, u64> = HashMap::new();
    for change in &evidence.audit {
        last.insert(change.connection, change.at_us);
    }
    for (process, at_us) in &facts.swallowed {
        verdict.saw("answers_to_commits_lost");
        let is_last = |change: &&Change| {
            let window = at_us.saturating_sub(LOOK_US)..=*at_us;
            let last_us = last.get(&change.connection).copied().unwrap_or(0);
            // A transaction takes less than a tenth of the window.
            window.contains(&last_us) && change.at_us + LOOK_US / 10 >= last_us
        };
        let changes: Vec<_> = evidence.audit.iter().filter(is_last).collect();
        let is_here = |change: &&&Change| {
            let node = change.node.and_then(|node| facts.nodes.get(&node));
            node.is_some_and(|node| node.label == *process)
        };
        let has = |table, op| {
            changes
                .iter()
                .filter(is_here)
                .any(|change| change.table == table && change.op == op)
        };
        if has(Table::Running, Op::Insert) {
            verdict.saw("ambiguous_claim");
        }
        if has(Table::Running, Op::Delete) {
            verdict.saw("ambiguous_finish");
        }
    }
}
