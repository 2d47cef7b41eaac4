//! Each cause, their order, and what is predicted.

use super::*;
use crate::{
    Gate, KindKey, Name, NodeId, Ramp, Rate, Scope, ScopeSort, Setting, Task, Timestamp, Work,
};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_780_000_000_000_000);

fn name(text: &str) -> Name {
    Name::new("test", text).unwrap()
}

fn kind() -> KindKey {
    KindKey::new(&name("encode"))
}

fn node(n: u128, slots: u32, running: u64) -> NodeFacts {
    NodeFacts {
        id: NodeId(Uuid::from_u128(n)),
        label: format!("host {n}"),
        lease_until: NOW.plus_ms(10_000),
        alive: true,
        slots,
        running,
        kinds: Some(vec![kind()]),
    }
}

fn task(status: Status) -> Task {
    Task {
        status,
        returns_to: None,
        attempt: 1,
        failures: 0,
        crashes: 0,
        wake_at: None,
        ready_at: NOW.minus_ms(5_000),
        forced: false,
    }
}

/// A task in this status with one node of four free slots, alone in the world.
fn facts(status: Status) -> Facts {
    let line = Line {
        ahead: Count::default(),
        lanes: Count::up_to(1, LANES_MAX),
    };
    Facts {
        now: NOW,
        id: TaskId(Uuid::from_u128(7)),
        kind: name("encode"),
        user: name("ann"),
        group: name("films"),
        task: task(status),
        node: status.is_held().then(|| NodeId(Uuid::from_u128(1))),
        started_at: status.is_held().then(|| NOW.minus_ms(1_000)),
        finished_at: status.is_final().then(|| NOW.minus_ms(1_000)),
        error: None,
        children: None,
        line: (status.place() == crate::Place::Ready).then_some(line),
        scopes: Vec::new(),
        nodes: vec![node(1, 4, 0)],
        kinds: vec![
            (kind(), name("encode")),
            (KindKey::new(&name("print")), name("print")),
        ],
        policy: None,
    }
}

fn queued(ahead: u64) -> Facts {
    let mut facts = facts(Status::Queued);
    facts.line = Some(Line {
        ahead: Count::up_to(ahead, AHEAD_MAX),
        lanes: Count::up_to(3, LANES_MAX),
    });
    facts
}

fn films() -> Scope {
    Scope::Group(name("films"))
}

fn scope(scope: Scope, setting: Setting, running: u64) -> ScopeFacts {
    ScopeFacts {
        scope,
        setting,
        full_at: Timestamp(i64::MIN),
        running,
        running_on: Vec::new(),
    }
}

fn limit(max: u32) -> Setting {
    Setting {
        max_running: Some(max),
        ..Setting::default()
    }
}

fn gate(until: Option<Timestamp>) -> Setting {
    let gate = Gate {
        reason: "the disk\nis full".to_owned(),
        by: Some("bob".to_owned()),
        since: NOW.minus_ms(60_000),
        until,
        pauses: false,
        ramp: None,
    };
    Setting {
        gate: Some(gate),
        ..Setting::default()
    }
}

/// A bucket of `burst` starts that is empty now.
fn emptied(per_second: f64, burst: u32) -> ScopeFacts {
    let rate = Rate::per_second(per_second, burst).unwrap();
    let setting = Setting {
        starts: Some(rate),
        ..Setting::default()
    };
    ScopeFacts {
        full_at: rate.take(Timestamp(i64::MIN), NOW, burst),
        ..scope(films(), setting, 0)
    }
}

