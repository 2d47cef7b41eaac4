//! Histories in which something is broken, one for each invariant: the record must see it.

use super::*;
use peerwork_core::{Task, Timestamp};
use uuid::Uuid;

const ID: TaskId = TaskId(Uuid::from_u128(1));
const OLD: RunId = RunId(Uuid::from_u128(2));
const NEW: RunId = RunId(Uuid::from_u128(3));
const NODE: NodeId = NodeId(Uuid::from_u128(4));

fn seen(status: Status, run: Option<RunId>, attempt: u32) -> Option<Seen> {
    let task = Task {
        status,
        attempt,
        ..Task::new(true, None, Timestamp(0))
    };
    let node = run.map(|_| NODE);
    Some(Seen { task, run, node })
}

fn change(history: &History, call: &'static str, before: Option<Seen>, after: Option<Seen>) {
    let id = ID;
    history.changed(call, 0, &[Change { id, before, after }]);
}

fn queued() -> Option<Seen> {
    seen(Status::Queued, None, 0)
}

fn running(run: RunId) -> Option<Seen> {
    seen(Status::Running, Some(run), 1)
}

/// A history in which `OLD` holds the task.
fn held() -> History {
    let history = History::new();
    history.register_sent(NODE, 5_000, 0);
    change(&history, "create", None, queued());
    change(&history, "claim", queued(), running(OLD));
    history
}

fn broken(history: &History) -> Vec<&'static str> {
    let violations = history.report().violations;
    violations
        .iter()
        .map(|violation| violation.invariant)
        .collect()
}

#[test]
fn a_good_history_breaks_nothing() {
    let history = held();
    history.began(ID, OLD);
    history.polled(ID, OLD, 3_999_999, 1_000);
    history.accepted("save", ID, OLD);
    history.over(ID, OLD);
    change(
        &history,
        "end",
        running(OLD),
        seen(Status::Finished, Some(OLD), 1),
    );
    assert!(broken(&history).is_empty(), "{:?}", history.report());
}

#[test]
fn i1_a_write_of_a_run_that_does_not_hold_the_task() {
    let history = held();
    history.accepted("save", ID, NEW);
    assert_eq!(broken(&history), ["I1"]);
}

#[test]
fn i2_a_second_holder() {
    let history = held();
    change(&history, "steer", running(OLD), running(NEW));
    assert_eq!(broken(&history), ["I2"]);
}

#[test]
fn i3_a_claim_that_is_not_counted() {
    let history = held();
    change(
        &history,
        "claim",
        queued(),
        seen(Status::Running, Some(NEW), 0),
    );
    assert_eq!(broken(&history), ["I3"]);
}

#[test]
fn i4_a_run_that_goes_on_beside_its_successor() {
    let history = held();
    history.began(ID, OLD);
    history.began(ID, NEW);
    history.polled(ID, OLD, 0, 1_000);
    assert_eq!(broken(&history), ["I4"]);
}

#[test]
fn i5_a_task_that_vanishes() {
    let history = held();
    change(&history, "prune", queued(), None);
    history.created(ID);
    history.ended([]);
    assert_eq!(broken(&history), ["I5", "I5"]);
}

#[test]
fn i6_a_task_that_nobody_created() {
    let history = History::new();
    change(&history, "claim", None, queued());
    assert_eq!(broken(&history), ["I6"]);
}

#[test]
fn a_task_that_is_claimed_as_it_is_created() {
    let history = History::new();
    change(&history, "create and claim", None, running(OLD));
    assert_eq!(broken(&history), [""; 0]);
    let history = History::new();
    change(&history, "create", None, running(OLD));
    assert_eq!(broken(&history), ["I7"], "only a claim may do that");
}

#[test]
fn i7_a_change_that_no_event_makes() {
    let history = held();
    change(&history, "steer", queued(), seen(Status::Finished, None, 0));
    assert_eq!(broken(&history), ["I7"]);
}

#[test]
fn i8_a_run_that_changes_a_final_task() {
    let history = held();
    change(
        &history,
        "end",
        seen(Status::Failed, None, 1),
        seen(Status::Queued, None, 1),
    );
    assert_eq!(broken(&history), ["I8"]);
}

#[test]
fn i11_a_run_that_starts_before_what_was_acknowledged() {
    let history = held();
    history.saved(ID, 5);
    history.started(ID, NEW, 4);
    assert_eq!(broken(&history), ["I11"]);
}

