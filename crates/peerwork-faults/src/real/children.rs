//! The processes of a run: they end with the controller, however it ends, and each is ended by its own id.

use super::args::URL_VAR;
use super::stage::Stage;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::File;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// What the names of nodes, and of their histories, begin with.
pub const NODE: &str = "node-";
/// How long a process may take to say something, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that the controller has started.
#[derive(Debug)]
pub struct Process {
    /// Its name.
    pub label: String,
    child: Child,
    said: Option<Lines<BufReader<ChildStdout>>>,
}

/// Has the kernel end this process with its parent. For the first lines of a child: the parent spawns from its main
/// thread, which lives as long as it does.
///
/// # Errors
/// If the parent has ended already.
pub fn die_with_parent() -> Result<()> {
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("tie this process to its parent")?;
    if rustix::process::getppid() != parent || parent.is_none_or(|parent| parent.is_init()) {
        bail!("the controller is gone");
    }
    Ok(())
}

impl Process {
    /// Starts `command` of this program as a process named `label`, which reaches the database at `url`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(
        stage: &Stage,
        command: &str,
        label: &str,
        url: &str,
        seed: u64,
        more: &[(&str, String)],
        env: Vec<(String, String)>,
    ) -> Result<Self> {
        let log = stage.folder().join(format!("{label}.log"));
        let log = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let mut arguments: Vec<OsString> = vec![command.into(), "--label".into(), label.into()];
        arguments.extend(["--folder".into(), stage.folder().into()]);
        arguments.extend(["--prefix".into(), stage.prefix().into()]);
        arguments.extend(["--seed".into(), seed.to_string().into()]);
        for (name, value) in more {
            arguments.extend([name.into(), value.into()]);
        }
        let mut child = Command::new(stage.program())
            .args(arguments)
            .env(URL_VAR, url)
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for the controller; the kernel ends its children.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {label}"))?;
        let said = child.stdout.take().map(|said| BufReader::new(said).lines());
        Ok(Self {
            label: label.to_owned(),
            child,
            said,
        })
    }

    /// Waits until it says `word`. False if it ended before.
    ///
    /// # Errors
    /// If it says nothing for long.
    pub async fn says(&mut self, word: &str) -> Result<bool> {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.next_line()).await;
            match line.with_context(|| format!("{} says nothing", self.label))? {
                Some(line) if line == word => return Ok(true),
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    /// What it says next; none once it says nothing more.
    ///
    /// Cancel safe.
    pub async fn next_line(&mut self) -> Option<String> {
        let said = self.said.as_mut()?;
        said.next_line().await.ok().flatten()
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // It may just have ended; its id is its own until it is waited for.
            let _ = kill_process(pid, signal);
        }
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("look at a process")
    }

    /// Waits for its end, at most so long. None: it runs still.
    ///
    /// # Errors
    /// If the system does not say.
    pub async fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(Some(status.context("wait for a process")?)),
            Err(_) => Ok(None),
        }
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Errors
    /// If it does not go.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL);
        match self.wait(PATIENCE).await? {
            Some(_) => Ok(()),
            None => bail!("{} cannot be killed", self.label),
        }
    }
}
