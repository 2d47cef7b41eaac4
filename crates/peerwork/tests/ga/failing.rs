//! What fails fails alone, with its reason, a bounded number of times.

use crate::kit::{Ghost, Place, Puppet, STEADY, Stage, Tap, never_again};
use peerwork::*;
use peerwork_core::{ERROR_BYTES_MAX, ERRORS_KEPT_MAX, Name, Rank};
use peerwork_store::{NewTask, Save};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

on_every_database!(
    ga_21_a_factory_that_fails_or_panics_fails_the_task_and_the_node_goes_on,
    ga_21_what_does_not_decode_fails_the_task_and_the_node_goes_on,
    ga_26_an_input_that_is_garbage_blocks_nobody,
    ga_36_a_failure_keeps_its_reason_and_backs_off_within_its_bounds,
    ga_36_a_failure_says_how_it_wants_to_be_tried_again,
    ga_36_failures_are_kept_in_bounded_number_and_length,
    ga_36_a_retry_waits_for_no_answer_to_the_end_before_it,
);
on!([sqlite, postgres, mysql]
    ga_26_a_damaged_row_blocks_nobody,
    ga_26_a_status_that_nobody_knows_is_passed_over,
);

struct Fragile;

impl Handler for Fragile {
    const KIND: &'static str = "fragile";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, _: &mut Run<Self>) -> Result<(), TaskError> {
        Ok(())
    }
}

async fn reason(task: &TaskHandle<impl TaskKind>) -> String {
    let record = task.until_over().await.unwrap();
    assert_eq!(record.status(), Status::Failed);
    record.error.expect("a failure has a reason")
}

async fn ga_21_a_factory_that_fails_or_panics_fails_the_task_and_the_node_goes_on(place: Place) {
    let calls = AtomicU32::new(0);
    let node = place.node().register_with(never_again(), move || {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err(TaskError::new("no licence")),
            1 => panic!("no licence at all"),
            _ => Ok(Fragile),
        }
    });
    let node = node.start().await.unwrap();
    let client = node.client();
    let first = client.create(Fragile::task(())).await.unwrap();
    assert_eq!(reason(&first).await, "no licence");
    let second = client.create(Fragile::task(())).await.unwrap();
    assert_eq!(reason(&second).await, "panicked: no licence at all");
    let third = client.create(Fragile::task(())).await.unwrap();
    third.result().await.unwrap();
    node.drain().await;
}

async fn ga_21_what_does_not_decode_fails_the_task_and_the_node_goes_on(place: Place) {
    let client = place.client().await;
    // Its first run saved what its second cannot read.
    let changed = client.create(Puppet::task(String::new())).await.unwrap();
    let ghost = Ghost::appear(&place).await;
    let held = ghost.claim_one().await;
    let save = Save {
        id: held.id,
        run: held.run,
        checkpoint: Some(b"\"of an older version\"".to_vec()),
        progress: None,
    };
    place.store().save(vec![save]).await.unwrap();
    ghost.die().await;
    let draft = Draft::<Untyped>::of_kind("puppet", &["not", "a", "text"]);
    let wrong = client.create(draft).await.unwrap();

    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let said = reason(&wrong).await;
    assert!(
        said.contains("decode the input of kind \"puppet\""),
        "{said}"
    );
    let said = reason(&changed).await;
    assert!(said.contains("decode the checkpoint"), "{said}");
    // The same bytes do not decode better the next time.
    assert_eq!(wrong.get().await.unwrap().task.failures, 1);
    let good = client.create(Puppet::task(String::new())).await.unwrap();
    stage.next().await.finish(1).await;
    assert_eq!(good.result().await.unwrap(), 1);
    node.drain().await;
}

