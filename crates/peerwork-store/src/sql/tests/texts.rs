//! The hot statements as text, one snapshot for each database.
//!
//! After a change that is meant: `cargo insta review`, or `INSTA_UPDATE=always` with the test.

use super::databases::TestDatabase;
use super::script::{Act, play};
use crate::Database;

async fn text(database: Database) -> String {
    let fresh = TestDatabase::fresh(database).await;
    let acts = play(&fresh.store).await;
    fresh.remove().await;
    render(&acts)
}

/// An operation, then its statements, one a line.
fn render(acts: &[Act]) -> String {
    let mut text = String::new();
    for act in acts {
        text.push_str(&format!("-- {}\n", act.title));
        for statement in &act.statements {
            text.push_str(&statement.text);
            text.push_str(";\n");
        }
        text.push('\n');
    }
    text
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_statements_on_sqlite_are_those_that_were_reviewed() {
    insta::assert_snapshot!("sqlite", text(Database::Sqlite).await);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn the_statements_on_postgres_are_those_that_were_reviewed() {
    insta::assert_snapshot!("postgres", text(Database::Postgres).await);
}

#[cfg(feature = "mysql")]
#[tokio::test]
async fn the_statements_on_mariadb_are_those_that_were_reviewed() {
    insta::assert_snapshot!("mysql", text(Database::MySql).await);
}
