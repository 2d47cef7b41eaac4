//! What people get wrong: each has its exit code, and three lines that say what, why and what to do.

mod kit;

use kit::{Place, Ran, peerwork};

const NOBODY: &str = "0193a0c0-0000-7000-8000-000000000000";

fn run(words: &[&str]) -> Ran {
    peerwork().args(words).output().unwrap().into()
}

#[test]
fn no_database() {
    run(&["task", "list"]).assert_error(2, "PEERWORK_DATABASE_URL");
}

#[test]
fn a_database_of_another_make() {
    run(&["task", "list", "--database-url", "oracle://db/x"]).assert_error(2, "oracle");
    run(&["migrate", "sql", "--database-url", "oracle://db/x"]).assert_error(2, "oracle");
    run(&["task", "list", "--database-url", "nonsense"]).assert_error(2, "scheme");
    run(&["migrate", "up", "--database-url", "sqlite::memory:"]).assert_error(2, "memory");
}

#[test]
fn a_database_that_is_not_there() {
    // Nobody listens on port 1.
    for url in [
        "postgres://ann:s3cret@127.0.0.1:1/x",
        "mysql://ann:s3cret@127.0.0.1:1/x",
    ] {
        let ran = run(&["task", "list", "--database-url", url]);
        ran.assert_error(4, "127.0.0.1");
        assert!(!ran.err.contains("s3cret"), "{ran:?}");
        assert!(
            ran.err.contains("do:  check that the database runs"),
            "{ran:?}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("absent.db");
    let url = format!("sqlite:{}", file.display());
    run(&["task", "list", "--database-url", &url]).assert_error(4, "there is no file");
    assert!(!file.exists(), "looking makes no file");
    let url = format!("sqlite:{}", folder.path().join("absent/x.db").display());
    run(&["migrate", "up", "--database-url", &url]).assert_error(4, "x.db");
}

#[test]
fn a_file_that_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter.txt");
    std::fs::write(&file, "Dear Ann, ".repeat(1_000)).unwrap();
    let url = format!("sqlite:{}", file.display());
    let ran = run(&["task", "list", "--database-url", &url]);
    ran.assert_error(4, "file is not a database");
    assert!(
        !ran.err.contains("migrate up"),
        "that would not help: {ran:?}"
    );
}

#[tokio::test]
async fn a_missing_schema() {
    let place = Place::new().await;
    let ran = place.run("task list --prefix other_").await;
    ran.assert_error(4, "the schema is missing");
    assert!(
        ran.err.contains("do:  run `peerwork migrate up`"),
        "{ran:?}"
    );
    place
        .run("node list --prefix other_")
        .await
        .assert_error(4, "missing");
}

#[tokio::test]
async fn tables_that_cannot_be() {
    let place = Place::new().await;
    place
        .run("task list --prefix 1;")
        .await
        .assert_error(2, "prefix");
    place
        .run("task list --schema jobs")
        .await
        .assert_error(2, "only PostgreSQL");
}

#[tokio::test]
async fn a_task_that_is_not_there() {
    let place = Place::new().await;
    for line in [
        "get",
        "pause",
        "run",
        "resume",
        "delete",
        "rerun",
        "move --to x",
        "wait",
        "follow",
    ] {
        let ran = place.run(&format!("task {line} {NOBODY}")).await;
        ran.assert_error(3, "does not exist");
        assert!(ran.err.contains(NOBODY), "{ran:?}");
    }
    place
        .run(&format!("task list --after {NOBODY}"))
        .await
        .assert_error(3, "--after");
}

#[test]
fn words_that_are_none() {
    run(&["task", "get", "12"]).assert_error(2, "12");
    run(&["task", "list", "--state", "asleep"]).assert_error(2, "finished");
    run(&["task", "lost"]).assert_error(2, "lost");
    run(&["task", "move", NOBODY]).assert_error(2, "--to");
    run(&["task", "list", "-o", "xml"]).assert_error(2, "json");
    run(&["node", "run", "--database-url", "sqlite:x"]).assert_error(2, "no handlers");
}

#[tokio::test]
async fn names_that_are_too_long() {
    let place = Place::new().await;
    let long = "x".repeat(256);
    place
        .run(&format!("task list --user {long}"))
        .await
        .assert_error(2, "shorten it");
    place
        .run(&format!("task list --as-user {long}"))
        .await
        .assert_error(2, "shorten it");
    place
        .run(&format!("task move {NOBODY} --to {long}"))
        .await
        .assert_error(2, "shorten it");
}

#[test]
fn a_demo_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    run(&["demo", "--input", empty]).assert_error(2, "0 files");
    run(&["demo", "--input", "/absent"]).assert_error(2, "/absent");
    run(&["demo", "--prefix", "peerwork_"]).assert_error(2, "prefix of its own");
    run(&["demo", "--nodes", "2"]).assert_error(2, "--nodes");
    run(&["demo", "--database-url", "oracle:x"]).assert_error(2, "oracle");
}

#[test]
fn help_is_no_error() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert!(help.out.contains("Exit codes:"));
    let nothing = run(&[]);
    assert_eq!((nothing.code, nothing.out.as_str()), (2, ""));
    assert!(run(&["task", "wait", "--help"]).out.contains("--until"));
    assert!(run(&["--version"]).out.starts_with("peerwork "));
}
