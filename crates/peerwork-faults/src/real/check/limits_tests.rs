//! Audits made by hand: claims, moves, ends and settings, some of which break what limits and gates promise.

use super::facts::Facts;
use super::{Evidence, Promise, Verdict, limits, utilisation};
use crate::real::audit::{Change, Op, Table};
use crate::real::history::{Entry, FaultSort, History, What};
use peerwork_core::{Gate, LaneId, Name, Scope, ScopeKey, Setting, Status, Timestamp};
use uuid::Uuid;

const NODE: Uuid = Uuid::from_u128(99);
const STEP_US: u64 = 100_000;

/// An audit that is told line by line.
#[derive(Default)]
struct Story {
    audit: Vec<Change>,
    now_us: u64,
}

fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

fn group(text: &str) -> Scope {
    Scope::Group(name(text))
}

fn limit(tasks: u32) -> Setting {
    Setting {
        max_running: Some(tasks),
        ..Setting::default()
    }
}

fn shut() -> Setting {
    let gate = Gate {
        reason: String::new(),
        by: None,
        since: Timestamp(0),
        until: None,
        pauses: false,
        ramp: None,
    };
    Setting {
        gate: Some(gate),
        ..Setting::default()
    }
}

impl Story {
    fn line(&mut self, table: Table, op: Op, id: u128, data: &[&str]) -> &mut Change {
        self.now_us += STEP_US;
        self.audit.push(Change {
            seq: self.audit.len() as i64 + 1,
            at_us: self.now_us,
            connection: 0,
            table,
            op,
            id: Uuid::from_u128(id),
            status: i64::from(Status::Running.code()),
            was: 0,
            run: None,
            node: Some(NODE),
            attempt: 1,
            failures: 0,
            crashes: 0,
            data: Some(Change::join(data)),
        });
        self.audit.last_mut().unwrap()
    }

    /// Of ann and of kind "steps".
    fn created(&mut self, task: u128, group: &str) {
        self.line(Table::Task, Op::Insert, task, &[group, "ann", "steps"]);
        self.line(Table::Ready, Op::Insert, task, &[]);
    }

    fn set(&mut self, scope: &Scope, setting: &Setting, is_settled: bool) {
        let ScopeKey(key) = scope.key();
        let (first, second) = scope.names();
        let spec = serde_json::to_string(setting).unwrap();
        let unsettled = if is_settled { "" } else { "7" };
        let data = [first.as_str(), second.as_str(), unsettled, &spec];
        let change = self.line(Table::Setting, Op::Update, 0, &data);
        (change.attempt, change.status) = (key, scope.sort() as i64);
    }

    /// A write to a held task in `group`, which is counted under `counted`.
    fn held(&mut self, op: Op, task: u128, group: &str, counted: Option<&Scope>) {
        let lane = LaneId::new(&name(group), &name("ann"))
            .0
            .simple()
            .to_string();
        let counted = counted.map_or(String::new(), |scope| scope.key().0.to_string());
        self.line(Table::Running, op, task, &[&lane, &counted, "", "", ""]);
    }

    fn claimed(&mut self, task: u128, of: &str) {
        self.held(Op::Insert, task, of, Some(&group(of)));
        self.line(Table::Ready, Op::Delete, task, &[]);
    }

    fn ended(&mut self, task: u128, of: &str) {
        self.held(Op::Delete, task, of, Some(&group(of)));
    }

    /// The lane first, and then, after a turn, what counts it.
    fn begins_to_move(&mut self, task: u128, from: &str, to: &str) {
        self.line(Table::Task, Op::Update, task, &[to, "ann", "steps"]);
        self.held(Op::Update, task, to, Some(&group(from)));
    }

    fn has_moved(&mut self, task: u128, to: &str) {
        self.held(Op::Update, task, to, Some(&group(to)));
    }

    fn evidence(self) -> Evidence {
        Evidence {
            audit: self.audit,
            fills_limits: true,
            ..Evidence::default()
        }
    }

