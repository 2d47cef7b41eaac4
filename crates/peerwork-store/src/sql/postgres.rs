//! PostgreSQL through sqlx: values, rows and errors.

use super::dialect::Sql;
use super::fault::{self, Fault, FaultSort};
use super::link::Link;
use super::value::{Cell, Rows, Value};
use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Arguments, AssertSqlSafe, Column, Row, TypeInfo};
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
            Value::Blobs(blobs) => args.add(blobs.as_slice()),
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

impl Kind {
    /// That of a type's name.
    fn of(name: &str) -> Self {
        match name {
            "INT2" | "INT4" | "INT8" => Self::Int,
            "BOOL" => Self::Bool,
            "UUID" => Self::Id,
            "BYTEA" => Self::Bytes,
            _ => Self::Text,
        }
    }

    /// A value as it is sent, in binary.
    fn decode(self, bytes: &[u8]) -> Option<Cell> {
        Some(match self {
            Self::Int => Cell::Int(match *bytes {
                [a, b] => i16::from_be_bytes([a, b]).into(),
                [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).into(),
                _ => i64::from_be_bytes(bytes.try_into().ok()?),
            }),
            Self::Bool => Cell::Int((*bytes.first()? != 0).into()),
            Self::Id => Cell::Id(Uuid::from_slice(bytes).ok()?),
            Self::Bytes => Cell::Bytes(bytes.to_vec()),
            Self::Text => Cell::Text(str::from_utf8(bytes).ok()?.into()),
        })
    }

    /// The values of an array of one dimension: numbers of dimensions, whether there is a NULL, the type of the values, how many there
    /// are, the first one's place; then each with its length before it, that of NULL below zero.
    fn decode_array(self, mut bytes: &[u8]) -> Option<Vec<Cell>> {
        let number =
            |bytes: &mut &[u8]| Some(i32::from_be_bytes(*bytes.split_off(..4)?.as_array()?));
        let dimensions = number(&mut bytes)?;
        bytes.split_off(..8)?;
        if dimensions == 0 {
            return Some(Vec::new());
        }
        let length = usize::try_from(number(&mut bytes)?).ok()?;
        bytes.split_off(..4)?;
        let mut cells = Vec::with_capacity(length.min(bytes.len() / 4));
        for _ in 0..length {
            let cell = match usize::try_from(number(&mut bytes)?) {
                Ok(length) => {
                    let bytes = bytes.split_off(..length)?;
                    match cells.last() {
                        // The same name many times is one.
                        Some(Cell::Text(text)) if text.as_bytes() == bytes => {
                            Cell::Text(text.clone())
                        }
                        _ => self.decode(bytes)?,
                    }
                }
                Err(_) => Cell::Null,
            };
            cells.push(cell);
        }
        (dimensions == 1).then_some(cells)
    }
}

fn decode(rows: &[PgRow]) -> Result<Rows, Fault> {
    let Some(first) = rows.first() else {
        return Ok(Rows::default());
    };
    // The types of all rows are those of the first: looked up once, not for every value.
    let kinds: Vec<(Kind, bool)> = first
        .columns()
        .iter()
        .map(|column| {
            let name = column.type_info().name();
            match name.strip_suffix("[]") {
                Some(of) => (Kind::of(of), true),
                None => (Kind::of(name), false),
            }
        })
        .collect();
    let mut cells = Vec::with_capacity(rows.len() * kinds.len());
    for row in rows {
        for (column, (kind, is_array)) in kinds.iter().enumerate() {
            let value = row.try_get_raw(column).map_err(sort)?;
            let Ok(bytes) = value.as_bytes() else {
                cells.push(Cell::Null);
                continue;
            };
            let cell = match is_array {
                true => kind.decode_array(bytes).map(Cell::List),
                false => kind.decode(bytes),
            };
            cells.push(cell.ok_or_else(|| {
                Fault::broken(format!("column {} is not what its type says", column + 1))
            })?);
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
