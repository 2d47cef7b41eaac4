//! The testbed keeps its own promises, on both servers.

use std::path::Path;
use std::process::{Command, Stdio};

use peerwork_testbed::{Database, Error, MariaDb, Options, Postgres, Server, SharedServers};

type Start = fn(&Options) -> Result<Server, Error>;

fn a_killed_server_restarts_with_its_data(start: Start) {
    let mut server = start(&Options::default()).unwrap();
    let (url, port, first) = (server.url(), server.port(), server.pid());
    server.query("create table kept (n int)").unwrap();
    server.query("insert into kept values (42)").unwrap();

    server.kill().unwrap();
    assert_eq!(server.pid(), None);
    assert!(
        server.query("select n from kept").is_err(),
        "a killed server answers"
    );

    server.restart().unwrap();
    assert_eq!(server.query("select n from kept").unwrap(), "42");
    assert_eq!((server.url(), server.port()), (url, port));
    assert_ne!(server.pid(), first);
}

#[test]
fn a_killed_postgres_restarts_with_its_data() {
    a_killed_server_restarts_with_its_data(Postgres::start);
}

#[test]
fn a_killed_mariadb_restarts_with_its_data() {
    a_killed_server_restarts_with_its_data(MariaDb::start);
}

fn a_dropped_server_leaves_nothing(start: Start) {
    let server = start(&Options::default()).unwrap();
    let (pid, directory) = (server.pid().unwrap(), server.directory().to_owned());
    assert!(directory.exists());
    drop(server);
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "server {pid} still runs"
    );
    assert!(
        !directory.exists(),
        "{} is still there",
        directory.display()
    );
}

#[test]
fn a_dropped_postgres_leaves_nothing() {
    a_dropped_server_leaves_nothing(Postgres::start);
}

#[test]
fn a_dropped_mariadb_leaves_nothing() {
    a_dropped_server_leaves_nothing(MariaDb::start);
}

fn a_chosen_directory_is_kept_and_used_again(start: Start) {
    let home = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(home.path().join("server")),
        ..Options::durable()
    };
    let mut server = start(&options).unwrap();
    server.query("create table kept (n int)").unwrap();
    server.stop().unwrap();
    server.stop().unwrap(); // harmless
    drop(server);

    let server = start(&options).unwrap();
    assert_eq!(server.query("select count(*) from kept").unwrap(), "0");
}

#[test]
fn a_chosen_directory_is_kept_and_used_again_by_postgres() {
    a_chosen_directory_is_kept_and_used_again(Postgres::start);
}

#[test]
fn a_chosen_directory_is_kept_and_used_again_by_mariadb() {
    a_chosen_directory_is_kept_and_used_again(MariaDb::start);
}

#[test]
fn databases_are_created_by_plain_names_only() {
    let server = Postgres::start(&Options::default()).unwrap();
    let url = server.create_database("fresh_1").unwrap();
    assert!(url.ends_with("/fresh_1"), "{url}");
    for name in ["", "a b", "x; drop table y", "Ünï"] {
        assert!(
            server.create_database(name).is_err(),
            "{name:?} was accepted"
        );
    }
}

#[test]
fn settings_reach_the_server() {
    let settings = vec![(
        "default_transaction_isolation".to_owned(),
        "serializable".to_owned(),
    )];
    let postgres = Postgres::start(&Options {
        settings,
        ..Options::default()
    })
    .unwrap();
    assert_eq!(
        postgres
            .query("show default_transaction_isolation")
            .unwrap(),
        "serializable"
    );
    assert_eq!(postgres.query("show fsync").unwrap(), "off");

    let settings = vec![("lock-wait-timeout".to_owned(), "7".to_owned())];
    let mariadb = MariaDb::start(&Options {
        settings,
        ..Options::durable()
    })
    .unwrap();
    assert_eq!(
        mariadb
            .query("select @@lock_wait_timeout, @@innodb_flush_log_at_trx_commit")
            .unwrap(),
        "7\t1"
    );
}

#[test]
fn a_taken_port_is_an_error_that_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = Some(taken.local_addr().unwrap().port());
    std::thread::spawn(move || taken.incoming().for_each(drop));
    let error = Postgres::start(&Options {
        port,
        ..Options::default()
    })
    .unwrap_err();
    assert!(error.is_port_taken(), "{error}");
}

#[test]
fn shared_servers_go_on_until_they_are_stopped() {
    let target = tempfile::tempdir().unwrap();
    let server = Postgres::start(&Options::default()).unwrap();
    let mut shared = SharedServers::default();
    shared.share(target.path(), server).unwrap();

    let mut found = SharedServers::load(target.path()).unwrap();
    assert_eq!(found, shared);
    assert_eq!(found.servers[0].database, Database::Postgres);
    assert!(found.servers[0].is_up());

    let gone = found.servers[0].clone();
    assert_eq!(found.stop_all(target.path()).unwrap(), 1);
    assert!(!gone.is_up());
    assert!(!gone.directory.exists());
    assert_eq!(
        SharedServers::load(target.path()).unwrap(),
        SharedServers::default()
    );
}

/// Set in the child of the next test, which starts a server and then is killed.
const CHILD_VAR: &str = "PEERWORK_TESTBED_CHILD";

#[test]
fn a_server_does_not_outlive_a_killed_starter() {
    let home = tempfile::tempdir().unwrap();
    if let Some(report) = std::env::var_os(CHILD_VAR) {
        let server = Postgres::start(&Options::default()).unwrap();
        let (pid, directory) = (server.pid().unwrap(), server.directory().display());
        std::fs::write(report, format!("{pid}\n{directory}\n")).unwrap();
        std::thread::park();
    }

    let report = home.path().join("report");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_server_does_not_outlive_a_killed_starter"])
        .env(CHILD_VAR, &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = poll(|| {
        std::fs::read_to_string(&report)
            .ok()
            .filter(|text| text.lines().count() == 2)
    });
    child.kill().unwrap();
    child.wait().unwrap();

    let (pid, directory) = started.trim_end().split_once('\n').unwrap();
    // The directory goes last.
    poll(|| (!Path::new(directory).exists()).then_some(()));
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(
        state.is_empty() || state.contains(") Z "),
        "server {pid} still runs: {state}"
    );
}

/// Another process' doing, with no signal to wait for.
fn poll<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "it never happened");
        std::thread::sleep(std::time::Duration::from_millis(20)); // fault: the killed process cannot signal
    }
}
