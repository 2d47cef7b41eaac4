//! The only SQL of the suite: fresh places for tests, and looks at the rows behind the store's back.
//!
//! *Not here:* how the store reads and writes them (`peerwork-store`). What this file knows of its tables is what an
//! operator sees: four places, a status in each row, and one row for each task.

mod audit;

use crate::Backend;
use peerwork_core::*;
use peerwork_store::{Capabilities, Clock, Isolation, Settings, SqlStore, Store};
use sqlx::{AssertSqlSafe, Row};
#[cfg(feature = "failpoints")]
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use uuid::Uuid;

/// The tables of one test.
pub(crate) struct Tables {
    pool: Pool,
    url: String,
    settings: Settings,
    /// The schema with its dot, where there is one, and the prefix.
    begin: String,
    /// SQLite: removed with the file when the test is over.
    _folder: Option<tempfile::TempDir>,
}

enum Pool {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
    MySql(sqlx::MySqlPool),
}

/// Connections of a further handle.
const CONNECTIONS_OF_A_HANDLE: u32 = 2;

/// How often a server that is busy with other tests is asked for a further connection.
const CONNECTING_TRIES: usize = 5;

const PREFIX: &str = "peerwork_";

const PLACES: [(&str, Place); 4] = [
    ("ready", Place::Ready),
    ("running", Place::Running),
    ("parked", Place::Parked),
    ("done", Place::Done),
];

pub(crate) type TextRow = Vec<Option<String>>;

