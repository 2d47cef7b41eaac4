//! Protocols that are wrong on purpose: of each the checker must find the promise that it breaks.

use crate::configurations::{
    CRASH_AND_ERROR, CUT, CUT_THEN_ERROR, DRAIN_AND_ERROR, FAIL_OVER, FREEZE, JUMP, PLAIN,
    REGISTRATION,
};
use crate::protocol::Protocol;
use crate::{Mutant, Promise};
use stateright::{Checker, HasDiscoveries, Model};

fn breaks(mutant: Mutant, promise: Promise, protocol: Protocol) {
    let protocol = Protocol {
        mutant: Some(mutant),
        expects: &[],
        ..protocol
    };
    let found = HasDiscoveries::AnyOf([promise.name()].into());
    let checker = protocol
        .checker()
        .threads(2)
        .finish_when(found)
        .spawn_bfs()
        .join();
    let path = checker.discovery(promise.name());
    let path = path.unwrap_or_else(|| panic!("{mutant:?} does not break {promise:?}"));
    println!(
        "{mutant:?} breaks {promise:?} after {} states:",
        checker.unique_state_count()
    );
    for step in path.into_actions() {
        println!("  {step:?}");
    }
}

#[test]
fn without_the_run_id_in_the_fence_a_zombie_writes() {
    breaks(Mutant::NoRunId, Promise::WritesOfTheHolder, FREEZE);
}

#[test]
fn with_the_attempt_as_the_fence_a_zombie_writes_after_a_fail_over() {
    breaks(
        Mutant::AttemptAsFence,
        Promise::WritesOfTheHolder,
        FAIL_OVER,
    );
}

#[test]
fn without_a_fence_a_finish_takes_the_task_from_another() {
    breaks(
        Mutant::FinishWithoutFence,
        Promise::WritesOfTheHolder,
        FREEZE,
    );
}

#[test]
fn without_a_fence_a_finish_changes_what_is_final() {
    breaks(Mutant::FinishWithoutFence, Promise::FinalStaysFinal, FREEZE);
}

#[test]
fn without_watching_a_clock_that_jumps_kills_the_living() {
    breaks(Mutant::DeclaredByExpiry, Promise::NoFalseTakeover, JUMP);
}

#[test]
fn without_comparing_the_beat_whoever_comes_back_is_killed() {
    breaks(
        Mutant::DeclaredWithoutCompare,
        Promise::NoFalseTakeover,
        CUT_THEN_ERROR,
    );
}

#[test]
fn with_one_sweep_at_the_declaration_its_error_strands_tasks() {
    breaks(
        Mutant::EdgeTriggeredSweep,
        Promise::NothingStaysHeld,
        CRASH_AND_ERROR,
    );
}

#[test]
fn with_sweeps_for_the_declared_only_a_late_claim_of_a_drained_node_is_stranded() {
    breaks(
        Mutant::SweepsOnlyForTheDeclared,
        Promise::NothingStaysHeld,
        DRAIN_AND_ERROR,
    );
}

#[test]
fn with_the_row_deleted_before_the_handlers_ended_two_of_them_run() {
    breaks(Mutant::RowDeletedFirst, Promise::NoOverlap, DRAIN_AND_ERROR);
}

#[test]
fn without_a_fence_of_its_own_a_node_works_past_its_lease() {
    breaks(Mutant::NoSelfFence, Promise::StepsWithinLease, CUT);
}

#[test]
fn without_a_fence_of_its_own_a_node_works_beside_its_successor() {
    breaks(Mutant::NoSelfFence, Promise::NoOverlap, CUT);
}

#[test]
fn with_a_registration_counted_from_its_repetition_a_node_works_past_its_lease() {
    breaks(
        Mutant::RegisteredFromTheLastSending,
        Promise::StepsWithinLease,
        REGISTRATION,
    );
}

#[test]
fn without_comparing_what_was_acknowledged_a_lost_history_goes_unnoticed() {
    breaks(
        Mutant::BeatWithoutComparing,
        Promise::LostHistoryIsNoticed,
        FAIL_OVER,
    );
}

#[test]
fn a_claim_of_what_another_holds_gives_a_task_two_holders() {
    breaks(Mutant::ClaimOfTheHeld, Promise::OneHolder, PLAIN);
}
