//! `cargo xtask db`: servers that stay up for tests that are run by hand, one at a time, from an editor.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use peerwork_testbed::{Database, MariaDb, Options, Postgres, SharedServers, target_dir};

use crate::tools;

/// What to do with the servers.
#[derive(Subcommand)]
pub enum Command {
    /// Start PostgreSQL and MariaDB on free loopback ports, if they are not up, and leave them running
    Up {
        /// Sync commits to disk, as a benchmark wants it
        #[arg(long)]
        durable: bool,
    },
    /// Stop them and remove their data
    Down,
    /// Say which are up, and where; fails when one is not
    Status,
}

/// Runs one of the commands.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Up { durable } => up(*durable),
        Command::Down => down(),
        Command::Status => status(),
    }
}

fn up(durable: bool) -> Result<()> {
    tools::databases()?;
    let target = target_dir();
    let mut shared = SharedServers::load(&target)?;
    let options = Options {
        durable,
        ..Options::default()
    };
    for database in [Database::Postgres, Database::MariaDb] {
        if shared
            .servers
            .iter()
            .any(|server| server.database == database && server.is_up())
        {
            continue;
        }
        let server = match database {
            Database::Postgres => Postgres::start(&options),
            Database::MariaDb => MariaDb::start(&options),
        };
        let server = server.with_context(|| format!("start {}", database.title()))?;
        shared.share(&target, server)?;
    }
    print_urls(&shared);
    Ok(())
}

fn down() -> Result<()> {
    let target = target_dir();
    let stopped = SharedServers::load(&target)?.stop_all(&target)?;
    println!("{stopped} stopped");
    Ok(())
}

fn status() -> Result<()> {
    let shared = SharedServers::load(&target_dir())?;
    print_urls(&shared);
    let up = shared
        .servers
        .iter()
        .filter(|server| server.is_up())
        .count();
    if up < 2 {
        bail!("{up} of 2 servers are up: start them with `cargo xtask db up`");
    }
    Ok(())
}

/// In a form that a shell can `export`.
fn print_urls(shared: &SharedServers) {
    for server in &shared.servers {
        let state = if server.is_up() { "up" } else { "gone" };
        println!(
            "{}={}  # {state}, pid {}",
            server.database.url_var(),
            server.url,
            server.pid
        );
    }
}
