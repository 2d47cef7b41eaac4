//! PostgreSQL: how its cluster is made and its server run.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::account::Account;
use crate::home::Home;
use crate::options::MAX_CONNECTIONS;
use crate::server::{Recipe, Server};
use crate::{Database, Error, Options, Result, binaries, port};

/// Answers which server this is, through whatever is in front of it.
pub(crate) const IDENTITY: &str = "show data_directory";

/// PostgreSQL from the installed package.
#[derive(Debug)]
pub struct Postgres;

impl Postgres {
    /// Starts a server and returns once it answers: about a second for a new one.
    pub fn start(options: &Options) -> Result<Server> {
        start_with(options, create_cluster)
    }

    /// Whether all its programs are installed; the error names the package.
    pub fn installed() -> Result<()> {
        ["initdb", "postgres", "psql", "pg_basebackup"]
            .into_iter()
            .try_for_each(|name| binaries::postgres(name).map(drop))
    }
}

/// Starts a server on data that are made by `create` where there are none.
pub(crate) fn start_with(
    options: &Options,
    create: impl Fn(&Home, Option<Account>) -> Result<()>,
) -> Result<Server> {
    port::retried(options, |port| {
        let account = Account::for_server("postgres")?;
        let ending = Database::Postgres.ending();
        let home = Home::open(options.data_dir.as_deref(), ending, account)?;
        if !home.data().join("PG_VERSION").exists() {
            create(&home, account)?;
        }
        let recipe = Recipe {
            database: Database::Postgres,
            program: binaries::postgres("postgres")?,
            args: arguments(&home.data(), port, options),
            account,
            client,
            client_program: binaries::postgres("psql")?,
            env: options.env.clone(),
            identity: IDENTITY,
            data: home.data(),
            port,
        };
        Server::start(recipe, home)
    })
}

fn create_cluster(home: &Home, account: Option<Account>) -> Result<()> {
    let mut command = Command::new(binaries::postgres("initdb")?);
    command
        .arg("--pgdata")
        .arg(home.data())
        .args([
            "--username",
            Database::Postgres.user(),
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ])
        // A linguistic collation, as most services have it: a name compared without COLLATE "C" shows up in tests.
        .args(["--locale-provider=icu", "--icu-locale=en-US", "--no-sync"])
        .current_dir(home.path());
    if let Some(account) = account {
        account.lend_to(&mut command);
    }
    let output = command.output().map_err(Error::io("run initdb"))?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format_args!(
        "create a PostgreSQL cluster in {} (needs version 15 or later, and a directory its account can reach): {}",
        home.data().display(),
        message.trim()
    )))
}

fn arguments(data: &Path, port: u16, options: &Options) -> Vec<OsString> {
    let mut settings: Vec<(String, String)> = vec![
        ("listen_addresses".into(), "127.0.0.1".into()),
        ("port".into(), port.to_string()),
        // TCP only: a socket's path may be too long, and its default folder is not ours.
        ("unix_socket_directories".into(), String::new()),
        ("max_connections".into(), MAX_CONNECTIONS.to_string()),
        ("shared_buffers".into(), "128MB".into()),
    ];
    if !options.durable {
        // Not synchronous_commit: with it off, a killed server would lose commits that it had acknowledged.
        for name in ["fsync", "full_page_writes"] {
            settings.push((name.into(), "off".into()));
        }
    }
    settings.extend(options.settings.iter().cloned());
    let mut args = vec![OsString::from("-D"), data.into()];
    for (name, value) in settings {
        args.extend([OsString::from("-c"), format!("{name}={value}").into()]);
    }
    args
}

pub(crate) fn client(server: &Server, database: &str, statement: &str) -> Command {
    let mut command = Command::new(server.client_program());
    command
        .args([
            "--no-psqlrc",
            "--no-password",
            "--tuples-only",
            "--no-align",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
        ])
        .args([
            "--host=127.0.0.1",
            "--port",
            &server.port().to_string(),
            "--username",
            Database::Postgres.user(),
        ])
        .args(["--dbname", database, "--command", statement])
        .env("PGCONNECT_TIMEOUT", "5")
        .env_remove("PGOPTIONS")
        .env_remove("PGSERVICE")
        .env_remove("PGSSLMODE");
    command
}
