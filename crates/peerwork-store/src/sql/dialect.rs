//! What the three databases spell differently, and the builder of statements.
//!
//! Text is made of constants only; whatever a user hands in is a parameter. In the constants `~` stands for the
//! tables' prefix.

use super::batch;
use super::fault::Fault;
use super::settings::{Capabilities, Clock, Database, Isolation, Settings};
use super::value::{Sort, Value};
use peerwork_core::{Reach, Timestamp};
use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;
use uuid::Uuid;

/// One database's ways, with the tables' names.
#[derive(Debug)]
pub(crate) struct Dialect {
    pub database: Database,
    pub capabilities: Capabilities,
    pub isolation: Isolation,
    /// What `~` stands for: the prefix, qualified by the schema.
    pub tables: String,
    /// The length of the schema in it, with its quotes and its dot.
    schema_len: usize,
    pub clock: Clock,
    /// From how many tasks on a claim is kept as a batch.
    pub batch_min: Option<usize>,
    #[cfg(feature = "failpoints")]
    pub failpoints: Option<super::failpoints::Failpoints>,
}

/// The lengths of lists in statements: few, so that few statements are prepared, and each on its own less than
/// twice the one before, so that little is padded. The longest is a whole batch.
pub(crate) const LIST_SIZES: [usize; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000];

/// The digits of an id in [`Sql::json_rows`].
pub(crate) const ID_HEX: &str = " char(32)";

/// The digits of bytes of any length.
pub(crate) const BYTES_HEX: &str = " longtext";

impl Dialect {
    pub(crate) fn new(database: Database, settings: &Settings) -> Self {
        let tables = match &settings.schema {
            Some(schema) => format!("\"{schema}\".{}", settings.prefix()),
            None => settings.prefix().to_owned(),
        };
        let schema_len = tables.len() - settings.prefix().len();
        let asked = settings.capabilities;
        let postgres = database == Database::Postgres;
        let capabilities = Capabilities {
            // One writer at a time: there is nothing to skip.
            skip_locked: asked.skip_locked && database != Database::Sqlite,
            listen_notify: asked.listen_notify && postgres,
            sessions: asked.sessions || !postgres,
            returning: asked.returning && postgres,
            lateral: asked.lateral && postgres,
            advisory_locks: asked.advisory_locks,
        };
        Self {
            database,
            capabilities,
            isolation: settings.isolation,
            tables,
            schema_len,
            clock: settings.clock.clone(),
            batch_min: settings.batch_min,
            #[cfg(feature = "failpoints")]
            failpoints: settings.failpoints.clone(),
        }
    }

    /// Whether a claim and a finish are one statement each: rows that are deleted are handed on to an insert, by places that
    /// nobody else's lock has moved meanwhile.
    pub(crate) fn is_at_once(&self) -> bool {
        let can = &self.capabilities;
        can.returning
            && can.lateral
            && can.skip_locked
            && self.isolation == Isolation::ReadCommitted
    }

    /// Whether success is recorded without reading a row first.
    pub(crate) fn finishes_unread(&self) -> bool {
        self.is_at_once() || self.database != Database::Postgres
    }

    /// Whether nobody else writes during a transaction, so that what was read in it holds until its end.
    pub(crate) fn writes_alone(&self) -> bool {
        self.database == Database::Sqlite
    }

    /// The schema with its quotes and its dot, or nothing, and the prefix.
    pub(crate) fn names(&self) -> (&str, &str) {
        self.tables.split_at(self.schema_len)
    }

    /// The time, if no statement is needed to know it.
    ///
    /// SQLite has no clock of its own: its functions read the machine's, with less precision, and every process
    /// that can open the file is on this machine.
    pub(crate) fn known_now(&self) -> Option<Timestamp> {
        match (self.clock.injected(), self.database) {
            (Some(at), _) => Some(at),
            (None, Database::Sqlite) => Some(Timestamp::from(SystemTime::now())),
            (None, Database::Postgres | Database::MySql) => None,
        }
    }

    /// Carries out a statement, unless a test wants it to fail.
    pub(crate) async fn carry_out<T>(
        &self,
        operation: &'static str,
        text: &str,
        statement: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        #[cfg(feature = "failpoints")]
        {
            use super::failpoints::{Reached, around};
            around(
                self.failpoints.as_ref(),
                Reached { operation, text },
                statement,
            )
            .await
        }
        #[cfg(not(feature = "failpoints"))]
        {
            let _ = (operation, text);
            statement.await
        }
    }

