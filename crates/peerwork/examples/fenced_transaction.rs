//! Effects that happen once: each line of a bill is written in one transaction with the checkpoint that says so, and the
//! last one with the end of the task and the letter that follows. The node crashes in the middle; no line is written twice.
//!
//!     cargo run -p peerwork --example fenced_transaction

use peerwork::{Handler, LeaseTimes, Node, Run, TaskError, Transaction};
use sqlx::{Sqlite, SqlitePool};
use std::error::Error;
use std::sync::Arc;
use tokio::sync::Notify;

const LINES: i64 = 20;

struct Bill {
    /// Told when half of the lines are there.
    half: Arc<Notify>,
}

impl Handler for Bill {
    const KIND: &'static str = "bill";
    type Input = String;
    type Checkpoint = i64; // how many lines are written
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        let customer = run.input().clone();
        for n in run.checkpoint().unwrap_or(0)..LINES {
            let customer = customer.clone();
            run.commit(move |tx: &mut Transaction<'_, Sqlite, Self>| {
                Box::pin(async move {
                    sqlx::query("insert into line (customer, cents) values (?, ?)")
                        .bind(&customer)
                        .bind(n)
                        .execute(&mut **tx)
                        .await?;
                    tx.save(&(n + 1))?;
                    if n + 1 == LINES {
                        tx.create(Letter::task(customer)).await?;
                        tx.finish(&LINES)?;
                    }
                    Ok(())
                })
            })
            .await?;
            if n == LINES / 2 && run.attempt() == 1 {
                self.half.notify_one();
                // Until the crash.
                run.stopping().await;
            }
        }
        Ok(LINES)
    }
}

struct Letter;

impl Handler for Letter {
    const KIND: &'static str = "letter";
    type Input = String;
    type Checkpoint = ();
    type Output = String;

    async fn run(&self, run: &mut Run<Self>) -> Result<String, TaskError> {
        Ok(format!("dear {}, your bill is ready", run.input()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("tasks.db");
    let pool = SqlitePool::connect(&format!("sqlite:{}?mode=rwc", file.display())).await?;
    sqlx::query("create table line (customer text not null, cents integer not null)")
        .execute(&pool)
        .await?;

    // The shortest lease, so that the crash is noticed soon.
    let lease = LeaseTimes {
        beat_ms: 500,
        ttl_ms: LeaseTimes::TTL_MS_MIN,
        margin_ms: 1_000,
    };
    let half = Arc::new(Notify::new());
    let node = || {
        let half = half.clone();
        let node = Node::builder(&pool).register(Bill { half });
        node.register(Letter).lease(lease)
    };
    let crashing = node().start().await?;
    let client = peerwork::Client::connect(&pool).await?;
    let bill = client.create(Bill::task("Ann".to_owned())).await?;
    half.notified().await;
    // As a crash: nothing is handed over.
    drop(crashing);
    println!("half of the lines are there, and the node is gone");

    let peer = node().start().await?;
    println!("{} lines, as the task says", bill.result().await?);
    let (lines, different): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct cents) from line")
            .fetch_one(&pool)
            .await?;
    println!("{lines} lines in the table, {different} different ones");
    assert_eq!((lines, different), (LINES, LINES));

    let letters = client.tasks().kind(Letter::KIND).all().await?;
    assert_eq!(letters.len(), 1);
    let letter = client.task_of::<Letter>(letters[0].id).await?;
    println!("{}", letter.result().await?);
    peer.drain().await;
    Ok(())
}
