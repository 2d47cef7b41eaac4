//! MariaDB and MySQL through sqlx: values, rows and errors.

use super::dialect::Sql;
use super::fault::{self, Fault, FaultSort};
use super::link::Link;
use super::value::{Cell, Rows, Value};
use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::mysql::{MySql, MySqlArguments, MySqlConnection, MySqlDatabaseError, MySqlRow};
use sqlx::{Arguments, AssertSqlSafe, Column, Decode, Row, TypeInfo, ValueRef};

#[async_trait]
impl Link for MySqlConnection {
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

fn arguments(values: Vec<Value>) -> Result<MySqlArguments, Fault> {
    let mut args = MySqlArguments::default();
    args.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Value::Int(int) => args.add(int),
            Value::Id(id) => args.add(id.map(|id| id.into_bytes().to_vec())),
            Value::Bytes(bytes) => args.add(bytes),
            // As bytes, so that neither a character set nor a collation touches it.
            Value::Text(text) => args.add(text.map(String::into_bytes)),
            Value::Ints(_) | Value::Ids(_) | Value::Blobs(_) | Value::Texts(_) | Value::Now => {
                unreachable!("MariaDB has no arrays")
            }
        };
        added.map_err(|error| Fault::broken(error.to_string()))?;
    }
    Ok(args)
}

fn decode(rows: &[MySqlRow]) -> Result<Rows, Fault> {
    let Some(first) = rows.first() else {
        return Ok(Rows::default());
    };
    let ints: Vec<bool> = first
        .columns()
        .iter()
        .map(|column| {
            let name = column.type_info().name();
            name.contains("INT") || name == "BOOLEAN"
        })
        .collect();
    let mut cells = Vec::with_capacity(rows.len() * ints.len());
    for row in rows {
        for (column, int) in ints.iter().enumerate() {
            let value = row.try_get_raw(column).map_err(sort)?;
            cells.push(if value.is_null() {
                Cell::Null
            } else {
                let cell = if *int {
                    <i64 as Decode<MySql>>::decode(value).map(Cell::Int)
                } else {
                    <Vec<u8> as Decode<MySql>>::decode(value).map(Cell::Bytes)
                };
                cell.map_err(|error| Fault::broken(error.to_string()))?
            });
        }
    }
    Ok(Rows::new(ints.len(), cells))
}

pub(crate) fn sort(error: sqlx::Error) -> Fault {
    Fault::from_sqlx(fault::sort(&error, sort_code), error)
}

pub(crate) fn sort_code(at: &dyn DatabaseError) -> FaultSort {
    let number = at
        .try_downcast_ref::<MySqlDatabaseError>()
        .map_or(0, MySqlDatabaseError::number);
    match number {
        1062 => FaultSort::Duplicate,
        // lock wait timeout, deadlock (also what Galera calls a lost certification), record has changed
        1205 | 1213 | 1020 => FaultSort::Conflict,
        // too many connections, memory, disk full (also told as a table that is full), read-only, statement timeouts, not ready (Galera)
        1040 | 1037 | 1038 | 1041 | 1021 | 1114 | 1290 | 1836 | 1969 | 3024 | 1047 | 1203
        | 1226 => FaultSort::Unavailable,
        // shutdown, killed, aborted
        1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1927 => FaultSort::Lost,
        // no such table, column; unknown database
        1146 | 1054 => FaultSort::Schema,
        // packet too large, data too long
        1153 | 1406 => FaultSort::Invalid,
        _ => FaultSort::Permanent,
    }
}
