//! pgbouncer in transaction mode: a connection of the server belongs to a client for one transaction only.
//!
//! So nothing outlives a transaction: no prepared statement, no session's setting, no LISTEN, no advisory lock.

use std::fs;

use crate::account::Account;
use crate::home::{Ending, Home};
use crate::postgres::{IDENTITY, client};
use crate::server::{Recipe, Server};
use crate::{Database, Error, Options, Result, binaries, port};

use rustix::process::Signal;

const PACKAGE: &str = "pgbouncer";

/// More clients than transactions at a time, or the pooler would change nothing.
const SERVER_CONNECTIONS: u32 = 20;
const CLIENT_CONNECTIONS: u32 = 1_000;

/// pgbouncer from the installed package.
#[derive(Debug)]
pub struct PgBouncer;

impl PgBouncer {
    /// Starts one in front of `server`. It is used as the server itself, by its own [`Server::url`]; created databases
    /// are those of the server. Further `settings` are by their names in pgbouncer's configuration.
    pub fn start(server: &Server, settings: &[(String, String)]) -> Result<Server> {
        let program = binaries::anywhere("pgbouncer", PACKAGE)?;
        port::retried(&Options::default(), |port| {
            // It refuses root too.
            let account = Account::for_server("postgres")?;
            let home = Home::open(None, ENDING, account)?;
            let write = |name: &str, text: &str| {
                let path = home.path().join(name);
                let written = fs::write(&path, text);
                written.map_err(Error::io(format_args!("write {}", path.display())))?;
                account.map_or(Ok(()), |account| account.give(&path))?;
                Ok(path)
            };
            let users = write("users.txt", "\"postgres\" \"\"\n")?;
            let mut configuration = format!(
                "[databases]\n\
                 * = host=127.0.0.1 port={}\n\
                 [pgbouncer]\n\
                 listen_addr = 127.0.0.1\n\
                 listen_port = {port}\n\
                 unix_socket_dir =\n\
                 auth_type = trust\n\
                 auth_file = {}\n\
                 pool_mode = transaction\n\
                 default_pool_size = {SERVER_CONNECTIONS}\n\
                 max_client_conn = {CLIENT_CONNECTIONS}\n\
                 ignore_startup_parameters = extra_float_digits\n\
                 server_round_robin = 1\n",
                server.port(),
                users.display()
            );
            for (name, value) in settings {
                configuration.push_str(&format!("{name} = {value}\n"));
            }
            let file = write("pgbouncer.ini", &configuration)?;
            let recipe = Recipe {
                database: Database::Postgres,
                program: program.clone(),
                args: vec![file.into()],
                account,
                client,
                client_program: binaries::postgres("psql")?,
                env: Vec::new(),
                identity: IDENTITY,
                data: server.data().to_owned(),
                port,
            };
            Server::start(recipe, home)
        })
    }

    /// Whether it is installed; the error names the package.
    pub fn installed() -> Result<()> {
        binaries::anywhere("pgbouncer", PACKAGE).map(drop)
    }
}

/// SIGINT would wait for every client's transaction.
const ENDING: Ending = Ending {
    name: "pgbouncer",
    stop: Signal::TERM,
    abort: Signal::TERM,
};
