//! How each database explains a statement, and what counts as a scan.

use super::recorder::plain;
use crate::Database;
use crate::sql::dialect::{Dialect, Sql};
use crate::sql::link::Link;
use crate::sql::value::Value;
use std::sync::Arc;

/// A statement's plan.
pub(super) struct Plan {
    /// As the database shows it, for the message of a test that fails.
    pub text: String,
    /// The steps that read a whole table or a whole index, however small.
    pub scans: Vec<String>,
}

pub(super) async fn explain(link: &mut dyn Link, dialect: &Arc<Dialect>, sql: &Sql) -> Plan {
    match dialect.database {
        Database::Sqlite => sqlite(link, sql).await,
        Database::Postgres => postgres(link, dialect, sql).await,
        Database::MySql => mysql(link, dialect, sql).await,
    }
}

async fn sqlite(link: &mut dyn Link, sql: &Sql) -> Plan {
    let mut asked = sql.clone();
    asked.text.insert_str(0, "explain query plan ");
    let mut steps = Vec::new();
    for mut row in link.fetch(asked).await.expect(&sql.text).rows() {
        let _ = (row.int(), row.int(), row.int());
        steps.push(row.text().expect("a step of a plan"));
    }
    // Rows that are in the statement itself are no table.
    let is_scan = |step: &&String| {
        step.starts_with("SCAN ") && !step.ends_with("CONSTANT ROW") && !step.ends_with("CLAUSE")
    };
    Plan {
        scans: steps.iter().filter(is_scan).cloned().collect(),
        text: steps.join("\n"),
    }
}

/// The generic plan, for parameters of these types but of any values: that is the one that is used.
async fn postgres(link: &mut dyn Link, dialect: &Arc<Dialect>, sql: &Sql) -> Plan {
    let types: Vec<_> = sql.args.iter().map(postgres_type).collect();
    let nulls = vec!["null"; types.len()].join(", ");
    let (types, nulls) = match types.len() {
        0 => (String::new(), String::new()),
        _ => (format!("({})", types.join(", ")), format!("({nulls})")),
    };
    let prepare = format!("prepare asked{types} as {}", sql.text);
    link.run(prepare).await.expect(&sql.text);
    let asked = plain(dialect, format!("explain (costs off) execute asked{nulls}"));
    let mut steps = Vec::new();
    for mut row in link.fetch(asked).await.expect(&sql.text).rows() {
        steps.push(row.text().expect("a step of a plan"));
    }
    link.run("deallocate asked".to_owned())
        .await
        .expect(&sql.text);
    let mut scans = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let is_node = |line: &str| line.contains("->") || line.contains("Plan");
        let bounded = steps[i + 1..]
            .iter()
            .take_while(|line| !is_node(line))
            .any(|line| line.contains("Index Cond:"));
        let by_index = step.contains("Index Scan") || step.contains("Index Only Scan");
        if step.contains("Seq Scan") || (by_index && !bounded) {
            scans.push(step.trim().to_owned());
        }
    }
    Plan {
        text: steps.join("\n"),
        scans,
    }
}

fn postgres_type(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "bigint",
        Value::Id(_) => "uuid",
        Value::Bytes(_) => "bytea",
        Value::Text(_) => "text",
        Value::Ints(_) => "bigint[]",
        Value::Ids(_) => "uuid[]",
        Value::Blobs(_) => "bytea[]",
        Value::Texts(_) => "text[]",
        Value::Now => unreachable!("the time is written as an expression"),
    }
}

async fn mysql(link: &mut dyn Link, dialect: &Arc<Dialect>, sql: &Sql) -> Plan {
    // There it would be shown as a scan of what it inserts into.
    if sql.text.starts_with("insert ") && !sql.text.contains(" select ") {
        return Plan {
            text: String::new(),
            scans: Vec::new(),
        };
    }
    let version = plain(dialect, "select version()".to_owned());
    let mut version = link.fetch(version).await.expect("a version");
    let version = version.first().expect("one row").text().expect("a text");
    let mut asked = sql.clone();
    asked.text.insert_str(0, "explain ");
    let mut plan = Plan {
        text: String::new(),
        scans: Vec::new(),
    };
    for mut row in link.fetch(asked).await.expect(&sql.text).rows() {
        let _id = row.opt_int();
        let mut next = || row.opt_text().expect("a text").unwrap_or_default();
        let (select, table) = (next(), next());
        if !version.contains("MariaDB") {
            let _partitions = next();
        }
        let (how, _possible, key) = (next(), next(), next());
        let step = format!("{select}: {how} of {table} by {key}");
        plan.text.push_str(&step);
        plan.text.push('\n');
        // In angle brackets: what another step made.
        if matches!(how.as_str(), "ALL" | "index") && !table.starts_with('<') {
            plan.scans.push(step);
        }
    }
    plan
}