/// What the causes are, by a letter or two each, in their order.
fn letters(facts: &Facts) -> String {
    let letter = |cause: &Cause| match cause {
        Cause::Over { .. } => "over",
        Cause::Running(_) => "runs",
        Cause::Stopping { deletes: true, .. } => "stops-deletes",
        Cause::Stopping { .. } => "stops",
        Cause::Cleaning(_) => "cleans",
        Cause::NotStarted => "created",
        Cause::Paused { .. } => "paused",
        Cause::CleanupFailed { .. } => "cleanup-failed",
        Cause::Gate { .. } => "gate",
        Cause::NoNode { .. } => "no-node",
        Cause::Children { .. } => "children",
        Cause::Later { .. } => "later",
        Cause::Limit { .. } => "limit",
        Cause::LimitPerNode { .. } => "per-node",
        Cause::Bucket { .. } => "bucket",
        Cause::Line { .. } => "line",
    };
    let causes = explain(facts).causes;
    let letters: Vec<_> = causes.iter().map(letter).collect();
    letters.join(" ")
}

fn said(facts: &Facts) -> String {
    explain(facts).to_string()
}

#[test]
fn every_status_has_a_cause_and_one_sentence() {
    for status in Status::ALL {
        let mut facts = facts(status);
        facts.task.wake_at = Some(NOW.plus_ms(1_000));
        let explanation = explain(&facts);
        assert_eq!(explanation.causes.len(), 1, "{status:?}");
        let said = explanation.to_string();
        assert!(said.starts_with(explanation.state.name()), "{said}");
        assert!(!said.contains(['\n']), "{said}");
        // Also where rows contradict each other.
        facts.task.wake_at = None;
        (facts.node, facts.started_at, facts.line) = (None, None, None);
        assert!(!explain(&facts).causes.is_empty(), "{status:?}");
    }
}

#[test]
fn what_is_over_says_how_it_ended() {
    let mut facts = facts(Status::Failed);
    facts.error = Some("the disk is on fire".to_owned());
    let text = said(&facts);
    assert!(text.contains("failed: it has failed, at "), "{text}");
    assert!(text.ends_with(": \"the disk is on fire\""), "{text}");
    facts.task.status = Status::Finished;
    assert!(said(&facts).starts_with("finished: it has finished, at "));
    facts.task.status = Status::Deleted;
    assert!(said(&facts).starts_with("deleted: it is deleted, at "));
}

#[test]
fn what_runs_says_where_and_how_that_node_is() {
    let mut facts = facts(Status::Running);
    let text = said(&facts);
    assert!(text.starts_with("running: it runs on node 0000"), "{text}");
    assert!(text.contains("(\"host 1\") since "), "{text}");
    facts.nodes[0].running = 9;
    assert!(said(&facts).contains("holds 9 tasks for 4 slots"));
    facts.nodes[0].lease_until = NOW.minus_ms(1);
    assert!(said(&facts).contains("lease has run out"));
    facts.nodes[0].alive = false;
    assert!(said(&facts).contains("which is dead"));
    facts.nodes.clear();
    assert!(said(&facts).contains("which is dead"));
    assert_eq!(letters(&facts), "runs", "nothing else matters any more");
    facts.scopes = vec![scope(films(), gate(None), 0)];
    for (status, letter) in [
        (Status::Pausing, "stops"),
        (Status::DeletingRun, "stops-deletes"),
        (Status::Cleaning, "cleans"),
    ] {
        facts.task.status = status;
        assert_eq!(letters(&facts), letter);
        assert_eq!(explain(&facts).starts, None);
    }
}

#[test]
fn a_limit_says_whose_it_is_how_many_run_and_how_many_are_ahead() {
    let mut facts = queued(12);
    facts.scopes = vec![scope(films(), limit(5), 5)];
    assert_eq!(letters(&facts), "limit line");
    assert_eq!(
        said(&facts),
        "queued: 5 of 5 run under the limit of group \"films\", and 12 tasks are ahead of it in its lane"
    );
    facts.scopes[0].running = 4;
    assert_eq!(letters(&facts), "line", "there is room");
    facts.scopes = vec![scope(films(), limit(0), 0)];
    assert_eq!(letters(&facts), "limit line", "nothing is to run at all");
    facts.task.status = Status::Scheduled;
    facts.task.wake_at = Some(NOW.plus_ms(1));
    assert_eq!(letters(&facts), "later", "who knows what runs then");
}

