//! Processes: a test that must be alone in one, and a node in one of its own that can be killed.

use super::{Place, TIGHT};
use peerwork::{Handler, Node, Rules, Run, TaskError};
use peerwork_store::{Settings, SqlStore};
use std::process::{Command, Stdio};

const ALONE: &str = "PEERWORK_TEST_ALONE";
const URL: &str = "PEERWORK_TEST_NODE_URL";
const PREFIX: &str = "PEERWORK_TEST_NODE_PREFIX";
const SCHEMA: &str = "PEERWORK_TEST_NODE_SCHEMA";

/// Whether no other test runs in this process: nextest gives each one of its own.
pub fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some() || std::env::var_os("NEXTEST").is_some()
}

/// Runs the test called `name` (without the crate) in a process of its own; panics if it fails there.
pub fn run_alone(name: &str) {
    let status = this_test(name).env(ALONE, "1").status();
    let status = status.expect("the test's own binary runs");
    assert!(status.success(), "{name} failed in a process of its own");
}

fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it has a path"));
    command.args(["--exact", name, "--nocapture"]);
    command
}

/// A process that is a node with the handler [`Relay`], and a short lease.
pub struct Process(std::process::Child);

impl Process {
    /// Starts it on a place in SQL.
    pub fn start(place: &Place) -> Self {
        let sql = place.sql();
        let mut command = this_test("kit::child::a_node_in_a_process_of_its_own");
        command.env(URL, &sql.url).env(PREFIX, &sql.settings.prefix);
        if let Some(schema) = &sql.settings.schema {
            command.env(SCHEMA, schema);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the test's own binary runs"))
    }

    /// SIGKILL: it does not get to say anything.
    pub fn kill(mut self) {
        self.0.kill().expect("it has not ended by itself");
        self.0.wait().expect("it is ours");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Saves its number, then waits for its node's end; the second run of a task finishes.
pub struct Relay;

impl Handler for Relay {
    const KIND: &'static str = "relay";
    type Input = i64;
    type Checkpoint = i64;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        if let Some(saved) = run.checkpoint() {
            return Ok(saved);
        }
        run.progress(1, 2);
        let number = *run.input();
        run.save(&number).await?;
        Err(run.stopping().await)?
    }

    fn rules(&self) -> Rules {
        Rules {
            cleanup: false,
            ..Rules::default()
        }
    }
}

/// Not a test by itself: the process that [`Process::start`] starts. Runs until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_a_process_of_its_own() {
    let Ok(url) = std::env::var(URL) else { return };
    let mut settings = Settings::default().with_prefix(std::env::var(PREFIX).unwrap());
    if let Ok(schema) = std::env::var(SCHEMA) {
        settings = settings.with_schema(schema);
    }
    let store = SqlStore::connect(&url, settings, 1).await.unwrap();
    let node = Node::builder(store).lease(TIGHT).register(Relay);
    let _node = node.start().await.unwrap();
    std::future::pending::<()>().await;
}
