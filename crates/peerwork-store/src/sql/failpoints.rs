//! Faults at statements, for tests: a lost connection before or after any of them, or the end of the process.
//!
//! Only with the cargo feature `failpoints`, which no release has; and then only where a plan is set.

use super::fault::{Fault, FaultSort};
use std::fmt;
use std::sync::Arc;

/// A statement that is about to be sent.
#[derive(Debug)]
pub struct Reached<'a> {
    /// What it is part of, where that is known.
    pub operation: &'static str,
    /// Its text.
    pub text: &'a str,
}

/// What becomes of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Pass,
    /// The connection is lost before it.
    LostBefore,
    /// It is carried out, and the connection is lost before the answer has come.
    LostAfter,
    /// The process ends before it.
    AbortBefore,
    /// It is carried out, and the process ends.
    AbortAfter,
}

/// Decides the fate of each statement. Clones share the plan.
#[derive(Clone)]
pub struct Failpoints(Arc<dyn Fn(Reached<'_>) -> Fate + Send + Sync>);

impl Failpoints {
    /// A plan.
    pub fn new(plan: impl Fn(Reached<'_>) -> Fate + Send + Sync + 'static) -> Self {
        Self(Arc::new(plan))
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failpoints")
    }
}

/// Carries out a statement as its fate wants it.
pub(crate) async fn around<T>(
    failpoints: Option<&Failpoints>,
    reached: Reached<'_>,
    statement: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let Some(Failpoints(plan)) = failpoints else {
        return statement.await;
    };
    let lost = || Fault::new(FaultSort::Lost, "the connection was lost at a failpoint");
    match plan(reached) {
        Fate::Pass => statement.await,
        Fate::LostBefore => Err(lost()),
        Fate::LostAfter => {
            statement.await?;
            Err(lost())
        }
        Fate::AbortBefore => std::process::abort(),
        Fate::AbortAfter => {
            let _ = statement.await;
            std::process::abort()
        }
    }
}
