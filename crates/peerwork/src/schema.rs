//! The schema as operators see it: its version, and its SQL.

use crate::database::Database;
use crate::{Error, Result};
use peerwork_store::{Database as Dialect, MigrationStatus, Settings};

impl Database {
    /// Which version the schema is at; none in memory, where there is no schema. Changes nothing.
    ///
    /// # Errors
    /// [`is_schema`](Error::is_schema) if tables of these names belong to somebody else, and
    /// [`is_transient`](Error::is_transient) if the database cannot be reached.
    pub async fn migration_status(&self) -> Result<Option<MigrationStatus>> {
        match self.sql_store()? {
            Some(store) => Ok(Some(store.migration_status().await?)),
            None => Ok(None),
        }
    }
}

/// The SQL of all migrations for the kind of database that `url` names, for operators who run it themselves. Connects
/// to nothing.
///
/// # Errors
/// [`is_invalid`](Error::is_invalid) for a URL of another kind, and for settings that cannot be part of SQL.
pub fn migration_sql(url: &str, settings: &Settings) -> Result<String> {
    let scheme = url.split(':').next().unwrap_or_default();
    let dialect = match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => Dialect::Sqlite,
        "postgres" | "postgresql" => Dialect::Postgres,
        "mysql" | "mariadb" => Dialect::MySql,
        _ => {
            return Err(Error::invalid(format!(
                "database url with scheme {scheme:?}; use sqlite:, postgres: or mysql:"
            )));
        }
    };
    Ok(peerwork_store::migration_sql(dialect, settings)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sql_is_that_of_the_urls_database() {
        let settings = Settings::default().with_prefix("app_");
        for url in [
            "sqlite:x",
            "postgres://h/d",
            "postgresql://h/d",
            "MySQL://h/d",
            "mariadb://h/d",
        ] {
            assert!(
                migration_sql(url, &settings).unwrap().contains("app_task"),
                "{url}"
            );
        }
        assert!(
            migration_sql("oracle:x", &settings)
                .unwrap_err()
                .is_invalid()
        );
        assert!(
            migration_sql("sqlite:x", &Settings::default().with_prefix("a;"))
                .unwrap_err()
                .is_invalid()
        );
    }
}