/// A task that no client would create.
fn garbage(client: &Client) -> NewTask {
    let name = |text| Name::new("name", text).unwrap();
    NewTask {
        id: client.new_task_id(),
        kind: name("puppet"),
        user: name(""),
        group: name(""),
        priority: 0,
        start: true,
        due: None,
        input: vec![0xff, 0x00, b'{'],
        options: Options::default(),
        parent: None,
    }
}

async fn ga_26_an_input_that_is_garbage_blocks_nobody(place: Place) {
    let client = place.client().await;
    let garbage = garbage(&client);
    let broken = client.task(garbage.id);
    place.store().create(vec![garbage]).await.unwrap();
    let good = client.create(Puppet::task(String::new())).await.unwrap();
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).slots(1);
    let node = node.start().await.unwrap();
    stage.next().await.finish(1).await;
    assert_eq!(good.result().await.unwrap(), 1);
    assert!(reason(&broken).await.contains("it is not JSON"));
    node.drain().await;
}

async fn ga_26_a_damaged_row_blocks_nobody(place: Place) {
    let sql = place.sql();
    let client = place.client().await;
    // A task without the row that says what it is, and a kind whose rules nobody can read.
    let draft = Puppet::task("headless".into()).user("x");
    let headless = client.create(draft).await.unwrap();
    sql.execute(&format!("delete from {}", sql.table("task")))
        .await;
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).slots(1);
    let node = node.start().await.unwrap();
    let rules = format!("update {} set rules = '{{'", sql.table("kind"));
    sql.execute(&rules).await;

    let good = client.create(Puppet::task("good".into())).await.unwrap();
    let actor = stage.next().await;
    assert_eq!(actor.input, "good");
    actor.finish(1).await;
    assert_eq!(good.result().await.unwrap(), 1);
    assert!(headless.get().await.unwrap_err().is_not_found());
    good.delete().await.unwrap();
    stage.next().await.finish(1).await;
    good.until(State::Deleted).await.unwrap();
    node.drain().await;
}

async fn ga_26_a_status_that_nobody_knows_is_passed_over(place: Place) {
    let sql = place.sql();
    let client = place.client().await;
    let puppet = |user: &str| Puppet::task(user.to_owned()).user(user);
    // Of a newer version, say: behind a good one, and as the first of its lane.
    client.create(puppet("good")).await.unwrap();
    client.create(puppet("good").priority(5)).await.unwrap();
    client.create(puppet("lost").priority(5)).await.unwrap();
    let rank = Rank::new(Status::Queued, 5).0;
    let ready = sql.table("ready");
    let damage = format!("update {ready} set status = 99 where rank_no = {rank}");
    sql.execute(&damage).await;
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).slots(4);
    let node = node.start().await.unwrap();
    client.create(puppet("better")).await.unwrap();
    for actor in stage.take(2).await {
        assert_ne!(actor.user, "lost");
        actor.finish(1).await;
    }
    node.drain().await;
}

async fn ga_36_a_failure_keeps_its_reason_and_backs_off_within_its_bounds(place: Place) {
    const LIMIT: u32 = 4;
    let retry = Retry {
        limit: LIMIT,
        base_ms: 40,
        cap_ms: 60,
    };
    let rules = Rules {
        retry,
        ..Rules::default()
    };
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a").with(rules));
    let node = node.start().await.unwrap();
    let client = node.client();
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    for failures in 1..=LIMIT {
        let actor = stage.next().await;
        assert_eq!(actor.failures, failures - 1);
        let mut changes = task.watch();
        while changes.next().await.unwrap().status() != Status::Running {}
        actor.fail(&format!("reason {failures}")).await;
        let failed = loop {
            let record = changes.next().await.unwrap();
            if record.task.failures == failures {
                break record;
            }
        };
        assert_eq!(failed.error, Some(format!("reason {failures}")));
        if failures < LIMIT && failed.state() == State::Retrying {
            let at = task.failures().await.unwrap().pop().unwrap().at;
            let waits = failed.task.wake_at.unwrap().ms_since(at);
            assert!(waits <= retry.delay_ms(failures, u32::MAX), "{waits} ms");
        }
    }
    assert_eq!(task.get().await.unwrap().status(), Status::Failed);
    assert!(task.result().await.unwrap_err().is_task_failed());
    let reasons: Vec<_> = task.failures().await.unwrap();
    let reasons: Vec<_> = reasons.iter().map(|f| f.error.as_str()).collect();
    assert_eq!(reasons, ["reason 1", "reason 2", "reason 3", "reason 4"]);

    // A person may have it tried again, with a fresh budget.
    task.run().await.unwrap();
    let actor = stage.next().await;
    assert_eq!(actor.failures, 0);
    actor.finish(1).await;
    assert_eq!(task.result().await.unwrap(), 1);
    node.drain().await;
}

