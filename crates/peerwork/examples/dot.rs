//! A long computation that saves as it goes: the dot product of two vectors, each a CSV file.
//!
//!     cargo run -p peerwork --example dot [U.csv V.csv]

use peerwork::{Database, Handler, Node, Run, State, TaskError};
use serde::{Deserialize, Serialize};
use std::error::Error;

struct Dot;

#[derive(Serialize, Deserialize)]
struct Vectors {
    u: Vec<i64>,
    v: Vec<i64>,
}

#[derive(Default, Serialize, Deserialize)]
struct Partial {
    next: usize,
    sum: i64,
}

impl Handler for Dot {
    const KIND: &'static str = "dot";
    type Input = Vectors;
    type Checkpoint = Partial;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        // What an earlier run has saved, on whatever node that was.
        let mut at = run.checkpoint().unwrap_or_default();
        let length = run.input().u.len();
        if length != run.input().v.len() {
            return Err(TaskError::permanent("the vectors differ in length"));
        }
        while at.next < length {
            at.sum += run.input().u[at.next] * run.input().v[at.next];
            at.next += 1;
            run.progress(at.next as u64, length as u64);
            // Durable when it returns; an error once somebody has paused or deleted the task, or drains its node.
            run.save(&at).await?;
        }
        Ok(at.sum)
    }
}

fn read_vector(path: &str) -> Result<Vec<i64>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let numbers = text.split([',', '\n']).map(str::trim);
    let numbers = numbers.filter(|number| !number.is_empty());
    Ok(numbers.map(str::parse).collect::<Result<_, _>>()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
    let (u, v) = match &args[..] {
        [u, v] => (read_vector(u)?, read_vector(v)?),
        [] => (
            read_vector(&format!("{data}/u.csv"))?,
            read_vector(&format!("{data}/v.csv"))?,
        ),
        _ => return Err("usage: dot [U.csv V.csv]".into()),
    };
    let expected: i64 = u.iter().zip(&v).map(|(u, v)| u * v).sum();

    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    let node = Node::builder(Database::connect(&url).await?);
    let node = node.register(Dot).start().await?;

    let task = node.client().create(Dot::task(Vectors { u, v })).await?;
    let mut changes = task.watch();
    loop {
        let record = changes.next().await?;
        if let Some(progress) = record.progress {
            println!(
                "{}: {} of {}",
                record.state(),
                progress.done,
                progress.total
            );
        }
        if matches!(record.state(), State::Finished | State::Failed) {
            break;
        }
    }
    let product = task.result().await?;
    println!("u * v = {product}");
    assert_eq!(product, expected);

    node.drain().await;
    Ok(())
}
