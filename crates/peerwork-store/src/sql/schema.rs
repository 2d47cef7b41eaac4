//! Migrations: one file for each version and database, applied once however many processes start together.

use super::dialect::Dialect;
use super::engine::Engine;
use super::fault::{Fault, FaultSort};
use super::settings::{Database, Settings};
use super::tx::Tx;
use crate::Result;
use std::sync::Arc;

struct Migration {
    version: u32,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
    mysql: &'static str,
}

const MIGRATIONS: [Migration; 6] = [
    Migration {
        version: 1,
        name: "tables",
        sqlite: include_str!("../../migrations/sqlite/0001_tables.sql"),
        postgres: include_str!("../../migrations/postgres/0001_tables.sql"),
        mysql: include_str!("../../migrations/mysql/0001_tables.sql"),
    },
    Migration {
        version: 2,
        name: "partial indexes",
        sqlite: include_str!("../../migrations/sqlite/0002_partial_indexes.sql"),
        postgres: include_str!("../../migrations/postgres/0002_partial_indexes.sql"),
        mysql: include_str!("../../migrations/mysql/0002_partial_indexes.sql"),
    },
    Migration {
        version: 3,
        name: "settings",
        sqlite: include_str!("../../migrations/sqlite/0003_settings.sql"),
        postgres: include_str!("../../migrations/postgres/0003_settings.sql"),
        mysql: include_str!("../../migrations/mysql/0003_settings.sql"),
    },
    Migration {
        version: 4,
        name: "queue",
        sqlite: include_str!("../../migrations/sqlite/0004_queue.sql"),
        postgres: include_str!("../../migrations/postgres/0004_queue.sql"),
        mysql: include_str!("../../migrations/mysql/0004_queue.sql"),
    },
    Migration {
        version: 5,
        name: "kinds of nodes",
        sqlite: include_str!("../../migrations/sqlite/0005_node_kinds.sql"),
        postgres: include_str!("../../migrations/postgres/0005_node_kinds.sql"),
        mysql: include_str!("../../migrations/mysql/0005_node_kinds.sql"),
    },
    Migration {
        version: 6,
        name: "batches",
        sqlite: include_str!("../../migrations/sqlite/0006_batches.sql"),
        postgres: include_str!("../../migrations/postgres/0006_batches.sql"),
        mysql: include_str!("../../migrations/mysql/0006_batches.sql"),
    },
];

/// The version of the schema that this version of peerwork knows.
pub(crate) const KNOWN: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Where the schema of a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationStatus {
    /// The version that this version of peerwork knows.
    pub known: u32,
    /// The version of the database; none if there are no tables yet.
    pub applied: Option<u32>,
}

impl MigrationStatus {
    /// Whether the database is at the version that is known.
    pub fn is_current(&self) -> bool {
        self.applied == Some(self.known)
    }

    /// What is to be done about it, if anything.
    pub fn advice(&self) -> Option<String> {
        let known = self.known;
        match self.applied {
            None => Some("the schema is missing; run `peerwork migrate up`".to_owned()),
            Some(at) if at < known => Some(format!(
                "the schema is older: the database is at {at}, this binary needs version {known}; run `peerwork migrate up`"
            )),
            Some(at) if at > known => Some(format!(
                "the schema is newer: this binary knows version {known}, the database is at {at}; upgrade the service"
            )),
            Some(_) => None,
        }
    }
}

/// The SQL of all migrations, for operators who run it themselves.
///
/// # Errors
/// `Invalid`, if the settings' prefix or schema cannot be part of SQL.
pub fn migration_sql(database: Database, settings: &Settings) -> Result<String> {
    settings.check(database)?;
    let dialect = Dialect::new(database, settings);
    let mut text = String::new();
    if let Some(create) = create_schema(&dialect) {
        text += &create;
        text += ";\n\n";
    }
    text += &create_table(&dialect);
    text += ";\n\n";
    for migration in &MIGRATIONS {
        text += &migration.render(&dialect);
        text += &format!(
            "\ninsert into {}migration (version, name, applied_at) values ({}, '{}', 0);\n",
            dialect.tables, migration.version, migration.name
        );
    }
    Ok(text)
}

impl Migration {
    fn render(&self, dialect: &Dialect) -> String {
        let text = match dialect.database {
            Database::Sqlite => self.sqlite,
            Database::Postgres => self.postgres,
            Database::MySql => self.mysql,
        };
        let (schema, prefix) = dialect.names();
        text.replace("{schema}", schema).replace("{prefix}", prefix)
    }
}

