//! What a run needs beside cargo: the packages of databases and faults, and cargo-nextest, installed where we may.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use peerwork_testbed::{Error, Faketime, Galera, MariaDb, PgBouncer, Postgres};

use crate::process;

/// Who runs the tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// A process per test, with a time limit each.
    Nextest,
    /// What cargo brings along, where nextest cannot be had.
    CargoTest,
}

/// Asks the testbed whether something is installed, and names its Debian package.
type Needed = (fn() -> Result<(), Error>, &'static str);

const DATABASES: [Needed; 2] = [
    (Postgres::installed, "postgresql"),
    (MariaDb::installed, "mariadb-server"),
];
const FAULTS: [Needed; 2] = [
    (PgBouncer::installed, "pgbouncer"),
    (Faketime::installed, "libfaketime"),
];

const GALERA: [Needed; 2] = [
    (Galera::installed_library, "galera-4"),
    (Galera::installed_copier, "rsync"),
];

/// Makes sure that both databases' programs are there.
pub fn databases() -> Result<()> {
    packages(&DATABASES)
}

/// The databases, and what tests break them with.
pub fn tests() -> Result<()> {
    packages(&[DATABASES, FAULTS].concat())
}

/// All that any fault run needs, a Galera cluster included.
pub fn fault_runs() -> Result<()> {
    packages(&[&DATABASES[..], &FAULTS, &GALERA].concat())
}

fn packages(needed: &[Needed]) -> Result<()> {
    let missing = missing_packages(needed)?;
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        bail!("install the packages {packages} (on Debian: `sudo apt-get install {packages}`)");
    }
    process::run(apt().arg("update"))?;
    process::run(
        apt()
            .args(["install", "-y", "--no-install-recommends"])
            .args(&missing),
    )?;
    match missing_packages(needed)?.as_slice() {
        [] => Ok(()),
        still => bail!(
            "apt-get installed {packages}, but {} has no programs where we look",
            still.join(" ")
        ),
    }
}

/// nextest if it is there or can be installed.
pub fn runner() -> Runner {
    let found = process::cargo(&["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_ok_and(|status| status.success()) {
        return Runner::Nextest;
    }
    let installed = process::run(&mut process::cargo(&[
        "install",
        "cargo-nextest",
        "--locked",
    ]))
    .context(
        "cargo-nextest is missing and could not be installed; cargo test runs the tests instead",
    );
    match installed {
        Ok(()) => Runner::Nextest,
        Err(error) => {
            println!("{error:#}");
            Runner::CargoTest
        }
    }
}

fn missing_packages(needed: &[Needed]) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for (installed, package) in needed {
        match installed() {
            Ok(()) => {}
            Err(error) if error.is_missing_binary() => missing.push(*package),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(missing)
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