    fn judged(self) -> Verdict {
        let mut verdict = Verdict::default();
        limits::check(&self.evidence(), &mut verdict);
        verdict
    }

    fn found(self) -> Vec<Promise> {
        let findings = self.judged().findings;
        findings.iter().map(|found| found.promise).collect()
    }
}

/// Three tasks in a group of which two may run.
fn three_of_two() -> Story {
    let mut story = Story::default();
    story.set(&group("g"), &limit(2), true);
    for task in 1..=3 {
        story.created(task, "g");
    }
    story.claimed(1, "g");
    story.claimed(2, "g");
    story
}

#[test]
fn as_many_as_a_limit_allows_break_nothing() {
    let mut story = three_of_two();
    story.ended(1, "g");
    story.claimed(3, "g");
    let verdict = story.judged();
    assert_eq!(verdict.findings, []);
    assert_eq!(verdict.happened["claim_under_a_limit"], 3);
    assert_eq!(verdict.happened["limit_reached"], 2);
}

#[test]
fn a_claim_above_a_limit_is_found() {
    let mut story = three_of_two();
    story.claimed(3, "g");
    story.ended(1, "g");
    assert_eq!(story.found(), [Promise::LimitExcessDb]);
}

#[test]
fn each_sort_of_limit_is_judged() {
    let (group, user) = (name("g"), name("ann"));
    for scope in [
        Scope::User(user.clone()),
        Scope::UserIn { group, user },
        Scope::Kind(name("steps")),
    ] {
        let mut story = Story::default();
        story.created(1, "g");
        story.created(2, "g");
        story.held(Op::Insert, 1, "g", None);
        story.set(&scope, &limit(1), true);
        story.held(Op::Insert, 2, "g", None);
        let found = story.found();
        assert!(
            found.contains(&Promise::LimitExcessDb),
            "{scope}: {found:?}"
        );
    }
}

#[test]
fn a_lowered_limit_ends_nothing_and_lets_nothing_start() {
    let mut story = three_of_two();
    story.set(&group("g"), &limit(1), false);
    story.ended(1, "g");
    let mut next = three_of_two();
    next.set(&group("g"), &limit(1), false);
    next.ended(1, "g");
    next.claimed(3, "g");
    let verdict = story.judged();
    assert_eq!(verdict.findings, []);
    assert_eq!(verdict.happened["limit_lowered_below_what_runs"], 1);
    assert_eq!(next.found(), [Promise::LimitExcessDb]);
}

#[test]
fn a_raised_and_a_cleared_limit_allow_at_once() {
    let mut story = three_of_two();
    story.set(&group("g"), &limit(3), false);
    story.claimed(3, "g");
    assert_eq!(story.found(), []);
    let mut story = three_of_two();
    story.set(&group("g"), &Setting::default(), false);
    story.claimed(3, "g");
    assert_eq!(story.found(), []);
}

#[test]
fn a_new_limit_is_in_force_once_it_is_settled() {
    let new = |is_settled| {
        let mut story = Story::default();
        for task in 1..=2 {
            story.created(task, "g");
        }
        story.claimed(1, "g");
        story.set(&group("g"), &limit(1), is_settled);
        story.claimed(2, "g");
        story.found()
    };
    assert_eq!(new(false), []);
    assert_eq!(new(true), [Promise::LimitExcessDb]);
}

#[test]
fn a_move_may_exceed_and_no_claim_after_it() {
    let moved = |claims_then: bool| {
        let mut story = three_of_two();
        story.created(4, "h");
        story.set(&group("h"), &limit(5), true);
        story.claimed(4, "h");
        story.begins_to_move(4, "h", "g");
        // It takes its turn after that of a claim that was before it.
        story.ended(1, "g");
        story.claimed(3, "g");
        story.has_moved(4, "g");
        story.ended(2, "g");
        if claims_then {
            story.created(5, "g");
            story.claimed(5, "g");
        }
        story.judged()
    };
    let verdict = moved(false);
    assert_eq!(verdict.findings, []);
    assert_eq!(verdict.happened["move_exceeded_a_limit"], 1);
    assert_eq!(verdict.happened["run_moved_between_limited_groups"], 1);
    assert_eq!(moved(true).count(Promise::LimitExcessDb), 1);
}