/// Only when it is needed: a user who may not create schemas may still use one.
fn create_schema(dialect: &Dialect) -> Option<String> {
    let (schema, _) = dialect.names();
    let name = schema.strip_suffix('.')?;
    Some(format!("create schema if not exists {name}"))
}

fn create_table(dialect: &Dialect) -> String {
    let (name, end) = match dialect.database {
        Database::Sqlite => ("text", " strict"),
        Database::Postgres => ("text", ""),
        Database::MySql => ("varbinary(255)", " engine=InnoDB"),
    };
    let int = if dialect.database == Database::Sqlite {
        "integer"
    } else {
        "bigint"
    };
    format!(
        "create table if not exists {}migration (version {int} not null primary key, name {name} not null, \
         applied_at {int} not null){end}",
        dialect.tables
    )
}

/// Brings the schema up to `KNOWN`.
pub(crate) async fn migrate(engine: &Engine) -> Result<(), Fault> {
    if engine.dialect.database == Database::Sqlite {
        set_wal(engine).await?;
    }
    // One version in each transaction: a large one does not hold the locks of all the others.
    while !step(engine).await? {}
    Ok(())
}

async fn step(engine: &Engine) -> Result<bool, Fault> {
    match engine.dialect.database {
        Database::MySql => step_mysql(engine).await,
        Database::Sqlite | Database::Postgres => engine.write_here(&Step).await,
    }
}

/// One migration in a transaction. Answers whether nothing is left to do.
struct Step;

impl super::engine::Operation for Step {
    const NAME: &'static str = "migrate";
    type Answer = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        if tx.database() == Database::Postgres && tx.dialect.capabilities.advisory_locks {
            // Two that create the same table at once would collide in the catalogue, `if not exists` or not.
            let mut sql = tx.sql("select pg_advisory_xact_lock(hashtextextended(");
            sql.bind(lock_name(&tx.dialect)).push(", 0))::text");
            tx.fetch(sql).await?;
        }
        apply_next(tx).await
    }

    /// Without an advisory lock the loser of a race sees a duplicate in the catalogue.
    fn retries_duplicates(&self) -> bool {
        true
    }
}

async fn apply_next(tx: &mut Tx<'_>) -> Result<bool, Fault> {
    let status = status(tx).await?;
    if status.applied.is_some_and(|at| at >= KNOWN) {
        // A newer schema is for check_schema to refuse.
        return Ok(true);
    }
    if status.applied.is_none() {
        if let Some(create) =
            create_schema(&tx.dialect).filter(|_| tx.database() == Database::Postgres)
            && !exists(tx, "schema").await?
        {
            tx.run(create).await?;
        }
        tx.run(create_table(&tx.dialect)).await?;
    }
    let done = status.applied.unwrap_or(0);
    let next = MIGRATIONS
        .iter()
        .find(|m| m.version > done)
        .expect("KNOWN is the last one");
    for statement in statements(&next.render(&tx.dialect)) {
        tx.run(statement).await?;
    }
    let now = tx.now().await?;
    let mut sql = tx.sql("insert into ~migration (version, name, applied_at) values (");
    sql.bind(u64::from(next.version))
        .push(", ")
        .bind(next.name.to_owned())
        .push(", ")
        .bind(now)
        .push(")");
    tx.execute(sql).await?;
    Ok(next.version == KNOWN)
}

/// MariaDB commits at each DDL statement, so a transaction holds nobody off: a named lock does. Its statements may
/// be run again, if we die in the middle.
async fn step_mysql(engine: &Engine) -> Result<bool, Fault> {
    let mut lease = engine.connections.lease().await?;
    let mut tx = Tx::new(lease.link(), engine.dialect.clone(), "migrate");
    if engine.dialect.capabilities.advisory_locks {
        let mut sql = tx.sql("select get_lock(");
        sql.bind(lock_name(&engine.dialect)).push(", 60)");
        if tx.fetch(sql).await?.single_int()? != 1 {
            return Err(Fault::new(
                FaultSort::Unavailable,
                "another process has been migrating for a minute",
            ));
        }
    }
    let done = match apply_next(&mut tx).await {
        // Somebody else was as fast, where there are no locks.
        Err(fault) if fault.sort == FaultSort::Duplicate => Ok(false),
        other => other,
    };
    let mut sql = tx.sql("select release_lock(");
    sql.bind(lock_name(&engine.dialect)).push(")");
    tx.fetch(sql).await?;
    let done = done?;
    lease.sound();
    Ok(done)
}

