//! A connection that notes what goes through it.

use crate::sql::dialect::{Dialect, Sql};
use crate::sql::fault::Fault;
use crate::sql::link::Link;
use crate::sql::settings::Database;
use crate::sql::value::Rows;
use async_trait::async_trait;
use std::sync::Arc;

pub(super) struct Recorder<'a> {
    link: &'a mut dyn Link,
    dialect: Arc<Dialect>,
    pub seen: Vec<Sql>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(link: &'a mut dyn Link, dialect: Arc<Dialect>) -> Self {
        Self {
            link,
            dialect,
            seen: Vec::new(),
        }
    }

    /// Notes each of the statements that go together.
    fn note(&mut self, sql: &Sql) {
        let mut args = sql.args.iter().cloned();
        for text in sql.text.split("; ") {
            let mut one = plain(&self.dialect, text.to_owned());
            // Parameters are told apart by their places only where several statements may go together.
            let own = match self.dialect.database {
                Database::Sqlite => text.matches('?').count(),
                Database::Postgres | Database::MySql => sql.args.len(),
            };
            one.args = args.by_ref().take(own).collect();
            self.seen.push(one);
        }
    }
}

#[async_trait]
impl Link for Recorder<'_> {
    async fn fetch(&mut self, sql: Sql) -> Result<Rows, Fault> {
        self.note(&sql);
        self.link.fetch(sql).await
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Fault> {
        self.note(&sql);
        self.link.execute(sql).await
    }

    async fn run(&mut self, text: String) -> Result<(), Fault> {
        self.seen.push(plain(&self.dialect, text.clone()));
        self.link.run(text).await
    }
}

/// A statement without parameters.
pub(super) fn plain(dialect: &Arc<Dialect>, text: String) -> Sql {
    let mut sql = dialect.sql("");
    sql.text = text;
    sql
}
