//! What users hand in is theirs: it cannot be guessed, is not logged, does not travel needlessly, and is never SQL.

use crate::kit::{Log, NAMES, Place, Puppet};
use peerwork::*;
use std::collections::BTreeSet;

alone_on!([memory, sqlite, postgres, mysql] ga_51_payloads_are_not_logged);
alone_on!([sqlite, postgres, mysql]
    ga_52_payloads_do_not_ride_along_with_changes_of_state,
    ga_58_no_string_of_a_user_reaches_sql_text,
);

#[tokio::test]
async fn ga_50_ids_neither_run_out_nor_can_be_guessed() {
    const IDS: usize = 50_000;
    let client = Client::connect(Database::memory()).await.unwrap();
    let ids: Vec<_> = (0..IDS).map(|_| client.new_task_id().0).collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), IDS);
    assert!(ids.is_sorted(), "what is created later is listed earlier");
    // Whoever has seen one of them knows the time of the next, and 32 bits less than all.
    let ends: BTreeSet<_> = ids.iter().map(|id| id.as_u128() as u32).collect();
    assert!(ends.len() > IDS - 100, "{} different ends", ends.len());
    let ones: u32 = ends.iter().map(|end| end.count_ones()).sum();
    let share = f64::from(ones) / (32.0 * ends.len() as f64);
    assert!((0.49..0.51).contains(&share), "{share}");
}

const SECRET: &str = "s3cr3t";

/// Saves a secret, then fails with something harmless or returns a secret.
struct Vault;

impl Handler for Vault {
    const KIND: &'static str = "vault";
    type Input = String;
    type Checkpoint = String;
    type Output = String;

    async fn run(&self, run: &mut Run<Self>) -> Result<String, TaskError> {
        run.progress(1, 2);
        run.save(&format!("{SECRET} checkpoint")).await?;
        if run.attempt() == 1 {
            return Err(TaskError::new("the first attempt fails").retry_after(Default::default()));
        }
        let input = run.input().clone();
        run.save(&"x".repeat(100)).await?;
        Ok(input)
    }

    async fn cleanup(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        run.save(&format!("{SECRET} of the cleanup")).await?;
        Ok(())
    }
}

async fn ga_51_payloads_are_not_logged(place: Place) {
    let log = Log::listen();
    let client = place.client().await;
    let draft = || Vault::task(format!("{SECRET} input")).user("ann");
    let unread = Draft::<Untyped>::of_kind(Vault::KIND, &[SECRET]);
    let unread = client.create(unread).await.unwrap();
    let node = place.node().register(Vault).start().await.unwrap();
    let task = client.create(draft()).await.unwrap();
    assert_eq!(task.result().await.unwrap(), format!("{SECRET} input"));
    let failed = unread.result().await.unwrap_err().to_string();
    assert!(!failed.contains(SECRET), "{failed}");
    let wrong = task.input::<u32>().await.unwrap_err().to_string();
    assert!(!wrong.contains(SECRET), "{wrong}");
    let large = Vault::task(SECRET.repeat(2 << 20));
    let large = client.create(large).await.unwrap_err().to_string();
    assert!(!large.contains(SECRET), "{large}");
    task.delete().await.unwrap();
    task.until(State::Deleted).await.unwrap();
    node.drain().await;
    assert_eq!(log.with(SECRET), Vec::<String>::new());
    assert!(!log.with("run ended").is_empty(), "it was listening");
}

/// The statements that were sent, as the driver logs them.
fn statements(log: &Log) -> Vec<String> {
    let statements = log.with("sqlx::query");
    assert!(!statements.is_empty(), "it was listening");
    statements
}

async fn ga_52_payloads_do_not_ride_along_with_changes_of_state(place: Place) {
    let log = Log::listen();
    let stage = crate::kit::Stage::new();
    let client = place.client().await;
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    let draft = Puppet::task("x".repeat(4 << 20)).hold();
    let task = client.create(draft).await.unwrap();
    log.clear();
    task.set_priority(1).await.unwrap();
    task.move_to("elsewhere").await.unwrap();
    task.pause().await.unwrap();
    client.tasks().pause().await.unwrap();
    client.tasks().list().await.unwrap();
    task.get().await.unwrap();
    let before = statements(&log);
    task.run().await.unwrap();
    let actor = stage.next().await;
    log.clear();
    actor.progress(1, 2).await;
    actor.save(1).await.unwrap();
    task.pause().await.unwrap();
    actor.stop().await;
    task.until(State::Paused).await.unwrap();
    task.delete().await.unwrap();
    let after = statements(&log);
    for statement in before.iter().chain(&after) {
        // The one column that holds it, in whatever way it is spelled; claims read it, and nothing else does.
        let reads = statement.contains("input") && !statement.contains("t.input from");
        assert!(!reads, "{statement}");
        assert!(statement.len() < 1 << 16, "{} bytes", statement.len());
    }
    stage.next().await.finish(0).await;
    task.until(State::Deleted).await.unwrap();
    node.drain().await;
}

async fn ga_58_no_string_of_a_user_reaches_sql_text(place: Place) {
    let log = Log::listen();
    let mark = "m4rk3d";
    let marked = |name: &str| format!("{mark}{name}'); drop table task; --");
    let stage = crate::kit::Stage::new();
    let node = place
        .node()
        .register(stage.puppet(mark))
        .label(marked("label"));
    let node = node.slots(1).start().await.unwrap();
    let client = node.client();
    for name in NAMES {
        let name = marked(name);
        let scoped = client.of_user(&name).unwrap();
        let draft = Puppet::task(name.clone()).group(&name);
        let task = scoped.create(draft).await.unwrap();
        let actor = stage.next().await;
        assert_eq!((&actor.user, &actor.group), (&name, &name));
        actor.save(1).await.unwrap();
        let found = client.tasks().user(&name).group(&name).kind(&name);
        assert!(found.all().await.unwrap().is_empty());
        scoped.tasks().group(&name).move_to("g").await.unwrap();
        actor.fail_with(TaskError::permanent(&name)).await;
        let failed = task.until_over().await.unwrap();
        assert_eq!(failed.error, Some(name.clone()));
        assert!(
            client
                .check_kind(&name)
                .await
                .unwrap_err()
                .is_unknown_kind()
        );
        task.delete().await.unwrap();
        stage.next().await.finish(0).await;
    }
    node.drain().await;
    let marked: Vec<_> = statements(&log)
        .into_iter()
        .filter(|s| s.contains(mark))
        .collect();
    assert_eq!(marked, Vec::<String>::new());
}