/// Readers and a writer do not stop each other, and a commit is one fsync. Kept in the file itself.
async fn set_wal(engine: &Engine) -> Result<(), Fault> {
    struct Wal;
    impl super::engine::Operation for Wal {
        const NAME: &'static str = "migrate";
        type Answer = ();

        async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
            let mode = tx
                .fetch(tx.sql("pragma journal_mode"))
                .await?
                .first()
                .map(|mut row| row.text());
            if mode.transpose()?.as_deref() != Some("wal") {
                tx.fetch(tx.sql("pragma journal_mode = wal")).await?;
            }
            Ok(())
        }

        fn is_one_statement(&self, _dialect: &Dialect) -> bool {
            true
        }
    }
    engine.write_here(&Wal).await
}

/// Text of several statements, one by one.
fn statements(text: &str) -> Vec<String> {
    let uncommented: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .map(|line| format!("{line}\n"))
        .collect();
    uncommented
        .split(";\n")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn lock_name(dialect: &Dialect) -> String {
    // MySQL's names of locks are those of the server, and at most 64 long.
    let mut name = format!("{}migrate", dialect.tables.replace('"', ""));
    name.truncate(64);
    name
}

/// Where the schema is.
///
/// # Errors
/// `Schema`, if tables of these names belong to somebody else.
pub(crate) async fn status(tx: &mut Tx<'_>) -> Result<MigrationStatus, Fault> {
    let applied = if exists(tx, "migration").await? {
        let sql = tx.sql("select max(version) from ~migration");
        let max = tx
            .fetch(sql)
            .await?
            .first()
            .map_or(Ok(None), |mut row| row.opt_int());
        let max = max.map_err(|_| foreign(&tx.dialect, "migration"))?;
        max.map(|version| u32::try_from(version).unwrap_or(u32::MAX))
    } else {
        None
    };
    if applied.is_none() && tx.database() != Database::MySql && exists(tx, "task").await? {
        return Err(foreign(&tx.dialect, "task"));
    }
    Ok(MigrationStatus {
        known: KNOWN,
        applied,
    })
}

fn foreign(dialect: &Dialect, table: &str) -> Fault {
    let message = format!(
        "the table {}{table} exists but is not peerwork's; choose another database or another prefix",
        dialect.tables
    );
    Fault::new(FaultSort::Foreign, message)
}

async fn exists(tx: &mut Tx<'_>, what: &'static str) -> Result<bool, Fault> {
    let dialect: Arc<Dialect> = tx.dialect.clone();
    let (schema, prefix) = dialect.names();
    let schema = (!schema.is_empty()).then(|| schema.trim_matches(['"', '.']).to_owned());
    let name = format!("{prefix}{what}");
    let mut sql = tx.sql("select count(*) from ");
    match (tx.database(), what) {
        (Database::Postgres, "schema") => {
            sql.push("information_schema.schemata where schema_name = ")
                .bind(schema);
        }
        (Database::Sqlite, _) => {
            sql.push("sqlite_master where type = 'table' and name = ")
                .bind(name);
        }
        (Database::Postgres, _) => {
            sql.push("information_schema.tables where table_schema = coalesce(")
                .bind(schema);
            sql.push(", current_schema()) and table_name = ").bind(name);
        }
        (Database::MySql, _) => {
            sql.push("information_schema.tables where table_schema = database() and table_name = ")
                .bind(name);
        }
    }
    Ok(tx.fetch(sql).await?.single_int()? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_follows_the_one_before_on_every_database() {
        for (migration, version) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(migration.version, version, "{}", migration.name);
            for text in [migration.sqlite, migration.postgres, migration.mysql] {
                // Where there is nothing to do, it says why.
                assert!(!text.trim().is_empty(), "{}", migration.name);
            }
        }
    }

    #[test]
    fn what_an_operator_prints_has_no_placeholder_left() {
        for database in [Database::Sqlite, Database::Postgres, Database::MySql] {
            let settings = Settings::default().with_prefix("app_");
            let text = migration_sql(database, &settings).unwrap();
            assert!(!text.contains('{') && text.contains("app_ready"), "{text}");
        }
    }
}
