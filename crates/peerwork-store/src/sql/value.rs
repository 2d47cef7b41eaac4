//! What goes into a statement and what comes out of it, the same for the three databases.

use super::fault::Fault;
use peerwork_core::{KindKey, LaneId, Name, NodeId, Rank, RunId, Status, TaskId, Timestamp};
use std::sync::Arc;
use uuid::Uuid;

/// A parameter of a statement. Each knows its type when it is NULL too, because PostgreSQL asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Int(Option<i64>),
    Id(Option<Uuid>),
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
    /// Arrays: PostgreSQL only.
    Ints(Vec<Option<i64>>),
    Ids(Vec<Option<Uuid>>),
    /// Shared: a statement that is tried again copies none of them.
    Blobs(Arc<Vec<Option<Vec<u8>>>>),
    Texts(Vec<Option<String>>),
    /// No parameter but the time at which the statement runs; only in [`Bulk`](super::tx::Bulk) rows.
    Now,
}

impl Value {
    /// An array of numbers.
    pub(crate) fn ints(ints: impl IntoIterator<Item = i64>) -> Self {
        Self::Ints(ints.into_iter().map(Some).collect())
    }

    /// An array of ids.
    pub(crate) fn ids(ids: impl IntoIterator<Item = Uuid>) -> Self {
        Self::Ids(ids.into_iter().map(Some).collect())
    }

    /// An array of bytes.
    pub(crate) fn blobs(blobs: impl IntoIterator<Item = Option<Vec<u8>>>) -> Self {
        Self::Blobs(Arc::new(blobs.into_iter().collect()))
    }

    /// How long it is, where that is not the same for all: of what users hand in.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
            Self::Text(text) => text.as_ref().map_or(0, String::len),
            Self::Int(_) | Self::Id(_) | Self::Now => 0,
            // Arrays are made of rows that were cut already.
            Self::Ints(_) | Self::Ids(_) | Self::Blobs(_) | Self::Texts(_) => 0,
        }
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Int,
    Id,
    Bytes,
    Text,
}

macro_rules! into_value {
    ($($from:ty => $variant:ident, $pattern:pat => $value:expr;)*) => {
        $(
            impl From<$from> for Value {
                fn from($pattern: $from) -> Self {
                    Self::$variant(Some($value))
                }
            }
            impl From<Option<$from>> for Value {
                fn from(value: Option<$from>) -> Self {
                    Self::$variant(value.map(|$pattern| $value))
                }
            }
        )*
    };
}

into_value! {
    i64 => Int, value => value;
    i16 => Int, value => i64::from(value);
    u32 => Int, value => i64::from(value);
    bool => Int, value => i64::from(value);
    Status => Int, value => i64::from(value.code());
    Rank => Int, value => i64::from(value.0);
    KindKey => Int, value => value.0;
    Timestamp => Int, value => value.0;
    Uuid => Id, value => value;
    TaskId => Id, value => value.0;
    RunId => Id, value => value.0;
    NodeId => Id, value => value.0;
    LaneId => Id, value => value.0;
    Vec<u8> => Bytes, value => value;
    String => Text, value => value;
    &Name => Text, value => value.as_str().to_owned();
}

impl From<u64> for Value {
    /// Saturates: the databases' integers are signed.
    fn from(value: u64) -> Self {
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    /// Only PostgreSQL tells ids from bytes.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    Id(Uuid),
    Bytes(Vec<u8>),
    /// MariaDB's texts are bytes.
    #[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
    Text(Arc<str>),
    /// An array: PostgreSQL only.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code))]
    List(Vec<Cell>),
}

/// The rows that a statement answered with, in one piece.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    width: usize,
    cells: Vec<Cell>,
}

impl Rows {
    pub(crate) fn new(width: usize, cells: Vec<Cell>) -> Self {
        Self { width, cells }
    }

    /// The rows of which these are the columns, all of one length.
    pub(crate) fn of_columns(columns: Vec<Vec<Cell>>) -> Self {
        let width = columns.len();
        let height = columns.first().map_or(0, Vec::len);
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        let mut cells = Vec::with_capacity(width * height);
        for _ in 0..height {
            let row = columns.iter_mut().map(|column| column.next());
            cells.extend(row.map(|cell| cell.unwrap_or(Cell::Null)));
        }
        Self { width, cells }
    }

    /// The rows in order. A row's values are taken out, from left to right.
    pub(crate) fn rows(&mut self) -> impl Iterator<Item = Row<'_>> {
        self.cells
            .chunks_exact_mut(self.width.max(1))
            .map(|cells| Row { cells, at: 0 })
    }

    /// The first row, if there is one.
    pub(crate) fn first(&mut self) -> Option<Row<'_>> {
        self.rows().next()
    }

    /// The only value of the only row, 0 if there is none.
    pub(crate) fn single_int(&mut self) -> Result<i64, Fault> {
        self.first().map_or(Ok(0), |mut row| row.int())
    }
}

/// A row that is read from left to right.
pub(crate) struct Row<'a> {
    cells: &'a mut [Cell],
    at: usize,
}

