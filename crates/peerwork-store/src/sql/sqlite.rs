//! SQLite through sqlx: values, rows and errors.

use super::dialect::Sql;
use super::fault::{self, Fault, FaultSort};
use super::link::Link;
use super::value::{Cell, Rows, Value};
use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Decode, Row, TypeInfo, ValueRef};

#[async_trait]
impl Link for SqliteConnection {
    async fn fetch(&mut self, sql: Sql) -> Result<Rows, Fault> {
        let args = arguments(sql.args)?;
        let rows = sqlx::query_with(AssertSqlSafe(sql.text), args)
            .fetch_all(self)
            .await
            .map_err(sort)?;
        decode(&rows)
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Fault> {
        let args = arguments(sql.args)?;
        let done = sqlx::query_with(AssertSqlSafe(sql.text), args)
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

fn arguments(values: Vec<Value>) -> Result<SqliteArguments, Fault> {
    let mut args = SqliteArguments::default();
    args.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Value::Int(int) => args.add(int),
            // 16 bytes: text would be more than twice as long in every index.
            Value::Id(id) => args.add(id.map(|id| id.into_bytes().to_vec())),
            Value::Bytes(bytes) => args.add(bytes),
            Value::Text(text) => args.add(text),
            Value::Ints(_) | Value::Ids(_) | Value::Blobs(_) | Value::Texts(_) | Value::Now => {
                unreachable!("SQLite has no arrays")
            }
        };
        added.map_err(|error| Fault::broken(error.to_string()))?;
    }
    Ok(args)
}

fn decode(rows: &[SqliteRow]) -> Result<Rows, Fault> {
    let width = rows.first().map_or(0, |row| row.len());
    let mut cells = Vec::with_capacity(rows.len() * width);
    for row in rows {
        for column in 0..width {
            let value = row.try_get_raw(column).map_err(sort)?;
            cells.push(if value.is_null() {
                Cell::Null
            } else {
                // A column without a declared type, as that of an expression, has its value's type.
                let cell = match value.type_info().name() {
                    "INTEGER" | "BOOLEAN" => <i64 as Decode<Sqlite>>::decode(value).map(Cell::Int),
                    "TEXT" => {
                        <&str as Decode<Sqlite>>::decode(value).map(|text| Cell::Text(text.into()))
                    }
                    _ => <Vec<u8> as Decode<Sqlite>>::decode(value).map(Cell::Bytes),
                };
                cell.map_err(|error| Fault::broken(error.to_string()))?
            });
        }
    }
    Ok(Rows::new(width, cells))
}

pub(crate) fn sort(error: sqlx::Error) -> Fault {
    Fault::from_sqlx(fault::sort(&error, sort_code), error)
}

pub(crate) fn sort_code(at: &dyn DatabaseError) -> FaultSort {
    let code: i32 = at
        .code()
        .and_then(|code| code.parse().ok())
        .unwrap_or_default();
    if at.message().contains("no such table") || at.message().contains("no such column") {
        return FaultSort::Schema;
    }
    match (code, code & 0xff) {
        // SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE, _ROWID
        (1555 | 2067 | 2579, _) => FaultSort::Duplicate,
        // SQLITE_BUSY, SQLITE_LOCKED
        (_, 5 | 6) => FaultSort::Conflict,
        // SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN: a disk that is full or away may come back.
        (_, 10 | 13 | 14) => FaultSort::Unavailable,
        // SQLITE_TOOBIG
        (_, 18) => FaultSort::Invalid,
        // SQLITE_NOTADB
        (_, 26) => FaultSort::Foreign,
        _ => FaultSort::Permanent,
    }
}