impl Tables {
    /// A file, a schema or a database that nobody else uses, with a pool of the one connection that every call must
    /// make do with.
    pub(crate) async fn fresh(backend: Backend, clock: Arc<AtomicI64>) -> Self {
        let name = format!("conf_{}", Uuid::now_v7().simple());
        let settings = Settings::default().with_clock(Clock::Injected(clock));
        let server = async |url: fn() -> String| {
            // It reads a file and may panic with what to do.
            tokio::task::spawn_blocking(url)
                .await
                .expect("a server for tests")
        };
        match backend {
            Backend::Memory => unreachable!("the reference has no tables"),
            Backend::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder for a file");
                let file = folder.path().join("tasks.db");
                let options = sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(&file)
                    .create_if_missing(true);
                let pool = sqlx::sqlite::SqlitePoolOptions::new()
                    .max_connections(1)
                    .connect_with(options);
                let pool = Pool::Sqlite(pool.await.expect("a file"));
                let url = format!("sqlite:{}", file.display());
                Self {
                    pool,
                    url,
                    settings,
                    begin: PREFIX.to_owned(),
                    _folder: Some(folder),
                }
            }
            Backend::Postgres | Backend::PostgresPlain => {
                let url = server(peerwork_testbed::postgres_url).await;
                let pool = sqlx::postgres::PgPoolOptions::new()
                    .max_connections(1)
                    .connect(&url);
                let pool = Pool::Postgres(pool.await.expect("PostgreSQL"));
                let begin = format!("\"{name}\".{PREFIX}");
                // Every claim that can be is a batch, also one of a single task.
                let mut settings = settings.with_schema(name).with_batch_min(1);
                if backend == Backend::PostgresPlain {
                    settings = settings
                        .with_capabilities(Capabilities::NONE)
                        .with_isolation(Isolation::Serializable);
                }
                Self {
                    pool,
                    url,
                    settings,
                    begin,
                    _folder: None,
                }
            }
            Backend::MySql => {
                let url = server(peerwork_testbed::mysql_url).await;
                let admin = sqlx::MySqlPool::connect(&url).await.expect("MariaDB");
                run_mysql(&admin, &format!("create database {name}")).await;
                admin.close().await;
                let url = with_database(&url, &name);
                let pool = sqlx::mysql::MySqlPoolOptions::new()
                    .max_connections(1)
                    .connect(&url);
                let pool = Pool::MySql(pool.await.expect("MariaDB"));
                Self {
                    pool,
                    url,
                    settings,
                    begin: PREFIX.to_owned(),
                    _folder: None,
                }
            }
        }
    }

    /// The store over the one connection, as a client of a service uses it.
    pub(crate) fn store(&self) -> SqlStore {
        let settings = self.settings.clone();
        let store = match &self.pool {
            Pool::Sqlite(pool) => SqlStore::sqlite(pool.clone(), settings),
            Pool::Postgres(pool) => SqlStore::postgres(pool.clone(), settings),
            Pool::MySql(pool) => SqlStore::mysql(pool.clone(), settings),
        };
        store.expect("settings that are right")
    }

    /// The same with faults.
    #[cfg(feature = "failpoints")]
    pub(crate) fn faulty_store(&self, failpoints: peerwork_store::Failpoints) -> SqlStore {
        let faulty = self.settings.clone().with_failpoints(failpoints);
        let store = match &self.pool {
            Pool::Sqlite(pool) => SqlStore::sqlite(pool.clone(), faulty),
            Pool::Postgres(pool) => SqlStore::postgres(pool.clone(), faulty),
            Pool::MySql(pool) => SqlStore::mysql(pool.clone(), faulty),
        };
        store.expect("settings that are right")
    }

    /// Every table with every column as text, but for the migrations.
    #[cfg(feature = "failpoints")]
    pub(crate) async fn shape(&self) -> Vec<(String, String)> {
        let sql = match &self.pool {
            Pool::Sqlite(_) => {
                "select m.name, c.name from sqlite_master m, pragma_table_info(m.name) c \
                 where m.type = 'table' order by m.name, c.cid"
            }
            Pool::Postgres(_) => {
                "select table_name::text, column_name::text from information_schema.columns \
                 where table_schema = $SCHEMA order by table_name, ordinal_position"
            }
            Pool::MySql(_) => {
                "select cast(table_name as char), cast(column_name as char) from information_schema.columns \
                 where table_schema = database() order by table_name, ordinal_position"
            }
        };
        let schema = self.settings.schema.as_deref().unwrap_or_default();
        let columns = self
            .fetch(&sql.replace("$SCHEMA", &format!("'{schema}'")))
            .await;
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for column in &columns {
            let table = text(column, 0).strip_prefix(PREFIX).expect("ours");
            tables.entry(table.to_owned()).or_default().push({
                let name = text(column, 1);
                match &self.pool {
                    Pool::Sqlite(_) => format!("quote({name})"),
                    Pool::Postgres(_) => format!("{name}::text"),
                    Pool::MySql(_) => format!("hex({name})"),
                }
            });
        }
        tables.remove("migration");
        tables
            .into_iter()
            .map(|(table, columns)| (table, columns.join(", ")))
            .collect()
    }

    /// All rows of all tables.
    #[cfg(feature = "failpoints")]
    pub(crate) async fn dump(&self, shape: &[(String, String)]) -> Vec<(String, Vec<TextRow>)> {
        let mut dump = Vec::new();
        for (table, columns) in shape {
            let mut rows = match table.as_str() {
                // What they hold is told with what runs: a repetition may unfold them.
                "batch" => continue,
                "running" if matches!(self.pool, Pool::Postgres(_)) => {
                    self.fetch(&self.running_and_batched(columns)).await
                }
                _ => self.rows(table, columns).await,
            };
            rows.sort();
            dump.push((table.clone(), rows));
        }
        dump
    }

    /// Selects these columns of what is in `running`, and of what is in batches as it would be there.
    #[cfg(feature = "failpoints")]
    fn running_and_batched(&self, selected: &str) -> String {
        let (begin, running) = (&self.begin, Status::Running.code());
        let columns = "id, run_id, node, lane, kind, priority, status, attempt, failures, crashes, ready_at, started_at, child, \
                       commits, trial, lim_group, lim_user, lim_lane, lim_kind";
        format!(
            "select {selected} from (select {columns} from {begin}running union all \
             select m.id, b.run_id, b.node, t.lane, m.kind, t.priority, {running}, 1, 0, 0, m.ready_at, b.started_at, 0, 0, 0, \
             null, null, null, null from {begin}batch b cross join unnest(b.ids, b.kinds, b.ready_ats) m(id, kind, ready_at) \
             join {begin}task t on t.id = m.id where m.id not in (select id from {begin}done)) r"
        )
    }

    /// Waits for transactions whose connections are gone: their servers may still be rolling them back, and a claim
    /// would pass over what they have locked.
    #[cfg(feature = "failpoints")]
    pub(crate) async fn wait_for_locks(&self) {
        if matches!(self.pool, Pool::Sqlite(_)) {
            return;
        }
        let batch = matches!(self.pool, Pool::Postgres(_)).then_some("batch");
        for place in PLACES.map(|(place, _)| place).into_iter().chain(batch) {
            self.run(&format!("select 'x' from {}{place} for update", self.begin))
                .await;
        }
    }

    /// Removes all rows.
    #[cfg(feature = "failpoints")]
    pub(crate) async fn empty(&self, shape: &[(String, String)]) {
        for (table, _) in shape {
            self.run(&format!("delete from {}{table}", self.begin))
                .await;
        }
    }

    /// Removes all tables.
    #[cfg(feature = "failpoints")]
    pub(crate) async fn drop_all(&self, shape: &[(String, String)]) {
        for (table, _) in shape {
            self.run(&format!("drop table if exists {}{table}", self.begin))
                .await;
        }
        self.run(&format!("drop table if exists {}migration", self.begin))
            .await;
    }

    /// A further handle with connections of its own, as a node of another process uses them.
    pub(crate) async fn handle(&self) -> Arc<dyn Store> {
        for _ in 0..CONNECTING_TRIES {
            match SqlStore::connect(&self.url, self.settings.clone(), CONNECTIONS_OF_A_HANDLE).await
            {
                Ok(store) => return Arc::new(store),
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
        }
        panic!("a further handle: the server is too busy");
    }

    /// Removes everything.
    pub(crate) async fn remove(self) {
        match &self.pool {
            Pool::Sqlite(_) => {}
            Pool::Postgres(_) => {
                let schema = self.settings.schema.as_deref().expect("each test has one");
                self.run(&format!("drop schema \"{schema}\" cascade")).await;
            }
            Pool::MySql(_) => {
                let name = self.url.rsplit('/').next().expect("a database");
                self.run(&format!("drop database {name}")).await;
            }
        }
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
            Pool::MySql(pool) => pool.close().await,
        }
    }

    /// From now on notes every status of every task, by triggers.
    pub(crate) async fn note_changes(&self) {
        let begin = &self.begin;
        let (id, number) = match &self.pool {
            Pool::Sqlite(_) => ("blob", "integer primary key autoincrement"),
            Pool::Postgres(_) => ("uuid", "bigserial primary key"),
            Pool::MySql(_) => ("binary(16)", "bigint not null auto_increment primary key"),
        };
        self.run(&format!(
            "create table {begin}noted (n {number}, id {id} not null, status int not null)"
        ))
        .await;
        let note = format!("insert into {begin}noted (id, status) values (new.id, new.status)");
        if matches!(self.pool, Pool::Postgres(_)) {
            let body = format!("begin {note}; return null; end");
            self.run(&format!(
                "create function {begin}note() returns trigger language plpgsql as $${body}$$"
            ))
            .await;
        }
        if matches!(self.pool, Pool::Postgres(_)) {
            let running = Status::Running.code();
            let body = format!(
                "begin insert into {begin}noted (id, status) select id, {running} from unnest(new.ids) m(id); return null; end"
            );
            for sql in [
                format!(
                    "create function {begin}note_batch() returns trigger language plpgsql as $${body}$$"
                ),
                format!(
                    "create trigger noted_batch after insert on {begin}batch for each row execute function {begin}note_batch()"
                ),
                format!(
                    "insert into {begin}noted (id, status) select m.id, {running} from {begin}batch b cross join unnest(b.ids) m(id) \
                     where m.id not in (select id from {begin}done)"
                ),
            ] {
                self.run(&sql).await;
            }
        }
        for (place, _) in PLACES {
            // What is there already begins the story of its task.
            self.run(&format!(
                "insert into {begin}noted (id, status) select id, status from {begin}{place}"
            ))
            .await;
            for event in ["insert", "update"] {
                let trigger = format!(
                    "create trigger noted_{place}_{event} after {event} on {begin}{place} for each row"
                );
                self.run(&match &self.pool {
                    Pool::Sqlite(_) => format!("{trigger} begin {note}; end"),
                    Pool::Postgres(_) => format!("{trigger} execute function {begin}note()"),
                    Pool::MySql(_) => format!("{trigger} {note}"),
                })
                .await;
            }
        }
    }

    /// What was noted so far, in order; nothing more is noted.
    pub(crate) async fn changes(&self) -> Vec<(TaskId, Status)> {
        let (begin, columns) = (
            &self.begin,
            format!("{}, {}", self.id("id"), self.int("status")),
        );
        let rows = self
            .fetch(&format!("select {columns} from {begin}noted order by n"))
            .await;
        for (place, _) in PLACES {
            for event in ["insert", "update"] {
                let on = if matches!(self.pool, Pool::Postgres(_)) {
                    format!(" on {begin}{place}")
                } else {
                    String::new()
                };
                self.run(&format!("drop trigger noted_{place}_{event}{on}"))
                    .await;
            }
        }
        if matches!(self.pool, Pool::Postgres(_)) {
            self.run(&format!("drop trigger noted_batch on {begin}batch"))
                .await;
        }
        self.run(&format!("drop table {begin}noted")).await;
        if matches!(self.pool, Pool::Postgres(_)) {
            self.run(&format!("drop function {begin}note_batch()"))
                .await;
            self.run(&format!("drop function {begin}note()")).await;
        }
        rows.iter()
            .map(|row| (TaskId(uuid(row, 0)), status(row, 1)))
            .collect()
    }

    async fn rows(&self, table: &str, columns: &str) -> Vec<TextRow> {
        self.fetch(&format!("select {columns} from {}{table}", self.begin))
            .await
    }

    /// An id as 32 hexadecimal digits.
    fn id(&self, column: &str) -> String {
        match &self.pool {
            Pool::Sqlite(_) | Pool::MySql(_) => format!("lower(hex({column}))"),
            Pool::Postgres(_) => format!("replace({column}::text, '-', '')"),
        }
    }

    /// The bytes of a name in hexadecimal digits.
    fn bytes(&self, column: &str) -> String {
        match &self.pool {
            Pool::Sqlite(_) => format!("lower(hex(cast({column} as blob)))"),
            Pool::MySql(_) => format!("lower(hex({column}))"),
            Pool::Postgres(_) => format!("encode(convert_to({column}, 'UTF8'), 'hex')"),
        }
    }

    fn int(&self, column: &str) -> String {
        match &self.pool {
            Pool::Sqlite(_) => format!("cast({column} as text)"),
            Pool::MySql(_) => format!("cast({column} as char)"),
            Pool::Postgres(_) => format!("{column}::text"),
        }
    }

    async fn fetch(&self, sql: &str) -> Vec<TextRow> {
        macro_rules! fetch {
            ($pool:expr) => {{
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .fetch_all($pool)
                    .await;
                let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
                rows.iter()
                    .map(|row| (0..row.len()).map(|i| row.get_unchecked(i)).collect())
                    .collect()
            }};
        }
        match &self.pool {
            Pool::Sqlite(pool) => fetch!(pool),
            Pool::Postgres(pool) => fetch!(pool),
            Pool::MySql(pool) => fetch!(pool),
        }
    }

    async fn run(&self, sql: &str) {
        self.fetch(sql).await;
    }
}

async fn run_mysql(pool: &sqlx::MySqlPool, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(pool)
        .await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn with_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    format!("{server}/{name}")
}

fn text(row: &TextRow, column: usize) -> &str {
    row[column].as_deref().expect("not null")
}

fn uuid(row: &TextRow, column: usize) -> Uuid {
    text(row, column).parse().expect("an id")
}

fn status(row: &TextRow, column: usize) -> Status {
    let code = text(row, column).parse().expect("a number");
    Status::from_code(code).expect("I6: every status is in the table")
}
