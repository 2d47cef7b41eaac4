//! MariaDB: how its data directory is made and its server run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::Account;
use crate::home::Home;
use crate::options::MAX_CONNECTIONS;
use crate::server::{Recipe, Server};
use crate::{Database, Error, Options, Result, binaries, port};

/// The programs' names before and after MariaDB stopped calling itself mysql.
const SERVER: [&str; 2] = ["mariadbd", "mysqld"];
const INSTALL: [&str; 2] = ["mariadb-install-db", "mysql_install_db"];
const CLIENT: [&str; 2] = ["mariadb", "mysql"];

/// The server runs this at every start, before it answers: a user for us, without a password, from loopback by address.
const INIT: &str = "\
CREATE USER IF NOT EXISTS 'peerwork'@'%';
GRANT ALL ON *.* TO 'peerwork'@'%' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS peerwork;
";

/// MariaDB from the installed package.
#[derive(Debug)]
pub struct MariaDb;

impl MariaDb {
    /// Starts a server and returns once it answers: about two seconds for a new one.
    pub fn start(options: &Options) -> Result<Server> {
        port::retried(options, |port| {
            let account = Account::for_server("mysql")?;
            let home = Home::open(
                options.data_dir.as_deref(),
                Database::MariaDb.ending(),
                account,
            )?;
            let files = prepare(&home, account)?;
            let args = arguments(&home, Some(&files.init), port, options);
            let recipe = recipe(&home, args, account, port, options)?;
            Server::start(recipe, home)
        })
    }

    /// Whether all its programs are installed; the error names the package.
    pub fn installed() -> Result<()> {
        [&SERVER, &INSTALL, &CLIENT]
            .into_iter()
            .try_for_each(|names| binaries::mariadb(names).map(drop))
    }
}

/// What a server finds at its start, beside its data.
pub(crate) struct Files {
    pub init: PathBuf,
}

/// Makes data where there are none, and the init file.
pub(crate) fn prepare(home: &Home, account: Option<Account>) -> Result<Files> {
    if !home.data().join("mysql").exists() {
        create_data(home, account)?;
    }
    let init = home.path().join("init.sql");
    fs::write(&init, INIT).map_err(Error::io("write the server's init file"))?;
    account.map_or(Ok(()), |account| account.give(&init))?;
    Ok(Files { init })
}

pub(crate) fn recipe(
    home: &Home,
    args: Vec<OsString>,
    account: Option<Account>,
    port: u16,
    options: &Options,
) -> Result<Recipe> {
    Ok(Recipe {
        database: Database::MariaDb,
        program: binaries::mariadb(&SERVER)?,
        args,
        account,
        client,
        client_program: binaries::mariadb(&CLIENT)?,
        env: options.env.clone(),
        identity: "select @@datadir",
        data: home.data(),
        port,
    })
}

fn create_data(home: &Home, account: Option<Account>) -> Result<()> {
    let mut command = Command::new(binaries::mariadb(&INSTALL)?);
    command
        .args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ])
        .arg(option("--datadir", &home.data()))
        .current_dir(home.path());
    if let Some(account) = account {
        account.lend_to(&mut command);
    }
    let output = command
        .output()
        .map_err(Error::io("run mariadb-install-db"))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Err(Error::new(format_args!(
        "create a MariaDB data directory in {} (it must be reachable by the server's account): {}\n{}",
        home.data().display(),
        out.trim(),
        err.trim()
    )))
}

pub(crate) fn arguments(
    home: &Home,
    init: Option<&Path>,
    port: u16,
    options: &Options,
) -> Vec<OsString> {
    let mut settings: Vec<(String, String)> = vec![
        ("port".into(), port.to_string()),
        ("bind-address".into(), "127.0.0.1".into()),
        ("max-connections".into(), MAX_CONNECTIONS.to_string()),
        ("innodb-buffer-pool-size".into(), "256M".into()),
        // As Debian configures it; without a configuration file the server would speak latin1.
        ("character-set-server".into(), "utf8mb4".into()),
        ("collation-server".into(), "utf8mb4_general_ci".into()),
    ];
    if !options.durable {
        // Written, not synced, at each commit. With 0 a killed server would lose commits that it had acknowledged.
        settings.push(("innodb-flush-log-at-trx-commit".into(), "2".into()));
        settings.push(("innodb-doublewrite".into(), "0".into()));
    }
    settings.extend(options.settings.iter().cloned());
    // `--no-defaults` has to be the first.
    let mut args: Vec<OsString> = vec!["--no-defaults".into(), "--skip-name-resolve".into()];
    args.push(option("--datadir", &home.data()));
    args.push(option("--socket", &home.path().join("mariadb.sock")));
    args.push(option("--pid-file", &home.path().join("mariadb.pid")));
    args.extend(init.map(|init| option("--init-file", init)));
    args.extend(
        settings
            .into_iter()
            .map(|(name, value)| format!("--{name}={value}").into()),
    );
    args
}

fn option(name: &str, value: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(PathBuf::from(value));
    option
}

fn client(server: &Server, database: &str, statement: &str) -> Command {
    let mut command = Command::new(server.client_program());
    command
        .args([
            "--no-defaults",
            "--protocol=tcp",
            "--host=127.0.0.1",
            "--connect-timeout=5",
            "--skip-ssl",
        ])
        .args([
            "--skip-column-names",
            "--batch",
            "--user",
            Database::MariaDb.user(),
        ])
        .args([
            "--port",
            &server.port().to_string(),
            "--database",
            database,
            "--execute",
            statement,
        ]);
    command
}
