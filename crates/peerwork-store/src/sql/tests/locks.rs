//! What somebody has locked is in nobody else's way: a node that stands still in the middle of a transaction must not
//! keep others from moving their own tasks, however few rows there are.

use super::databases::TestDatabase;
use super::script::{NODE, OK, card, end_of, name, task};
use crate::sql::link::Pool;
use crate::*;
use peerwork_core::*;
use uuid::Uuid;

const TASKS: u128 = 20;
const RUN: RunId = RunId(Uuid::from_u128(800));

/// Ann has the first half of the tasks, Bob the rest; his rows are locked by somebody, first as ready, then as running.
async fn only_what_is_moved_is_locked(database: Database) {
    let fresh = TestDatabase::fresh(database).await;
    let store = &fresh.store;
    store.register(card(NODE)).await.expect("register");
    let rules = vec![(name("plain"), Rules::default())];
    store.publish_kinds(rules).await.expect("publish kinds");
    let id = |n| TaskId(Uuid::from_u128(n));
    let user = |n| name(if n < TASKS / 2 { "ann" } else { "bob" });
    let tasks = (0..TASKS).map(|n| NewTask {
        user: user(n),
        ..task(id(n))
    });
    store.create(tasks.collect()).await.expect("create");
    let claim = |user| Claim {
        node: NODE,
        run: RUN,
        grants: vec![Grant {
            lane: LaneId::new(&name("maths"), &name(user)),
            tasks: TASKS as usize,
        }],
        kinds: vec![KindKey::new(&name("plain"))],
        reaches: Vec::new(),
        version: 0,
    };
    let bobs: Vec<_> = (TASKS / 2..TASKS)
        .map(|n| match database {
            Database::MySql => format!("x'{}'", Uuid::from_u128(n).simple()),
            Database::Postgres | Database::Sqlite => format!("'{}'", Uuid::from_u128(n)),
        })
        .collect();
    let lock = |table, index| {
        let bobs = bobs.join(",");
        // Or it would lock all of them itself.
        let index = match database {
            Database::MySql => format!("force index ({index})"),
            Database::Postgres | Database::Sqlite => String::new(),
        };
        format!("begin; select 1 from peerwork_{table} {index} where id in ({bobs}) for update")
    };

    let mut other = store.engine.connections.lease().await.expect("lease");
    let link = other.link();
    link.run(lock("ready", "peerwork_ready_id"))
        .await
        .expect("lock what is ready");
    let claimed = store.claim(claim("ann")).await.expect("claim");
    let claimed = claimed.tasks;
    assert_eq!(claimed.len() as u128, TASKS / 2);
    link.run("rollback".to_owned()).await.expect("unlock");

    store.claim(claim("bob")).await.expect("claim");
    link.run(lock("running", "primary"))
        .await
        .expect("lock what runs");
    let ends = claimed.iter().map(|task| end_of(task.id, RUN, OK));
    let ends = ends.collect();
    let ended = store.end(ends).await.expect("end");
    assert_eq!(ended.len() as u128, TASKS / 2);
    link.run("rollback".to_owned()).await.expect("unlock");
    other.sound();
    fresh.remove().await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn only_what_is_moved_is_locked_on_postgres() {
    only_what_is_moved_is_locked(Database::Postgres).await;
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn only_what_is_moved_is_locked_on_mariadb() {
    only_what_is_moved_is_locked(Database::MySql).await;
}

/// How long one of our own connections may stand still in a transaction, as the server tells it.
async fn idle_limit(database: Database) -> String {
    let fresh = TestDatabase::fresh(database).await;
    let limit = match &fresh.store.engine.connections.pool {
        #[cfg(feature = "mysql")]
        Pool::MySql(pool) => {
            let limit: u64 = sqlx::query_scalar("select @@session.idle_transaction_timeout")
                .fetch_one(pool)
                .await
                .expect("a setting of MariaDB");
            format!("{limit}s")
        }
        #[cfg(feature = "postgres")]
        Pool::Postgres(pool) => sqlx::query_scalar("show idle_in_transaction_session_timeout")
            .fetch_one(pool)
            .await
            .expect("a setting of PostgreSQL"),
        #[cfg(feature = "sqlite")]
        Pool::Sqlite(_) => unreachable!("its transactions end with their process"),
    };
    fresh.remove().await;
    limit
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_transaction_that_stands_still_is_ended_by_postgres() {
    assert_eq!(idle_limit(Database::Postgres).await, "5s");
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn a_transaction_that_stands_still_is_ended_by_mariadb() {
    assert_eq!(idle_limit(Database::MySql).await, "5s");
}
