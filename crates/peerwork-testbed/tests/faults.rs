//! What the testbed adds for fault runs: a replica, a pooler, a small disk, a wrong clock.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use peerwork_testbed::{
    Error, Faketime, MariaDb, Options, PgBouncer, Postgres, Replica, Server, Tmpfs,
};

const MIB: u64 = 1024 * 1024;

#[test]
fn a_promoted_replica_lacks_what_was_acknowledged_after_it_was_cut_off() {
    let mut primary = Postgres::start(&Options::default()).unwrap();
    primary.query("create table t (n int)").unwrap();
    let replica = Replica::of(&primary, &Options::default()).unwrap();
    primary.query("insert into t values (1)").unwrap();
    replica.catch_up(&primary).unwrap();
    assert_eq!(replica.server().query("select n from t").unwrap(), "1");
    assert!(replica.server().query("insert into t values (9)").is_err());

    replica.cut_off().unwrap();
    primary.query("insert into t values (2)").unwrap();
    replica.follow().unwrap();
    replica.catch_up(&primary).unwrap();
    replica.cut_off().unwrap();
    primary.query("insert into t values (3)").unwrap();
    primary.kill().unwrap();

    let mut server = replica.promote().unwrap();
    let rows = "select string_agg(n::text, ',' order by n) from t";
    assert_eq!(server.query(rows).unwrap(), "1,2");
    server.query("insert into t values (4)").unwrap();
    server.kill().unwrap();
    server.restart().unwrap();
    assert_eq!(server.query(rows).unwrap(), "1,2,4");
}

#[test]
fn pgbouncer_gives_each_transaction_another_connection() {
    let server = Postgres::start(&Options::default()).unwrap();
    let mut bouncer = PgBouncer::start(&server, &[]).unwrap();
    assert_ne!(bouncer.url(), server.url());
    let url = bouncer.create_database("behind").unwrap();
    assert!(url.ends_with("/behind"), "{url}");
    let found = "select count(*) from pg_database where datname = 'behind'";
    assert_eq!(server.query(found).unwrap(), "1");

    // Two clients hold a transaction each: then two connections of the server are idle.
    let holds = |n: u32| {
        let mut command = Command::new("psql");
        command
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--host=127.0.0.1", "--username=postgres", "--port"])
            .args([&bouncer.port().to_string(), "postgres"])
            .args([
                "--command",
                &format!("begin; select pg_sleep(0.{n}); commit"),
            ])
            .stdout(Stdio::null());
        command.spawn().unwrap()
    };
    for mut client in [holds(2), holds(2)] {
        assert!(client.wait().unwrap().success());
    }
    // One client, three transactions.
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args(["--host=127.0.0.1", "--username=postgres", "--port"])
        .args([&bouncer.port().to_string(), "postgres"])
        .args(["--command=select pg_backend_pid()"].repeat(3))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut backends: Vec<&str> = text.lines().collect();
    assert_eq!(backends.len(), 3, "{text}");
    backends.sort_unstable();
    backends.dedup();
    assert!(backends.len() > 1, "{text}");

    bouncer.kill().unwrap();
    assert!(bouncer.query("select 1").is_err());
    bouncer.restart().unwrap();
    assert_eq!(bouncer.query("select 1").unwrap(), "1");
}

