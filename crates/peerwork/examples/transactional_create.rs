//! A task that exists if and only if the service's own transaction commits: an order, and the task that ships it.
//!
//!     cargo run -p peerwork --all-features --example transactional_create [sqlite:FILE | postgres://.. | mysql://..]

use peerwork::{Client, Handler, Node, Run, TaskError, Transactional};
use sqlx::{Executor, MySqlPool, PgPool, Pool, SqlitePool};
use std::error::Error;

struct Ship;

impl Handler for Ship {
    const KIND: &'static str = "ship";
    type Input = u32;
    type Checkpoint = ();
    type Output = String;

    async fn run(&self, run: &mut Run<Self>) -> Result<String, TaskError> {
        Ok(format!("order {} is on its way", run.input()))
    }
}

/// The bounds are for three databases at once; a service has one, and needs none of them.
async fn shop<DB: sqlx::Database>(pool: Pool<DB>) -> Result<(), Box<dyn Error>>
where
    DB::Connection: Transactional,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'p> peerwork::Database: From<&'p Pool<DB>>,
{
    let mut connection = pool.acquire().await?;
    connection.execute("drop table if exists orders").await?;
    let table = "create table orders (id int not null primary key)";
    connection.execute(table).await?;
    drop(connection);
    let client = Client::connect(&pool).await?;
    let node = Node::builder(&pool).register(Ship).start().await?;

    // An order that is taken back: neither it nor its task was ever there.
    let mut tx = pool.begin().await?;
    tx.execute("insert into orders values (1)").await?;
    let never = client.create_in(&mut *tx, Ship::task(1)).await?;
    tx.rollback().await?;
    assert!(never.get().await.is_err_and(|error| error.is_not_found()));

    // An order that stands: both are there, and the task runs.
    let mut tx = pool.begin().await?;
    tx.execute("insert into orders values (2)").await?;
    let task = client.create_in(&mut *tx, Ship::task(2)).await?;
    tx.commit().await?;
    // Only for speed: nodes look once a second by themselves.
    client.wake_nodes();
    let told = task.result().await?;
    println!("{told}");
    assert_eq!(told, "order 2 is on its way");

    let mut connection = pool.acquire().await?;
    let orders = connection.fetch_all("select id from orders").await?;
    assert_eq!(orders.len(), 1);
    connection.execute("drop table orders").await?;
    node.drain().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite:{}/tasks.db?mode=rwc", folder.path().display());
    let url = std::env::args().nth(1).unwrap_or(file);
    match url.split(':').next() {
        Some("sqlite") => shop(SqlitePool::connect(&url).await?).await,
        Some("postgres" | "postgresql") => shop(PgPool::connect(&url).await?).await,
        Some("mysql" | "mariadb") => shop(MySqlPool::connect(&url).await?).await,
        _ => Err("usage: transactional_create [sqlite:FILE | postgres://.. | mysql://..]".into()),
    }
}
