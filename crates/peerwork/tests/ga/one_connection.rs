//! A client on the caller's own pool, which has one connection.

use crate::kit::{Place, Puppet, Stage};
use peerwork::{Client, Database, Draft, Handler, Migrate, State, Untyped};
use peerwork_store::SqlStore;
use sqlx::pool::PoolOptions;
use std::time::Duration;
use tokio::task::JoinSet;

on!([sqlite, postgres, mysql]
    ga_18_every_client_call_works_with_a_pool_of_one_connection,
    ga_18_creating_in_the_callers_transaction_needs_no_second_connection,
);

/// A call that needs a second connection would wait this long, and fail.
const PATIENCE: Duration = Duration::from_secs(20);

async fn pool<DB: sqlx::Database>(url: &str) -> sqlx::Pool<DB> {
    let options = PoolOptions::<DB>::new().max_connections(1);
    let options = options.acquire_timeout(PATIENCE);
    options.connect(url).await.expect("it is there")
}

async fn on_one_connection(place: &Place) -> Database {
    let sql = place.sql();
    let settings = sql.settings.clone();
    let store = match place.name() {
        "sqlite" => SqlStore::sqlite(pool(&sql.url).await, settings),
        "postgres" => SqlStore::postgres(pool(&sql.url).await, settings),
        _ => SqlStore::mysql(pool(&sql.url).await, settings),
    };
    store.expect("it can be used").into()
}

async fn ga_18_every_client_call_works_with_a_pool_of_one_connection(place: Place) {
    place.sql().drop_tables().await;
    let database = on_one_connection(&place).await;
    let client = Client::connect(&database).await.unwrap();
    let client = Client::connect_with(&database, Migrate::Never)
        .await
        .map(|_| client);
    let client = client.unwrap();
    let stage = Stage::new();
    // A node opens connections of its own, besides the caller's.
    let node = peerwork::Node::builder(&database).lease(crate::kit::STEADY);
    let node = node.register(stage.puppet("a")).start().await.unwrap();

    let mut callers = JoinSet::new();
    for n in 0..8 {
        callers.spawn(every_call(client.clone(), format!("user {n}")));
    }
    let mut puppets = 0;
    while !callers.is_empty() {
        tokio::select! {
            actor = stage.next() => { actor.try_finish(1).await; puppets += 1; }
            done = callers.join_next() => done.unwrap().unwrap(),
        }
    }
    assert!(puppets >= 8);
    node.drain().await;
}

async fn every_call(client: Client, user: String) {
    let client = client.of_user(&user).unwrap();
    let hour = Duration::from_secs(3_600);
    client.now().await.unwrap();
    client.nodes().await.unwrap();
    client.kinds().await.unwrap();
    client.check_kind("puppet").await.unwrap();
    let draft = Draft::<Untyped>::of_kind("nobody's", &1).start_in(hour);
    let task = client.create(draft).await.unwrap();
    let drafts = (0..3).map(|n| Puppet::task(n.to_string()).hold());
    let held = client.create_many(drafts).await.unwrap();
    task.get().await.unwrap();
    task.input::<i32>().await.unwrap();
    task.checkpoint::<i32>().await.unwrap();
    task.failures().await.unwrap();
    task.move_to("g").await.unwrap();
    task.set_priority(1).await.unwrap();
    task.pause().await.unwrap();
    task.until(State::Paused).await.unwrap();
    task.resume().await.unwrap();
    task.run().await.unwrap();
    task.delete().await.unwrap();
    task.force_delete().await.unwrap();
    task.until(State::Deleted).await.unwrap();
    held[0].run().await.unwrap();
    assert_eq!(held[0].result().await.unwrap(), 1);
    held[0].rerun().await.unwrap();
    held[0].until_over().await.unwrap();
    client.task_of::<Puppet>(held[1].id()).await.unwrap();
    assert_eq!(client.tasks().list().await.unwrap().tasks.len(), 3);
    let held = || client.tasks().state(State::Created);
    held().move_to("h").await.unwrap();
    held().set_priority(2).await.unwrap();
    held().pause().await.unwrap();
    client.tasks().paused().resume().await.unwrap();
    client.tasks().run().await.unwrap();
    client.tasks().delete().await.unwrap();
    client.tasks().force_delete().await.unwrap();
    client.tasks().rerun().await.unwrap();
}

async fn ga_18_creating_in_the_callers_transaction_needs_no_second_connection(place: Place) {
    let url = &place.sql().url;
    match place.name() {
        "sqlite" => {
            in_a_transaction::<sqlx::Sqlite>(&place, pool(url).await, SqlStore::sqlite).await
        }
        "postgres" => {
            in_a_transaction::<sqlx::Postgres>(&place, pool(url).await, SqlStore::postgres).await
        }
        _ => in_a_transaction::<sqlx::MySql>(&place, pool(url).await, SqlStore::mysql).await,
    }
}

async fn in_a_transaction<DB: sqlx::Database>(
    place: &Place,
    pool: sqlx::Pool<DB>,
    store: impl FnOnce(sqlx::Pool<DB>, peerwork::Settings) -> peerwork_store::Result<SqlStore>,
) where
    DB::Connection: peerwork::Transactional,
{
    let store = store(pool.clone(), place.sql().settings.clone()).unwrap();
    let client = Client::connect(store).await.unwrap();
    let seen = place.client().await;
    let draft = || Puppet::task(String::new()).group("g");
    let count = async || seen.tasks().group("g").all().await.unwrap().len();

    let mut tx = pool.begin().await.unwrap();
    let committed = client.create_in(&mut *tx, draft()).await.unwrap();
    client.create_in(&mut *tx, draft()).await.unwrap();
    if place.name() != "sqlite" {
        assert_eq!(count().await, 0, "not before the commit");
    }
    tx.commit().await.unwrap();
    assert_eq!(count().await, 2);
    let mut tx = pool.begin().await.unwrap();
    let never = client.create_in(&mut *tx, draft()).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(count().await, 2);
    assert!(never.get().await.unwrap_err().is_not_found());

    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a"));
    let node = node.start().await.unwrap();
    for actor in stage.take(2).await {
        actor.finish(1).await;
    }
    assert_eq!(committed.result().await.unwrap(), 1);
    node.drain().await;
}
