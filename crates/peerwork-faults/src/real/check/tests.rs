//! Histories made by hand: one that is right, and for every promise one in which it is broken, which must be found.

use super::{Evidence, Promise, Verdict, judge};
use crate::real::audit::{Change, Op, Table};
use crate::real::history::{Answer, Entry, FaultSort, Forgery, History, How, Want, What};
use crate::real::ledger::Effect;
use peerwork_core::Status;
use uuid::Uuid;

const TASK: Uuid = Uuid::from_u128(1);
const NODE: Uuid = Uuid::from_u128(2);
const RUN: Uuid = Uuid::from_u128(3);
const LATER: Uuid = Uuid::from_u128(4);
const TTL_US: u64 = 3_000_000;
/// Between two lines of a story: longer than what the clocks may differ by.
const STEP_US: u64 = 100_000;

/// A run that is told line by line.
#[derive(Default)]
struct Story {
    now_us: u64,
    node: History,
    people: History,
    audit: Vec<Change>,
    ledger: Vec<Effect>,
    asks: u64,
}

impl Story {
    /// A task was created, a node lives.
    fn new() -> Self {
        let mut story = Self::default();
        story.node.name = "node-1".into();
        story.beats(Op::Insert, 1);
        story.asks(Want::Create, Answer::Done("queued".into()), Some("steps"));
        story
    }

    fn tick(&mut self) -> u64 {
        self.now_us += STEP_US;
        self.now_us
    }

    fn node(&mut self, what: What) {
        let at_us = self.tick();
        self.node.entries.push(Entry { at_us, what });
    }

    fn people(&mut self, what: What) {
        let at_us = self.tick();
        self.people.entries.push(Entry { at_us, what });
    }

    fn asks(&mut self, wish: Want, answer: Answer, kind: Option<&str>) {
        self.asks += 1;
        let ask = self.asks;
        self.people(What::Asked {
            ask,
            task: TASK,
            wish,
            kind: kind.map(str::to_owned),
        });
        match wish {
            Want::Create => self.row(Op::Insert, Status::Queued, None, 0),
            Want::Pause => self.row(Op::Update, Status::Pausing, Some(RUN), 1),
            _ => {}
        }
        self.people(What::Answered { ask, answer });
    }

    fn change(&mut self, table: Table, op: Op, id: Uuid) -> &mut Change {
        let at_us = self.tick();
        let seq = self.audit.len() as i64 + 1;
        self.audit.push(Change {
            seq,
            at_us,
            connection: 0,
            table,
            op,
            id,
            status: 0,
            was: 0,
            run: None,
            node: None,
            attempt: 0,
            failures: 0,
            crashes: 0,
            data: None,
        });
        self.audit.last_mut().unwrap()
    }

    fn row(&mut self, op: Op, status: Status, run: Option<Uuid>, attempt: i64) {
        let table = match status.place() {
            peerwork_core::Place::Ready => Table::Ready,
            peerwork_core::Place::Running => Table::Running,
            peerwork_core::Place::Parked => Table::Parked,
            peerwork_core::Place::Done => Table::Done,
        };
        let data = (status == Status::Finished).then(|| format!("{{\"run\":\"{RUN}\"}}"));
        let change = self.change(table, op, TASK);
        (change.status, change.run, change.attempt) = (i64::from(status.code()), run, attempt);
        (change.node, change.data) = (run.map(|_| NODE), data);
    }

    /// From one status to another, in one transaction.
    fn moves(&mut self, from: (Status, Option<Uuid>, i64), to: (Status, Option<Uuid>, i64)) {
        self.row(Op::Delete, from.0, from.1, from.2);
        self.row(Op::Insert, to.0, to.1, to.2);
    }

    fn beats(&mut self, op: Op, alive: i64) {
        let change = self.change(Table::Node, op, NODE);
        (change.status, change.was, change.data) = (alive, 1, Some("node-1".into()));
    }

    fn claimed(&mut self) {
        self.moves((Status::Queued, None, 0), (Status::Running, Some(RUN), 1));
    }

    fn began(&mut self, run: Uuid, attempt: u32, from: Option<u64>) {
        self.node(What::Began {
            task: TASK,
            run,
            kind: "steps".into(),
            attempt,
            from,
            cleanup: false,
        });
    }

    fn saved(&mut self, run: Uuid, step: u64) {
        let change = self.change(Table::Checkpoint, Op::Update, TASK);
        (change.run, change.data) = (Some(run), Some(format!("{{\"step\":{step}}}")));
        self.node(What::Saved {
            task: TASK,
            run,
            step,
        });
    }

    fn ended(&mut self, run: Uuid, how: How) {
        self.node(What::Ended {
            task: TASK,
            run,
            how,
            cleanup: false,
        });
    }

