//! Runs the binary as people do, against a SQLite file that a test prepares through the library.

#![allow(dead_code)] // each test program uses its part

use peerwork::{Client, Database, Handler, Node, NodeBuilder, Retry, Rules, Run, State, TaskError};
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The binary, without a database of its caller's.
pub fn peerwork() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerwork"));
    command
        .env_remove("PEERWORK_DATABASE_URL")
        .stdin(Stdio::null());
    command
}

/// What a run of the binary printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Ran {
    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).expect("a JSON object a line");
        self.out.lines().map(parse).collect()
    }

    /// Asserts that it failed with `code` and three lines that contain `part`.
    #[track_caller]
    pub fn assert_error(&self, code: i32, part: &str) -> &Self {
        assert_eq!(self.code, code, "{self:?}");
        let lines: Vec<_> = self.err.lines().collect();
        assert_eq!(lines.len(), 3, "{self:?}");
        assert!(lines[0].starts_with("error: "), "{self:?}");
        assert!(lines[1].starts_with("  why: "), "{self:?}");
        assert!(lines[2].starts_with("  do:  "), "{self:?}");
        assert!(lines.iter().all(|line| line.len() > 7), "{self:?}");
        assert!(self.err.contains(part), "{part:?} is not in {self:?}");
        self
    }

    #[track_caller]
    pub fn assert_done(&self) -> &Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// A SQLite file with peerwork's tables.
pub struct Place {
    pub folder: TempDir,
    pub url: String,
    pub client: Client,
}

impl Place {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("tasks.db").display());
        let client = Client::connect(Database::connect(&url).await.unwrap())
            .await
            .unwrap();
        Self {
            folder,
            url,
            client,
        }
    }

    pub async fn node(&self) -> Node {
        let database = Database::connect(&self.url).await.unwrap();
        kinds(Node::builder(database)).start().await.unwrap()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = peerwork();
        command
            .args(line.split_whitespace())
            .args(["--database-url", &self.url]);
        command
    }

    /// Runs the binary. Elsewhere than on the test's own thread: a node of the test must be able to go on.
    pub async fn run(&self, line: &str) -> Ran {
        let mut command = self.command(line);
        tokio::task::spawn_blocking(move || command.output().unwrap().into())
            .await
            .unwrap()
    }

    /// The state of a task, by the library.
    pub async fn state(&self, id: peerwork::TaskId) -> State {
        self.client.task(id).get().await.unwrap().state()
    }
}

fn kinds(builder: NodeBuilder) -> NodeBuilder {
    builder.register(Add).register(Fail).register(Hold)
}

/// Finishes at once.
pub struct Add;

impl Handler for Add {
    const KIND: &'static str = "add";
    type Input = (i64, i64);
    type Checkpoint = String;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        run.save(&"added".to_owned()).await?;
        Ok(run.input().0 + run.input().1)
    }
}

/// Fails at once, and for good.
pub struct Fail;

impl Handler for Fail {
    const KIND: &'static str = "fail";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, _: &mut Run<Self>) -> Result<(), TaskError> {
        Err(TaskError::permanent("the disk is on fire"))
    }
}

/// Runs until it is told to stop; its cleanup fails.
pub struct Hold;

impl Handler for Hold {
    const KIND: &'static str = "hold";
    type Input = ();
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        Err(run.stopping().await)?
    }

    async fn cleanup(&self, _: &mut Run<Self>) -> Result<(), TaskError> {
        Err(TaskError::permanent("the broom is broken"))
    }

    fn rules(&self) -> Rules {
        Rules {
            retry: Retry::NEVER,
            ..Rules::default()
        }
    }
}
