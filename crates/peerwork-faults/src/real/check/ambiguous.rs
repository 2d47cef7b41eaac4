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
/// A server that is started again numbers its connections anew: what comes so much later is another one's.
const AGAIN_US: u64 = 1_000_000;

pub(super) fn check(facts: &Facts<'_>, evidence: &Evidence, verdict: &mut Verdict) {
    if facts.swallowed.is_empty() {
        return;
    }
    let mut times: HashMap<i64, Vec<u64>> = HashMap::new();
    for change in &evidence.audit {
        times
            .entry(change.connection)
            .or_default()
            .push(change.at_us);
    }
    for times in times.values_mut() {
        times.sort_unstable();
    }
    for (process, at_us) in &facts.swallowed {
        verdict.saw("answers_to_commits_lost");
        let is_last = |change: &&Change| {
            let window = at_us.saturating_sub(LOOK_US)..=*at_us;
            if !window.contains(&change.at_us) {
                return false;
            }
            let times = times.get(&change.connection).map_or(&[][..], Vec::as_slice);
            let (before, after) = times.split_at(times.partition_point(|time| time <= at_us));
            let last_us = before.last().copied().unwrap_or(0);
            let is_over = after.first().is_none_or(|next| *next > at_us + AGAIN_US);
            // A transaction takes less than a tenth of the window.
            is_over && change.at_us + LOOK_US / 10 >= last_us
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
