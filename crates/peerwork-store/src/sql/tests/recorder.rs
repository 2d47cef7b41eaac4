//! A connection that notes what goes through it.

use crate::sql::dialect::{Dialect, Sql};
use crate::sql::fault::Fault;
use crate::sql::link::Link;
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
}

#[async_trait]
impl Link for Recorder<'_> {
    async fn fetch(&mut self, sql: Sql) -> Result<Rows, Fault> {
        self.seen.push(sql.clone());
        self.link.fetch(sql).await
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Fault> {
        self.seen.push(sql.clone());
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
