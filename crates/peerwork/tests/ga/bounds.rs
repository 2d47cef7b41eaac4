//! Times, sizes and rates, and clients that have no handler.

use crate::kit::{Place, Puppet, STEADY, Stage, Tap};
use peerwork::*;
use peerwork_core::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};
use peerwork_store::{MemoryStore, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

on_every_database!(
    ga_53_times_are_the_databases,
    ga_55_four_bytes_and_nul_pass_and_sixteen_mebibytes_are_refused,
    ga_56_sizes_are_bounded,
    ga_56_a_storm_of_reports_is_a_few_writes,
    ga_57_a_producer_needs_no_handler,
);

/// The same place by a clock that the test sets.
async fn by_clock(place: &Place, clock: &Arc<AtomicI64>) -> Arc<dyn Store> {
    let injected = clock.clone();
    if place.name() == "memory" {
        let now = move || Timestamp(injected.load(Ordering::SeqCst));
        return Arc::new(MemoryStore::with_clock(now));
    }
    let mut sql = place.sql().clone();
    sql.settings.clock = peerwork_store::Clock::Injected(injected);
    Arc::new(sql.store(4).await)
}

async fn ga_53_times_are_the_databases(place: Place) {
    // In the year 2001, and no machine's clock is there.
    let start = Timestamp(1_000_000_000_000_000);
    let clock = Arc::new(AtomicI64::new(start.0));
    let store = by_clock(&place, &clock).await;
    let stage = Stage::new();
    let node = Node::builder(store).lease(STEADY);
    let node = node.register(stage.puppet("a")).start().await.unwrap();
    let client = node.client();
    assert_eq!(client.now().await.unwrap(), start);

    let hour = Duration::from_secs(3_600);
    let soon = Puppet::task("soon".into()).start_in(hour);
    let soon = client.create(soon).await.unwrap();
    // Long past for this machine, a day ahead for the database.
    let at = SystemTime::from(start) + 24 * hour;
    let later = Puppet::task("later".into()).start_at(at);
    let later = client.create(later).await.unwrap();
    let due = |record: TaskRecord| record.task.wake_at.unwrap();
    assert_eq!(due(soon.get().await.unwrap()), start.plus_ms(3_600_000));
    assert_eq!(due(later.get().await.unwrap()), Timestamp::from(at));

    clock.store(start.plus_ms(3_600_000).0, Ordering::SeqCst);
    let actor = stage.next().await;
    assert_eq!(actor.input, "soon");
    actor.save(1).await.unwrap();
    actor.fail_with(TaskError::permanent("no")).await;
    let over = soon.until_over().await.unwrap();
    let now = start.plus_ms(3_600_000);
    assert_eq!(over.created_at, start);
    assert_eq!((over.started_at, over.finished_at), (Some(now), Some(now)));
    assert_eq!(soon.failures().await.unwrap()[0].at, now);
    assert_eq!(later.get().await.unwrap().state(), State::Scheduled);
    assert_eq!(client.nodes().await.unwrap()[0].started_at, start);
    node.drain().await;
}

/// Saves what it was given, and returns it.
struct Echo;

impl Handler for Echo {
    const KIND: &'static str = "echo";
    type Input = (String, usize);
    type Checkpoint = String;
    type Output = String;

    async fn run(&self, run: &mut Run<Self>) -> Result<String, TaskError> {
        let (text, times) = run.input().clone();
        let text = text.repeat(times);
        match run.save(&text).await {
            Err(SaveError::Invalid(why)) => Err(TaskError::permanent(why)),
            saved => Ok(saved.map(|()| text)?),
        }
    }
}

async fn ga_55_four_bytes_and_nul_pass_and_sixteen_mebibytes_are_refused(place: Place) {
    let node = place.node().register(Echo).start().await.unwrap();
    let client = node.client();
    for text in ["🦀", "\0", "a\0🦀\u{10ffff}\"\\'", "\u{feff}"] {
        let task = client
            .create(Echo::task((text.to_owned(), 3)))
            .await
            .unwrap();
        assert_eq!(task.result().await.unwrap(), text.repeat(3));
        let saved = task.checkpoint::<String>().await.unwrap();
        assert_eq!(saved, Some(text.repeat(3)));
    }
    // As much as there may be. The text's two quotes count.
    let most = PAYLOAD_BYTES_MAX - 2;
    let task = client
        .create(Echo::task(("x".to_owned(), most)))
        .await
        .unwrap();
    assert_eq!(task.result().await.unwrap().len(), most);

    let large = "x".repeat(16 << 20);
    let refused = client.create(Echo::task((large, 1))).await.unwrap_err();
    assert!(refused.is_invalid(), "{refused}");
    let bound = PAYLOAD_BYTES_MAX.to_string();
    assert!(refused.to_string().contains(&bound), "{refused}");
    // A checkpoint of that size is refused to the handler, which fails with it here.
    let task = client
        .create(Echo::task(("x".to_owned(), 16 << 20)))
        .await
        .unwrap();
    let failed = task.result().await.unwrap_err();
    assert!(
        failed.is_task_failed() && failed.to_string().contains(&bound),
        "{failed}"
    );
    node.drain().await;
}

async fn ga_56_sizes_are_bounded(place: Place) {
    let client = place.client().await;
    let longest = "x".repeat(NAME_BYTES_MAX);
    let too_long = "é".repeat(NAME_BYTES_MAX / 2 + 1);
    let named = |name: &str| Puppet::task(String::new()).user(name).group(name);
    client.create(named(&longest)).await.unwrap();
    let found = client.tasks().user(&longest).group(&longest);
    assert_eq!(found.all().await.unwrap().len(), 1);
    for refused in [
        client.create(named(&too_long)).await.unwrap_err(),
        client.tasks().user(&too_long).list().await.unwrap_err(),
        client.tasks().move_to(&too_long).await.unwrap_err(),
        client.of_user(&too_long).err().unwrap(),
    ] {
        assert!(refused.is_invalid(), "{refused}");
        assert!(refused.to_string().contains("256 bytes"), "{refused}");
    }
    // More than a batch takes, and one that is too long: none is created before all are checked.
    let drafts = (0..2_500).map(|_| Puppet::task(String::new()).group("many"));
    assert_eq!(client.create_many(drafts).await.unwrap().len(), 2_500);
    let drafts = (0..9).map(|n| match n {
        8 => named(&too_long),
        _ => Puppet::task(String::new()).group("few"),
    });
    assert!(client.create_many(drafts).await.unwrap_err().is_invalid());
    assert!(client.tasks().group("few").all().await.unwrap().is_empty());
    assert_eq!(
        client.tasks().group("many").pause().await.unwrap().changed,
        2_500
    );
}

async fn ga_56_a_storm_of_reports_is_a_few_writes(place: Place) {
    const REPORTS: u64 = 5_000;
    let tap = Tap::on(place.store());
    let stage = Stage::new();
    let node = Node::builder(tap.database()).lease(STEADY);
    let node = node.register(stage.puppet("a")).start().await.unwrap();
    let task = node.client().create(Puppet::task(String::new())).await;
    let task = task.unwrap();
    let actor = stage.next().await;
    for done in 1..=REPORTS {
        actor.progress(done, REPORTS).await;
    }
    actor.finish(1).await;
    task.result().await.unwrap();
    let writes = tap.calls().get("save").copied().unwrap_or_default();
    assert!(writes as u64 * 10 < REPORTS, "{writes} writes");
    node.drain().await;
}

async fn ga_57_a_producer_needs_no_handler(place: Place) {
    let producer = place.client().await;
    assert!(
        producer
            .check_kind("puppet")
            .await
            .unwrap_err()
            .is_unknown_kind()
    );
    let draft = Draft::<Untyped>::of_kind("puppet", &"made elsewhere").user("ann");
    let task = producer.create(draft).await.unwrap();
    assert_eq!(task.get().await.unwrap().state(), State::Queued);

    // A node that has another kind leaves it alone.
    let other = place.node().handle("other", |n: i64| async move { Ok(n) });
    let other = other.start().await.unwrap();
    let draft = Draft::<Untyped>::of_kind("other", &5);
    let quick = producer.create(draft).await.unwrap();
    assert_eq!(quick.result().await.unwrap(), 5);
    assert_eq!(task.get().await.unwrap().state(), State::Queued);

    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    producer.check_kind("puppet").await.unwrap();
    let actor = stage.next().await;
    assert_eq!(
        (actor.input.as_str(), actor.user.as_str()),
        ("made elsewhere", "ann")
    );
    actor.finish(7).await;
    assert_eq!(task.result().await.unwrap(), 7);
    tokio::join!(node.drain(), other.drain());
}