    /// The largest number of a row's columns times rows in one statement.
    fn parameters_max(&self) -> usize {
        match self.database {
            Database::Sqlite => 32_766,
            Database::Postgres | Database::MySql => 65_535,
        }
    }

    /// How to cut `rows` rows of `width` columns into statements of few different sizes.
    pub(crate) fn chunks(&self, mut rows: usize, width: usize) -> Vec<usize> {
        if self.database == Database::Postgres {
            return vec![rows];
        }
        let fits = |size: &&usize| **size * width <= self.parameters_max();
        let mut chunks = Vec::new();
        while rows > 0 {
            let size = LIST_SIZES
                .iter()
                .rev()
                .filter(fits)
                .find(|size| **size <= rows)
                .copied()
                .unwrap_or(1);
            chunks.push(size);
            rows -= size;
        }
        chunks
    }

    /// Locks the rows that were selected, until the end of the transaction.
    pub(crate) fn for_update(&self) -> &'static str {
        match self.database {
            Database::Sqlite => "",
            Database::Postgres | Database::MySql => " for update",
        }
    }

    /// The same, passing over what others have locked, if the database can.
    pub(crate) fn for_update_skip_locked(&self) -> &'static str {
        if self.capabilities.skip_locked {
            " for update skip locked"
        } else {
            self.for_update()
        }
    }

    pub(crate) fn sql(self: &Arc<Self>, constant: &'static str) -> Sql {
        let mut sql = Sql {
            text: String::with_capacity(256),
            args: Vec::new(),
            dialect: self.clone(),
        };
        sql.push(constant);
        sql
    }
}

/// A statement with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    pub text: String,
    pub args: Vec<Value>,
    dialect: Arc<Dialect>,
}

