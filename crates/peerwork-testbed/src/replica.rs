//! A PostgreSQL server that follows another one, and takes its place.
//!
//! Replication is asynchronous: what the primary has acknowledged may not have arrived here. A promotion replays all
//! that has arrived, however late it was to be applied; so whoever wants to lose commits stops the arrival.

use std::process::Command;

use crate::postgres::start_with;
use crate::server::{Server, wait_until};
use crate::{Error, Options, Result, binaries};

/// A running replica, stopped when dropped.
#[derive(Debug)]
pub struct Replica {
    server: Server,
    conninfo: String,
}

impl Replica {
    /// Copies a running `primary` and follows it from then on: about two seconds.
    pub fn of(primary: &Server, options: &Options) -> Result<Self> {
        let conninfo = format!(
            "host=127.0.0.1 port={} user=postgres application_name=replica",
            primary.port()
        );
        let server = start_with(options, |home, account| {
            let mut command = Command::new(binaries::postgres("pg_basebackup")?);
            command
                .arg("--pgdata")
                .arg(home.data())
                .args(["--dbname", &conninfo, "--wal-method=stream"])
                .args(["--checkpoint=fast", "--write-recovery-conf", "--no-sync"])
                .current_dir(home.path());
            if let Some(account) = account {
                account.lend_to(&mut command);
            }
            let output = command.output().map_err(Error::io("run pg_basebackup"))?;
            match output.status.success() {
                true => Ok(()),
                false => Err(Error::new(format_args!(
                    "copy {}: {}",
                    primary.url(),
                    String::from_utf8_lossy(&output.stderr).trim()
                ))),
            }
        })?;
        let replica = Self { server, conninfo };
        replica.until("the replica follows", || replica.is_receiving())?;
        Ok(replica)
    }

    /// Receives nothing more: what the primary acknowledges from now on is lost when this one is promoted.
    pub fn cut_off(&self) -> Result<()> {
        self.receive_from("")?;
        self.until("the replica has stopped following", || {
            self.is_receiving().map(|receiving| !receiving)
        })
    }

    /// Follows the primary again.
    pub fn follow(&self) -> Result<()> {
        self.receive_from(&self.conninfo)?;
        self.until("the replica follows", || self.is_receiving())
    }

    /// Waits until everything that `primary` has written is visible here.
    pub fn catch_up(&self, primary: &Server) -> Result<()> {
        let written = primary.query("select pg_current_wal_lsn()")?;
        let caught_up = format!("select pg_last_wal_replay_lsn() >= '{written}'");
        self.until("the replica has caught up", || {
            self.server.query(&caught_up).map(|answer| answer == "t")
        })
    }

    /// Makes it a server of its own, which takes writes. The old primary is to be dead by then.
    pub fn promote(self) -> Result<Server> {
        match self.server.query("select pg_promote(true, 60)")?.as_str() {
            "t" => Ok(self.server),
            _ => Err(Error::new(format_args!(
                "promote {}: it takes longer than a minute",
                self.server.url()
            ))),
        }
    }

    /// The server, which answers reads only.
    pub fn server(&self) -> &Server {
        &self.server
    }

    fn receive_from(&self, conninfo: &str) -> Result<()> {
        let server = &self.server;
        server.query(&format!("alter system set primary_conninfo = '{conninfo}'"))?;
        server.query("select pg_reload_conf()").map(drop)
    }

    fn is_receiving(&self) -> Result<bool> {
        let streaming = "select count(*) from pg_stat_wal_receiver where status = 'streaming'";
        self.server.query(streaming).map(|answer| answer == "1")
    }

    fn until(&self, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
        let mut last = Ok(false);
        let held = wait_until(|| {
            last = holds();
            !matches!(last, Ok(false))
        });
        match held {
            true => last.map(drop),
            false => Err(Error::new(format_args!(
                "wait until {what} ({}): not in time",
                self.server.url()
            ))),
        }
    }
}