    fn finished(&mut self) {
        self.moves(
            (Status::Running, Some(RUN), 1),
            (Status::Finished, Some(RUN), 1),
        );
    }

    /// It came to its rest, and this is what is found.
    fn found(self) -> Vec<Promise> {
        let verdict = self.judged();
        let mut found: Vec<_> = verdict.findings.iter().map(|found| found.promise).collect();
        found.dedup();
        found
    }

    fn judged(mut self) -> Verdict {
        self.people(What::Rest { stuck: vec![] });
        judge(&Evidence {
            histories: vec![self.node, self.people],
            audit: self.audit,
            ledger: self.ledger,
            ttl_us: TTL_US,
            gap_us: TTL_US / 3,
            ..Evidence::default()
        })
    }
}

#[test]
fn a_task_that_runs_saves_and_finishes_breaks_nothing() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.saved(RUN, 1);
    story.ended(RUN, How::Ok);
    story.finished();
    assert_eq!(story.found(), []);
}

#[test]
fn a_rescued_task_breaks_nothing() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.saved(RUN, 1);
    story.now_us += TTL_US;
    story.beats(Op::Update, 0);
    story.moves((Status::Running, Some(RUN), 1), (Status::Resuming, None, 1));
    story.moves(
        (Status::Resuming, None, 1),
        (Status::Running, Some(LATER), 2),
    );
    story.began(LATER, 2, Some(1));
    story.ended(LATER, How::Failed);
    story.moves(
        (Status::Running, Some(LATER), 2),
        (Status::Scheduled, None, 2),
    );
    // It is not over, which is all that is wrong with it.
    assert_eq!(story.found(), [Promise::StuckAfterHeal]);
}

#[test]
fn an_acknowledged_task_that_is_not_there_is_found() {
    let mut story = Story::new();
    story.audit.retain(|change| change.id != TASK);
    assert_eq!(story.found(), [Promise::Lost]);
}

#[test]
fn a_task_that_vanishes_is_found() {
    let mut story = Story::new();
    story.row(Op::Delete, Status::Queued, None, 0);
    assert_eq!(story.found(), [Promise::Lost]);
}

#[test]
fn a_task_that_its_user_is_told_does_not_exist_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.ended(RUN, How::Ok);
    story.finished();
    story.asks(Want::Move, Answer::NotFound, None);
    assert_eq!(story.found(), [Promise::Lost]);
}

#[test]
fn a_change_that_no_event_makes_is_found() {
    let mut story = Story::new();
    story.moves((Status::Queued, None, 0), (Status::Failed, None, 0));
    let found = story.found();
    assert!(found.contains(&Promise::IllegalTransitions), "{found:?}");
}

#[test]
fn a_pause_that_nobody_asked_for_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.row(Op::Update, Status::Pausing, Some(RUN), 1);
    story.ended(RUN, How::Ok);
    story.moves(
        (Status::Pausing, Some(RUN), 1),
        (Status::Finished, Some(RUN), 1),
    );
    assert_eq!(story.found(), [Promise::IllegalTransitions]);
}

#[test]
fn a_claim_of_a_paused_task_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.asks(Want::Pause, Answer::Done("pausing".into()), None);
    story.ended(RUN, How::Stopped);
    story.moves((Status::Pausing, Some(RUN), 1), (Status::Paused, None, 1));
    story.moves((Status::Paused, None, 1), (Status::Running, Some(LATER), 2));
    let found = story.found();
    assert!(found.contains(&Promise::IllegalTransitions), "{found:?}");
}

#[test]
fn a_claim_that_does_not_count_is_found() {
    let mut story = Story::new();
    story.moves((Status::Queued, None, 0), (Status::Running, Some(RUN), 0));
    story.began(RUN, 1, None);
    story.ended(RUN, How::Ok);
    story.moves(
        (Status::Running, Some(RUN), 0),
        (Status::Finished, Some(RUN), 0),
    );
    assert_eq!(story.found(), [Promise::IllegalTransitions]);
}

#[test]
fn a_task_in_two_places_is_found() {
    let mut story = Story::new();
    story.row(Op::Insert, Status::Running, Some(RUN), 1);
    let found = story.found();
    assert!(found.contains(&Promise::IllegalTransitions), "{found:?}");
}

#[test]
fn a_deletion_that_skips_the_cleanup_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.ended(RUN, How::Ok);
    story.finished();
    story.asks(Want::Delete, Answer::Done("deleted".into()), None);
    story.now_us -= STEP_US;
    story.moves((Status::Finished, None, 1), (Status::Deleted, None, 1));
    let found = story.found();
    assert!(found.contains(&Promise::IllegalTransitions), "{found:?}");
}

