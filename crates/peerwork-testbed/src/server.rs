//! One server process: started, checked, killed, restarted, stopped.
//!
//! Not here: what differs between the databases. `postgres.rs` and `mariadb.rs` fill in a [`Recipe`].

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::account::Account;
use crate::home::Home;
use crate::{Database, Error, Result};

/// A start may replay a crash's log on a busy machine; longer is a fault.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A clean stop writes everything out first.
const STOP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// How one database's server is run; enough to run it again.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub database: Database,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub account: Option<Account>,
    /// The client program with its connection arguments; takes a database's name and a statement.
    pub client: fn(&Server, &str, &str) -> Command,
    pub client_program: PathBuf,
    pub env: Vec<(String, String)>,
    /// Answers the data directory ..
    pub identity: &'static str,
    /// .. which is this one.
    pub data: PathBuf,
    pub port: u16,
}

/// A running database server, stopped when dropped. Started by [`Postgres::start`](crate::Postgres::start) and
/// [`MariaDb::start`](crate::MariaDb::start); a pooler in front of one, by [`PgBouncer::start`](crate::PgBouncer::start).
#[derive(Debug)]
pub struct Server {
    recipe: Recipe,
    process: Option<Child>,
    // After `process`: the data go when nobody writes them.
    home: Home,
}

impl Server {
    pub(crate) fn start(recipe: Recipe, home: Home) -> Result<Self> {
        let mut server = Self {
            recipe,
            process: None,
            home,
        };
        server.launch()?;
        Ok(server)
    }

    /// Which database this is.
    pub fn database(&self) -> Database {
        self.recipe.database
    }

    /// The database that every server has, for `sqlx`: `postgres://..` or `mysql://..`, without a password.
    pub fn url(&self) -> String {
        self.url_of(self.recipe.database.default_name())
    }

    /// The loopback port; the same after a restart.
    pub fn port(&self) -> u16 {
        self.recipe.port
    }

