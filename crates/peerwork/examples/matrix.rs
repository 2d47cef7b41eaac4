//! A task that fans out: the product of two matrices, each a CSV file, out of a dot product for every cell. It survives
//! that its node is stopped in the middle.
//!
//!     cargo run -p peerwork --example matrix [A.csv B.csv]

use peerwork::{Database, Handler, Node, Run, State, TaskError};
use serde::{Deserialize, Serialize};
use std::error::Error;

type Rows = Vec<Vec<i64>>;

/// One cell: a row of the first matrix and a column of the second.
struct Dot;

impl Handler for Dot {
    const KIND: &'static str = "dot";
    type Input = (Vec<i64>, Vec<i64>);
    type Checkpoint = ();
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        let (row, column) = run.input();
        Ok(row.iter().zip(column).map(|(a, b)| a * b).sum())
    }
}

struct Matrix;

#[derive(Serialize, Deserialize)]
struct Factors {
    a: Rows,
    b: Rows,
}

impl Handler for Matrix {
    const KIND: &'static str = "matrix";
    type Input = Factors;
    type Checkpoint = ();
    type Output = Rows;

    async fn run(&self, run: &mut Run<Self>) -> Result<Rows, TaskError> {
        let Factors { a, b } = run.input();
        let width = b[0].len();
        let column = |n: usize| b.iter().map(|row| row[n]).collect::<Vec<_>>();
        let cells = a
            .iter()
            .flat_map(|row| (0..width).map(|n| (row.clone(), column(n))))
            .collect();
        // Leaves here, without holding a slot, until the children are over; the next run comes here again and has
        // their results.
        let cells = run.children::<Dot>("cells", cells).await?;
        let cells: Vec<i64> = cells.into_iter().collect::<Result<_, _>>()?;
        Ok(cells.chunks(width).map(<[i64]>::to_vec).collect())
    }
}

fn read_matrix(path: &str) -> Result<Rows, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let row = |line: &str| line.split(',').map(|n| n.trim().parse()).collect();
    Ok(text.lines().map(row).collect::<Result<_, _>>()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
    let mut paths = std::env::args().skip(1);
    let mut path = |default| paths.next().unwrap_or(format!("{data}/{default}"));
    let (a, b) = (read_matrix(&path("a.csv"))?, read_matrix(&path("b.csv"))?);
    let cell = |i: usize, j: usize| (0..b.len()).map(|k| a[i][k] * b[k][j]).sum();
    let row = |i| (0..b[0].len()).map(|j| cell(i, j)).collect();
    let expected: Rows = (0..a.len()).map(row).collect();

    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}/tasks.db", folder.path().display());
    let database = Database::connect(&url).await?;
    let node = || Node::builder(&database).register(Matrix).register(Dot);

    let first = node().start().await?;
    let draft = Matrix::task(Factors { a, b });
    let task = first.client().create(draft).await?;
    task.until(State::Waiting).await?;
    println!("the first node ends: {:?}", first.drain().await);

    let second = node().start().await?;
    let task = second.client().task_of::<Matrix>(task.id()).await?;
    let product = task.result().await?;
    for row in &product {
        println!("{row:?}");
    }
    assert_eq!(product, expected);
    second.drain().await;
    Ok(())
}
