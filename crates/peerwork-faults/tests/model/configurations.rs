//! The protocol as it is, under all that a configuration's faults can do to it.

use crate::Faults;
use crate::Happened::*;
use crate::protocol::Protocol;
use stateright::{Checker, Model};

const NONE: Faults = Faults {
    crashes: 0,
    starts: 0,
    freezes: 0,
    cuts: 0,
    drains: 0,
    errors: 0,
    jumps: 0,
    failovers: 0,
};

/// Faults begin in the first two ticks; then there is time for a death, a rescue and a whole run.
pub const PLAIN: Protocol = Protocol {
    faults: NONE,
    faults_until: 1,
    errors_from: 0,
    errors_until: 1,
    claim_ticks: 5,
    wire_ticks: 2,
    ends_at: 8,
    registered: 2,
    faulty: 1,
    slots: 1,
    lingers: [true, false],
    saves: [true, false],
    expects: &[],
    mutant: None,
};

pub const FREEZE: Protocol = Protocol {
    faults: Faults { freezes: 1, ..NONE },
    expects: &[
        DeclaredDead,
        DeclarationLost,
        HeardOfItsDeath,
        Overlap,
        PollRefused,
        Rescued,
        SelfFenced,
        ZombieRefused,
    ],
    ..PLAIN
};

pub const CUT: Protocol = Protocol {
    faults: Faults { cuts: 1, ..NONE },
    expects: &[
        DeclaredDead,
        DeclarationLost,
        HeardOfItsDeath,
        Rescued,
        SelfFenced,
    ],
    ..PLAIN
};

pub const CRASH_AND_ERROR: Protocol = Protocol {
    faults: Faults {
        crashes: 1,
        errors: 1,
        ..NONE
    },
    expects: &[
        BeatFoundDone,
        ClaimedByTheDead,
        DeclaredDead,
        FinishFoundDone,
        Rescued,
        UnknownClaimFound,
    ],
    ..PLAIN
};

/// A process that crashes, and another in its place.
const RESTART: Protocol = Protocol {
    faults: Faults {
        crashes: 1,
        starts: 1,
        ..NONE
    },
    expects: &[DeclaredDead, Rescued],
    ..PLAIN
};

/// A node that registers, with a call that fails, and is cut off.
pub const REGISTRATION: Protocol = Protocol {
    faults: Faults {
        cuts: 1,
        errors: 1,
        ..NONE
    },
    faults_until: 2,
    registered: 1,
    lingers: [false, false],
    expects: &[DeclaredDead, Rescued],
    ..PLAIN
};

/// A node that is cut off, and then a call that fails when it comes back or is declared dead.
pub const CUT_THEN_ERROR: Protocol = Protocol {
    faults: Faults {
        cuts: 1,
        errors: 1,
        ..NONE
    },
    errors_from: 4,
    errors_until: 5,
    ends_at: 11,
    lingers: [false, false],
    expects: &[DeclarationLost, Rescued],
    ..PLAIN
};

pub const DRAIN_AND_ERROR: Protocol = Protocol {
    faults: Faults {
        drains: 1,
        errors: 1,
        ..NONE
    },
    expects: &[ClaimedByTheDead, NotRetired, UnknownClaimFound],
    ..PLAIN
};

pub const JUMP: Protocol = Protocol {
    faults: Faults {
        jumps: 1,
        cuts: 1,
        ..NONE
    },
    expects: &[DeclaredDead, SelfFenced],
    ..PLAIN
};

pub const FAIL_OVER: Protocol = Protocol {
    faults: Faults {
        failovers: 1,
        ..NONE
    },
    lingers: [false, false],
    expects: &[HistoryFoundLost, Overlap, ZombieRefused, UnknownClaimFound],
    ..PLAIN
};

fn check(protocol: Protocol) {
    let faults = protocol.faults;
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    assert!(checker.is_done());
    println!(
        "{} states, depth {}: {faults:?}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

#[test]
fn nothing_breaks_without_a_fault() {
    check(PLAIN);
}

#[test]
fn a_crash_and_a_call_that_fails_break_no_promise() {
    check(CRASH_AND_ERROR);
}

#[test]
fn a_restart_breaks_no_promise() {
    check(RESTART);
}

#[test]
fn a_registration_whose_answer_is_lost_breaks_no_promise() {
    check(REGISTRATION);
}

#[test]
fn a_cut_and_then_a_call_that_fails_break_no_promise() {
    check(CUT_THEN_ERROR);
}

#[test]
fn a_freeze_breaks_no_promise() {
    check(FREEZE);
}

#[test]
fn a_freeze_and_a_call_that_fails_break_no_promise() {
    let faults = Faults {
        errors: 1,
        ..FREEZE.faults
    };
    check(Protocol {
        faults,
        lingers: [false, false],
        ..FREEZE
    });
}

#[test]
fn a_node_that_is_cut_off_breaks_no_promise() {
    check(CUT);
}

#[test]
fn a_cut_and_a_freeze_break_no_promise() {
    let faults = Faults {
        freezes: 1,
        ..CUT.faults
    };
    check(Protocol {
        faults,
        lingers: [false, false],
        ..CUT
    });
}

#[test]
fn a_database_that_is_away_from_all_takes_nothing_from_the_living() {
    let faults = Faults { cuts: 2, ..NONE };
    check(Protocol {
        faults,
        faulty: 2,
        lingers: [false, false],
        ..CUT
    });
}

#[test]
fn a_drain_and_a_call_that_fails_break_no_promise() {
    check(DRAIN_AND_ERROR);
}

#[test]
fn a_clock_that_jumps_breaks_no_promise() {
    check(JUMP);
}

#[test]
fn a_database_that_loses_its_history_breaks_no_promise_that_holds_even_then() {
    check(FAIL_OVER);
}
