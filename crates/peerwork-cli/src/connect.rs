//! The database of a command: the service's own, or the one that the command line names.

use crate::args::Connection;
use crate::exit::{Exit, Trouble};
use crate::host::Host;
use peerwork::{Client, Database, Migrate, Settings};

/// Opens the database; a SQLite file that is not there is made.
///
/// # Errors
/// If none is named, its URL or a setting cannot be used, or it cannot be reached.
pub(crate) async fn database(connection: &Connection, host: &Host) -> Result<Database, Trouble> {
    match &host.database {
        Some(database) => Ok(database.clone()),
        None => open(url(connection)?, settings(connection)).await,
    }
}

/// The same, but a SQLite file has to be there: looking for something must not make it.
pub(crate) async fn existing(connection: &Connection, host: &Host) -> Result<Database, Trouble> {
    if let Some(url) = &connection.database_url
        && host.database.is_none()
        && let Some(file) = missing_file(url)
    {
        return Err(Trouble::new(
            Exit::Database,
            "cannot use the database",
            format!("there is no file {file}"),
            "check --database-url; `migrate up` makes a new one",
        ));
    }
    database(connection, host).await
}

/// The file of a `sqlite:` URL, if it is not there.
fn missing_file(url: &str) -> Option<&str> {
    let file = url.strip_prefix("sqlite:")?;
    let file = file.strip_prefix("//").unwrap_or(file);
    let file = file.split('?').next().unwrap_or_default();
    // The library refuses databases in memory, and decodes escaped names.
    let is_plain = !file.is_empty() && !file.starts_with(':') && !file.contains('%');
    (is_plain && !std::path::Path::new(file).exists()).then_some(file)
}

/// The URL that the command line or the environment names.
pub(crate) fn url(connection: &Connection) -> Result<&str, Trouble> {
    connection.database_url.as_deref().ok_or_else(|| {
        Trouble::new(
            Exit::Usage,
            "cannot use the database",
            "no database was named",
            format!("give --database-url, or set {}", crate::DATABASE_URL),
        )
    })
}

/// Opens the database with this URL.
pub(crate) async fn open(url: &str, settings: Settings) -> Result<Database, Trouble> {
    Database::connect_with(url, settings)
        .await
        .map_err(|error| Trouble::opening(&error))
}

/// The tables that the command line names.
pub(crate) fn settings(connection: &Connection) -> Settings {
    settings_of(connection.prefix.as_deref(), connection.schema.as_deref())
}

/// Tables with this prefix, in this schema.
pub(crate) fn settings_of(prefix: Option<&str>, schema: Option<&str>) -> Settings {
    let settings = Settings::default();
    let settings = match prefix {
        Some(prefix) => settings.with_prefix(prefix),
        None => settings,
    };
    match schema {
        Some(schema) => settings.with_schema(schema),
        None => settings,
    }
}

/// A client that leaves the schema as it is: looking at a database must not change it.
pub(crate) async fn client(connection: &Connection, host: &Host) -> Result<Client, Trouble> {
    let database = existing(connection, host).await?;
    Client::connect_with(database, Migrate::Never)
        .await
        .map_err(|error| Trouble::opening(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_file_that_is_not_there_is_missing() {
        assert_eq!(missing_file("sqlite:absent.db"), Some("absent.db"));
        assert_eq!(
            missing_file("sqlite:///absent/x.db?mode=rwc"),
            Some("/absent/x.db")
        );
        for url in [
            "sqlite:Cargo.toml",
            "sqlite::memory:",
            "sqlite:a%20b",
            "postgres://absent/x",
        ] {
            assert_eq!(missing_file(url), None, "{url}");
        }
    }
}