#[test]
fn a_limit_of_each_node_holds_once_all_nodes_are_full() {
    let mut facts = queued(0);
    facts.nodes.push(node(2, 4, 0));
    let setting = Setting {
        max_running_per_node: Some(2),
        ..Setting::default()
    };
    let mut limited = scope(films(), setting, 0);
    let (first, second) = (facts.nodes[0].id, facts.nodes[1].id);
    limited.running_on = vec![(first, 2), (second, 1)];
    facts.scopes = vec![limited];
    assert_eq!(letters(&facts), "line");
    facts.scopes[0].running_on = vec![(second, 2), (first, 3)];
    assert_eq!(letters(&facts), "per-node");
    let text = said(&facts);
    assert!(
        text.contains("2 run on each of the nodes that have its kind (2)"),
        "{text}"
    );
    facts.nodes[0].kinds = Some(Vec::new());
    facts.scopes[0].running_on = vec![(second, 2)];
    assert_eq!(
        letters(&facts),
        "per-node",
        "the other node does not matter"
    );
}

#[test]
fn a_gate_says_whose_it_is_why_by_whom_and_until_when() {
    let mut facts = queued(0);
    facts.scopes = vec![scope(films(), gate(None), 0)];
    assert_eq!(letters(&facts), "gate");
    let text = said(&facts);
    assert!(
        text.starts_with("queued: the gate of group \"films\" is closed since "),
        "{text}"
    );
    assert!(
        text.ends_with(" by \"bob\": \"the disk\\nis full\""),
        "{text}"
    );
    assert_eq!(explain(&facts).starts, None, "who knows when it opens");
    let until = NOW.plus_ms(60_000);
    facts.scopes = vec![scope(films(), gate(Some(until)), 0)];
    assert!(said(&facts).contains(&format!(" until {until} by ")));
    assert!(!said(&facts).contains("earliest"), "once is enough");
    let prediction = Prediction {
        earliest: until,
        basis: Basis::Gate,
    };
    assert_eq!(explain(&facts).starts, Some(prediction));
    facts.now = until;
    facts.nodes[0].lease_until = until;
    assert_eq!(letters(&facts), "line", "it is open");
}

#[test]
fn a_gate_stands_in_the_way_of_runs_alone() {
    for (status, letters_of_it) in [
        (Status::CleanupQueued, "line"),
        (Status::Queued, "gate"),
        (Status::Resuming, "gate"),
        (Status::Created, "created gate"),
        (Status::Paused, "paused gate"),
    ] {
        let mut facts = facts(status);
        facts.scopes = vec![scope(Scope::Everything, gate(None), 0)];
        assert_eq!(letters(&facts), letters_of_it, "{status:?}");
    }
}

#[test]
fn of_a_gate_and_a_due_time_the_later_one_binds() {
    let mut facts = facts(Status::Scheduled);
    let due = NOW.plus_ms(50_000);
    facts.task.wake_at = Some(due);
    facts.scopes = vec![scope(films(), gate(Some(due)), 0)];
    assert_eq!(letters(&facts), "later", "it is open by then");
    facts.scopes = vec![scope(films(), gate(Some(due.plus_ms(1))), 0)];
    assert_eq!(letters(&facts), "gate later");
    let starts = explain(&facts).starts.unwrap();
    assert_eq!(
        (starts.earliest, starts.basis),
        (due.plus_ms(1), Basis::Gate)
    );
    facts.scopes = vec![scope(films(), gate(None), 0)];
    assert_eq!(letters(&facts), "gate later");
    assert_eq!(explain(&facts).starts, None);
}

