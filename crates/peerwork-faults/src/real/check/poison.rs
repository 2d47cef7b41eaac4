//! Tasks that end their process: each is failed after its kind's limit of deaths, and none goes on for longer.

use super::facts::Facts;
use super::{Promise, Verdict};
use crate::real::audit::{Op, Table};
use crate::real::history::{FaultSort, Why};
use crate::real::work::{Manner, manner};
use peerwork_core::{Rules, Status};

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    let crash_limit = Rules::default().crash_limit;
    for (task, kind) in &facts.kinds {
        let runs = facts.runs_of.get(task).into_iter().flatten();
        let runs: Vec<_> = runs
            .filter_map(|run| facts.runs.get(&(*task, *run)))
            .collect();
        match manner(kind) {
            Some(manner) if manner.kills() => {}
            Some(Manner::Wedges) => {
                let refused = runs.iter().any(|run| run.told == Some(Why::LeaseLost));
                if refused {
                    verdict.saw("write_after_a_wedge_refused");
                }
                continue;
            }
            _ => continue,
        }
        // A run that began before its node died counts: at most two beside others, and then only on trial.
        let deaths: Vec<_> = runs.iter().filter(|run| run.ended.is_none()).collect();
        let crashed = |process: &str| {
            facts.faults.iter().any(|fault| {
                fault.sort == FaultSort::Crash && fault.node.as_deref() == Some(process)
            })
        };
        for death in &deaths {
            if crashed(&death.process) {
                verdict.saw(&format!("poison_{kind}"));
            }
        }
        if deaths.len() > crash_limit as usize {
            let text = format!(
                "task {task} of kind {kind} was there when {} nodes died; its limit is {crash_limit}",
                deaths.len()
            );
            verdict.find(Promise::PoisonsSpared, text);
        }
        match last_status(facts, *task) {
            Some(Status::Failed) => verdict.saw("poison_failed_at_its_limit"),
            // It is found as stuck.
            Some(status) if !status.is_final() => {}
            status => {
                let status = status.map_or_else(|| "not there".to_owned(), |is| is.to_string());
                let text = format!("task {task} of kind {kind} is {status} at the end");
                verdict.find(Promise::PoisonsSpared, text);
            }
        }
    }
}

fn last_status(facts: &Facts<'_>, task: uuid::Uuid) -> Option<Status> {
    let changes = facts.tasks.get(&task)?;
    let last = changes
        .iter()
        .rfind(|change| change.table != Table::Checkpoint)?;
    (last.op != Op::Delete)
        .then(|| last.task_status())
        .flatten()
}
