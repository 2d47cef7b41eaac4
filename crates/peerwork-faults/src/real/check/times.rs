//! How long it took: rescues, hand-overs, pauses; and for how long two runs of a task overlapped.

use super::Verdict;
use super::facts::Facts;
use crate::real::audit::{Change, Op, Table};
use crate::real::history::FaultSort;
use crate::real::work::Manner;
use peerwork_core::Status;
use serde::Serialize;
use uuid::Uuid;

/// How times are spread, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many were measured.
    pub count: usize,
    /// Half of them are at most this.
    pub p50_ms: u64,
    /// All but one in a hundred are at most this.
    pub p99_ms: u64,
    /// All of them are at most this.
    pub max_ms: u64,
}

impl Spread {
    /// Of times in microseconds.
    pub fn of(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        let at = |percent: usize| {
            let last = times_us.len().saturating_sub(1);
            times_us
                .get((times_us.len() * percent / 100).min(last))
                .map_or(0, |us| us / 1_000)
        };
        Self {
            count: times_us.len(),
            p50_ms: at(50),
            p99_ms: at(99),
            max_ms: at(100),
        }
    }
}

pub(super) fn measure(facts: &Facts<'_>, verdict: &mut Verdict) {
    let (mut rescues, mut hand_overs, mut pauses) = (Vec::new(), Vec::new(), Vec::new());
    for changes in facts.tasks.values() {
        let rows: Vec<_> = changes
            .iter()
            .filter(|change| change.table != Table::Checkpoint)
            .collect();
        for (at, change) in rows.iter().enumerate() {
            if change.table != Table::Running || change.op == Op::Insert {
                continue;
            }
            if change.op == Op::Update && change.status == i64::from(Status::Pausing.code()) {
                let paused = rows[at..].iter().find(|next| next.table == Table::Parked);
                let is_change = change.was != change.status && !is_deaf(facts, change.id);
                let is_change = is_change && !is_orphan(facts, change);
                pauses.extend(
                    paused
                        .filter(|_| is_change)
                        .map(|next| next.at_us - change.at_us),
                );
            }
            if change.op != Op::Delete {
                continue;
            }
            // What was rescued into a pause waits for its user.
            let is_ready = rows
                .get(at + 1)
                .is_some_and(|next| next.table == Table::Ready);
            let claims = |next: &&&&Change| next.table == Table::Running && next.op == Op::Insert;
            let next = rows[at..].iter().find(claims).filter(|_| is_ready);
            let (Some(next), false) = (next, is_deaf(facts, change.id)) else {
                continue;
            };
            if let Some((sort, since_us)) = stopped(facts, change) {
                let took_us = next.at_us.saturating_sub(since_us);
                match sort {
                    FaultSort::Drain => hand_overs.push(took_us),
                    _ => rescues.push(took_us),
                }
            }
        }
    }
    for (name, times) in [
        ("rescue", rescues),
        ("hand_over", hand_overs),
        ("pause", pauses),
        ("overlap", overlaps(facts)),
    ] {
        verdict.times.insert(name.to_owned(), Spread::of(times));
    }
}

/// Whether the task does not stop when it is told to: how long that takes says nothing of peerwork.
fn is_deaf(facts: &Facts<'_>, task: Uuid) -> bool {
    matches!(facts.manner(task), Some(Manner::Deaf | Manner::Bait))
}

/// Whether the run never ended by itself: then its pause was a rescue.
fn is_orphan(facts: &Facts<'_>, change: &Change) -> bool {
    let run = change.run.and_then(|run| facts.runs.get(&(change.id, run)));
    run.is_none_or(|run| run.ended.is_none())
}

/// When the node that gave up this row was killed or told to go, where that is why it did, and the database was there.
fn stopped(facts: &Facts<'_>, change: &Change) -> Option<(FaultSort, u64)> {
    let label = &facts.nodes.get(&change.node?)?.label;
    let fault = facts.faults.iter().find(|fault| {
        matches!(
            fault.sort,
            FaultSort::Kill | FaultSort::Crash | FaultSort::Drain
        ) && fault.node.as_ref() == Some(label)
            && fault.from_us <= change.at_us
    })?;
    let was_away = facts.faults.iter().any(|outage| {
        outage.sort.hits_database()
            && outage.from_us < change.at_us
            && outage
                .until_us
                .is_none_or(|until| until + facts.ttl_us > fault.from_us)
    });
    let was_ready = Status::from_code(change.status).is_some_and(Status::is_held);
    (!was_away && was_ready).then_some((fault.sort, fault.from_us))
}

/// For how long a later run of a task was at work while an earlier one was, too.
fn overlaps(facts: &Facts<'_>) -> Vec<u64> {
    let mut overlaps = Vec::new();
    for (task, runs) in &facts.runs_of {
        let mut spans: Vec<(u64, u64)> = runs
            .iter()
            .filter_map(|run| span(facts, *task, *run))
            .collect();
        spans.sort_unstable();
        let mut until = 0;
        for (began, ended) in spans {
            if began < until {
                overlaps.push(until.min(ended) - began);
            }
            until = until.max(ended);
        }
    }
    overlaps
}

fn span(facts: &Facts<'_>, task: Uuid, run: Uuid) -> Option<(u64, u64)> {
    let run = facts.runs.get(&(task, run))?;
    let ended = run.ended.map(|(at_us, _)| at_us);
    let ended = ended.or_else(|| facts.process_end_us(run));
    let ended = ended.or_else(|| facts.last_heard_us.get(&run.process).copied())?;
    Some((run.began_us, ended.max(run.began_us)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_of_nothing_and_of_a_hundred() {
        assert_eq!(Spread::of(vec![]), Spread::default());
        let spread = Spread::of((1..=100).map(|ms| ms * 1_000).collect());
        assert_eq!(
            (spread.p50_ms, spread.p99_ms, spread.max_ms),
            (51, 100, 100)
        );
    }
}