impl Sql {
    /// Whether the connection is to keep it prepared, under a name.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_kept(&self) -> bool {
        self.dialect.capabilities.sessions
    }

    /// Statements as one that runs them one after the other, where the database takes parameters for several: SQLite.
    pub(crate) fn together(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|mut before, sql| {
            before.text.push_str("; ");
            before.text.push_str(&sql.text);
            before.args.extend(sql.args);
            before
        })
    }

    /// Appends a constant; `~` becomes the tables' prefix.
    pub(crate) fn push(&mut self, constant: &'static str) -> &mut Self {
        let mut parts = constant.split('~');
        self.text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            self.text.push_str(&self.dialect.tables);
            self.text.push_str(part);
        }
        self
    }

    /// Appends a constant for one database only.
    pub(crate) fn push_on(&mut self, database: Database, constant: &'static str) -> &mut Self {
        if self.dialect.database == database {
            self.push(constant)
        } else {
            self
        }
    }

    /// Appends a parameter.
    pub(crate) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.args.push(value.into());
        match self.dialect.database {
            Database::Postgres => {
                write!(self.text, "${}", self.args.len()).expect("a string takes all")
            }
            Database::Sqlite | Database::MySql => self.text.push('?'),
        }
        self
    }

    /// Appends a number that is part of the statement: a status, a flag.
    pub(crate) fn number(&mut self, number: impl Into<i64>) -> &mut Self {
        write!(self.text, "{}", number.into()).expect("a string takes all");
        self
    }

    /// Appends a comma-separated list of numbers that are part of the statement.
    pub(crate) fn numbers(&mut self, numbers: impl IntoIterator<Item = u8>) -> &mut Self {
        for (i, number) in numbers.into_iter().enumerate() {
            if i > 0 {
                self.text.push(',');
            }
            self.number(number);
        }
        self
    }

    /// Appends the time, in microseconds since 1970.
    pub(crate) fn now(&mut self) -> &mut Self {
        match (self.dialect.known_now(), self.dialect.database) {
            (Some(at), Database::Postgres) => self.bind(at).push("::bigint"),
            (Some(at), _) => self.bind(at),
            // As a subquery it is evaluated once and may bound an index scan; alone it is volatile and may not.
            (None, Database::Postgres) => {
                self.push("(select (extract(epoch from clock_timestamp()) * 1000000)::bigint)")
            }
            // unix_timestamp() would go through the session's time zone, and lose an hour in autumn.
            (None, _) => {
                self.push("timestampdiff(microsecond, '1970-01-01 00:00:00', utc_timestamp(6))")
            }
        }
    }

    /// Appends that a row `r` of `ready` is within a range.
    pub(crate) fn within(&mut self, reach: Reach) -> &mut Self {
        self.push("r.lane = ").bind(reach.lane);
        match reach == Reach::all_of(reach.lane) {
            true => self,
            false => self.within_ranks(reach),
        }
    }

    /// Appends that a row `r` of `ready` is within the ranks of a range.
    pub(crate) fn within_ranks(&mut self, reach: Reach) -> &mut Self {
        // Spelled out: MariaDB makes no range of a comparison of rows.
        self.push(" and (r.rank_no > ")
            .bind(reach.rank)
            .push(" or (r.rank_no = ")
            .bind(reach.rank)
            .push(" and r.ready_at >= ")
            .bind(reach.since)
            .push(")) and r.rank_no < ")
            .bind(reach.until)
    }

    /// Appends `column in ids`.
    pub(crate) fn ids(
        &mut self,
        column: &'static str,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> &mut Self {
        let ids: Vec<Uuid> = ids.into_iter().collect();
        if self.dialect.database == Database::Postgres {
            self.push(column).push(" = any(");
            return self
                .bind(Value::Ids(ids.into_iter().map(Some).collect()))
                .push(")");
        }
        self.list(column, ids)
    }

    /// Appends `column in numbers`.
    pub(crate) fn ints(
        &mut self,
        column: &'static str,
        ints: impl IntoIterator<Item = i64>,
    ) -> &mut Self {
        let ints: Vec<i64> = ints.into_iter().collect();
        if self.dialect.database == Database::Postgres {
            self.push(column).push(" = any(");
            return self
                .bind(Value::Ints(ints.into_iter().map(Some).collect()))
                .push(")");
        }
        self.list(column, ints)
    }

    /// Appends `column in texts`.
    pub(crate) fn texts(
        &mut self,
        column: &'static str,
        texts: impl IntoIterator<Item = String>,
    ) -> &mut Self {
        let texts: Vec<String> = texts.into_iter().collect();
        if self.dialect.database == Database::Postgres {
            self.push(column).push(" = any(");
            return self
                .bind(Value::Texts(texts.into_iter().map(Some).collect()))
                .push(")");
        }
        self.list(column, texts)
    }

    /// Appends a table `name` of rows from `[[..], ..]`, all of them hexadecimal digits: [`ID_HEX`] or [`BYTES_HEX`]. Only on
    /// databases without arrays. A list of any length is the same statement with one parameter: nothing is padded or cut.
    pub(crate) fn json_rows(
        &mut self,
        name: &'static str,
        columns: &[(&'static str, &'static str)],
        json: String,
    ) -> &mut Self {
        if self.dialect.database == Database::Sqlite {
            self.push("(select ");
            for (i, (column, _)) in (0..).zip(columns) {
                self.push(if i > 0 { ", value->>" } else { "value->>" });
                self.number(i).push(" as ").push(column);
            }
            self.push(" from json_each(").bind(json).push("))");
        } else {
            // Texts are bytes on our connections.
            self.push("json_table(convert(").bind(json);
            self.push(" using utf8mb4), '$[*]' columns (");
            for (i, (column, kind)) in (0..).zip(columns) {
                self.push(if i > 0 { ", " } else { "" }).push(column);
                self.push(kind).push(" path '$[").number(i).push("]'");
            }
            self.push("))");
        }
        self.push(" ").push(name)
    }

    /// A list padded with its last item to one of a few lengths.
    fn list<T: Clone + Into<Value>>(&mut self, column: &'static str, items: Vec<T>) -> &mut Self {
        let Some(last) = items.last().cloned() else {
            return self.push("1 = 0");
        };
        let padded = LIST_SIZES
            .into_iter()
            .find(|size| *size >= items.len())
            .unwrap_or(items.len());
        let missing = padded - items.len();
        self.push(column).push(" in (");
        for (i, item) in items
            .into_iter()
            .chain(std::iter::repeat_n(last, missing))
            .enumerate()
        {
            if i > 0 {
                self.text.push(',');
            }
            self.bind(item);
        }
        self.push(")")
    }

    /// Appends `unnest($1::type[], ..)` over the columns of rows: PostgreSQL only.
    pub(crate) fn unnest(&mut self, sorts: &[Sort], rows: Vec<Value>) -> &mut Self {
        let mut columns: Vec<Value> = sorts.iter().map(|sort| empty_array(*sort)).collect();
        let width = sorts.len();
        for (i, value) in rows.into_iter().enumerate() {
            push_value(&mut columns[i % width], value);
        }
        self.unnest_columns(columns)
    }

    /// The same over columns that are arrays already.
    pub(crate) fn unnest_columns(&mut self, columns: impl IntoIterator<Item = Value>) -> &mut Self {
        self.push("unnest(");
        for (i, column) in columns.into_iter().enumerate() {
            if i > 0 {
                self.text.push(',');
            }
            let array_type = array_type(&column);
            self.bind(column).push("::").push(array_type);
        }
        self.push(")")
    }

    /// Appends `values (?,..),(?,..)`; a [`Value::Now`] is an expression.
    pub(crate) fn values(&mut self, width: usize, values: Vec<Value>) -> &mut Self {
        self.push("values ");
        for (i, value) in values.into_iter().enumerate() {
            self.push(match (i, i % width) {
                (0, _) => "(",
                (_, 0) => "),(",
                _ => ",",
            });
            if value == Value::Now {
                self.now();
            } else {
                self.bind(value);
            }
        }
        self.push(")")
    }

    /// For which database it is.
    pub(crate) fn database(&self) -> Database {
        self.dialect.database
    }

    /// Appends what is held as `r`, with the columns of `running`, for who only reads it: on PostgreSQL not all of it has rows there.
    pub(crate) fn held(&mut self) -> &mut Self {
        self.push_on(Database::Postgres, batch::HELD)
            .push_on(Database::Sqlite, "~running")
            .push_on(Database::MySql, "~running")
            .push(" r")
    }

    pub(crate) fn for_update(&mut self) -> &mut Self {
        let suffix = self.dialect.for_update();
        self.push(suffix)
    }

    pub(crate) fn for_update_skip_locked(&mut self) -> &mut Self {
        let suffix = self.dialect.for_update_skip_locked();
        self.push(suffix)
    }
}