#[test]
fn i12_a_claim_after_a_pause_and_a_pause_before_its_handler_ended_and_a_stop_unheard() {
    let history = held();
    history.pause_acknowledged(ID);
    change(&history, "claim", queued(), running(NEW));
    history.began(ID, NEW);
    let pausing = seen(Status::Pausing, Some(NEW), 1);
    change(&history, "end", pausing, seen(Status::Paused, None, 1));
    history.told(ID, NEW);
    history.went_on(ID, NEW);
    assert_eq!(broken(&history), ["I12", "I12", "I12"]);
}

#[test]
fn i13_a_claim_after_a_deletion_and_a_task_gone_without_its_cleanup() {
    let history = held();
    history.created(ID);
    history.delete_acknowledged(ID);
    change(&history, "claim", queued(), running(NEW));
    history.ended([(ID, seen(Status::Deleted, None, 1).expect("it is some"))]);
    assert_eq!(broken(&history), ["I13", "I13"]);
}

#[test]
fn i20_a_task_that_does_not_end() {
    let history = held();
    history.created(ID);
    history.ended([(ID, running(OLD).expect("it is some"))]);
    assert_eq!(broken(&history), ["I20"]);
}

#[test]
fn i21_a_death_too_early_and_a_rescue_from_the_living() {
    let history = held();
    history.beat_written(NODE, 0, 1_000_000, 5_000);
    change(
        &history,
        "sweep",
        running(OLD),
        seen(Status::Resuming, None, 1),
    );
    history.declared_dead(NODE, 0, true, 5_999_999);
    assert_eq!(broken(&history), ["I21", "I21"]);
}

#[test]
fn i24_a_poll_past_the_lease_counted_from_the_first_sending() {
    let history = held();
    history.beat_sent(NODE, 1, 0, 1_000_000);
    history.beat_sent(NODE, 1, 0, 2_000_000);
    history.beat_answered(NODE, 1, true);
    history.began(ID, OLD);
    history.polled(ID, OLD, 4_999_999, 1_000);
    assert!(broken(&history).is_empty());
    history.polled(ID, OLD, 5_000_000, 1_000);
    assert_eq!(broken(&history), ["I24"]);
}

#[test]
fn i30_a_node_that_beats_on_after_its_beat_was_lost() {
    let history = held();
    history.beat_sent(NODE, 1, 0, 0);
    history.beat_answered(NODE, 1, true);
    history.restored(
        &BTreeMap::from([(NODE, 0)]),
        &BTreeSet::from([NODE]),
        Vec::new(),
    );
    history.beat_sent(NODE, 2, 1, 1);
    history.beat_answered(NODE, 2, false);
    assert!(broken(&history).is_empty(), "it can know it only now");
    history.beat_sent(NODE, 2, 1, 2);
    assert_eq!(broken(&history), ["I30"]);
    history.accepted("save", ID, OLD);
    assert_eq!(broken(&history), ["I30", "I1"], "class S* stays");
    history.saved(ID, 5);
    history.started(ID, NEW, 4);
    assert_eq!(broken(&history), ["I30", "I1"], "the others do not");
}

#[test]
fn i18_an_end_that_is_refused_after_it_was_recorded() {
    let history = held();
    history.end_recorded(ID, OLD);
    let resuming = seen(Status::Resuming, None, 1);
    change(&history, "end", running(OLD), resuming);
    history.end_refused(ID, NEW);
    assert!(broken(&history).is_empty(), "that one never held it");
    history.end_refused(ID, OLD);
    assert_eq!(broken(&history), ["I18"]);
}

#[test]
fn i20_a_claim_of_a_node_that_was_declared_dead() {
    let history = History::new();
    change(&history, "create", None, queued());
    history.declared_dead(NODE, 0, true, 0);
    change(&history, "claim", queued(), running(OLD));
    assert_eq!(broken(&history), ["I20"]);
}

#[test]
fn i21_a_declared_death_that_its_peer_cannot_have_seen_and_one_after_another_beat() {
    let history = held();
    history.declared_dead(NODE, 0, false, 0);
    assert_eq!(broken(&history), ["I21"]);
    let history = held();
    history.beat_written(NODE, 2, 0, 5_000);
    history.declared_dead(NODE, 1, true, 5_000_000);
    assert_eq!(broken(&history), ["I21"]);
}

#[test]
fn i23_a_hand_over_that_is_charged() {
    let history = held();
    let mut resuming = seen(Status::Resuming, None, 1);
    resuming.as_mut().unwrap().task.failures = 1;
    change(&history, "end", running(OLD), resuming);
    assert_eq!(broken(&history), ["I23"]);
}
