//! Replays the audit of every task: each change of status against `decide`, each end of a run against who ended it, each
//! checkpoint against who held the task.

use super::facts::{Facts, Fault, RunFacts};
use super::{Promise, Verdict};
use crate::real::audit::{Change, Op, Table};
use crate::real::history::{FaultSort, How, Want, Why};
use crate::real::work::{Checkpoint, Manner, Output};
use peerwork_core::{Place, Rules, Status, lifecycle};
use std::collections::BTreeSet;
use uuid::Uuid;

pub(super) fn check(facts: &Facts<'_>, verdict: &mut Verdict) {
    let allowed = lifecycle::transitions();
    for (task, changes) in &facts.tasks {
        let mut life = Life {
            facts,
            verdict,
            allowed: &allowed,
            task: *task,
            row: None,
            leaving: None,
            left_behind: None,
            born: false,
            ran: false,
            step: None,
            deaths: Vec::new(),
        };
        for change in changes {
            life.take(change);
        }
        life.end();
    }
}

/// A task's row, where it is.
#[derive(Clone, Copy, Debug)]
struct Row {
    table: Table,
    status: Status,
    run: Option<Uuid>,
    node: Option<Uuid>,
    attempt: i64,
    failures: i64,
    crashes: i64,
}

struct Life<'a> {
    facts: &'a Facts<'a>,
    verdict: &'a mut Verdict,
    allowed: &'a BTreeSet<(Status, Status)>,
    task: Uuid,
    row: Option<Row>,
    /// The row that was removed, until the one that takes its place is seen.
    leaving: Option<Row>,
    /// The row of a finished run, until it is removed, which comes next.
    left_behind: Option<Row>,
    born: bool,
    /// Whether it was ever claimed.
    ran: bool,
    /// The step of the checkpoint.
    step: Option<u64>,
    /// The nodes that died while they held it, since its last checkpoint.
    deaths: Vec<Uuid>,
}

