//! The whole matrix as text: the source of the snapshot test and of `docs/lifecycle.md`.

use crate::{
    Event, OnExhausted, OnNodeDeath, OnPauseDeadline, Refused, Rules, Status, Task, Timestamp,
    Transition, decide,
};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The columns: an event's name, and the events (with their arguments) that it stands for.
fn columns() -> Vec<(&'static str, Vec<Event>)> {
    let err = |permanent, forget| Event::Err {
        permanent,
        retry_after_ms: None,
        jitter: 0,
        forget,
    };
    vec![
        ("run", vec![Event::Run]),
        ("resume", vec![Event::Resume]),
        ("pause", vec![Event::Pause]),
        ("delete", vec![Event::Delete]),
        ("force delete", vec![Event::ForceDelete]),
        ("rerun", vec![Event::Rerun]),
        ("move", vec![Event::Move]),
        ("edit", vec![Event::Edit]),
        ("claim", vec![Event::Claim]),
        ("ok", vec![Event::Ok { forget: false }]),
        ("ok, forget", vec![Event::Ok { forget: true }]),
        ("err", vec![err(false, false), err(true, false)]),
        ("err, forget", vec![err(true, true)]),
        ("stopped", vec![Event::Stopped]),
        ("wait", vec![Event::Wait { until: None }]),
        (
            "dead owner",
            vec![
                Event::DeadOwner { on_trial: false },
                Event::DeadOwner { on_trial: true },
            ],
        ),
        ("deadline", vec![Event::Deadline]),
        ("due", vec![Event::Due]),
        ("woken", vec![Event::Woken]),
        ("prune", vec![Event::Prune]),
    ]
}

/// The kinds' choices under which a cell may differ.
fn all_rules() -> Vec<Rules> {
    let mut all = Vec::new();
    for cleanup in [true, false] {
        for on_node_death in [OnNodeDeath::Resume, OnNodeDeath::Fail] {
            for on_exhausted in [OnExhausted::Fail, OnExhausted::Pause] {
                for on_pause_deadline in [
                    OnPauseDeadline::Force,
                    OnPauseDeadline::Wait,
                    OnPauseDeadline::Refuse,
                ] {
                    let base = Rules::default();
                    all.push(Rules {
                        cleanup,
                        on_node_death,
                        on_exhausted,
                        on_pause_deadline,
                        ..base
                    });
                }
            }
        }
    }
    all
}

/// The tasks that a status stands for: with and without a history, due and not due.
fn tasks(status: Status) -> Vec<Task> {
    let returns = match status {
        Status::Paused => vec![
            Some(Status::Created),
            Some(Status::Scheduled),
            Some(Status::Queued),
            Some(Status::Resuming),
            Some(Status::Waiting),
        ],
        _ => vec![None],
    };
    let mut all = Vec::new();
    for returns_to in returns {
        for wake_at in [None, Some(PAST), Some(FUTURE)] {
            for crashes in [0, Rules::default().crash_limit - 1] {
                all.push(Task {
                    status,
                    returns_to,
                    attempt: 1,
                    failures: 0,
                    crashes,
                    wake_at,
                    ready_at: PAST,
                    forced: false,
                });
            }
        }
    }
    all
}

const PAST: Timestamp = Timestamp(1);
const NOW: Timestamp = Timestamp(1_000_000);
const FUTURE: Timestamp = Timestamp(2_000_000);

/// All answers of one cell, as text: the statuses it may lead to, `same`, or the reason of a refusal.
fn cell(status: Status, events: &[Event]) -> Vec<String> {
    let mut answers = BTreeSet::new();
    for rules in all_rules() {
        for task in tasks(status) {
            for event in events {
                answers.insert(match decide(&task, &rules, *event, NOW) {
                    Ok(Transition::Same) => "same".to_owned(),
                    Ok(Transition::To(task)) => task.status.name().to_owned(),
                    Ok(Transition::Erase) => "erased".to_owned(),
                    Err(refused) => format!("({})", short(refused)),
                });
            }
        }
    }
    answers.into_iter().collect()
}

/// Every change of status that some event can make under some rules: what an audit of a task's history allows.
pub fn transitions() -> BTreeSet<(Status, Status)> {
    let mut pairs = BTreeSet::new();
    for (_, events) in columns() {
        for status in Status::ALL {
            for rules in all_rules() {
                for task in tasks(status) {
                    for event in &events {
                        if let Ok(Transition::To(to)) = decide(&task, &rules, *event, NOW) {
                            pairs.insert((status, to.status));
                        }
                    }
                }
            }
        }
    }
    pairs
}

fn short(refused: Refused) -> &'static str {
    match refused {
        Refused::Deleting => "deleting",
        Refused::AlreadyFinished => "finished",
        Refused::AlreadyFailed => "failed",
        Refused::Gone => "gone",
        Refused::NotOver => "not over",
        Refused::Held => "held",
        Refused::NotClaimable => "not claimable",
        Refused::NotHeld => "not held",
        Refused::NotDeleted => "not deleted",
    }
}

/// Every (status, event) with every answer it can have, one event after the other.
pub fn matrix() -> String {
    let mut text = String::new();
    for (name, events) in columns() {
        let _ = writeln!(text, "{name}");
        for status in Status::ALL {
            let _ = writeln!(
                text,
                "    {:<18} {}",
                status.name(),
                cell(status, &events).join(" | ")
            );
        }
    }
    text
}

/// `docs/lifecycle.md`, whole.
pub fn document() -> String {
    let mut text = String::from(
        "# A task's life\n\nGenerated from `peerwork_core::decide` by `cargo xtask lifecycle`; a test checks that it is up to date.\n\n\
         A status is what a task is doing and what its user wants, together. People see a *state*.\n\n\
         | status | state | table | holds a slot |\n| --- | --- | --- | --- |\n",
    );
    for status in Status::ALL {
        let state = crate::State::of(status, 0);
        let place = format!("{:?}", status.place()).to_lowercase();
        let held = if status.is_held() { "yes" } else { "" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            status.name(),
            state.name(),
            place,
            held
        );
    }
    text.push_str("\n## The usual ways\n\n```mermaid\nstateDiagram-v2\n    [*] --> created\n    [*] --> queued\n    [*] --> scheduled\n");
    for (name, events) in columns() {
        if ["move", "edit", "force delete", "ok, forget", "err, forget"].contains(&name) {
            continue;
        }
        for status in Status::ALL {
            for target in cell(status, &events) {
                let is_status = Status::ALL.iter().any(|other| other.name() == target);
                if is_status && target != status.name() {
                    let _ = writeln!(text, "    {} --> {}: {}", status.name(), target, name);
                } else if target == "erased" {
                    let _ = writeln!(text, "    {} --> [*]: {}", status.name(), name);
                }
            }
        }
    }
    text.push_str("```\n\n## Every event in every status\n\nA word in parentheses is the reason of a refusal; several answers depend on the kind's rules or on the task's counters and times.\n");
    for (name, events) in columns() {
        let _ = write!(
            text,
            "\n### {name}\n\n| status | becomes |\n| --- | --- |\n"
        );
        for status in Status::ALL {
            let _ = writeln!(
                text,
                "| {} | {} |",
                status.name(),
                cell(status, &events).join(", ")
            );
        }
    }
    text
}
