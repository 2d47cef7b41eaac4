//! The examples and the demo: which there are, and how each is run. What exists is run; nothing is listed by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use peerwork_testbed::Database;

use crate::interrupt;
use crate::process::run_bounded;
use crate::servers::Servers;

/// Examples that take a database's URL as their argument and are run once per database.
const PER_DATABASE: [&str; 1] = ["transactional_create"];

/// An example shows one topic; it has to end by itself, and soon.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(60);
/// The demo promises about a minute, in release.
const DEMO_LIMIT: Duration = Duration::from_secs(180);
/// Enough of a failed program's output to see why.
const FAILURE_LINES: usize = 40;
/// The demo ends with a summary that a reader of the run wants.
const DEMO_SUMMARY_LINES: usize = 12;

/// Which database a program is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// What it does when nobody says anything: SQLite.
    Default,
    Sqlite,
    Server(Database),
}

#[derive(Debug, PartialEq, Eq)]
struct Program {
    name: String,
    binary: PathBuf,
    on: On,
}

/// Runs every example of the crate `peerwork`.
pub fn run_examples(target: &Path, servers: &Servers) -> Result<()> {
    let names = example_names(&crate::root().join("crates/peerwork/examples"))?;
    let programs = names
        .iter()
        .flat_map(|name| example(name, &target.join("debug/examples")));
    run_all(programs, EXAMPLE_LIMIT, 0, target, |program, scratch| {
        let mut command = Command::new(&program.binary);
        command.args(url_of(program, servers, scratch)?);
        Ok(command)
    })
}

/// Runs the demo on every database.
pub fn run_demo(target: &Path, servers: &Servers) -> Result<()> {
    if !crate::root()
        .join("crates/peerwork-cli/src/main.rs")
        .exists()
    {
        println!("the peerwork binary has no main.rs yet");
        return Ok(());
    }
    let databases = [
        On::Default,
        On::Server(Database::Postgres),
        On::Server(Database::MariaDb),
    ];
    let programs = databases.map(|on| Program {
        name: format!("demo{}", suffix(on)),
        binary: target.join("debug/peerwork"),
        on,
    });
    let programs = programs.into_iter();
    run_all(
        programs,
        DEMO_LIMIT,
        DEMO_SUMMARY_LINES,
        target,
        |program, scratch| {
            let mut command = Command::new(&program.binary);
            command.arg("demo");
            if let Some(url) = url_of(program, servers, scratch)? {
                command.args(["--database-url", &url]);
            }
            Ok(command)
        },
    )
}

/// Runs them one by one; all of them, even after a failure. Of one that works, the last `shown` lines are printed.
fn run_all(
    programs: impl Iterator<Item = Program>,
    limit: Duration,
    shown: usize,
    target: &Path,
    command: impl Fn(&Program, &Path) -> Result<Command>,
) -> Result<()> {
    let logs = target.join("xtask");
    fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
    // Temporary files of programs that were ended go with it.
    let scratch = tempfile::tempdir().context("create a temporary directory")?;
    let mut failed = Vec::new();
    for program in programs {
        if interrupt::requested() {
            bail!("interrupted");
        }
        let log = logs.join(format!("{}.log", program.name));
        let started = Instant::now();
        let result = command(&program, scratch.path()).and_then(|mut command| {
            command
                .current_dir(crate::root())
                .env("TMPDIR", scratch.path())
                // A developer's own database is not a playground.
                .env_remove("PEERWORK_DATABASE_URL");
            run_bounded(&mut command, limit, &log)
        });
        let took = started.elapsed().as_secs_f64();
        let (verdict, lines) = match result {
            Ok(()) => ("ok".to_owned(), shown),
            Err(error) => (format!("FAILED: {error:#}"), FAILURE_LINES),
        };
        println!(
            "{:<32} {took:>6.1} s  {verdict}{}",
            program.name,
            tail(&log, lines)
        );
        if verdict != "ok" {
            failed.push(program.name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "{}; their output is in {}",
        failed.join(", "),
        logs.display()
    )
}

fn example(name: &str, folder: &Path) -> Vec<Program> {
    let databases: &[On] = match PER_DATABASE.contains(&name) {
        true => &[
            On::Sqlite,
            On::Server(Database::Postgres),
            On::Server(Database::MariaDb),
        ],
        false => &[On::Default],
    };
    let program = |on: &On| Program {
        name: format!("{name}{}", suffix(*on)),
        binary: folder.join(name),
        on: *on,
    };
    databases.iter().map(program).collect()
}

fn suffix(on: On) -> &'static str {
    match on {
        On::Default => "",
        On::Sqlite => "_on_sqlite",
        On::Server(Database::Postgres) => "_on_postgres",
        On::Server(Database::MariaDb) => "_on_mariadb",
    }
}

fn url_of(program: &Program, servers: &Servers, scratch: &Path) -> Result<Option<String>> {
    match program.on {
        On::Default => Ok(None),
        On::Sqlite => {
            let file = scratch.join(&program.name).with_extension("db");
            Ok(Some(format!("sqlite:{}?mode=rwc", file.display())))
        }
        On::Server(database) => servers.fresh_url(database, &program.name).map(Some),
    }
}

/// `name.rs` and `name/main.rs`, as cargo finds them; none where there is no folder.
fn example_names(folder: &Path) -> Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in folder
        .read_dir()
        .with_context(|| format!("read {}", folder.display()))?
    {
        let path = entry?.path();
        let is_example =
            path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").exists();
        if let (true, Some(stem)) = (is_example, path.file_stem().and_then(|stem| stem.to_str())) {
            names.push(stem.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Each line with its line break before it.
fn tail(log: &Path, count: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(count)..];
    last.iter().flat_map(|line| ["\n    ", line]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_found_as_cargo_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            example_names(&folder.path().join("absent"))
                .unwrap()
                .is_empty()
        );
        fs::create_dir(folder.path().join("matrix")).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        for file in ["hello.rs", "matrix/main.rs", "data/a.csv", "README.md"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(example_names(folder.path()).unwrap(), ["hello", "matrix"]);
    }

    #[test]
    fn an_example_on_databases_is_run_on_all_three() {
        let names = |name| {
            example(name, Path::new(""))
                .into_iter()
                .map(|program| program.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("hello"), ["hello"]);
        assert_eq!(
            names("transactional_create"),
            [
                "transactional_create_on_sqlite",
                "transactional_create_on_postgres",
                "transactional_create_on_mariadb"
            ]
        );
    }
}
