//! The work of the demo: who wants what, and the tasks that come of it.

use super::FILES_MIN;
use super::digest::{self, Digest};
use super::matrix::{Factors, Matrix};
use super::stage::Stage;
use super::subtrees::{Subtree, divide};
use anyhow::Result;
use peerwork::{Client, Handler, TaskHandle, TaskId};

/// Who wants something, and the group in which it waits.
const PEOPLE: [(&str, &str); 4] = [
    ("ann", "archive"),
    ("bob", "archive"),
    ("zoë", "nightly"),
    ("李娜", "nightly"),
];

/// How long a digest takes at least, in milliseconds: by resting before each file. Long enough for a node to be
/// stopped while it is at it.
const DIGEST_MS: u64 = 10_000;
/// The rest before each multiplication of a product, in milliseconds.
const DOT_PACE_MS: u64 = 25;

/// A digest that somebody wants.
pub(crate) struct Job {
    pub task: TaskHandle<Digest>,
    pub input: digest::Input,
    pub user: &'static str,
}

impl Job {
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// For people: whose it is, and what.
    pub fn title(&self) -> String {
        title(self.user, self.input.subtree.name())
    }
}

/// A product of matrices that somebody wants.
pub(crate) struct Product {
    pub task: TaskHandle<Matrix>,
    pub factors: Factors,
    user: &'static str,
}

impl Product {
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// For people: whose it is, and what.
    pub fn title(&self) -> String {
        title(self.user, "product")
    }
}

fn title(user: &str, what: &str) -> String {
    format!("{user}'s {what}")
}

/// All work.
pub(crate) struct Work {
    pub digests: Vec<Job>,
    pub products: Vec<Product>,
    subtrees: Vec<(Subtree, usize)>,
}

impl Work {
    /// Creates the first digests and a product. `files` are those below the input.
    pub async fn begin(
        client: &Client,
        stage: &Stage,
        files: &[String],
        digests: usize,
    ) -> Result<Self> {
        let size = |subtree: &Subtree| files.iter().filter(|file| subtree.holds(file)).count();
        let subtrees = divide(files, digests).into_iter().map(|subtree| {
            let size = size(&subtree);
            (subtree, size)
        });
        let subtrees: Vec<_> = subtrees.collect();
        let mut first = Vec::new();
        for n in 0..digests {
            first.push(job(client, stage, n, &subtrees).await?);
        }
        Ok(Self {
            digests: first,
            products: vec![product(client, stage, "max").await?],
            subtrees,
        })
    }

    /// Creates `count` more digests.
    pub async fn add(&mut self, client: &Client, stage: &Stage, count: usize) -> Result<()> {
        for _ in 0..count {
            // Other people than those who had a subtree first.
            let n = self.digests.len();
            self.digests
                .push(job(client, stage, n, &self.subtrees).await?);
        }
        Ok(())
    }

    /// Creates one more product.
    pub async fn add_product(&mut self, client: &Client, stage: &Stage) -> Result<()> {
        self.products.push(product(client, stage, "eva").await?);
        Ok(())
    }
}

async fn job(
    client: &Client,
    stage: &Stage,
    n: usize,
    subtrees: &[(Subtree, usize)],
) -> Result<Job> {
    // Where folders are few, several people want the same one.
    let (subtree, files) = &subtrees[n % subtrees.len()];
    let (user, group) = PEOPLE[(n + n / subtrees.len()) % PEOPLE.len()];
    let input = digest::Input {
        root: stage.input.clone(),
        subtree: subtree.clone(),
        sums: stage.sums(),
        pace_ms: DIGEST_MS / (*files).max(FILES_MIN) as u64,
    };
    let draft = Digest::task(input.clone()).user(user).group(group);
    Ok(Job {
        task: client.create(draft).await?,
        input,
        user,
    })
}

async fn product(client: &Client, stage: &Stage, user: &'static str) -> Result<Product> {
    let (left, right) = stage.matrices();
    let factors = Factors {
        left,
        right,
        pace_ms: DOT_PACE_MS,
    };
    let draft = Matrix::task(factors.clone()).user(user).group("maths");
    Ok(Product {
        task: client.create(draft).await?,
        factors,
        user,
    })
}