impl Row<'_> {
    fn next(&mut self) -> Result<Cell, Fault> {
        let cell = self
            .cells
            .get_mut(self.at)
            .ok_or_else(|| Fault::broken("a row has fewer columns than were asked for"))?;
        self.at += 1;
        Ok(std::mem::replace(cell, Cell::Null))
    }

    fn wrong(&self, cell: &Cell, expected: &str) -> Fault {
        let found = match cell {
            Cell::Null => "NULL",
            Cell::Int(_) => "a number",
            Cell::Id(_) => "an id",
            Cell::Bytes(_) => "bytes",
            Cell::Text(_) => "text",
            Cell::List(_) => "an array",
        };
        Fault::broken(format!(
            "column {} is {found} where {expected} was expected",
            self.at
        ))
    }

    pub(crate) fn opt_int(&mut self) -> Result<Option<i64>, Fault> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Int(int) => Ok(Some(int)),
            other => Err(self.wrong(&other, "a number")),
        }
    }

    pub(crate) fn int(&mut self) -> Result<i64, Fault> {
        self.opt_int()?
            .ok_or_else(|| self.wrong(&Cell::Null, "a number"))
    }

    pub(crate) fn opt_id(&mut self) -> Result<Option<Uuid>, Fault> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Id(id) => Ok(Some(id)),
            Cell::Bytes(bytes) => match Uuid::from_slice(&bytes) {
                Ok(id) => Ok(Some(id)),
                Err(_) => Err(self.wrong(&Cell::Bytes(bytes), "an id of 16 bytes")),
            },
            other => Err(self.wrong(&other, "an id")),
        }
    }

    pub(crate) fn id(&mut self) -> Result<Uuid, Fault> {
        self.opt_id()?
            .ok_or_else(|| self.wrong(&Cell::Null, "an id"))
    }

    pub(crate) fn opt_bytes(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Bytes(bytes) => Ok(Some(bytes)),
            other => Err(self.wrong(&other, "bytes")),
        }
    }

    fn opt_shared_text(&mut self) -> Result<Option<Arc<str>>, Fault> {
        match self.next()? {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            // MariaDB keeps names and texts as bytes, so that no collation ever touches them.
            Cell::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.into())),
                Err(error) => Err(self.wrong(&Cell::Bytes(error.into_bytes()), "UTF-8 text")),
            },
            other => Err(self.wrong(&other, "text")),
        }
    }

    fn shared_text(&mut self) -> Result<Arc<str>, Fault> {
        self.opt_shared_text()?
            .ok_or_else(|| self.wrong(&Cell::Null, "text"))
    }

    pub(crate) fn opt_text(&mut self) -> Result<Option<String>, Fault> {
        Ok(self.opt_shared_text()?.map(|text| text.as_ref().to_owned()))
    }

    /// An array's values; of NULL none.
    pub(crate) fn list(&mut self) -> Result<Vec<Cell>, Fault> {
        match self.next()? {
            Cell::Null => Ok(Vec::new()),
            Cell::List(cells) => Ok(cells),
            other => Err(self.wrong(&other, "an array")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, Fault> {
        Ok(self.shared_text()?.as_ref().to_owned())
    }

    pub(crate) fn name(&mut self, what: &'static str) -> Result<Name, Fault> {
        Name::shared(what, self.shared_text()?).map_err(|error| Fault::broken(error.to_string()))
    }

    pub(crate) fn status(&mut self) -> Result<Status, Fault> {
        status(self.int()?)
    }

    pub(crate) fn count(&mut self) -> Result<u32, Fault> {
        let int = self.int()?;
        u32::try_from(int).map_err(|_| Fault::broken(format!("{int} is no count")))
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Fault> {
        self.int().map(Timestamp)
    }

    pub(crate) fn opt_time(&mut self) -> Result<Option<Timestamp>, Fault> {
        Ok(self.opt_int()?.map(Timestamp))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Fault> {
        Ok(self.int()? != 0)
    }
}

/// Appends bytes as hexadecimal digits.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// `[[id], ..]`, in hexadecimal digits.
pub(crate) fn ids_json(ids: &[Uuid]) -> String {
    let mut json = String::with_capacity(ids.len() * 37 + 2);
    json.push('[');
    for (i, id) in ids.iter().enumerate() {
        json.push_str(if i > 0 { ",[\"" } else { "[\"" });
        push_hex(&mut json, id.as_bytes());
        json.push_str("\"]");
    }
    json.push(']');
    json
}

/// The status with this number.
pub(crate) fn status(code: i64) -> Result<Status, Fault> {
    Status::from_code(code).ok_or_else(|| {
        Fault::broken(format!(
            "{code} is no status that this version knows; upgrade it"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_from_left_to_right_and_says_what_is_wrong() {
        let id = Uuid::from_u128(7);
        let cells = vec![
            Cell::Int(3),
            Cell::Bytes(id.as_bytes().to_vec()),
            Cell::Bytes("🦀".into()),
            Cell::Null,
            Cell::Text("x".into()),
        ];
        let mut rows = Rows::new(5, cells);
        assert_eq!(rows.rows().count(), 1);
        let mut row = rows.first().unwrap();
        assert_eq!(row.status().unwrap(), Status::Queued);
        assert_eq!(row.id().unwrap(), id);
        assert_eq!(row.text().unwrap(), "🦀");
        assert_eq!(row.opt_bytes().unwrap(), None);
        let wrong = row.int().unwrap_err().to_string();
        assert_eq!(wrong, "column 5 is text where a number was expected");
        assert!(row.int().is_err(), "there is no sixth column");
    }
}
