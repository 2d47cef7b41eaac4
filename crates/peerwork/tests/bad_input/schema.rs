//! A schema that is missing, older, newer, or somebody else's.

use crate::kit::{Place, Stage};
use peerwork::{Client, Error, Migrate};

on!([sqlite, postgres, mysql]
    a_missing_schema_is_refused_where_an_operator_makes_it,
    an_older_schema_is_refused_where_an_operator_makes_it,
    a_newer_schema_is_refused_whoever_makes_it,
);
// MariaDB's DDL is not transactional: there, leftovers of a migration that died look like tables of somebody else.
on!([sqlite, postgres] tables_of_somebody_else_are_left_alone);

/// What a client and a node are told, which is the same.
async fn refused(place: &Place, migrate: Migrate) -> Error {
    let stage = Stage::new();
    let node = place.node().register(stage.puppet("a")).migrate(migrate);
    let node = node.start().await.err().expect("the node is refused");
    let client = Client::connect_with(place.database(), migrate).await;
    let client = client.err().expect("the client is refused");
    assert!(
        client.is_schema() && node.is_schema(),
        "{client:?} {node:?}"
    );
    assert_eq!(client.to_string(), node.to_string());
    client
}

async fn a_missing_schema_is_refused_where_an_operator_makes_it(place: Place) {
    place.sql().drop_tables().await;
    let error = refused(&place, Migrate::Never).await.to_string();
    assert!(
        error.contains("missing") || error.contains("no tables"),
        "{error}"
    );
    assert!(error.contains("migrate"), "says what to do: {error}");
    // Nothing was made meanwhile.
    refused(&place, Migrate::Never).await;
    Client::connect(place.database()).await.unwrap();
    Client::connect_with(place.database(), Migrate::Never)
        .await
        .unwrap();
}

async fn an_older_schema_is_refused_where_an_operator_makes_it(place: Place) {
    let sql = place.sql();
    // As if the last migration had not been made yet.
    let migration = sql.table("migration");
    sql.execute(&format!("delete from {migration} where version > 1"))
        .await;
    let error = refused(&place, Migrate::Never).await.to_string();
    assert!(error.contains("migrate"), "says what to do: {error}");
}

async fn a_newer_schema_is_refused_whoever_makes_it(place: Place) {
    let sql = place.sql();
    let migration = sql.table("migration");
    let newer = format!(
        "insert into {migration} (version, name, applied_at) values (999, 'of the future', 0)"
    );
    sql.execute(&newer).await;
    for migrate in [Migrate::Auto, Migrate::Never] {
        let error = refused(&place, migrate).await.to_string();
        assert!(error.contains("999") && error.contains("newer"), "{error}");
    }
}

async fn tables_of_somebody_else_are_left_alone(place: Place) {
    let sql = place.sql();
    sql.drop_tables().await;
    if let Some(schema) = &sql.settings.schema {
        sql.execute(&format!("create schema {schema}")).await;
    }
    let task = sql.table("task");
    sql.execute(&format!("create table {task} (chores text)"))
        .await;
    let error = refused(&place, Migrate::Auto).await.to_string();
    assert!(error.contains("another prefix"), "{error}");
    let rows = format!("select count(chores) from {task}");
    assert_eq!(sql.number(&rows).await, 0);
}
