//! The kinds `matrix` and `dot`: a product of two matrices, every cell of it a task of its own.
//!
//! Shows how a task fans out: `run.children` creates the cells, leaves the slot while they run (on all nodes), and
//! comes back with their results. `dot` shows the smallest loop with checkpoints.

use super::digest::rest;
use peerwork::{Handler, Rules, Run, TaskError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Rows of integers, so that a comparison is exact.
pub(crate) type Rows = Vec<Vec<i64>>;

pub(crate) struct Matrix;

/// Two files of comma-separated integers, a row on each line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Factors {
    pub left: PathBuf,
    pub right: PathBuf,
    /// A rest before each multiplication, so that a person sees something.
    pub pace_ms: u64,
}

impl Handler for Matrix {
    const KIND: &'static str = "matrix";
    type Input = Factors;
    type Checkpoint = ();
    type Output = Rows;

    async fn run(&self, run: &mut Run<Self>) -> Result<Rows, TaskError> {
        let input = run.input().clone();
        let (left, right) = (read(&input.left)?, read(&input.right)?);
        let width = width(&right);
        if right.is_empty() || self::width(&left) != Some(right.len()) || width.is_none() {
            return Err(TaskError::permanent("these matrices have no product"));
        }
        let width = width.unwrap_or(0);
        let cell = |row: &Vec<i64>, column: usize| Vectors {
            left: row.clone(),
            right: right.iter().map(|row| row[column]).collect(),
            pace_ms: input.pace_ms,
        };
        let cells = left
            .iter()
            .flat_map(|row| (0..width).map(move |column| (row, column)));
        let cells = cells.map(|(row, column)| cell(row, column)).collect();
        // The first run creates the cells and leaves its slot here; a later one finds all of them over.
        let products = run.children::<Dot>("cells", cells).await?;
        let products: Vec<i64> = products.into_iter().collect::<Result<_, _>>()?;
        Ok(products.chunks(width).map(<[i64]>::to_vec).collect())
    }

    fn rules(&self) -> Rules {
        Rules {
            cleanup: false,
            ..Rules::default()
        }
    }
}

/// How wide all rows are, if they are equally wide.
fn width(rows: &Rows) -> Option<usize> {
    let width = rows.first().map_or(0, Vec::len);
    (width > 0 && rows.iter().all(|row| row.len() == width)).then_some(width)
}

fn read(path: &Path) -> Result<Rows, TaskError> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_path(path)?;
    // A row of another width, or a cell that is no integer, will be so at every try.
    let rows: Result<Rows, csv::Error> = reader.deserialize().collect();
    rows.map_err(|error| TaskError::permanent(format!("{}: {error}", path.display())))
}

pub(crate) struct Dot;

/// Two vectors of one length.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Vectors {
    left: Vec<i64>,
    right: Vec<i64>,
    pace_ms: u64,
}

/// How far it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Partial {
    next: usize,
    sum: i64,
}

impl Handler for Dot {
    const KIND: &'static str = "dot";
    type Input = Vectors;
    type Checkpoint = Partial;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        let mut at = run.checkpoint().unwrap_or_default();
        let length = run.input().left.len().min(run.input().right.len());
        while at.next < length {
            rest(run, run.input().pace_ms).await?;
            at.sum += run.input().left[at.next] * run.input().right[at.next];
            at.next += 1;
            run.progress(at.next as u64, length as u64);
            run.save(&at).await?;
        }
        Ok(at.sum)
    }

    fn rules(&self) -> Rules {
        Rules {
            cleanup: false,
            ..Rules::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_matrix_fails_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.csv");
        std::fs::write(&path, "1, 2\n3,4\n").unwrap();
        assert_eq!(read(&path).unwrap(), [[1, 2], [3, 4]]);
        for text in ["1,2\n3\n", "1,x\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(format!("{:?}", read(&path).unwrap_err()).starts_with("permanent"));
        }
    }
}
