//! The commands within a service that has its own database and its own kinds.

use peerwork::{Database, Draft, Node, State, TaskError};
use peerwork_cli::{Exit, Host, run};
use std::ffi::OsString;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

#[tokio::test]
async fn a_service_lists_and_steers_its_own_tasks() {
    let database = Database::memory();
    let builder = Node::builder(&database);
    let builder = builder.handle("greet", |name: String| async move {
        Ok::<_, TaskError>(format!("hello {name}"))
    });
    let node = builder.start().await.unwrap();
    let task = Draft::of_kind("greet", &"ann").hold();
    let task = node.client().create(task).await.unwrap();
    let ask = async |line: &str| {
        let host = Host::new("films peerwork").database(&database);
        run(words(line), host).await
    };
    assert_eq!(ask("task list").await, Exit::Done);
    assert_eq!(ask(&format!("task run {}", task.id())).await, Exit::Done);
    assert_eq!(ask(&format!("task wait {}", task.id())).await, Exit::Done);
    assert_eq!(task.get().await.unwrap().state(), State::Finished);
    assert_eq!(
        ask(&format!("task pause {}", task.id())).await,
        Exit::Failed
    );
    node.drain().await;
}

#[tokio::test]
async fn what_a_service_cannot_do_is_refused() {
    let refused = async |line: &str| {
        let host = Host::new("films peerwork").database(Database::memory());
        run(words(line), host).await
    };
    for line in [
        "task list --database-url sqlite:x",
        "migrate sql",
        "node run",
        "demo",
        "demo-node --label x",
    ] {
        assert_eq!(refused(line).await, Exit::Usage, "{line}");
    }
}
