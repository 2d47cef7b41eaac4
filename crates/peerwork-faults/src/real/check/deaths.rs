//! Declared deaths: only of a node that was silent for its whole lease, and only by a peer that could see that.

use super::facts::{Facts, TOLERANCE_US};
use super::{Promise, Verdict};
use crate::real::audit::Op;
use crate::real::history::FaultSort;
use std::collections::HashMap;
use uuid::Uuid;

/// A server that is started again answers its clients a little before it is said to be back.
const BACK_EARLIER_US: u64 = 500_000;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    let mut beats: HashMap<Uuid, u64> = HashMap::new();
    for change in &facts.node_changes {
        let is_death = change.op == Op::Update && change.status == 0 && change.was == 1;
        if !is_death {
            if change.op != Op::Delete {
                beats.insert(change.id, change.at_us);
            }
            continue;
        }
        verdict.saw("declared_dead");
        let label = facts.nodes.get(&change.id).map_or("", |node| &node.label);
        let silent_us = change
            .at_us
            .saturating_sub(beats.get(&change.id).copied().unwrap_or(0));
        if silent_us + TOLERANCE_US < facts.ttl_us {
            let text = format!(
                "{label} ({}) was declared dead {} ms after its last beat",
                change.id,
                silent_us / 1_000
            );
            verdict.find(Promise::FalseTakeovers, text);
        }
        let is_explained = is_explained(facts, label, change.at_us);
        if facts
            .faults
            .iter()
            .any(|fault| fault.sort == FaultSort::Wedge && fault.hits(label, change.at_us))
        {
            verdict.saw("wedge_taken_over");
        }
        // With no room some beats may still be written: whoever's are not is silent, and may be declared dead for it.
        let outages = facts
            .faults
            .iter()
            .filter(|fault| fault.sort.hits_database() && fault.sort != FaultSort::DiskFull);
        for outage in outages.filter(|outage| outage.from_us < change.at_us) {
            let back_us = outage.until_us.map_or(u64::MAX, |at| at - BACK_EARLIER_US);
            // One that is shorter than the longest time between two readings breaks nobody's watch, nor does one in which
            // reading goes on; but whoever lived before it must live after it.
            let is_short = back_us.saturating_sub(outage.from_us) <= facts.gap_us
                || outage.sort == FaultSort::DatabaseLocked;
            let is_soon = change.at_us < back_us.saturating_add(facts.ttl_us);
            if is_soon && !(is_short && is_explained) {
                let text = format!(
                    "{label} ({}) was declared dead although the database had not been back for a whole lease",
                    change.id
                );
                verdict.find(Promise::FalseTakeovers, text);
            }
        }
        let is_full = facts.faults.iter().any(|fault| {
            fault.sort == FaultSort::DiskFull
                && fault.from_us <= change.at_us
                && fault
                    .until_us
                    .is_none_or(|until| change.at_us <= until + facts.ttl_us)
        });
        match (is_explained, is_full) {
            (true, _) => {}
            (false, true) => verdict.add("deaths_by_a_full_disk", 1),
            (false, false) => verdict.add("deaths_without_a_fault", 1),
        }
    }
}

/// Whether something was done to the node that may have kept it from beating.
fn is_explained(facts: &Facts<'_>, label: &str, at_us: u64) -> bool {
    facts.faults.iter().any(|fault| {
        // The service's own pool is nothing that a node's beats depend on.
        let hits = fault.node.as_deref() == Some(label)
            && fault.from_us < at_us
            && fault.sort != FaultSort::PoolExhausted;
        let lasts = fault
            .until_us
            .is_none_or(|until| until + 2 * facts.ttl_us > at_us);
        hits && (lasts || matches!(fault.sort, FaultSort::Kill | FaultSort::Crash))
    })
}