#[test]
fn a_run_that_counts_in_another_group_or_nowhere_is_found() {
    let mut story = three_of_two();
    story.held(Op::Update, 1, "g", Some(&group("h")));
    assert_eq!(story.found(), [Promise::CountedElsewhere]);
    let mut story = three_of_two();
    story.held(Op::Update, 1, "g", None);
    assert_eq!(story.found(), [Promise::CountedElsewhere]);
    // It was moved, and counts where it was.
    let mut story = three_of_two();
    story.begins_to_move(1, "g", "h");
    story.held(Op::Update, 1, "h", Some(&group("g")));
    assert_eq!(story.found(), [Promise::CountedElsewhere]);
}

#[test]
fn a_claim_behind_a_closed_gate_is_found() {
    let behind = |scope: Scope, is_settled, opens: bool| {
        let mut story = Story::default();
        story.created(1, "g");
        story.set(&scope, &shut(), is_settled);
        if opens {
            story.set(&scope, &Setting::default(), false);
        }
        story.held(Op::Insert, 1, "g", None);
        story.found()
    };
    for scope in [Scope::Everything, group("g"), Scope::Kind(name("steps"))] {
        assert_eq!(behind(scope.clone(), true, false), [Promise::GatesPassed]);
        assert_eq!(behind(scope.clone(), false, false), []);
        assert_eq!(behind(scope, true, true), []);
    }
    assert_eq!(behind(group("h"), true, false), []);
}

#[test]
fn a_gate_with_an_end_opens_by_itself() {
    let at = |until_us| {
        let mut story = Story::default();
        story.created(1, "g");
        let mut setting = shut();
        setting.gate.as_mut().unwrap().until = Some(Timestamp(until_us));
        story.set(&group("g"), &setting, true);
        story.held(Op::Insert, 1, "g", None);
        story.found()
    };
    assert_eq!(at(STEP_US as i64 * 4), []);
    assert_eq!(at(STEP_US as i64 * 4 + 1), [Promise::GatesPassed]);
}

#[test]
fn slots_that_await_a_rescue_are_left_out_of_what_is_used() {
    let mut story = Story::default();
    story.set(&group("g"), &limit(2), true);
    let node = story.line(Table::Node, Op::Insert, NODE.as_u128(), &["node-1"]);
    node.status = 1;
    for task in 1..=4 {
        story.created(task, "g");
    }
    // One of two runs for a step and the line after it; then both do, for a step; then their node is dead.
    story.claimed(1, "g");
    story.held(Op::Insert, 2, "g", Some(&group("g")));
    let killed_us = story.now_us + STEP_US;
    story.now_us += 5 * STEP_US;
    story.line(Table::Ready, Op::Delete, 2, &[]);
    story.line(Table::Ready, Op::Delete, 3, &[]);
    story.line(Table::Ready, Op::Delete, 4, &[]);
    let mut evidence = story.evidence();
    let killed = What::Fault {
        sort: FaultSort::Kill,
        node: Some("node-1".into()),
    };
    evidence.histories.push(History {
        name: "controller".into(),
        entries: vec![Entry {
            at_us: killed_us,
            what: killed,
        }],
    });
    let found = utilisation::measure(&Facts::gather(&evidence), &evidence).unwrap();
    assert_eq!((found.groups, found.slots, found.claims), (1, 2, 2));
    // Two steps with one in use, one with two, seven with both awaiting their rescue.
    assert!((found.busy_s - 1.0).abs() < 1e-9, "{found:?}");
    assert!((found.used - 4.0 / 6.0).abs() < 1e-9, "{found:?}");
    assert!(
        (found.awaiting_rescue - 14.0 / 20.0).abs() < 1e-9,
        "{found:?}"
    );
}
