//! Sequences of operations, on the store under test and on the reference.
//!
//! Generating and shrinking are `proptest-state-machine`'s. Its runner is not used: it is not async, and it gets its
//! system under test from a type, not from a value. The model that it needs is a mere count of what there is to pick
//! from, because the reference itself plays against the store, step by step.

use super::duel::Duel;
use super::operation::{Op, any_op};
use crate::Backend;
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use std::sync::atomic::Ordering;

/// Sequences of a run: as many as fit in the same time.
fn cases(backend: Backend) -> u32 {
    match backend {
        Backend::Memory => 16,
        Backend::Sqlite => 128,
        Backend::Postgres | Backend::PostgresPlain | Backend::MySql => 32,
    }
}

/// Operations of a sequence at most.
const STEPS_MAX: usize = 120;

pub fn compare(backend: Backend) {
    super::check(
        backend,
        cases(backend),
        &Picks::sequential_strategy(1..STEPS_MAX),
        async |f, (_, ops, seen)| {
            let mut duel = Duel::new(f).await;
            for op in ops {
                // What was not reached is cut off first when the sequence is made shorter.
                if let Some(seen) = &seen {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                duel.step(op).await;
            }
            duel.look_into_everything().await;
        },
    );
}

/// What there is to pick from.
#[derive(Clone, Debug, Default)]
struct Picks {
    tasks: bool,
    runs: bool,
}

impl ReferenceStateMachine for Picks {
    type State = Self;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(picks: &Self) -> BoxedStrategy<Op> {
        any_op(picks.tasks, picks.runs)
    }

    fn apply(picks: Self, op: &Op) -> Self {
        Self {
            tasks: picks.tasks || matches!(op, Op::Create(_) | Op::CreateAndClaim { .. }),
            runs: picks.runs || matches!(op, Op::Claim { .. } | Op::CreateAndClaim { .. }),
        }
    }
}
