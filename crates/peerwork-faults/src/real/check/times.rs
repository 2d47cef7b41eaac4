//! How long it took: rescues, hand-overs, pauses; and for how long two runs of a task overlapped.

use super::Verdict;
use super::facts::{Facts, RunFacts};
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

/// Times of one sort, with whose they were: those that nothing else made longer, and the others.
#[derive(Default)]
struct Times {
    alone: Vec<(u64, String)>,
    under_faults: Vec<(u64, String)>,
}

impl Times {
    fn add(&mut self, facts: &Facts<'_>, change: &Change, from_us: u64, until_us: u64) {
        let label = label(facts, change);
        let whose = format!("task {} on {label}, audit {}", change.id, change.seq);
        let waits = facts.restrained.contains(&change.id);
        let times = match waits || is_disturbed(facts, label, from_us, until_us) {
            true => &mut self.under_faults,
            false => &mut self.alone,
        };
        times.push((until_us.saturating_sub(from_us), whose));
    }
}

pub(super) fn measure(facts: &Facts<'_>, verdict: &mut Verdict) {
    let (mut rescues, mut hand_overs, mut pauses) =
        (Times::default(), Times::default(), Times::default());
    for changes in facts.tasks.values() {
        let rows: Vec<_> = changes
            .iter()
            .filter(|change| change.table != Table::Checkpoint)
            .collect();
        for (at, change) in rows.iter().enumerate() {
            if change.table != Table::Running
                || change.op == Op::Insert
                || is_deaf(facts, change.id)
            {
                continue;
            }
            if change.op == Op::Update && change.status == i64::from(Status::Pausing.code()) {
                // Somebody may take it back before.
                let is_pausing = |next: &&&&Change| {
                    next.table != Table::Running || next.status == i64::from(Status::Pausing.code())
                };
                let mut next = rows[at..].iter().take_while(is_pausing);
                let paused = next.find(|next| next.table == Table::Parked);
                let is_change = change.was != change.status && !is_orphan(facts, change);
                if let Some(next) = paused.filter(|_| is_change) {
                    pauses.add(facts, change, change.at_us, next.at_us);
                }
            }
            if change.op != Op::Delete {
                continue;
            }
            // What was rescued into a pause waits for its user.
            let is_ready = rows
                .get(at + 1)
                .is_some_and(|next| next.table == Table::Ready);
            let claims = |next: &&&&Change| next.table == Table::Running && next.op == Op::Insert;
            // Nor does it say anything where somebody pauses it before it is claimed.
            let mut until_parked = rows[at..]
                .iter()
                .take_while(|next| next.table != Table::Parked);
            let next = until_parked.find(claims).filter(|_| is_ready);
            if let Some(next) = next
                && let Some((sort, since_us)) = stopped(facts, change)
            {
                let times = match sort {
                    FaultSort::Drain => &mut hand_overs,
                    _ => &mut rescues,
                };
                times.add(facts, change, since_us, next.at_us);
            }
        }
    }
    let overlaps = overlaps(facts);
    verdict.add("overlaps_without_a_fault", overlaps.alone.len() as u64);
    for (name, times) in [
        ("rescue", rescues),
        ("hand_over", hand_overs),
        ("pause", pauses),
        ("overlap", overlaps),
    ] {
        for (name, times) in [
            (name.to_owned(), times.alone),
            (format!("{name}_under_faults"), times.under_faults),
        ] {
            let (times, slowest) = sorted(times);
            verdict.times.insert(name.clone(), Spread::of(times));
            verdict.slowest.insert(name, slowest);
        }
    }
}

fn label<'a>(facts: &'a Facts<'_>, change: &Change) -> &'a str {
    let node = change.node.and_then(|node| facts.nodes.get(&node));
    node.map_or("?", |node| node.label.as_str())
}

