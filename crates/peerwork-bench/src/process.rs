//! Processes: what this one costs the machine, and another one of the same program.

use crate::place::Place;
use anyhow::{Context, ensure};
use rustix::time::{ClockId, clock_gettime};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// Processor time of all its threads, so far.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Its memory that is in the machine's now.
pub fn resident_bytes() -> anyhow::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).unwrap_or("0").parse()?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Another process of this program on the same tables. It ends when it is told nothing more, and with us.
pub struct Child {
    process: tokio::process::Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// One that does `what`, on the tables of `place`, with so many tasks.
    pub fn start(what: &str, place: &Place, tasks: usize) -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([
                what,
                "--database-url",
                &place.url,
                "--prefix",
                &place.prefix,
            ])
            .args(["--tasks", &tasks.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().context("a child that hears")?;
        let answers = process.stdout.take().context("a child that answers")?;
        Ok(Self {
            process,
            orders,
            answers: BufReader::new(answers).lines(),
        })
    }

    /// Sends it a line.
    pub async fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        Ok(self
            .orders
            .write_all(format!("{line}\n").as_bytes())
            .await?)
    }

    /// Waits for a line of it.
    pub async fn line(&mut self) -> anyhow::Result<String> {
        self.answers
            .next_line()
            .await?
            .context("the other process ended early")
    }

    pub async fn end(mut self) -> anyhow::Result<()> {
        drop(self.orders);
        let status = self.process.wait().await?;
        ensure!(status.success(), "the other process ended with {status}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_written_is_seen() {
        let before = resident_bytes().unwrap();
        let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = resident_bytes().unwrap();
        assert!(
            after >= before + (memory.len() as u64) / 2,
            "{before} {after}"
        );
    }
}