/// A small disk, unless nobody lets us have one: then the error has to say so.
fn disk(bytes: u64) -> Option<Tmpfs> {
    match Tmpfs::mount(bytes) {
        Ok(disk) => Some(disk),
        Err(error) => {
            assert!(error.is_not_permitted(), "{error}");
            assert!(error.to_string().contains("run as root"), "{error}");
            println!("{error}");
            None
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    mounts.contains(&*path.to_string_lossy())
}

#[test]
fn a_small_disk_is_full_and_has_room_again() {
    let Some(disk) = disk(MIB) else { return };
    let path = disk.path().to_owned();
    assert!(is_mounted(&path));
    let file = path.join("file");
    std::fs::write(&file, [0; 4096]).unwrap();
    disk.fill().unwrap();
    disk.fill().unwrap(); // harmless
    assert!(std::fs::write(path.join("more"), [0; 4096]).is_err());
    disk.empty().unwrap();
    disk.empty().unwrap(); // harmless
    std::fs::write(path.join("more"), [0; 4096]).unwrap();
    // Open files do not keep it.
    let _open = std::fs::File::open(&file).unwrap();
    drop(disk);
    assert!(!is_mounted(&path));
    assert!(!path.exists());
}

/// Set in the child of the next test, which mounts and then is killed.
const CHILD_VAR: &str = "PEERWORK_TESTBED_MOUNTER";

#[test]
fn a_small_disk_does_not_outlive_a_killed_starter() {
    let home = tempfile::tempdir().unwrap();
    if let Some(report) = std::env::var_os(CHILD_VAR) {
        let disk = Tmpfs::mount(MIB).unwrap();
        std::fs::write(disk.path().join("kept"), "x").unwrap();
        std::fs::write(report, disk.path().to_str().unwrap().to_owned() + "\n").unwrap();
        std::thread::park();
    }
    if disk(MIB).is_none() {
        return;
    }
    let report = home.path().join("report");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_small_disk_does_not_outlive_a_killed_starter"])
        .env(CHILD_VAR, &report)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let path = poll(|| {
        let text = std::fs::read_to_string(&report).ok()?;
        text.strip_suffix('\n').map(std::path::PathBuf::from)
    });
    assert!(is_mounted(&path));
    child.kill().unwrap();
    child.wait().unwrap();
    poll(|| (!is_mounted(&path) && !path.parent().unwrap().exists()).then_some(()));
}

fn a_server_survives_a_full_disk(
    start: fn(&Options) -> Result<Server, Error>,
    settings: &[(&str, &str)],
    bytes: u64,
) {
    let Some(disk) = disk(bytes) else { return };
    let mut server = start(&Options {
        data_dir: Some(disk.path().join("server")),
        settings: settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Options::default()
    })
    .unwrap();
    server
        .query("create table t (n int primary key, filling varchar(10000))")
        .unwrap();
    let insert = |n: u32| format!("insert into t values ({n}, repeat('x', 10000))");
    let mut kept = 0;
    while kept < 10 {
        server.query(&insert(kept)).unwrap();
        kept += 1;
    }
    disk.fill().unwrap();
    // Room that the server had reserved is used up first.
    while server.query(&insert(kept)).is_ok() {
        kept += 1;
        assert!(kept < 10_000, "the disk is never full");
    }
    disk.empty().unwrap();
    // It may have given up.
    if server.query("select 1").is_err() {
        server.restart().unwrap();
    }
    assert_eq!(
        server.query("select count(*) from t").unwrap(),
        kept.to_string()
    );
    server.query(&insert(kept)).unwrap();
}

#[test]
fn postgres_survives_a_full_disk() {
    let settings = [("max_wal_size", "32MB"), ("min_wal_size", "32MB")];
    a_server_survives_a_full_disk(Postgres::start, &settings, 96 * MIB);
}

#[test]
fn mariadb_survives_a_full_disk() {
    let settings = [
        ("innodb-log-file-size", "16M"),
        ("innodb-buffer-pool-size", "16M"),
    ];
    a_server_survives_a_full_disk(MariaDb::start, &settings, 192 * MIB);
}

fn now() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// By how many minutes a clock is wrong.
fn minutes_off(seconds: &str) -> i64 {
    let seconds: i64 = seconds.split('.').next().unwrap().trim().parse().unwrap();
    (seconds - now() + 30).div_euclid(60)
}

#[test]
fn a_process_sees_a_clock_that_is_wrong_and_jumps() {
    let clock = Faketime::new(3_600).unwrap();
    let seen = || {
        let output = Command::new("date").arg("+%s").envs(clock.env()).output();
        minutes_off(&String::from_utf8(output.unwrap().stdout).unwrap())
    };
    assert_eq!(seen(), 60);
    clock.set(-3_600).unwrap();
    assert_eq!(seen(), -60);
}

fn a_server_sees_a_clock_that_is_wrong(start: fn(&Options) -> Result<Server, Error>, time: &str) {
    let clock = Faketime::new(3_600).unwrap();
    let server = start(&Options {
        env: clock.env(),
        ..Options::default()
    })
    .unwrap();
    assert_eq!(minutes_off(&server.query(time).unwrap()), 60);
    clock.set(-3_600).unwrap();
    poll(|| (minutes_off(&server.query(time).unwrap()) == -60).then_some(()));
}

#[test]
fn postgres_sees_a_clock_that_is_wrong() {
    a_server_sees_a_clock_that_is_wrong(
        Postgres::start,
        "select extract(epoch from clock_timestamp())",
    );
}

#[test]
fn mariadb_sees_a_clock_that_is_wrong() {
    a_server_sees_a_clock_that_is_wrong(MariaDb::start, "select unix_timestamp(sysdate(6))");
}

/// Another process' doing, with no signal to wait for.
fn poll<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::sleep(Duration::from_millis(20)); // fault: another process cannot signal
    }
}
