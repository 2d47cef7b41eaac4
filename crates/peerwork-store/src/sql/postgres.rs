//! PostgreSQL through sqlx: values, rows and errors.

use super::dialect::Sql;
use super::fault::{self, Fault, FaultSort};
use super::link::Link;
use super::value::{Cell, Rows, Value};
use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::{Arguments, AssertSqlSafe, Column, Decode, Row, TypeInfo, ValueRef};
use uuid::Uuid;

#[async_trait]
impl Link for PgConnection {
    async fn fetch(&mut self, sql: Sql) -> Result<Rows, Fault> {
        let kept = sql.is_kept();
        let args = arguments(sql.args)?;
        let rows = sqlx::query_with(AssertSqlSafe(sql.text), args)
            .persistent(kept)
            .fetch_all(self)
            .await
            .map_err(sort)?;
        decode(&rows)
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Fault> {
        let kept = sql.is_kept();
        let args = arguments(sql.args)?;
        let done = sqlx::query_with(AssertSqlSafe(sql.text), args)
            .persistent(kept)
            .execute(self)
            .await
            .map_err(sort)?;
        Ok(done.rows_affected())
    }

    async fn run(&mut self, text: String) -> Result<(), Fault> {
        sqlx::raw_sql(AssertSqlSafe(text))
            .execute(self)
            .await
            .map_err(sort)?;
        Ok(())
    }
}

fn arguments(values: Vec<Value>) -> Result<PgArguments, Fault> {
    let mut args = PgArguments::default();
    args.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Value::Int(int) => args.add(int),
            Value::Id(id) => args.add(id),
            Value::Bytes(bytes) => args.add(bytes),
            Value::Text(text) => args.add(text),
            Value::Ints(ints) => args.add(ints),
            Value::Ids(ids) => args.add(ids),
            Value::Blobs(blobs) => args.add(blobs),
            Value::Texts(texts) => args.add(texts),
            Value::Now => unreachable!("the time is written as an expression"),
        };
        added.map_err(|error| Fault::broken(error.to_string()))?;
    }
    Ok(args)
}

#[derive(Clone, Copy)]
enum Kind {
    Int,
    Bool,
    Id,
    Bytes,
    Text,
}

fn decode(rows: &[PgRow]) -> Result<Rows, Fault> {
    let Some(first) = rows.first() else {
        return Ok(Rows::default());
    };
    // The types of all rows are those of the first: looked up once, not for every value.
    let kinds: Vec<Kind> = first
        .columns()
        .iter()
        .map(|column| match column.type_info().name() {
            "INT2" | "INT4" | "INT8" => Kind::Int,
            "BOOL" => Kind::Bool,
            "UUID" => Kind::Id,
            "BYTEA" => Kind::Bytes,
            _ => Kind::Text,
        })
        .collect();
    let mut cells = Vec::with_capacity(rows.len() * kinds.len());
    for row in rows {
        for (column, kind) in kinds.iter().enumerate() {
            let value = row.try_get_raw(column).map_err(sort)?;
            cells.push(if value.is_null() {
                Cell::Null
            } else {
                let cell = match kind {
                    Kind::Int => <i64 as Decode<Postgres>>::decode(value).map(Cell::Int),
                    Kind::Bool => {
                        <bool as Decode<Postgres>>::decode(value).map(|b| Cell::Int(b.into()))
                    }
                    Kind::Id => <Uuid as Decode<Postgres>>::decode(value).map(Cell::Id),
                    Kind::Bytes => <Vec<u8> as Decode<Postgres>>::decode(value).map(Cell::Bytes),
                    Kind::Text => <String as Decode<Postgres>>::decode(value).map(Cell::Text),
                };
                cell.map_err(|error| Fault::broken(error.to_string()))?
            });
        }
    }
    Ok(Rows::new(kinds.len(), cells))
}

/// A prepared statement's name is taken, or unknown.
const NAME_CODES: [&str; 2] = ["42P05", "26000"];
const POOLER_ADVICE: &str =
    "behind a pooler in transaction mode, add `?statement-cache-capacity=0` to the database's URL";

pub(crate) fn sort(error: sqlx::Error) -> Fault {
    let code = error.as_database_error().and_then(|at| at.code());
    let is_name = code.is_some_and(|code| NAME_CODES.contains(&&*code));
    let fault = Fault::from_sqlx(fault::sort(&error, sort_code), error);
    match is_name {
        true => fault.with_advice(POOLER_ADVICE),
        false => fault,
    }
}

pub(crate) fn sort_code(at: &dyn DatabaseError) -> FaultSort {
    let code = at.code().unwrap_or_default();
    match &*code {
        "23505" => FaultSort::Duplicate,
        // serialization failure, deadlock, lock not available
        "40001" | "40P01" | "55P03" => FaultSort::Conflict,
        // statement timeout, read-only (a standby after a failover)
        "57014" | "25006" => FaultSort::Unavailable,
        // the server shuts down, crashed, or ended the session
        "57P01" | "57P02" | "57P05" | "25P03" => FaultSort::Lost,
        "57P03" => FaultSort::Unavailable,
        // undefined table, column, schema
        "42P01" | "42703" | "3F000" => FaultSort::Schema,
        // program limits, value too long
        "54000" | "22001" => FaultSort::Invalid,
        _ if code.starts_with("08") => FaultSort::Lost,
        // too many connections, disk full, out of memory
        _ if code.starts_with("53") => FaultSort::Unavailable,
        _ => FaultSort::Permanent,
    }
}
