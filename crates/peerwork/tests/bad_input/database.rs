//! A database that is not there, or is none.

use peerwork::{Client, Database, Error, Node, Settings};

/// A port of the loopback at which nobody listens.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn refused(url: &str) -> Error {
    match Database::connect(url).await {
        Ok(_) => panic!("{url} is there"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_transient_error_without_the_password() {
    for scheme in ["postgres", "mysql"] {
        let url = format!("{scheme}://ann:s3cr3t@127.0.0.1:{}/jobs", closed_port());
        let error = refused(&url).await;
        assert!(error.is_transient(), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("127.0.0.1") && !text.contains("s3cr3t"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_database_that_the_server_does_not_have_is_named() {
    for url in [
        peerwork_testbed::postgres_url(),
        peerwork_testbed::mysql_url(),
    ] {
        let (server, _) = url.rsplit_once('/').unwrap();
        let error = refused(&format!("{server}/no_such_database")).await;
        assert!(!error.is_schema(), "{error:?}");
        assert!(error.to_string().contains("no_such_database"), "{error}");
    }
}

#[tokio::test]
async fn a_url_that_names_no_database_is_invalid() {
    for url in ["", "jobs.db", "oracle://h/jobs", "http://localhost:5432"] {
        let error = refused(url).await;
        assert!(error.is_invalid(), "{url:?}: {error:?}");
    }
    let error = refused("oracle://h/jobs").await.to_string();
    for known in ["sqlite", "postgres", "mysql"] {
        assert!(error.contains(known), "{error}");
    }
}

#[tokio::test]
async fn a_sqlite_database_in_memory_is_refused_and_says_why() {
    for url in [
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite:x?mode=memory",
    ] {
        let error = refused(url).await;
        assert!(error.is_invalid(), "{url}: {error:?}");
        assert!(error.to_string().contains("use a file"), "{error}");
    }
    // Also in a pool of the caller's; it is said when the pool is used.
    let pool = sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap();
    assert!(Client::connect(&pool).await.err().unwrap().is_invalid());
    let node = Node::builder(&pool).handle("k", |n: u8| async move { Ok(n) });
    assert!(node.start().await.err().unwrap().is_invalid());
}

#[tokio::test]
async fn a_file_that_is_no_database_or_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter.txt");
    std::fs::write(&file, "Dear Sir or Madam, ".repeat(1_000)).unwrap();
    let letter = std::fs::read(&file).unwrap();
    let url = format!("sqlite:{}", file.display());
    let error = match Database::connect(&url).await {
        Ok(database) => Client::connect(database).await.err().unwrap(),
        Err(error) => error,
    };
    assert!(error.to_string().contains("database"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), letter);
    let nowhere = folder.path().join("no such folder/tasks.db");
    let error = refused(&format!("sqlite:{}", nowhere.display())).await;
    assert!(error.to_string().contains("no such folder"), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_be_part_of_sql_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    for settings in [
        Settings::default().with_prefix("a; drop table task; --"),
        Settings::default().with_prefix("Ünïcode"),
        Settings::default().with_schema("only_postgres_has_them"),
    ] {
        let refused = Database::connect_with(&url, settings).await;
        assert!(refused.err().unwrap().is_invalid());
    }
}