#[test]
fn what_is_due_later_says_what_for() {
    let at = NOW.plus_ms(30_000);
    let due = |status, failures| {
        let mut facts = facts(status);
        facts.task.wake_at = Some(at);
        facts.task.failures = failures;
        let starts = explain(&facts).starts.unwrap();
        assert_eq!((starts.earliest, starts.basis), (at, Basis::Due));
        said(&facts)
    };
    assert_eq!(
        due(Status::Scheduled, 0),
        format!("scheduled: it is due at {at}, its due time")
    );
    assert!(due(Status::Scheduled, 1).ends_with("for another try after its first failure"));
    assert!(due(Status::Scheduled, 3).ends_with("for another try after 3 failures"));
    assert!(due(Status::Waiting, 0).ends_with("the time that its handler waits for"));
    assert!(due(Status::CleanupScheduled, 2).contains("of its cleanup after 2 failures"));
}

#[test]
fn a_paused_task_says_why_it_was_if_it_failed() {
    let mut facts = facts(Status::Paused);
    assert_eq!(
        said(&facts),
        "paused: it is paused until somebody resumes it"
    );
    facts.task.forced = true;
    facts.task.failures = 5;
    facts.error = Some("no space left".to_owned());
    let text = said(&facts);
    assert!(text.contains("did not stop in time"), "{text}");
    assert!(text.contains("failed 5 times: \"no space left\""), "{text}");
}

#[test]
fn a_parent_says_how_many_of_its_children_are_over() {
    let mut facts = facts(Status::Waiting);
    facts.children = Some(Children { over: 2, of: 5 });
    let text = said(&facts);
    assert_eq!(
        text,
        "waiting: it waits for its children, of which 2 of 5 are over"
    );
    facts.task.wake_at = Some(NOW.plus_ms(1));
    assert!(said(&facts).contains("at the latest"));
    assert_eq!(explain(&facts).starts, None, "they may be over before");
}

#[test]
fn without_a_live_node_of_its_kind_nothing_runs() {
    let mut facts = queued(3);
    let others = vec![KindKey::new(&name("print"))];
    facts.nodes[0].kinds = Some(others.clone());
    assert_eq!(letters(&facts), "no-node line");
    let text = said(&facts);
    assert_eq!(
        text,
        "queued: no live node has kind \"encode\"; 1 is alive and has \"print\""
    );
    facts.nodes.push(NodeFacts {
        lease_until: NOW.minus_ms(1),
        ..node(2, 4, 0)
    });
    facts.nodes.push(NodeFacts {
        alive: false,
        ..node(3, 4, 0)
    });
    assert_eq!(said(&facts), text, "neither of them works");
    facts.nodes.push(NodeFacts {
        kinds: None,
        ..node(4, 4, 0)
    });
    assert_eq!(letters(&facts), "line", "that one may have it");
    facts.nodes.clear();
    assert!(said(&facts).contains("no node is alive"));
    facts.task.status = Status::CleanupQueued;
    assert_eq!(
        letters(&facts),
        "no-node line",
        "a cleanup needs its handler, too"
    );
}

#[test]
fn an_emptied_bucket_says_when_it_holds_a_start_again() {
    let mut facts = queued(0);
    facts.scopes = vec![emptied(2.0, 4)];
    assert_eq!(letters(&facts), "bucket");
    let text = said(&facts);
    assert!(text.contains("(2 a second); the next may at "), "{text}");
    let starts = explain(&facts).starts.unwrap();
    assert_eq!(starts.earliest, NOW.plus_ms(500));
    facts.line = queued(9).line;
    let starts = explain(&facts).starts.unwrap();
    let prediction = Prediction {
        earliest: NOW.plus_ms(5_000),
        basis: Basis::Bucket { ahead: 9 },
    };
    assert_eq!(starts, prediction, "nine go first");
    facts.scopes[0].scope = Scope::Kind(name("encode"));
    let starts = explain(&facts).starts.unwrap();
    assert_eq!(
        starts.earliest,
        NOW.plus_ms(500),
        "they may be of other kinds"
    );
    facts.now = NOW.plus_ms(500);
    assert_eq!(letters(&facts), "line");
}

#[test]
fn the_ramp_of_a_gate_that_was_opened_is_a_bucket() {
    let mut facts = queued(0);
    let mut scope = emptied(1.0, 1);
    let rate = scope.setting.starts.take().unwrap();
    let mut opened = gate(Some(NOW)).gate.unwrap();
    opened.ramp = Some(Ramp { rate, ms: 10_000 });
    scope.setting.gate = Some(opened);
    facts.scopes = vec![scope];
    assert_eq!(letters(&facts), "bucket");
}

