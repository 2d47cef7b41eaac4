//! The decision matrix: its snapshot, and the properties that hold for every sequence of events.

use peerwork_core::*;
use proptest::prelude::*;

#[test]
fn the_matrix_is_the_reviewed_one() {
    insta::assert_snapshot!(lifecycle::matrix());
}

#[test]
fn docs_lifecycle_is_generated_from_the_matrix() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lifecycle.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == lifecycle::document(),
        "docs/lifecycle.md is out of date: run `cargo xtask lifecycle`"
    );
}

const NOW: Timestamp = Timestamp(1_000_000_000);

fn any_rules() -> impl Strategy<Value = Rules> {
    let deadline = prop_oneof![
        Just(OnPauseDeadline::Force),
        Just(OnPauseDeadline::Wait),
        Just(OnPauseDeadline::Refuse)
    ];
    (
        any::<bool>(),
        1u32..4,
        1u32..4,
        any::<bool>(),
        any::<bool>(),
        deadline,
    )
        .prop_map(
            |(
                cleanup,
                limit,
                crash_limit,
                fail_on_death,
                pause_when_exhausted,
                on_pause_deadline,
            )| Rules {
                cleanup,
                retry: Retry {
                    limit,
                    base_ms: 10,
                    cap_ms: 100,
                },
                crash_limit,
                on_node_death: if fail_on_death {
                    OnNodeDeath::Fail
                } else {
                    OnNodeDeath::Resume
                },
                on_exhausted: if pause_when_exhausted {
                    OnExhausted::Pause
                } else {
                    OnExhausted::Fail
                },
                on_pause_deadline,
                ..Rules::default()
            },
        )
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Run),
        Just(Event::Resume),
        Just(Event::Pause),
        Just(Event::Delete),
        Just(Event::ForceDelete),
        Just(Event::Rerun),
        Just(Event::Move),
        Just(Event::Edit),
        Just(Event::Claim),
        any::<bool>().prop_map(|forget| Event::Ok { forget }),
        (any::<bool>(), any::<u32>(), any::<bool>()).prop_map(|(permanent, jitter, forget)| {
            Event::Err {
                permanent,
                retry_after_ms: None,
                jitter,
                forget,
            }
        }),
        Just(Event::Stopped),
        proptest::option::of(0i64..2_000_000_000).prop_map(|until| Event::Wait {
            until: until.map(Timestamp)
        }),
        any::<bool>().prop_map(|on_trial| Event::DeadOwner { on_trial }),
        Just(Event::Deadline),
        Just(Event::Due),
        Just(Event::Woken),
        Just(Event::Prune),
    ]
}

fn any_start() -> impl Strategy<Value = Task> {
    (any::<bool>(), proptest::option::of(0i64..2_000_000_000))
        .prop_map(|(start, due)| Task::new(start, due.map(Timestamp), NOW))
}

fn is_wish_of_a_person(event: Event) -> bool {
    use Event::*;
    matches!(
        event,
        Run | Resume | Pause | Delete | ForceDelete | Rerun | Move | Edit
    )
}

fn is_deleting(status: Status) -> bool {
    use Status::*;
    matches!(
        status,
        DeletingRun | CleanupQueued | Cleaning | CleanupScheduled | CleanupFailed | Deleted
    )
}