fn array_type(column: &Value) -> &'static str {
    match column {
        Value::Ints(_) => "bigint[]",
        Value::Ids(_) => "uuid[]",
        Value::Blobs(_) => "bytea[]",
        Value::Texts(_) => "text[]",
        column => unreachable!("{column:?} is no array"),
    }
}

fn empty_array(sort: Sort) -> Value {
    match sort {
        Sort::Int => Value::Ints(Vec::new()),
        Sort::Id => Value::Ids(Vec::new()),
        Sort::Bytes => Value::Blobs(Arc::default()),
        Sort::Text => Value::Texts(Vec::new()),
    }
}

fn push_value(column: &mut Value, value: Value) {
    match (column, value) {
        (Value::Ints(column), Value::Int(value)) => column.push(value),
        (Value::Ids(column), Value::Id(value)) => column.push(value),
        (Value::Blobs(column), Value::Bytes(value)) => Arc::make_mut(column).push(value),
        (Value::Texts(column), Value::Text(value)) => column.push(value),
        (column, value) => unreachable!("a column of {column:?} got {value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(database: Database) -> Arc<Dialect> {
        Arc::new(Dialect::new(database, &Settings::default()))
    }

    #[test]
    fn lists_are_padded_to_few_lengths() {
        let mut sql = dialect(Database::MySql).sql("select 1 from ~task where ");
        sql.ints("n", [1, 2, 3]);
        assert_eq!(sql.text, "select 1 from peerwork_task where n in (?,?,?,?)");
        assert_eq!(sql.args.last(), Some(&Value::Int(Some(3))));
        let mut sql = dialect(Database::Postgres).sql("select 1 from ~task where ");
        sql.ints("n", [1, 2, 3]);
        assert_eq!(sql.text, "select 1 from peerwork_task where n = any($1)");
        let mut sql = dialect(Database::Sqlite).sql("");
        sql.ints("n", []);
        assert_eq!(sql.text, "1 = 0");
    }

    #[test]
    fn rows_are_cut_into_statements_of_few_sizes() {
        let mysql = dialect(Database::MySql);
        assert_eq!(mysql.chunks(1_000, 13), [1_000]);
        assert_eq!(mysql.chunks(999, 13), [512, 256, 128, 64, 32, 4, 2, 1]);
        assert_eq!(
            dialect(Database::Sqlite).chunks(1_000, 40),
            [512, 256, 128, 64, 32, 8]
        );
        assert_eq!(dialect(Database::Postgres).chunks(999, 13), [999]);
    }
}