async fn ga_36_a_failure_says_how_it_wants_to_be_tried_again(place: Place) {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let client = node.client();
    let hopeless = client.create(Puppet::task(String::new())).await.unwrap();
    let error = TaskError::permanent("no such film");
    stage.next().await.fail_with(error).await;
    assert_eq!(reason(&hopeless).await, "no such film");
    assert_eq!(hopeless.get().await.unwrap().task.attempt, 1);

    let later = client.create(Puppet::task(String::new())).await.unwrap();
    let error = TaskError::new("come back in an hour");
    let error = error.retry_after(Duration::from_secs(3_600));
    stage.next().await.fail_with(error).await;
    let waits = later.until(State::Retrying).await.unwrap();
    let failed = later.failures().await.unwrap().pop().unwrap();
    assert_eq!(waits.task.wake_at, Some(failed.at.plus_ms(3_600_000)));
    // Unless a person knows better.
    later.run().await.unwrap();
    stage.next().await.finish(1).await;
    assert_eq!(later.result().await.unwrap(), 1);
    node.drain().await;
}

async fn ga_36_failures_are_kept_in_bounded_number_and_length(place: Place) {
    let limit = ERRORS_KEPT_MAX as u32 + 3;
    let rules = Rules {
        retry: Retry::at_once(limit),
        ..Rules::default()
    };
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a").with(rules));
    let node = node.start().await.unwrap();
    let client = node.client();
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    let long: Arc<str> = "é\0🦀".repeat(ERROR_BYTES_MAX).into();
    for _ in 0..limit {
        stage.next().await.fail(&long).await;
    }
    let record = task.until_over().await.unwrap();
    assert_eq!(record.task.failures, limit);
    let failures = task.failures().await.unwrap();
    assert_eq!(failures.len(), ERRORS_KEPT_MAX);
    assert_eq!(failures.last().unwrap().attempt, limit);
    for text in failures.iter().map(|f| &f.error).chain(&record.error) {
        assert!(text.len() <= ERROR_BYTES_MAX && text.starts_with("é\u{fffd}🦀é"));
    }
    node.drain().await;
}

async fn ga_36_a_retry_waits_for_no_answer_to_the_end_before_it(place: Place) {
    let tap = Tap::on(place.store());
    let rules = Rules {
        retry: Retry::at_once(9),
        ..Rules::default()
    };
    let stage = Stage::new();
    let node = Node::builder(tap.database()).lease(STEADY);
    let node = node.register(stage.puppet("a").with(rules));
    let node = node.start().await.unwrap();
    let client = node.client();
    let task = client.create(Puppet::task(String::new())).await.unwrap();
    // Its failure is recorded, and its node has not heard so yet.
    let answer = tap.hold_back("end");
    stage.next().await.fail("once").await;
    let answer = answer.arrived().await;
    let again = stage.next().await;
    assert_eq!((again.attempt, again.failures), (2, 1));
    answer.send(()).unwrap();
    again.save(1).await.expect("it still holds the task");
    again.finish(1).await;
    assert_eq!(task.result().await.unwrap(), 1);
    node.drain().await;
}