#[test]
fn in_line_it_says_what_is_ahead_and_which_slots_are_taken() {
    let mut facts = facts(Status::Queued);
    assert_eq!(
        said(&facts),
        "queued: it is in line, and the first of its lane; 0 of 4 slots are taken; it is about to start"
    );
    facts.nodes[0].running = 9;
    facts.line = queued(1).line;
    facts.policy = Some("fair".to_owned());
    assert_eq!(
        said(&facts),
        "queued: it is in line, and 1 task is ahead of it in its lane; 4 of 4 slots are taken; \
         2 other lanes have work, which the policy (\"fair\") may prefer"
    );
    assert_eq!(
        explain(&facts).starts,
        None,
        "nobody knows how long others take"
    );
    facts.line = queued(AHEAD_MAX + 1).line;
    assert!(said(&facts).contains("at least 10000 tasks are ahead"));
    facts.task.status = Status::CleanupQueued;
    let text = said(&facts);
    assert!(
        text.contains("its cleanup is in line") && !text.contains("slots"),
        "{text}"
    );
}

#[test]
fn the_slots_are_those_of_the_live_nodes_that_have_the_kind() {
    let mut facts = queued(0);
    facts.nodes = vec![node(1, 4, 3), node(2, 4, 9), node(3, 8, 0), node(4, 8, 0)];
    facts.nodes[2].kinds = Some(Vec::new());
    facts.nodes[3].alive = false;
    let explanation = explain(&facts);
    let Cause::Line { slots, work, .. } = explanation.first() else {
        panic!("{explanation}");
    };
    assert_eq!(*slots, Some(Slots { total: 8, taken: 7 }));
    assert_eq!(*work, Work::Run);
}

#[test]
fn all_that_holds_is_listed_the_most_binding_first() {
    let mut facts = queued(2);
    facts.nodes[0].running = 4;
    let soon = gate(Some(NOW.plus_ms(1_000)));
    let user = Scope::User(name("ann"));
    facts.scopes = vec![
        emptied(1.0, 1),
        scope(films(), limit(1), 1),
        scope(user, soon, 0),
        scope(Scope::Everything, gate(Some(NOW.plus_ms(2_000))), 0),
        scope(Scope::Kind(name("encode")), gate(None), 0),
    ];
    assert_eq!(letters(&facts), "gate gate gate limit bucket line");
    let sorts: Vec<_> = explain(&facts)
        .causes
        .iter()
        .filter_map(|cause| match cause {
            Cause::Gate { scope, .. } => Some(scope.sort()),
            _ => None,
        })
        .collect();
    assert_eq!(
        sorts,
        [ScopeSort::Kind, ScopeSort::Everything, ScopeSort::User]
    );
    facts.nodes[0].kinds = Some(Vec::new());
    assert_eq!(letters(&facts), "gate no-node gate gate limit bucket line");
    facts.task.status = Status::Paused;
    assert_eq!(letters(&facts), "paused gate no-node gate gate");
}

#[test]
fn a_user_reads_no_names_of_others() {
    let mut facts = queued(0);
    facts.scopes = vec![scope(films(), gate(None), 0)];
    let text = explain(&facts.clone().for_eyes_of(&name("ann"))).to_string();
    assert!(!text.contains("bob") && text.contains("is full"), "{text}");
    let text = explain(&facts.for_eyes_of(&name("bob"))).to_string();
    assert!(text.contains("by \"bob\""), "{text}");
}

#[test]
fn a_long_text_does_not_bury_the_sentence() {
    let mut facts = facts(Status::Failed);
    facts.error = Some("é\u{1b}".repeat(4_000));
    let text = said(&facts);
    assert!(
        text.chars().count() < 1_000 && text.ends_with("…\""),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
}
