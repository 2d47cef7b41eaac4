//! The end of a node's process at every statement that writes, enumerated: before it, which is after the one before.
//!
//! A child process (this test's own binary) plays a script on a SQLite file and ends at statement k. Then this process
//! declares its node dead, starts a node of its own and plays the same script to its end, as a caller does who had no answer.
//! For every k until a child comes through.

use peerwork::{
    Client, Database, Error, Handler, Node, Retry, Rules, Run, Settings, SqlStore, State,
    TaskError, TaskId, Transaction,
};
use peerwork_store::{Failpoints, Fate, Reached, Store};
use sqlx::{Sqlite, SqlitePool};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use uuid::Uuid;

const FILE: &str = "PEERWORK_TEST_ABORT_FILE";
const AT: &str = "PEERWORK_TEST_ABORT_AT";
const OF: &str = "PEERWORK_TEST_ABORT_OF";

/// How a process ends that aborts.
const SIGABRT: i32 = 6;

/// No script has as many statements of one sort of operations.
const STATEMENTS_MAX: usize = 500;

/// Whatever a process does, it does it within this, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A run's own transaction.
const COMMIT: &[&str] = &["commit a run's transaction"];
/// How tasks come to a node.
const IN: &[&str] = &["create tasks", "claim tasks", "read claimed tasks"];
/// How they leave it.
const OUT: &[&str] = &["save checkpoints", "end runs"];
/// What a node and its users do beside.
const BESIDE: &[&str] = &[
    "steer tasks",
    "promote tasks",
    "wake parents",
    "register a node",
    "publish kinds",
    "retire a node",
];

fn id(n: u128) -> TaskId {
    TaskId(Uuid::from_u128(n))
}

struct Worker;

impl Handler for Worker {
    const KIND: &'static str = "worker";
    type Input = String;
    type Checkpoint = i64;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        match run.input().as_str() {
            "enter" => enter(run).await,
            "save" => {
                for n in run.checkpoint().unwrap_or(0)..2 {
                    run.save(&(n + 1)).await?;
                }
                Ok(2)
            }
            "fail once" if run.failures() == 0 => Err(TaskError::new("not yet")),
            "fan out" => {
                let children = vec!["leaf".to_owned(), "leaf".to_owned()];
                let results = run.children::<Self>("leaves", children).await?;
                let mut sum = 0;
                for result in results {
                    sum += result?;
                }
                Ok(sum)
            }
            _ => Ok(1),
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            retry: Retry {
                limit: 5,
                base_ms: 1,
                cap_ms: 1,
            },
            ..Rules::default()
        }
    }
}

/// Three entries, each with its checkpoint, the last one with the finish and another task.
async fn enter(run: &mut Run<Worker>) -> Result<i64, TaskError> {
    for n in run.checkpoint().unwrap_or(0)..3 {
        run.commit(move |tx: &mut Transaction<'_, Sqlite, Worker>| {
            Box::pin(async move {
                sqlx::query("insert into entry (n) values (?)")
                    .bind(n)
                    .execute(&mut **tx)
                    .await?;
                tx.save(&(n + 1))?;
                if n == 2 {
                    tx.create(Worker::task("leaf".to_owned()).id(id(99)))
                        .await?;
                    tx.finish(&3)?;
                }
                Ok(())
            })
        })
        .await?;
    }
    Ok(3)
}

/// What users ask for. It may be asked for again, whatever has been done of it.
async fn play(client: &Client) -> Result<(), Error> {
    let draft = |n, input: &str| Worker::task(input.to_owned()).id(id(n));
    for (n, input, output) in [
        (1, "enter", 3),
        (2, "save", 2),
        (3, "fail once", 1),
        (4, "fan out", 2),
    ] {
        assert_eq!(
            client.create(draft(n, input)).await?.result().await?,
            output,
            "{input}"
        );
    }
    let task = client.create(draft(5, "leaf").hold()).await?;
    let is_over = |error: &Error| error.is_refused() || error.is_gone();
    for steered in [task.pause().await, task.resume().await, task.run().await] {
        match steered {
            Err(error) if is_over(&error) => {}
            steered => drop(steered?),
        }
    }
    assert_eq!(task.result().await?, 1);
    let task = client.create(draft(6, "leaf").hold()).await?;
    match task.delete().await {
        Err(error) if is_over(&error) => {}
        steered => drop(steered?),
    }
    task.until(State::Deleted).await?;
    assert_eq!(client.task_of::<Worker>(id(99)).await?.result().await?, 1);
    Ok(())
}

async fn node_and_script(store: SqlStore) -> Result<(), Error> {
    let node = Node::builder(Database::from(store)).register(Worker);
    let node = node.slots(4).start().await?;
    play(&node.client()).await?;
    node.drain().await;
    Ok(())
}

