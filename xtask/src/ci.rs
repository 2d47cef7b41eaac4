//! `cargo xtask ci`: what a pull request has to pass.

use anyhow::Result;

use crate::phases::Phases;
use crate::process::{self, cargo};
use crate::{test, tidy};

/// Runs the quick checks first, then everything that `test` runs.
pub fn run() -> Result<()> {
    let mut phases = Phases::new();
    phases.run("fmt", None, || {
        process::run(&mut cargo(&["fmt", "--all", "--check"]))
    });
    phases.run("tidy", None, tidy::run);
    phases.run("clippy", None, || {
        process::run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ]))
    });
    phases.run("docs", None, || {
        process::run(
            cargo(&["doc", "--workspace", "--all-features", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    });
    test::run_in(&mut phases, &[]);
    phases.finish()
}
