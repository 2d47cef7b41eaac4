//! `cargo xtask galera`: the testbed's tests of a Galera cluster, which are outside of `test`: they need more packages.

use anyhow::Result;

use crate::process::{self, cargo};
use crate::tools;

/// Installs what is missing where it can, and runs them.
pub fn run() -> Result<()> {
    tools::fault_runs()?;
    process::run(&mut cargo(&[
        "test",
        "--package",
        "peerwork-testbed",
        "--test",
        "galera",
    ]))
}