#[test]
fn a_checkpoint_of_a_run_that_does_not_hold_the_task_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.saved(LATER, 1);
    story.ended(RUN, How::Ok);
    story.finished();
    assert_eq!(story.found(), [Promise::FencedWritesAccepted]);
}

#[test]
fn an_end_that_is_not_the_holders_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.moves((Status::Running, Some(RUN), 1), (Status::Resuming, None, 1));
    let found = story.found();
    assert!(found.contains(&Promise::FencedWritesAccepted), "{found:?}");
}

#[test]
fn a_hand_over_that_is_charged_is_found() {
    let found = |failures, crashes| {
        let mut story = Story::new();
        story.claimed();
        story.began(RUN, 1, None);
        story.ended(RUN, How::Stopped);
        story.moves((Status::Running, Some(RUN), 1), (Status::Resuming, None, 1));
        let back = story.audit.last_mut().unwrap();
        (back.failures, back.crashes) = (failures, crashes);
        story.found()
    };
    assert_eq!(found(0, 0), [Promise::StuckAfterHeal]);
    for (failures, crashes) in [(1, 0), (0, 1)] {
        let found = found(failures, crashes);
        assert!(found.contains(&Promise::IllegalTransitions), "{found:?}");
    }
}

#[test]
fn a_result_of_another_run_is_found() {
    let mut story = Story::new();
    story.moves((Status::Queued, None, 0), (Status::Running, Some(LATER), 1));
    story.began(LATER, 1, None);
    story.ended(LATER, How::Ok);
    story.moves(
        (Status::Running, Some(LATER), 1),
        (Status::Finished, Some(LATER), 1),
    );
    assert_eq!(story.found(), [Promise::FencedWritesAccepted]);
}

#[test]
fn a_forged_write_that_is_accepted_is_found() {
    let forged = |what| {
        let mut story = Story::new();
        story.claimed();
        story.began(RUN, 1, None);
        story.people(What::Forged {
            task: TASK,
            run: LATER,
            what,
            accepted: true,
        });
        story.ended(RUN, How::Ok);
        story.finished();
        story.found()
    };
    assert_eq!(forged(Forgery::Save), [Promise::FencedWritesAccepted]);
    assert_eq!(forged(Forgery::End), [Promise::FencedWritesAccepted]);
    assert_eq!(forged(Forgery::Death), [Promise::FalseTakeovers]);
}

#[test]
fn a_run_that_starts_from_less_than_was_acknowledged_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.saved(RUN, 5);
    story.ended(RUN, How::Failed);
    story.moves(
        (Status::Running, Some(RUN), 1),
        (Status::Scheduled, None, 1),
    );
    story.moves((Status::Scheduled, None, 1), (Status::Queued, None, 1));
    story.moves((Status::Queued, None, 1), (Status::Running, Some(LATER), 2));
    story.began(LATER, 2, Some(4));
    let found = story.found();
    assert!(found.contains(&Promise::CheckpointRegressions), "{found:?}");
}

#[test]
fn a_checkpoint_that_goes_back_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.saved(RUN, 5);
    story.saved(RUN, 4);
    story.ended(RUN, How::Ok);
    story.finished();
    assert_eq!(story.found(), [Promise::CheckpointRegressions]);
}

#[test]
fn a_death_before_the_lease_is_over_is_found() {
    let mut story = Story::new();
    story.asks(Want::Move, Answer::Refused, None);
    story.beats(Op::Update, 0);
    let found = story.found();
    assert!(found.contains(&Promise::FalseTakeovers), "{found:?}");
}

#[test]
fn a_death_soon_after_an_outage_is_found() {
    let mut story = Story::new();
    let (sort, node) = (FaultSort::DatabaseStopped, None);
    story.people(What::Fault {
        sort,
        node: node.clone(),
    });
    story.now_us += 3 * TTL_US;
    story.people(What::Healed { sort, node });
    story.beats(Op::Update, 0);
    let found = story.found();
    assert!(found.contains(&Promise::FalseTakeovers), "{found:?}");
}

#[test]
fn a_task_that_nobody_created_and_one_that_comes_twice_are_found() {
    let mut story = Story::new();
    story
        .people
        .entries
        .retain(|entry| !matches!(entry.what, What::Asked { .. }));
    assert!(story.found().contains(&Promise::Ghosts));
    let mut story = Story::new();
    story.row(Op::Insert, Status::Queued, None, 0);
    assert!(story.found().contains(&Promise::Ghosts));
}

/// A task of kind `ledger` that was told that its first step is committed.
fn a_ledger(rows: usize) -> Vec<Promise> {
    let mut story = Story::default();
    story.node.name = "node-1".into();
    story.beats(Op::Insert, 1);
    story.asks(Want::Create, Answer::Done("queued".into()), Some("ledger"));
    story.claimed();
    story.node(What::Began {
        task: TASK,
        run: RUN,
        kind: "ledger".into(),
        attempt: 1,
        from: None,
        cleanup: false,
    });
    story.saved(RUN, 1);
    story.ledger = vec![
        Effect {
            task: TASK,
            step: 1
        };
        rows
    ];
    story.ended(RUN, How::Ok);
    story.finished();
    story.found()
}