    /// Where it listens, for a proxy in front of it.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.recipe.port).into()
    }

    /// The server's directory, which holds `data` and `server.log`.
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// The server's main process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Creates an empty database and returns its URL. `name` is an identifier: lower-case letters, digits, `_`.
    pub fn create_database(&self, name: &str) -> Result<String> {
        let is_identifier = !name.is_empty()
            && name
                .chars()
                .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'));
        if !is_identifier {
            return Err(Error::new(format_args!(
                "create database {name:?}: use lower-case letters, digits and _ only"
            )));
        }
        self.query(&format!("create database {name}"))?;
        Ok(self.url_of(name))
    }

    /// Runs one statement through the database's own client and returns its rows, unaligned and without a header.
    pub fn query(&self, statement: &str) -> Result<String> {
        let output = (self.recipe.client)(self, self.recipe.database.default_name(), statement)
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io(format_args!(
                "run {}",
                self.recipe.client_program.display()
            )))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format_args!(
            "query {} ({statement}): {}",
            self.url(),
            message.trim()
        )))
    }

    /// Stops the server cleanly; its clients are disconnected. Harmless when it is not running.
    pub fn stop(&mut self) -> Result<()> {
        self.end(self.home.stop_signal())
    }

    /// Kills the server with SIGKILL, as a crash does, and waits until nothing of it runs. Harmless when it is not running.
    pub fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL)
    }

    /// Starts the server again, on the same port and data; stops it first if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Leaves the server running for others and keeps its data. To end it: [`SharedServers`](crate::SharedServers).
    pub fn detach(mut self) {
        self.home.keep();
        // Neither waited for nor ended when the rest of us is dropped.
        self.process = None;
    }

    /// From the next start on.
    pub(crate) fn set_args(&mut self, args: Vec<OsString>) {
        self.recipe.args = args;
    }

    pub(crate) fn data(&self) -> &Path {
        &self.recipe.data
    }

    pub(crate) fn client_program(&self) -> &Path {
        &self.recipe.client_program
    }

    fn url_of(&self, name: &str) -> String {
        let database = self.recipe.database;
        format!(
            "{}://{}@127.0.0.1:{}/{name}",
            database.scheme(),
            database.user(),
            self.recipe.port
        )
    }

    /// Spawns the server and waits until it answers.
    fn launch(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let log_start = self.home.log_length();
            self.spawn()?;
            let Some(status) = self.ready_or_exited(deadline)? else {
                return Ok(());
            };
            self.forget_ended();
            let tail = self.home.log_tail(log_start);
            // The backends of a killed PostgreSQL may need a moment to notice; until then their memory bars a new start.
            if tail.contains("shared memory block") && Instant::now() < deadline {
                sleep(POLL);
                continue;
            }
            let what = format!(
                "start {}: it exited ({status}); its log ends with:\n{tail}",
                self.recipe.program.display()
            );
            let taken = tail.contains("Address already in use");
            return Err(if taken {
                Error::port_taken(what)
            } else {
                Error::new(what)
            });
        }
    }

    fn spawn(&mut self) -> Result<()> {
        let log = open_log(&self.home, self.recipe.account)?;
        let same_log = log
            .try_clone()
            .map_err(Error::io("share the server's log"))?;
        let mut command = Command::new(&self.recipe.program);
        command
            .args(&self.recipe.args)
            // The server's account may not be able to enter ours.
            .current_dir(self.home.path())
            .env("LC_ALL", "C.UTF-8")
            .envs(self.recipe.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same_log)
            // Ctrl-C is for us; we (or the tether) stop the server.
            .process_group(0);
        if let Some(account) = self.recipe.account {
            account.lend_to(&mut command);
        }
        let mut child = command.spawn().map_err(Error::io(format_args!(
            "start {}",
            self.recipe.program.display()
        )))?;
        if let Err(error) = self.home.tether().hold(child.id()) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        self.process = Some(child);
        Ok(())
    }

    /// `None`: it answers. `Some`: it exited. An error: neither, in time.
    fn ready_or_exited(&mut self, deadline: Instant) -> Result<Option<std::process::ExitStatus>> {
        let data = self.recipe.data.clone();
        let mut last = String::new();
        while Instant::now() < deadline {
            let process = self.process.as_mut().expect("spawned by the caller");
            if let Some(status) = process.try_wait().map_err(Error::io("watch the server"))? {
                return Ok(Some(status));
            }
            match self.query(self.recipe.identity) {
                Ok(answer) if Path::new(answer.trim_end_matches('/')) == data => return Ok(None),
                // Ours did not get the port and is about to exit.
                Ok(answer) => {
                    last = format!("a server for {answer} answers on port {}", self.recipe.port)
                }
                Err(error) => last = error.to_string(),
            }
            sleep(POLL);
        }
        self.kill()?;
        Err(Error::new(format_args!(
            "start {}: no answer within {START_LIMIT:?}; the last was: {last}",
            self.recipe.program.display()
        )))
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(process) = self.process.as_mut() else {
            return Ok(());
        };
        let pid = process.id();
        let children = if signal == Signal::KILL {
            children_of(pid)
        } else {
            Vec::new()
        };
        send(pid, signal);
        for child in &children {
            send(*child, signal);
        }
        let clean = wait_until(|| !matches!(process.try_wait(), Ok(None)));
        if !clean {
            let _ = process.kill();
        }
        self.forget_ended();
        if !wait_until(|| !children.iter().any(|child| is_running(*child))) {
            return Err(Error::new(format_args!(
                "kill server {pid}: its children still run after {STOP_LIMIT:?}"
            )));
        }
        match clean {
            true => Ok(()),
            false => Err(Error::new(format_args!(
                "stop server {pid}: killed, as it took longer than {STOP_LIMIT:?}"
            ))),
        }
    }

    fn forget_ended(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
            self.home.tether().release();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let signal = self.home.end_signal();
        // Nobody is left to hear of a failure; `end` has killed the process in any case.
        let _ = self.end(signal);
    }
}

/// Whether a process exists and is more than an entry that its parent has not read yet.
pub(crate) fn is_running(pid: u32) -> bool {
    // Field 3 of stat, after the name in parentheses, which may hold anything.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']))
    })
}

/// Sends a signal; a process that has gone already is fine.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Waits for something to end by itself; false when it did not within the limit of a stop.
pub(crate) fn wait_until(mut ended: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + STOP_LIMIT;
    while !ended() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(POLL);
    }
    true
}

fn open_log(home: &Home, account: Option<Account>) -> Result<File> {
    let path = home.log();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(Error::io(format_args!("open {}", path.display())))?;
    if let Some(account) = account {
        account.give(&path)?;
    }
    Ok(log)
}

/// PostgreSQL's backends, which a SIGKILL of their parent leaves behind to finish their statement.
fn children_of(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .map(|list| {
            list.split_whitespace()
                .filter_map(|child| child.parse().ok())
                .collect()
        })
        .unwrap_or_default()
}
