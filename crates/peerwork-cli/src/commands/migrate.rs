//! `migrate up | status | sql`.

use crate::args::{Connection, Migrate};
use crate::connect;
use crate::exit::{Exit, Trouble};
use crate::host::Host;
use crate::output::Output;
use crate::output::json::SchemaLine;
use peerwork::{Client, Database, MigrationStatus};

pub(super) async fn run(
    command: Migrate,
    connection: &Connection,
    host: &Host,
    output: Output,
) -> Result<Exit, Trouble> {
    match command {
        Migrate::Up => {
            let database = connect::database(connection, host).await?;
            let client = Client::connect(&database).await;
            client.map_err(|error| Trouble::of("cannot migrate", &error))?;
            if let Some(status) = status(&database).await? {
                tell(&status, output)?;
            }
            Ok(Exit::Done)
        }
        Migrate::Status => {
            let database = connect::existing(connection, host).await?;
            let Some(status) = status(&database).await? else {
                output.remark("a database in memory has no schema");
                return Ok(Exit::Done);
            };
            tell(&status, output)?;
            Ok(if status.is_current() {
                Exit::Done
            } else {
                Exit::Database
            })
        }
        Migrate::Sql => {
            output.line(sql(connection, host)?.trim_end())?;
            Ok(Exit::Done)
        }
    }
}

fn sql(connection: &Connection, host: &Host) -> Result<String, Trouble> {
    if host.database.is_some() {
        return Err(Trouble::new(
            Exit::Usage,
            "cannot print the SQL",
            "this program has a database of its own, whose settings only it knows",
            "use `peerwork migrate sql` with --database-url, --prefix and --schema",
        ));
    }
    peerwork::migration_sql(connect::url(connection)?, &connect::settings(connection))
        .map_err(|error| Trouble::of("cannot print the SQL", &error))
}

async fn status(database: &Database) -> Result<Option<MigrationStatus>, Trouble> {
    database
        .migration_status()
        .await
        .map_err(|error| Trouble::opening(&error))
}

fn tell(status: &MigrationStatus, output: Output) -> Result<(), Trouble> {
    let state = match status.applied {
        None => "missing",
        Some(at) if at < status.known => "older",
        Some(at) if at > status.known => "newer",
        Some(_) => "current",
    };
    let text = || match (status.advice(), status.applied) {
        (Some(advice), _) => advice,
        (None, Some(at)) => format!("the schema is at version {at}, which is this program's"),
        (None, None) => "the schema is missing".to_owned(),
    };
    let line = SchemaLine {
        state,
        version: status.applied,
        known: status.known,
    };
    output.print(text, &line)
}
