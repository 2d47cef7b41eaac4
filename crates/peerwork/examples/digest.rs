//! A task that goes on where it was stopped: the SHA-256 of every file below a folder.
//!
//!     cargo run -p peerwork --example digest [FOLDER]

use peerwork::{Database, Handler, Node, Run, TaskError};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

/// The SHA-256 of each file, in hexadecimal.
type Sums = BTreeMap<PathBuf, String>;

struct Digest;

impl Handler for Digest {
    const KIND: &'static str = "digest";
    type Input = PathBuf;
    type Checkpoint = Sums;
    type Output = Sums;

    async fn run(&self, run: &mut Run<Self>) -> Result<Sums, TaskError> {
        let files = files_below(run.input())?;
        let mut sums = run.checkpoint().unwrap_or_default();
        println!("attempt {} starts at file {}", run.attempt(), sums.len());
        for file in &files {
            if !sums.contains_key(file) {
                sums.insert(file.clone(), sum(&tokio::fs::read(file).await?));
                run.progress(sums.len() as u64, files.len() as u64);
                run.save(&sums).await?;
            }
        }
        Ok(sums)
    }
}

fn sum(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn files_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => {} // a link may lead in circles
            }
        }
    }
    Ok(files)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let input = std::env::args().nth(1).map(PathBuf::from);
    let input = input.unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));

    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    let database = Database::connect(&url).await?;
    let node = || Node::builder(&database).register(Digest).start();

    // The first node is stopped as soon as something has been saved ..
    let first = node().await?;
    let task = first.client().create(Digest::task(input.clone())).await?;
    let (id, mut changes) = (task.id(), task.watch());
    while changes.next().await?.progress.is_none() {}
    first.drain().await;

    // .. and the second goes on from there.
    let second = node().await?;
    let task = second.client().task_of::<Digest>(id).await?;
    let sums = task.result().await?;
    for (path, sum) in &sums {
        println!("{sum}  {}", path.display());
    }
    second.drain().await;

    assert_eq!(sums.len(), files_below(&input)?.len());
    for (path, expected) in sums {
        assert_eq!(sum(&std::fs::read(path)?), expected);
    }
    Ok(())
}
