//! Runs other programs: never longer than their limit, never past our own end.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::interrupt;

const POLL: Duration = Duration::from_millis(50);
/// What an interrupted program gets to put its things away.
const GRACE: Duration = Duration::from_secs(10);

/// cargo, in the workspace's root.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(crate::root());
    command
}

/// Runs a command in our own process group and on our terminal, so that Ctrl-C reaches it as well.
pub fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", line(command));
    let mut child = command
        .spawn()
        .with_context(|| format!("run {}", line(command)))?;
    let mut told = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupt::requested() && !told {
            told = true;
            // After Ctrl-C it knows already; after a SIGTERM to us alone it does not.
            let _ = kill_process(pid(&child), Signal::TERM);
        }
        sleep(POLL);
    };
    judge(status).with_context(|| line(command))
}

/// Runs a command with its output in `log`. Past `limit`, and when we are interrupted, it ends with all that it started.
pub fn run_bounded(command: &mut Command, limit: Duration, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("run {}", line(command)))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            // Nodes that a failed program left behind would hold on to the databases.
            let _ = kill_process_group(pid(&child), Signal::KILL);
            return judge(status);
        }
        if interrupt::requested() {
            end_group(&mut child)?;
            bail!("interrupted");
        }
        if Instant::now() >= deadline {
            end_group(&mut child)?;
            bail!(
                "still running after its limit of {} s: ended",
                limit.as_secs()
            );
        }
        sleep(POLL);
    }
}

fn end_group(child: &mut Child) -> Result<()> {
    let _ = kill_process_group(pid(child), Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while child.try_wait()?.is_none() && Instant::now() < deadline {
        sleep(POLL);
    }
    // Its children too, which may be deaf to SIGTERM.
    let _ = kill_process_group(pid(child), Signal::KILL);
    child.wait()?;
    Ok(())
}

fn judge(status: ExitStatus) -> Result<()> {
    if interrupt::requested() {
        bail!("interrupted");
    }
    if !status.success() {
        bail!("failed ({status})");
    }
    Ok(())
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn pid(child: &Child) -> Pid {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process has a positive id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        let error = run_bounded(&mut command, Duration::from_millis(300), &log).unwrap_err();
        assert!(error.to_string().contains("its limit"), "{error}");
        let grandchild = std::fs::read_to_string(&log).unwrap();
        // It was told to end; the kernel takes a moment. nextest ends a test in which that never comes.
        let path = format!("/proc/{}/stat", grandchild.trim());
        while std::fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_program_that_fails_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo broken; exit 3"]);
        let log = folder.path().join("log");
        let error = run_bounded(&mut command, Duration::from_secs(60), &log).unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "broken\n");
    }
}