/// Whether something else than a node's end stood in the way between these times: a fault of the database, or of the
/// node's own. A database that was away before breaks its nodes' watch for another lease.
fn is_disturbed(facts: &Facts<'_>, label: &str, from_us: u64, until_us: u64) -> bool {
    facts.faults.iter().any(|fault| {
        let is_database = fault.sort.hits_database()
            || matches!(
                fault.sort,
                FaultSort::ConnectionsKilled | FaultSort::MemberRejoins
            );
        let is_nodes = fault.node.as_deref() == Some(label)
            && !matches!(
                fault.sort,
                FaultSort::Kill | FaultSort::Crash | FaultSort::Drain | FaultSort::PoolExhausted
            );
        let after_us = if is_database { facts.ttl_us } else { 0 };
        let lasts = fault
            .until_us
            .is_none_or(|until| until + after_us > from_us);
        (is_database || is_nodes) && fault.from_us < until_us && lasts
    })
}

/// The times, and of the longest whose they were.
fn sorted(mut times: Vec<(u64, String)>) -> (Vec<u64>, Vec<String>) {
    const SLOWEST: usize = 3;
    times.sort_unstable_by(|one, other| other.cmp(one));
    let slow = |(us, whose): &(u64, String)| format!("{} ms: {whose}", us / 1_000);
    let slowest = times.iter().take(SLOWEST).map(slow).collect();
    (times.into_iter().map(|(us, _)| us).collect(), slowest)
}

/// Whether the task does not stop when it is told to, or blocks its node: how long that takes says nothing of peerwork.
fn is_deaf(facts: &Facts<'_>, task: Uuid) -> bool {
    matches!(
        facts.manner(task),
        Some(Manner::Deaf | Manner::Bait | Manner::Spins | Manner::Wedges)
    )
}

/// Whether the run never ended by itself: then its pause was a rescue.
fn is_orphan(facts: &Facts<'_>, change: &Change) -> bool {
    let run = change.run.and_then(|run| facts.runs.get(&(change.id, run)));
    run.is_none_or(|run| run.ended.is_none())
}

/// When the node that gave up this row was killed or told to go, where that is why it did. One that died of a task while
/// it drained was killed.
fn stopped(facts: &Facts<'_>, change: &Change) -> Option<(FaultSort, u64)> {
    let label = label(facts, change);
    let ends = |sorts: &[FaultSort]| {
        let fault = facts.faults.iter().find(|fault| {
            sorts.contains(&fault.sort)
                && fault.node.as_deref() == Some(label)
                && fault.from_us <= change.at_us
        })?;
        Some((fault.sort, fault.from_us))
    };
    let was_held = Status::from_code(change.status).is_some_and(Status::is_held);
    ends(&[FaultSort::Kill, FaultSort::Crash])
        .or_else(|| ends(&[FaultSort::Drain]))
        .filter(|_| was_held)
}

/// For how long a later run of a task was at work while an earlier one was, too.
fn overlaps(facts: &Facts<'_>) -> Times {
    let mut overlaps = Times::default();
    for (task, runs) in &facts.runs_of {
        let runs = runs.iter().filter_map(|run| facts.runs.get(&(*task, *run)));
        let mut spans: Vec<_> = runs.filter_map(|run| span(facts, run)).collect();
        spans.sort_unstable();
        let mut until = (0, "");
        for (began_us, ended_us, process) in spans {
            if began_us < until.0 {
                let overlap_us = until.0.min(ended_us) - began_us;
                let whose = format!("task {task} on {} and {process}", until.1);
                // Its machine stood still or was cut off, or it went on through an outage.
                let from_us = began_us.saturating_sub(facts.ttl_us);
                match is_disturbed(facts, until.1, from_us, until.0) {
                    true => overlaps.under_faults.push((overlap_us, whose)),
                    false => overlaps.alone.push((overlap_us, whose)),
                }
            }
            until = until.max((ended_us, process));
        }
    }
    overlaps
}

fn span<'a>(facts: &Facts<'_>, run: &'a RunFacts) -> Option<(u64, u64, &'a str)> {
    let ended = run.ended.map(|(at_us, _)| at_us);
    let ended = ended.or_else(|| facts.process_end_us(run));
    let ended = ended.or_else(|| facts.last_heard_us.get(&run.process).copied())?;
    Some((run.began_us, ended.max(run.began_us), &run.process))
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