#[test]
fn an_effect_that_is_there_twice_or_not_at_all_is_found() {
    assert_eq!(a_ledger(1), []);
    assert_eq!(a_ledger(2), [Promise::DoubleEffectsInTransaction]);
    assert_eq!(a_ledger(0), [Promise::DoubleEffectsInTransaction]);
}

#[test]
fn an_innocent_that_fails_is_found() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.ended(RUN, How::Failed);
    story.moves(
        (Status::Running, Some(RUN), 1),
        (Status::Failed, Some(RUN), 1),
    );
    assert_eq!(story.found(), [Promise::InnocentsFailed]);
}

/// A task of a kind that ends its process, which it does so often, and then ends like this.
fn a_poison(deaths: u32, end: Status) -> Vec<Promise> {
    let mut story = Story::default();
    story.node.name = "node-1".into();
    story.beats(Op::Insert, 1);
    story.asks(Want::Create, Answer::Done("queued".into()), Some("aborts"));
    let mut from = (Status::Queued, None, 0);
    for death in 1..=deaths {
        let run = Uuid::from_u128(100 + u128::from(death));
        let held = (Status::Running, Some(run), i64::from(death));
        story.moves(from, held);
        story.node(What::Began {
            task: TASK,
            run,
            kind: "aborts".into(),
            attempt: death,
            from: None,
            cleanup: false,
        });
        story.now_us += TTL_US;
        if death == 1 {
            story.beats(Op::Update, 0);
        }
        let next = match death == deaths {
            true => end,
            false => Status::Resuming,
        };
        from = (next, None, i64::from(death));
        story.moves(held, from);
    }
    story.found()
}

#[test]
fn poison_that_is_not_failed_at_its_limit_is_found() {
    assert_eq!(a_poison(5, Status::Failed), []);
    assert_eq!(a_poison(6, Status::Failed), [Promise::PoisonsSpared]);
    let found = a_poison(1, Status::Finished);
    assert!(found.contains(&Promise::PoisonsSpared), "{found:?}");
}

/// How long the pause took of a task that was paused, and went on at once, and was paused again.
#[test]
fn a_pause_that_is_taken_back_is_not_measured() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.asks(Want::Pause, Answer::Done("pausing".into()), None);
    story.row(Op::Update, Status::Running, Some(RUN), 1);
    story.now_us += 5_000_000;
    story.asks(Want::Pause, Answer::Done("pausing".into()), None);
    story.ended(RUN, How::Stopped);
    story.moves((Status::Pausing, Some(RUN), 1), (Status::Paused, None, 1));
    let times = story.judged().times;
    assert_eq!(times["pause"].count, 1);
    assert!(times["pause"].max_ms < 1_000, "{times:?}");
}

/// A pause while the database is away takes as long as that; it is counted apart.
#[test]
fn a_pause_under_a_fault_is_counted_apart() {
    let mut story = Story::new();
    story.claimed();
    story.began(RUN, 1, None);
    story.asks(Want::Pause, Answer::Done("pausing".into()), None);
    let (sort, node) = (FaultSort::DatabaseStopped, None);
    story.people(What::Fault {
        sort,
        node: node.clone(),
    });
    story.now_us += 5_000_000;
    story.people(What::Healed { sort, node });
    story.ended(RUN, How::Stopped);
    story.moves((Status::Pausing, Some(RUN), 1), (Status::Paused, None, 1));
    let times = story.judged().times;
    assert_eq!(
        (times["pause"].count, times["pause_under_faults"].count),
        (0, 1)
    );
}

#[test]
fn a_claim_whose_answer_was_lost_is_told_from_a_later_connection_of_the_same_number() {
    let mut story = Story::new();
    story.claimed();
    story.people(What::Swallowed {
        node: "node-1".into(),
    });
    // The server was started again.
    story.now_us += 2_000_000;
    story.began(RUN, 1, None);
    story.ended(RUN, How::Ok);
    story.finished();
    let happened = story.judged().happened;
    assert_eq!(happened.get("ambiguous_claim"), Some(&1));
    assert_eq!(happened.get("ambiguous_finish"), None);
}

#[test]
fn a_task_that_does_not_end_and_a_run_that_does_not_rest_are_found() {
    assert_eq!(Story::new().found(), [Promise::StuckAfterHeal]);
    let verdict = judge(&Evidence::default());
    assert_eq!(verdict.count(Promise::StuckAfterHeal), 1);
}