/// Follows the events from `task` and returns every step that wrote something.
fn steps(mut task: Task, rules: &Rules, events: &[(Event, i64)]) -> Vec<(Task, Event, Task)> {
    let mut steps = Vec::new();
    let mut now = NOW;
    for (event, pass) in events {
        now = Timestamp(now.0 + pass);
        match decide(&task, rules, *event, now) {
            Ok(Transition::To(next)) => {
                steps.push((task, *event, next));
                task = next;
            }
            Ok(Transition::Same) | Err(_) => {}
            Ok(Transition::Erase) => {
                assert_eq!(task.status, Status::Deleted);
                break;
            }
        }
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_step_keeps_the_invariants(
        start in any_start(),
        rules in any_rules(),
        events in proptest::collection::vec((any_event(), 0i64..500_000), 1..40),
    ) {
        for (before, event, after) in steps(start, &rules, &events) {
            let say = format!("{before:?} --{event:?}--> {after:?}");
            if before.status.is_final() {
                prop_assert!(is_wish_of_a_person(event), "final stays final: {say}");
                prop_assert_ne!(before.status, Status::Deleted, "nothing comes back: {}", say);
            }
            if is_deleting(before.status) {
                prop_assert!(is_deleting(after.status), "nothing supersedes a deletion: {say}");
            }
            prop_assert_eq!(after.attempt - before.attempt, u32::from(event == Event::Claim), "{}", say);
            let failed = matches!(event, Event::Err { .. })
                && matches!(before.status, Status::Running | Status::Cleaning);
            let may_reset = matches!(after.status, Status::Paused | Status::Deleted);
            prop_assert!(
                !failed || after.failures == before.failures + 1 || may_reset,
                "a failure is counted: {say}"
            );
            let cleanup_waits = matches!(event, Event::Wait { .. }) && before.status == Status::Cleaning;
            prop_assert!(
                failed || cleanup_waits || after.failures <= before.failures,
                "nothing else counts as a failure: {say}"
            );
            prop_assert!(
                after.crashes <= before.crashes + u32::from(matches!(event, Event::DeadOwner { .. })),
                "only a death is a crash: {say}"
            );
            prop_assert_eq!(after.returns_to.is_some(), after.status == Status::Paused, "{}", say);
            prop_assert!(!after.forced || after.status == Status::Paused, "{}", say);
            prop_assert!(
                !matches!(after.status, Status::Scheduled | Status::CleanupScheduled) || after.wake_at.is_some(),
                "what sleeps has an alarm: {say}"
            );
        }
    }

    #[test]
    fn repeating_a_wish_is_harmless(start in any_start(), rules in any_rules(),
        events in proptest::collection::vec((any_event(), 0i64..500_000), 0..30),
        wish in prop_oneof![Just(Event::Run), Just(Event::Resume), Just(Event::Pause), Just(Event::Delete)],
    ) {
        let task = steps(start, &rules, &events).last().map_or(start, |step| step.2);
        let now = Timestamp(NOW.0 + 500_000 * 30);
        if let Ok(Transition::To(next)) = decide(&task, &rules, wish, now) {
            let again = decide(&next, &rules, wish, now);
            // A deletion that retries a failed cleanup is the only wish that starts something each time it is
            // wanted, and its repetition finds that already under way.
            prop_assert_eq!(again, Ok(Transition::Same), "{:?} twice on {:?}", wish, task);
        }
    }

    #[test]
    fn a_later_wish_supersedes_an_earlier(start in any_start(), rules in any_rules(),
        events in proptest::collection::vec((any_event(), 0i64..500_000), 0..30),
    ) {
        let task = steps(start, &rules, &events).last().map_or(start, |step| step.2);
        let wish = |task: &Task, event| match decide(task, &rules, event, NOW) {
            Ok(Transition::To(next)) => next,
            _ => *task,
        };
        let run = wish(&wish(&task, Event::Pause), Event::Run);
        prop_assert!(!matches!(run.status, Status::Paused | Status::Pausing), "run after pause: {:?}", run);
        if !is_deleting(task.status) && !task.status.is_final() {
            let pause = wish(&wish(&task, Event::Run), Event::Pause);
            prop_assert!(matches!(pause.status, Status::Paused | Status::Pausing), "pause after run: {:?}", pause);
        }
        let delete = wish(&wish(&task, Event::Pause), Event::Delete);
        prop_assert!(is_deleting(delete.status), "delete beats pause: {:?}", delete);
    }

    #[test]
    fn nothing_gets_stuck(start in any_start(), rules in any_rules(),
        events in proptest::collection::vec((any_event(), 0i64..500_000), 0..40),
    ) {
        // From wherever any history leads, people who resume and nodes that work reach an end; and people who
        // delete and nodes that work reach deleted.
        let task = steps(start, &rules, &events).last().map_or(start, |step| step.2);
        let mut at = Timestamp(4_000_000_000_000);
        for wish in [Event::Run, Event::Resume, Event::Delete] {
            let mut task = task;
            if wish != Event::Delete && is_deleting(task.status) {
                continue;
            }
            for _ in 0..12 {
                at = at.plus_ms(1_000_000);
                for event in [wish, Event::Due, Event::Woken, Event::Claim, Event::Ok { forget: false }] {
                    if let Ok(Transition::To(next)) = decide(&task, &rules, event, at) {
                        task = next;
                    }
                }
            }
            let over = if wish == Event::Delete { task.status == Status::Deleted } else {
                task.status.is_final()
            };
            prop_assert!(over, "{wish:?}: stuck in {task:?}");
        }
    }
}