fn url(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

async fn open(file: &Path, settings: Settings) -> SqlStore {
    let store = SqlStore::connect(&url(file), settings, 4).await;
    store.expect("the file is there")
}

/// The child, if this process is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_at_a_statement() {
    let Some(file) = std::env::var_os(FILE).map(PathBuf::from) else {
        return;
    };
    let var = |name| std::env::var(name).expect("its parent says");
    let (at, of): (usize, String) = (var(AT).parse().expect("a number"), var(OF));
    let seen = AtomicUsize::new(0);
    let plan = Failpoints::new(move |reached: Reached<'_>| {
        if !of
            .split(',')
            .any(|operation| operation == reached.operation)
        {
            return Fate::Pass;
        }
        if seen.fetch_add(1, Ordering::SeqCst) + 1 == at {
            return Fate::AbortBefore;
        }
        Fate::Pass
    });
    let store = open(&file, Settings::default().with_failpoints(plan)).await;
    let played = tokio::time::timeout(LIMIT, node_and_script(store));
    played.await.expect("in time").expect("the script");
}

/// Ends a child at each statement of these operations. How many there were.
async fn end_at_every_statement_of(operations: &[&str]) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let made = folder.path().join("made.db");
    let store = open(&made, Settings::default()).await;
    store.migrate().await.expect("migrate");
    drop(store);
    let pool = SqlitePool::connect(&url(&made)).await.expect("a file");
    sqlx::query("create table entry (n integer not null)")
        .execute(&pool)
        .await
        .expect("a table of the user's");
    pool.close().await;
    for at in 1..=STATEMENTS_MAX {
        let file = folder.path().join(format!("{at}.db"));
        std::fs::copy(&made, &file).expect("a copy");
        let mut child = Command::new(std::env::current_exe().expect("it has a path"));
        child
            .args(["--exact", "a_process_that_ends_at_a_statement"])
            .env(FILE, &file)
            .env(AT, at.to_string())
            .env(OF, operations.join(","))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = child.status().expect("the test's own binary runs");
        let aborted = status.signal() == Some(SIGABRT);
        assert!(aborted || status.success(), "statement {at}: {status}");
        finish_and_check(&file, at).await;
        if !aborted {
            return at - 1;
        }
    }
    panic!("more than {STATEMENTS_MAX} statements");
}

async fn finish_and_check(file: &Path, at: usize) {
    let store = open(file, Settings::default()).await;
    for node in store.nodes().await.expect("nodes") {
        if node.alive {
            assert!(
                store
                    .declare_dead(node.id, node.seq)
                    .await
                    .expect("declare dead")
            );
        }
    }
    let played = tokio::time::timeout(LIMIT, node_and_script(store.clone())).await;
    let played = played.unwrap_or_else(|_| panic!("ended at statement {at}: not over in time"));
    played.unwrap_or_else(|error| panic!("ended at statement {at}: {error}"));

    let pool = SqlitePool::connect(&url(file)).await.expect("the file");
    let count = async |statement: &'static str| -> i64 {
        let counted = sqlx::query_scalar(statement).fetch_one(&pool).await;
        counted.unwrap_or_else(|error| panic!("{statement}: {error}"))
    };
    let entries = count("select count(*) * 10 + count(distinct n) from entry").await;
    assert_eq!(
        entries, 33,
        "ended at statement {at}: each entry is there once"
    );
    assert_eq!(
        count("select count(*) from peerwork_running").await,
        0,
        "{at}"
    );
    // Six, two leaves, and the one that came with the last entry.
    assert_eq!(count("select count(*) from peerwork_task").await, 9, "{at}");
    assert_eq!(count("select count(*) from peerwork_done").await, 9, "{at}");
    assert_eq!(
        count("select count(*) from peerwork_ready").await,
        0,
        "{at}"
    );
    assert_eq!(
        count("select count(*) from peerwork_parked").await,
        0,
        "{at}"
    );
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_in_a_runs_own_transaction_doubles_nothing() {
    // Begin, mark, entry by the user, release, fence, save, commit: three times, the last one with more.
    let statements = end_at_every_statement_of(COMMIT).await;
    println!("{statements} statements");
    assert!(statements >= 15, "{statements}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_while_it_takes_tasks_loses_none() {
    let statements = end_at_every_statement_of(IN).await;
    println!("{statements} statements");
    assert!(statements >= 30, "{statements}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_while_it_saves_and_reports_loses_nothing() {
    let statements = end_at_every_statement_of(OUT).await;
    println!("{statements} statements");
    assert!(statements >= 20, "{statements}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_while_it_is_steered_loses_nothing() {
    let statements = end_at_every_statement_of(BESIDE).await;
    println!("{statements} statements");
    assert!(statements >= 20, "{statements}");
}
