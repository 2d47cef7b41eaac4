//! PostgreSQL behind a pooler in transaction mode, without the pooler: what is asked of a connection, and what is not.

use crate::{Settings, SqlStore, Store};
use peerwork_core::NodeId;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use uuid::Uuid;

/// The caller's pool, of one connection, on which one can see what was left behind.
async fn pool(change: impl FnOnce(PgConnectOptions) -> PgConnectOptions) -> PgPool {
    let url = tokio::task::spawn_blocking(peerwork_testbed::postgres_url)
        .await
        .expect("there is a server for tests");
    let options: PgConnectOptions = url.parse().expect("a URL");
    PgPoolOptions::new()
        .max_connections(1)
        .connect_with(change(options))
        .await
        .expect("connect")
}

async fn prepared(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from pg_prepared_statements where name like 'sqlx%'")
        .persistent(false)
        .fetch_one(pool)
        .await
        .expect("look")
}

fn fresh() -> Settings {
    Settings::default().with_schema(format!("sessions_{}", Uuid::now_v7().simple()))
}

async fn drop_schema(pool: &PgPool, settings: &Settings) {
    let schema = settings.schema.as_deref().expect("a schema of its own");
    let drop = sqlx::AssertSqlSafe(format!("drop schema {schema} cascade"));
    sqlx::raw_sql(drop).execute(pool).await.expect("drop");
}

/// One call of each way to the database: a migration, a write of one statement, a read.
async fn use_it(store: &SqlStore) {
    store.migrate().await.expect("migrate");
    store.check_schema().await.expect("check");
    store.nodes().await.expect("nodes");
    store.retire(NodeId(Uuid::now_v7())).await.expect("retire");
    store.get(vec![]).await.expect("get");
}

#[tokio::test]
async fn a_pool_that_prepares_nothing_is_left_without_prepared_statements_and_hints() {
    let pool = pool(|options| options.statement_cache_capacity(0)).await;
    let settings = fresh();
    let store = SqlStore::postgres(pool.clone(), settings.clone()).expect("a store");
    use_it(&store).await;
    assert_eq!(prepared(&pool).await, 0);
    assert!(store.listen().await.expect("listen").is_none());
    assert!(
        store
            .own_connections(1)
            .listen()
            .await
            .expect("listen")
            .is_none()
    );
    drop_schema(&pool, &settings).await;
}

#[tokio::test]
async fn a_pool_that_says_nothing_keeps_its_statements_and_hears_hints() {
    let pool = pool(|options| options).await;
    let settings = fresh();
    let store = SqlStore::postgres(pool.clone(), settings.clone()).expect("a store");
    use_it(&store).await;
    assert!(prepared(&pool).await > 0);
    assert!(store.listen().await.expect("listen").is_some());
    drop_schema(&pool, &settings).await;
}

#[tokio::test]
async fn own_connections_behind_a_pooler_are_told_nothing_that_outlives_a_transaction() {
    let pool = pool(|options| options.statement_cache_capacity(0)).await;
    let settings = fresh();
    let store = SqlStore::postgres(pool.clone(), settings.clone())
        .expect("a store")
        .own_connections(1);
    use_it(&store).await;
    let crate::sql::link::Pool::Postgres(own) = &store.engine.connections.pool else {
        unreachable!("it is on PostgreSQL")
    };
    let mut lease = store.engine.connections.lease().await.expect("lease");
    let text = "do $$ begin \
         if (select count(*) from pg_prepared_statements) > 0 then raise 'prepared'; end if; \
         if current_setting('enable_seqscan') = 'off' then raise 'set'; end if; end $$";
    lease.link().run(text.to_owned()).await.expect("as it was");
    // It was the connection that the calls had used.
    assert_eq!(own.size(), 1);
    drop_schema(&pool, &settings).await;
}

#[tokio::test]
async fn a_name_that_another_client_took_says_what_to_do() {
    let pool = pool(|options| options).await;
    // As a pooler's connection that somebody else has used before.
    for n in 1..10 {
        let prepare = sqlx::AssertSqlSafe(format!("prepare sqlx_s_{n} as select 1"));
        sqlx::raw_sql(prepare)
            .execute(&pool)
            .await
            .expect("prepare");
    }
    let store = SqlStore::postgres(pool, fresh()).expect("a store");
    let error = store.now().await.expect_err("the name is taken");
    assert!(
        error.to_string().contains("?statement-cache-capacity=0"),
        "{error}"
    );
}
