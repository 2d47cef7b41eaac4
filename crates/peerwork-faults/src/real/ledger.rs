//! A user's own table beside peerwork's: each step of a task of kind `ledger` adds a row, in the run's own transaction.
//!
//! Rows have no key: what is done twice is there twice.

use super::audit::{Dialect, connect};
use super::work::{Checkpoint, Output, Work};
use anyhow::{Context, Result};
use peerwork::{CommitError, Run, Transaction};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, MySql, Postgres, Row, Sqlite};
use uuid::Uuid;

/// A row: an effect that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Effect {
    /// Whose.
    pub task: Uuid,
    /// Of which step.
    pub step: u64,
}

/// Makes the table.
///
/// # Errors
/// If it cannot be made.
pub async fn install(url: &str, prefix: &str) -> Result<()> {
    let engine = match Dialect::of_url(url)? {
        Dialect::MySql => " engine=InnoDB",
        Dialect::Sqlite | Dialect::Postgres => "",
    };
    // Galera wants a key; this one says nothing about what it is a key of.
    let key = match Dialect::of_url(url)? {
        Dialect::MySql => "n bigint not null auto_increment primary key, ",
        Dialect::Sqlite | Dialect::Postgres => "",
    };
    let statement = format!(
        "create table {prefix}ledger ({key}task varchar(40) not null, step bigint not null){engine}"
    );
    let mut connection = connect(url).await?;
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection);
    done.await.context("make the ledger")?;
    Ok(())
}

/// Everything that is in it.
///
/// # Errors
/// If it cannot be read.
pub async fn read(url: &str, prefix: &str) -> Result<Vec<Effect>> {
    let statement = format!("select task, step from {prefix}ledger order by task, step");
    let mut connection = connect(url).await?;
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut connection);
    let effect = |row: &sqlx::any::AnyRow| -> Result<Effect> {
        Ok(Effect {
            task: Uuid::parse_str(row.try_get("task")?)?,
            step: u64::try_from(row.try_get::<i64, _>("step")?)?,
        })
    };
    rows.await
        .context("read the ledger")?
        .iter()
        .map(effect)
        .collect()
}

/// Adds a step and saves the checkpoint, and ends the run with it if `finish` is given: all of it or nothing.
pub(super) async fn commit<const K: usize>(
    run: &mut Run<Work<K>>,
    dialect: Dialect,
    prefix: &str,
    step: u64,
    finish: Option<Output>,
) -> Result<(), CommitError> {
    let (task, number) = (
        run.id().0.to_string(),
        i64::try_from(step).unwrap_or(i64::MAX),
    );
    macro_rules! on {
        ($database:ty, $values:literal) => {{
            let statement = format!("insert into {prefix}ledger (task, step) values {}", $values);
            run.commit(move |tx: &mut Transaction<'_, $database, Work<K>>| {
                Box::pin(async move {
                    sqlx::query(AssertSqlSafe(statement))
                        // Behind a pooler in transaction mode nothing stays prepared.
                        .persistent(false)
                        .bind(task)
                        .bind(number)
                        .execute(&mut **tx)
                        .await?;
                    tx.save(&Checkpoint { step })?;
                    if let Some(output) = finish {
                        tx.finish(&output)?;
                    }
                    Ok(())
                })
            })
            .await
        }};
    }
    match dialect {
        Dialect::Sqlite => on!(Sqlite, "(?, ?)"),
        Dialect::Postgres => on!(Postgres, "($1, $2)"),
        Dialect::MySql => on!(MySql, "(?, ?)"),
    }
}
