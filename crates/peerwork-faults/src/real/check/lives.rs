//! What people and runs were told, against what there is: acknowledged tasks exist, nobody else does, and every run starts
//! from what was acknowledged before it.

use super::facts::{Ask, Facts, Fault};
use super::{Promise, Verdict};
use crate::real::history::{Answer, FaultSort, Forgery, Want, Why};
use std::collections::BTreeSet;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    creations(facts, verdict);
    starts(facts, verdict);
    effects(facts, verdict);
    forgeries(facts, verdict);
    if !facts.rested {
        verdict.find(Promise::StuckAfterHeal, "the run did not come to its rest");
    }
    for task in &facts.stuck {
        verdict.find(Promise::StuckAfterHeal, format!("task {task} did not end"));
    }
    let (mut fenced, mut wedged, mut bereft) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (process, text) in &facts.said {
        // It is said again and again until a beat is acknowledged.
        if text.contains("no beat was acknowledged in time") && fenced.insert(process) {
            verdict.saw("self_fence");
        }
        let is_wedged = |fault: &Fault| {
            fault.sort == FaultSort::Wedge && fault.node.as_deref() == Some(process)
        };
        // A process that stood still says so too when it goes on.
        if text.contains("nothing runs on this node's runtime")
            && facts.faults.iter().any(is_wedged)
            && wedged.insert(process)
        {
            verdict.saw("wedge_noticed");
        }
        if text.contains("has lost acknowledged history") && bereft.insert(process) {
            verdict.saw("lost_history_noticed");
        }
        if text.contains("gave back claims whose answer was lost") {
            verdict.saw("unknown_claim_given_back");
        }
    }
    for fault in &facts.faults {
        verdict.saw(&format!("fault_{}", fault.sort.name()));
        if fault.sort == FaultSort::PoolExhausted {
            let goes_on = facts
                .runs
                .values()
                .any(|run| fault.hits(&run.process, run.began_us));
            if goes_on {
                verdict.saw("node_claims_with_its_pool_exhausted");
            }
        }
    }
    if facts.abandoned > 0 {
        verdict
            .happened
            .insert("abandoned_by_drain".to_owned(), facts.abandoned);
    }
    verdict.add("stalls", facts.stalls);
    verdict.add("tasks", facts.tasks.len() as u64);
    verdict.add("runs", facts.runs.len() as u64);
    let doubled = facts.effects.values().filter(|count| **count > 1).count();
    verdict.add("effects", facts.effects.len() as u64);
    verdict.add("effects_doubled_outside_a_transaction", doubled as u64);
}

fn creations(facts: &Facts<'_>, verdict: &mut Verdict) {
    let creates = |asks: &[Ask]| {
        let mut creates = asks.iter().filter(|ask| ask.want == Want::Create);
        let known = creates
            .clone()
            .any(|ask| matches!(ask.answer, Some(Answer::Done(_))));
        (creates.next().is_some(), known)
    };
    for (task, asks) in &facts.asks {
        let (_, acknowledged) = creates(asks);
        if acknowledged && !facts.tasks.contains_key(task) {
            let text = format!("task {task} was acknowledged, and never was there");
            verdict.find(Promise::Lost, text);
        }
        // From then on it is there: whoever asks for it must be told so.
        let created_us = asks
            .iter()
            .filter(|ask| ask.want == Want::Create && matches!(ask.answer, Some(Answer::Done(_))))
            .filter_map(|ask| ask.answered_us)
            .min();
        let missed = asks.iter().any(|ask| {
            ask.answer == Some(Answer::NotFound)
                && created_us.is_some_and(|created_us| created_us < ask.asked_us)
        });
        if missed {
            verdict.find(
                Promise::Lost,
                format!("task {task} was not found by its user"),
            );
        }
    }
    for task in facts.tasks.keys() {
        if !facts.asks.get(task).is_some_and(|asks| creates(asks).0) {
            verdict.find(Promise::Ghosts, format!("nobody created task {task}"));
        }
    }
}

/// A run starts from the newest checkpoint that any earlier run of its task was told to be durable, or a newer one.
fn starts(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (task, runs) in &facts.runs_of {
        let mut runs: Vec<_> = runs
            .iter()
            .filter_map(|run| Some((run, facts.runs.get(&(*task, *run))?)))
            .collect();
        runs.sort_by_key(|(_, run)| run.attempt);
        let mut newest = None;
        for (id, run) in runs {
            if run.from < newest {
                let text = format!(
                    "task {task}: run {id} started from step {:?}, after {newest:?} was acknowledged",
                    run.from
                );
                verdict.find(Promise::CheckpointRegressions, text);
            }
            newest = newest.max(run.saved);
            if run.told == Some(Why::LeaseLost) {
                verdict.saw("run_told_that_its_lease_is_lost");
            }
        }
    }
}

fn effects(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (effect, count) in facts.ledger.iter().filter(|(_, count)| **count > 1) {
        let text = format!(
            "task {}: step {} is in the ledger {count} times",
            effect.task, effect.step
        );
        verdict.find(Promise::DoubleEffectsInTransaction, text);
    }
    for effect in &facts.ledgered {
        if !facts.ledger.contains_key(effect) {
            let text = format!(
                "task {}: step {} was acknowledged and is not in the ledger",
                effect.task, effect.step
            );
            verdict.find(Promise::DoubleEffectsInTransaction, text);
        }
    }
    verdict.add("effects_in_a_transaction", facts.ledger.len() as u64);
}

fn forgeries(facts: &Facts<'_>, verdict: &mut Verdict) {
    for (task, run, what, accepted) in &facts.forged {
        match (what, accepted) {
            (Forgery::Death, true) => {
                let text = format!("node {task} was declared dead on a beat that was not its last");
                verdict.find(Promise::FalseTakeovers, text);
            }
            (Forgery::Death, false) => verdict.saw("declare_dead_lost"),
            (Forgery::Save | Forgery::End, true) => {
                let text = format!("task {task}: {what:?} of run {run} was accepted after its end");
                verdict.find(Promise::FencedWritesAccepted, text);
            }
            (Forgery::Save | Forgery::End, false) => verdict.saw("zombie_write_refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_that_notices_lost_history_counts_once() {
        let text = "the database has lost acknowledged history; verifying every run";
        let said = ["node-1", "node-2", "node-1"];
        let facts = Facts {
            said: said.map(|node| (node.into(), text.into())).to_vec(),
            rested: true,
            ..Facts::default()
        };
        let mut verdict = Verdict::default();
        check(&facts, &mut verdict);
        assert_eq!(verdict.happened.get("lost_history_noticed"), Some(&2));
    }
}
