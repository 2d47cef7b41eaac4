//! The node processes, as the demo sees them: it starts them, drains them, and kills them without a warning.
//!
//! No process outlives the demo: each is killed when its handle is dropped, and ends by itself when its stdin closes.

use super::node::{DRAIN, Said};
use super::stage::Stage;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a node may take to start or to drain: on a slow machine, a debug build.
const NODE_LIMIT: Duration = Duration::from_secs(40);
/// Lines of a node's log that are shown when the demo fails.
const LOG_LINES: usize = 8;

/// The node processes that run now.
#[derive(Default)]
pub(crate) struct Cluster {
    nodes: Vec<NodeProcess>,
    started: usize,
}

/// One node process.
pub(crate) struct NodeProcess {
    pub label: String,
    child: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

/// What a drained node reported.
pub(crate) struct Drained {
    pub handed_over: u64,
    pub abandoned: u64,
}

impl Cluster {
    /// Starts `count` nodes at once, and waits until all of them claim tasks. Returns their labels.
    pub async fn start(&mut self, stage: &Stage, count: usize) -> Result<Vec<String>> {
        let first = self.nodes.len();
        for _ in 0..count {
            self.started += 1;
            let label = format!("node-{}", self.started);
            let node = NodeProcess::spawn(stage, label)?;
            self.nodes.push(node);
        }
        for node in &mut self.nodes[first..] {
            match node.hear().await? {
                Said::Ready => {}
                said => bail!("{} said {said:?} before it was ready", node.label),
            }
        }
        Ok(self.nodes[first..]
            .iter()
            .map(|node| node.label.clone())
            .collect())
    }

    /// Hands out the node with this label, to be stopped.
    pub fn take(&mut self, label: &str) -> Result<NodeProcess> {
        let at = self.nodes.iter().position(|node| node.label == label);
        let at = at.with_context(|| format!("{label} is not running"))?;
        Ok(self.nodes.remove(at))
    }

    /// Whether a node with this label runs.
    pub fn has(&self, label: &str) -> bool {
        self.nodes.iter().any(|node| node.label == label)
    }

    /// Drains all of them.
    pub async fn drain(&mut self) -> Result<()> {
        for node in self.nodes.drain(..) {
            let label = node.label.clone();
            let drained = node.drain().await?;
            if drained.abandoned > 0 {
                bail!("{label} abandoned {} tasks", drained.abandoned);
            }
        }
        Ok(())
    }

    /// Kills what still runs, and waits until it is gone: its files go next.
    pub async fn end(mut self) {
        for node in &mut self.nodes {
            // It may have ended by itself.
            let _ = node.child.kill().await;
        }
    }
}

impl NodeProcess {
    fn spawn(stage: &Stage, label: String) -> Result<Self> {
        let log = File::create(stage.log(&label)).context("make a log file")?;
        let program = std::env::current_exe().context("find the own program")?;
        let mut command = Command::new(program);
        command
            .args(["demo-node", "--label", &label, "--prefix", &stage.prefix])
            .args(stage.schema.iter().flat_map(|schema| ["--schema", schema]))
            // Not as an argument: a URL may hold a password, and everybody may read arguments.
            .env(crate::DATABASE_URL, &stage.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        // Ctrl-C is for the demo, which then ends its nodes.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().context("start a node process")?;
        let stdin = child.stdin.take().context("a node without stdin")?;
        let stdout = child.stdout.take().context("a node without stdout")?;
        Ok(Self {
            label,
            child,
            stdin,
            said: BufReader::new(stdout).lines(),
        })
    }

    async fn hear(&mut self) -> Result<Said> {
        let label = &self.label;
        let line = tokio::time::timeout(NODE_LIMIT, self.said.next_line()).await;
        let line = line.with_context(|| format!("{label} said nothing for {NODE_LIMIT:?}"))??;
        let line = line.with_context(|| format!("{label} ended unexpectedly"))?;
        serde_json::from_str(&line).with_context(|| format!("{label} said {line:?}"))
    }

    /// Orders it to hand everything over, and waits until it has ended.
    pub async fn drain(mut self) -> Result<Drained> {
        let order = format!("{DRAIN}\n");
        self.stdin
            .write_all(order.as_bytes())
            .await
            .context("order a drain")?;
        self.stdin.flush().await.context("order a drain")?;
        let drained = match self.hear().await? {
            Said::Drained {
                handed_over,
                abandoned,
            } => Drained {
                handed_over,
                abandoned,
            },
            Said::Ready => bail!("{} did not drain", self.label),
        };
        let ended = tokio::time::timeout(NODE_LIMIT, self.child.wait()).await;
        ended.with_context(|| format!("{} drained, but did not end", self.label))??;
        Ok(drained)
    }

    /// Kills it by SIGKILL: it can do nothing about it, and say nothing. Returns when it is dead.
    pub async fn kill(mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("kill {}", self.label))
    }
}

/// The ends of the nodes' logs, for whoever looks for the reason of a failure.
pub(crate) fn logs(stage: &Stage) -> String {
    let mut text = String::new();
    for log in stage.logs() {
        let lines = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<_> = lines.lines().collect();
        let label = log.file_stem().unwrap_or_default().to_string_lossy();
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            text += &format!("{label}: {line}\n");
        }
    }
    text
}
