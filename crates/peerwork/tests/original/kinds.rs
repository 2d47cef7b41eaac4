//! The two kinds of the original's tests: the dot product of two vectors, and the product of two matrices out of many.

use peerwork::{Handler, Rules, Run, TaskError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{Semaphore, watch};

/// Two vectors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vectors {
    pub a: Vec<i64>,
    pub b: Vec<i64>,
}

impl Vectors {
    /// Of this length, with elements that follow from `seed`.
    pub fn of(length: usize, seed: i64) -> Self {
        let element = |n: i64| (n * 31 + seed * 17) % 101 - 50;
        let length = length as i64;
        Self {
            a: (0..length).map(element).collect(),
            b: (length..2 * length).map(element).collect(),
        }
    }

    /// The dot product, by another way than the handler's.
    pub fn product(&self) -> i64 {
        self.a.iter().zip(&self.b).map(|(a, b)| a * b).sum()
    }
}

/// How far a dot product is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Partial {
    pub next: usize,
    pub sum: i64,
}

/// Multiplies and adds, one element at a step, and saves after each.
#[derive(Clone, Default)]
pub struct Dot {
    rules: Rules,
    /// Fails at one step in so many, never if 0.
    fails_one_in: u32,
    /// The steps that may be made, if they are counted.
    pace: Option<Arc<Semaphore>>,
    steps: watch::Sender<u32>,
    cleanups: Arc<AtomicU32>,
}

impl Dot {
    /// Fails now and then, and is not tried again by itself.
    pub fn failing_one_in(steps: u32) -> Self {
        Self {
            rules: crate::kit::never_again(),
            fails_one_in: steps,
            ..Self::default()
        }
    }

    /// Makes no step before [`makes`](Self::makes) is called.
    pub fn paced() -> Self {
        Self {
            pace: Some(Arc::new(Semaphore::new(0))),
            ..Self::default()
        }
    }

    /// Lets so many more steps be made, and waits until they are.
    pub async fn makes(&self, more: u32) {
        let mut steps = self.steps.subscribe();
        let enough = *steps.borrow() + more;
        let pace = self.pace.as_ref().expect("it is paced");
        pace.add_permits(more as usize);
        let made = steps.wait_for(|steps| *steps >= enough).await;
        made.expect("the sender is ours");
    }

    /// The cleanups that have run.
    pub fn cleanups(&self) -> u32 {
        self.cleanups.load(Ordering::SeqCst)
    }

    async fn may_step(&self, run: &Run<Self>) -> Result<(), TaskError> {
        if let Some(pace) = &self.pace {
            tokio::select! {
                permit = pace.acquire() => permit?.forget(),
                stop = run.stopping() => return Err(stop)?,
            }
        }
        Ok(())
    }
}

impl Handler for Dot {
    const KIND: &'static str = "dot";
    type Input = Vectors;
    type Checkpoint = Partial;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        let mut at = run.checkpoint().unwrap_or_default();
        while at.next < run.input().a.len() {
            self.may_step(run).await?;
            at.sum += run.input().a[at.next] * run.input().b[at.next];
            at.next += 1;
            let mut step = 0;
            self.steps.send_modify(|steps| {
                *steps += 1;
                step = *steps;
            });
            run.progress(at.next as u64, run.input().a.len() as u64);
            run.save(&at).await?;
            if self.fails_one_in > 0 && step.is_multiple_of(self.fails_one_in) {
                return Err(TaskError::new(format_args!("bad luck at step {step}")));
            }
        }
        Ok(at.sum)
    }

    async fn cleanup(&self, _: &mut Run<Self>) -> Result<(), TaskError> {
        self.cleanups.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }
}

/// Two matrices, by rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Matrices {
    pub a: Vec<Vec<i64>>,
    pub b: Vec<Vec<i64>>,
}

impl Matrices {
    /// Square ones, with elements that follow from the place.
    pub fn square(size: usize) -> Self {
        let element = |n: usize| (n as i64 * 37) % 23 - 11;
        let rows = |from: usize| {
            (0..size)
                .map(|row| (0..size).map(|n| element(from + row * size + n)).collect())
                .collect()
        };
        Self {
            a: rows(0),
            b: rows(1_000),
        }
    }

    fn column(&self, n: usize) -> Vec<i64> {
        self.b.iter().map(|row| row[n]).collect()
    }

    /// Their product, in the plainest way.
    pub fn product(&self) -> Vec<Vec<i64>> {
        let columns = self.b[0].len();
        let mut product = vec![vec![0; columns]; self.a.len()];
        for (i, row) in product.iter_mut().enumerate() {
            for (j, cell) in row.iter_mut().enumerate() {
                for (k, a) in self.a[i].iter().enumerate() {
                    *cell += a * self.b[k][j];
                }
            }
        }
        product
    }
}

/// Has a dot product made for each cell, as a task of its own.
pub struct Matrix;

impl Handler for Matrix {
    const KIND: &'static str = "matrix";
    type Input = Matrices;
    type Checkpoint = ();
    type Output = Vec<Vec<i64>>;

    async fn run(&self, run: &mut Run<Self>) -> Result<Vec<Vec<i64>>, TaskError> {
        let input = run.input();
        let columns: Vec<_> = (0..input.b[0].len()).map(|n| input.column(n)).collect();
        let width = columns.len();
        let cells = input.a.iter().flat_map(|row| {
            columns.iter().map(|column| Vectors {
                a: row.clone(),
                b: column.clone(),
            })
        });
        let cells = cells.collect();
        let cells: Vec<i64> = run
            .children::<Dot>("cell", cells)
            .await?
            .into_iter()
            .collect::<Result<_, _>>()?;
        Ok(cells.chunks(width).map(<[i64]>::to_vec).collect())
    }
}
