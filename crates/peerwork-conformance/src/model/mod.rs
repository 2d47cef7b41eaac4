//! Random lives: what the store under test makes of them, compared with the reference and with the pure rules.
//!
//! `PROPTEST_CASES` sets how many, `PROPTEST_RNG_SEED` repeats a run; a failure names its seed and the smallest
//! sequence that shows it.

mod duel;
mod operation;
mod predicates;
mod sequence;

use crate::Backend;
use futures_util::FutureExt;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;

/// Every answer to every call, in any order, is the reference's; so is everything that is then there.
pub fn every_answer_is_the_references(backend: Backend) {
    sequence::compare(backend);
}

/// What a store claims, promotes, shows and sweeps is exactly what the pure rules name.
pub fn what_a_store_takes_is_what_decide_says(backend: Backend) {
    predicates::compare(backend);
}

/// Runs `test` on random values, each with a store of its own, and shrinks what fails.
fn check<S, T>(backend: Backend, cases: u32, values: &S, test: T)
where
    S: Strategy,
    S::Value: Debug,
    T: AsyncFn(&crate::Fixture, S::Value),
{
    let mut config = Config {
        max_shrink_iters: 100_000,
        max_shrink_time: SHRINKING_MS_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => uuid::Uuid::now_v7().as_u64_pair().1,
    };
    config.rng_seed = RngSeed::Fixed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let outcome = TestRunner::new(config).run(values, |value| {
        runtime.block_on(async {
            let f = backend.fixture().await;
            let outcome = AssertUnwindSafe(test(&f, value)).catch_unwind().await;
            match &outcome {
                Ok(()) => f.close().await,
                Err(_) => f.discard().await,
            }
            outcome.map_err(|panic| TestCaseError::fail(text_of(&*panic)))
        })
    });
    if let Err(failure) = outcome {
        panic!("PROPTEST_RNG_SEED={seed} shows it again: {failure}");
    }
}

/// How long a failure is made smaller: the runner of tests ends a test that takes three minutes, and what it has found
/// with it.
const SHRINKING_MS_MAX: u32 = 60_000;

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a text")
        .to_owned()
}