impl Life<'_> {
    fn take(&mut self, change: &Change) {
        if change.table == Table::Checkpoint {
            self.checkpoint(change);
            return;
        }
        let Some(status) = change.task_status() else {
            let text = format!(
                "task {}: status {} does not exist",
                self.task, change.status
            );
            self.verdict.find(Promise::IllegalTransitions, text);
            return;
        };
        let new = Row {
            table: change.table,
            status,
            run: change.run,
            node: change.node,
            attempt: change.attempt,
            failures: change.failures,
            crashes: change.crashes,
        };
        if change.op != Op::Delete && place(new.table) != Some(status.place()) {
            let text = format!("task {}: {status} in {:?}", self.task, new.table);
            self.verdict.find(Promise::IllegalTransitions, text);
        }
        if let Some(left) = self.left_behind.take() {
            if change.op == Op::Delete && change.table == left.table {
                return;
            }
            self.wrong(change, &format!("it stayed in {:?} too", left.table));
        }
        match change.op {
            Op::Insert => self.insert(new, change),
            Op::Update => {
                if let Some(old) = self.row.replace(new) {
                    self.moved(old, new, change);
                }
            }
            Op::Delete => match self.row.take() {
                Some(row) if row.table == change.table => self.leaving = Some(row),
                row => {
                    self.row = row;
                    self.wrong(change, "a row was removed where none was");
                }
            },
        }
    }

    fn insert(&mut self, new: Row, change: &Change) {
        // A claim or a success may be written from the row that is removed after it.
        let is_first = |row: &Row| {
            let step = (row.table, new.table);
            step == (Table::Ready, Table::Running) || step == (Table::Running, Table::Done)
        };
        self.left_behind = self.row.filter(is_first);
        if let Some(row) = self.row.filter(|row| !is_first(row)) {
            let text = format!("it was in {:?} and came to {:?} too", row.table, new.table);
            self.wrong(change, &text);
        }
        match self.leaving.take().or(self.left_behind) {
            Some(old) => self.moved(old, new, change),
            None if self.born => {
                let text = format!("task {} came back from nowhere", self.task);
                self.verdict.find(Promise::Ghosts, text);
            }
            None => self.born = true,
        }
        self.row = Some(new);
    }

    fn moved(&mut self, old: Row, new: Row, change: &Change) {
        let (from, to) = (old.status, new.status);
        if from != to && !self.allowed.contains(&(from, to)) {
            self.wrong(change, &format!("{from} became {to}"));
        }
        let is_claim = !from.is_held() && to.is_held();
        let expected = old.attempt + i64::from(is_claim);
        // What starts anew counts anew.
        if new.attempt != expected && !from.is_final() {
            let text = format!("attempt {} became {} at {to}", old.attempt, new.attempt);
            self.wrong(change, &text);
        }
        if is_claim {
            self.ran = true;
        }
        if from.is_held() && to.is_held() && old.run != new.run {
            self.wrong(change, "a held task changed hands");
        }
        self.wished(from, to, change);
        if from.is_held() && !to.is_held() {
            self.released(old, new, change);
        }
        if to == Status::Deleted && from != Status::Cleaning && self.ran {
            let cleans = self
                .facts
                .manner(self.task)
                .is_some_and(Manner::has_cleanup);
            if cleans {
                self.wrong(change, &format!("deleted from {from} without its cleanup"));
            }
        }
        if to == Status::Failed {
            self.failed(old, change);
        }
    }

    /// What only people do, somebody must have asked for at that moment.
    fn wished(&mut self, from: Status, to: Status, change: &Change) {
        let is_deleting = |status| {
            matches!(
                status,
                Status::DeletingRun
                    | Status::CleanupQueued
                    | Status::Cleaning
                    | Status::CleanupScheduled
                    | Status::CleanupFailed
                    | Status::Deleted
            )
        };
        let wants: &[Want] = if from == to {
            return;
        } else if is_deleting(to) && !is_deleting(from) {
            &[Want::Delete]
        } else if to == Status::Pausing || (to == Status::Paused && from != Status::Pausing) {
            &[Want::Pause]
        } else if from == Status::Paused || (from == Status::Pausing && to == Status::Running) {
            &[Want::Resume, Want::Run]
        } else if from == Status::Created || from.is_final() {
            &[Want::Run, Want::Resume]
        } else {
            return;
        };
        if !self.facts.was_asked(self.task, wants, change.at_us) {
            self.wrong(
                change,
                &format!("{from} became {to}, and nobody asked for it"),
            );
        }
    }

    /// A run gave its task up, or it was taken from it. Either its handler had ended, or its node was out of the game.
    fn released(&mut self, old: Row, new: Row, change: &Change) {
        let (Some(run), Some(node)) = (old.run, old.node) else {
            self.wrong(change, "a held task without a run or a node");
            return;
        };
        let is_dead = self.facts.was_ended(node, change.seq);
        let facts = self.facts.runs.get(&(self.task, run));
        // The database's clock may be a little behind the handler's last line.
        let ended = facts
            .and_then(|facts| facts.ended)
            .filter(|(at_us, _)| *at_us <= change.at_us + super::facts::TOLERANCE_US);
        match (facts, ended) {
            // Claimed and never begun: given back, or its answer was lost.
            (None, _) => {}
            (Some(_), Some((_, how))) => self.ended(old, new, how, change),
            (Some(_), None) if is_dead => {}
            // Its end was committed by itself; the handler returns later.
            (Some(facts), None) if facts.finishing && is_after_ok(old.status, new.status) => {}
            (Some(facts), None) => {
                let text = format!(
                    "task {}: run {run} on {} lost it ({} became {}) although it was at work and its node alive",
                    self.task, facts.process, old.status, new.status
                );
                self.verdict.find(Promise::FencedWritesAccepted, text);
            }
        }
        if new.status == Status::Finished {
            self.finished(run, facts, change);
        }
        self.charged(old, new, is_dead, change);
        if is_dead && ended.is_none() {
            self.deaths.push(node);
            self.verdict.saw(match old.status {
                Status::Pausing => "rescue_while_pausing",
                Status::DeletingRun => "rescue_while_deleting",
                Status::Cleaning => "rescue_during_cleanup",
                _ => "rescue",
            });
        }
        if facts.is_some_and(|facts| facts.told == Some(Why::Gate)) {
            self.verdict.saw("stopped_by_a_gate");
        }
        let is_drained = facts.is_some_and(|facts| facts.told == Some(Why::Drain));
        if is_drained && new.status == Status::Resuming {
            self.verdict.saw("drain_hand_over");
        }
    }

    /// Only the death of its node is a crash, and whoever gave its task back when it was told to stop has not failed.
    fn charged(&mut self, old: Row, new: Row, is_dead: bool, change: &Change) {
        if !is_dead && new.crashes > old.crashes {
            self.wrong(change, "a crash was charged, and its node lives");
        }
        let is_given_back = new.status == Status::Resuming
            || (old.status, new.status) == (Status::Pausing, Status::Paused);
        if is_given_back && new.failures > old.failures {
            let text = format!("a failure was charged when it came to {}", new.status);
            self.wrong(change, &text);
        }
    }

    /// What a handler returned must fit what was recorded.
    fn ended(&mut self, old: Row, new: Row, how: How, change: &Change) {
        if old.status == Status::Cleaning && new.status == Status::Deleted && how != How::Ok {
            self.wrong(
                change,
                &format!("deleted after a cleanup that ended as {how:?}"),
            );
        }
        if new.status == Status::Finished && how != How::Ok {
            self.wrong(
                change,
                &format!("finished after a run that ended as {how:?}"),
            );
        }
    }

    fn finished(&mut self, run: Uuid, facts: Option<&RunFacts>, change: &Change) {
        let output = change.data.as_deref();
        let output = output.and_then(|text| serde_json::from_str::<Output>(text).ok());
        let by = output.map(|output| output.run);
        if by != Some(run) || change.run != Some(run) || facts.is_none() {
            let text = format!(
                "task {}: finished with the result of run {by:?} while run {run} held it",
                self.task
            );
            self.verdict.find(Promise::FencedWritesAccepted, text);
        }
    }

    fn failed(&mut self, old: Row, change: &Change) {
        let manner = self.facts.manner(self.task);
        let is_dead = old
            .node
            .is_some_and(|node| self.facts.was_ended(node, change.seq));
        let may = match manner {
            Some(Manner::Fragile) => is_dead,
            Some(manner) => manner.may_fail(),
            None => false,
        };
        // Whoever kills node after node comes to the limit with any task; that is what a limit is. A task that ends its
        // process must not bring its neighbours there.
        let was_killed =
            change.crashes >= i64::from(Rules::default().crash_limit) && !self.deaths.is_empty();
        let by_poison = |node: &Uuid| {
            let label = self.facts.nodes.get(node).map(|node| node.label.as_str());
            let crashes = |fault: &Fault| {
                matches!(fault.sort, FaultSort::Crash | FaultSort::Wedge)
                    && fault.node.as_deref() == label
            };
            self.facts.faults.iter().any(crashes)
        };
        if !may && was_killed && !self.deaths.iter().any(by_poison) {
            self.verdict
                .add("failed_when_node_after_node_was_killed", 1);
        } else if !may {
            let text = format!(
                "task {} of kind {} failed in attempt {} after {} failures and {} crashes",
                self.task,
                self.facts.kinds.get(&self.task).map_or("?", String::as_str),
                change.attempt,
                change.failures,
                change.crashes
            );
            self.verdict.find(Promise::InnocentsFailed, text);
        }
    }

    fn checkpoint(&mut self, change: &Change) {
        if change.op == Op::Delete {
            self.step = None;
            return;
        }
        self.deaths.clear();
        let holder = self.row.and_then(|row| row.run);
        if holder.is_none() || holder != change.run {
            let text = format!(
                "task {}: a checkpoint of run {:?} was written while {holder:?} held it",
                self.task, change.run
            );
            self.verdict.find(Promise::FencedWritesAccepted, text);
        }
        let saved = change.data.as_deref();
        let saved = saved.and_then(|text| serde_json::from_str::<Checkpoint>(text).ok());
        if let Some(Checkpoint { step }) = saved {
            if self.step.is_some_and(|known| step < known) {
                let text = format!(
                    "task {}: its checkpoint went from step {:?} back to {step}",
                    self.task, self.step
                );
                self.verdict.find(Promise::CheckpointRegressions, text);
            }
            self.step = Some(step);
        }
    }

    fn end(self) {
        let gone = self.leaving.filter(|row| row.status != Status::Deleted);
        if let Some(row) = gone {
            let text = format!("task {} vanished while it was {}", self.task, row.status);
            self.verdict.find(Promise::Lost, text);
        }
        if let Some(row) = self.left_behind {
            let text = format!("task {} stayed in {:?} too", self.task, row.table);
            self.verdict.find(Promise::IllegalTransitions, text);
        }
        if let Some(row) = self.row {
            self.verdict.add(&format!("tasks_{}", row.status), 1);
            if !row.status.is_final() {
                let text = format!("task {} is {} at the end", self.task, row.status);
                self.verdict.find(Promise::StuckAfterHeal, text);
            }
        }
    }

    fn wrong(&mut self, change: &Change, text: &str) {
        let text = format!("task {}: {text} (audit {})", self.task, change.seq);
        self.verdict.find(Promise::IllegalTransitions, text);
    }
}

/// What a run that ends well makes of its task.
fn is_after_ok(from: Status, to: Status) -> bool {
    match from {
        Status::DeletingRun => to == Status::CleanupQueued,
        _ => to == Status::Finished,
    }
}

fn place(table: Table) -> Option<Place> {
    match table {
        Table::Ready => Some(Place::Ready),
        Table::Running => Some(Place::Running),
        Table::Parked => Some(Place::Parked),
        Table::Done => Some(Place::Done),
        Table::Checkpoint | Table::Node | Table::Task | Table::Setting => None,
    }
}
