//! A model of the lease protocol: two machines, two tasks, one database, and every order in which things can happen to
//! them, checked exhaustively by `stateright`.
//!
//! # What is modelled
//!
//! The rules are not copied: the real [`Beat`](peerwork_core::Beat), [`Watch`](peerwork_core::Watch) and
//! [`decide`](peerwork_core::decide) are part of the state. Around them the model does what the parts of a node
//! do (`machine.rs`) and what the guards of a store do (`database.rs`): register, beat, look, declare dead, sweep, claim,
//! poll, save, end, compare, give back, fence, reincarnate, drain, retire. Time goes in ticks of a beat; the lease is the
//! tightest that is allowed (a ttl of three ticks, a margin of one). The machines' clocks have different origins, and the
//! database's is a third. One task's handler saves and may take as long as it likes, the other's returns at once.
//!
//! | fault | is |
//! | --- | --- |
//! | crash | all memory is lost; a new incarnation may start |
//! | freeze | the machine takes no step, also in the middle of a poll, while time goes on; later it continues where it was |
//! | cut | no call of the machine works; later they do |
//! | error | one call fails: nothing was done; or it is done at once, or later (a claim even after the death of its node); or it is only slow |
//! | drain | not a fault: a node hands over and retires |
//! | jump | the database's clock jumps over a whole ttl; the machines' do not |
//! | fail-over | the database goes on as a replica that stopped receiving at any earlier point; acknowledged commits are lost |
//!
//! A configuration (`configurations.rs`) has a budget for each, and the checker visits all its worlds: faults begin at
//! any point of the first ticks, and there is time afterwards for a death, a rescue and a whole run. A witness who
//! sees everything (`world.rs`) says which [`Promise`] a step broke; each configuration names what must have
//! [`Happened`] somewhere, or it has shown nothing. Of each [`Mutant`] (`mutants.rs`), a protocol that is wrong on purpose,
//! the checker must find the promise that it breaks.
//!
//! # What is abstracted away
//!
//! - Transactions are atomic and in one order. That the databases' are is the conformance suite's business. One race
//!   inside a transaction is kept, because no lock prevents it: a claim reads that its node is alive before it waits.
//! - A machine that is up is on time: what is due in a tick happens in that tick, in any order among machines; being late is
//!   a freeze or an error. Machines' clocks run at one rate; the margin is for their drift. Cuts and freezes end at
//!   the beginning of a tick. A request is under way for at most two ticks, a claim for five.
//! - At most two faults in one world, and of machines that are alike the first one fails (both, where the database is away).
//! - No wishes of users, no retries, no crash limit: they do not touch the lease, and `decide` is enumerated elsewhere.
//! - A node gives unknown claims back at its first look that shows a difference, not at its second.
//! - What is lost in a fail-over is noticed by the *beat* only if a beat of that node is lost. Other losses show when the
//!   node compares its list with the database's, or when a write is refused; the promises say as much.
//!
//! # How large it is
//!
//! Thirteen configurations of 4,908 to 507,667 worlds, 3.0 million in all, up to 83 steps deep; each prints its size.
//! All of them, with the mutants, take half a minute of one core.

mod configurations;
mod database;
mod machine;
mod mutants;
mod protocol;
mod world;

use protocol::Protocol;
use stateright::Property;
use world::World;

/// How many faults of each sort may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Faults {
    crashes: u8,
    starts: u8,
    freezes: u8,
    cuts: u8,
    drains: u8,
    errors: u8,
    jumps: u8,
    failovers: u8,
}

/// What is promised in every world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Promise {
    WritesOfTheHolder,
    OneHolder,
    NoOverlap,
    FinalStaysFinal,
    NothingStaysHeld,
    NoFalseTakeover,
    StepsWithinLease,
    LostHistoryIsNoticed,
}

impl Promise {
    const fn name(self) -> &'static str {
        match self {
            Self::WritesOfTheHolder => {
                "I1: a write is accepted only from the run that the row holds"
            }
            Self::OneHolder => "I2: a task has one holder",
            Self::NoOverlap => "I4: handlers overlap only after a freeze or a lost history",
            Self::FinalStaysFinal => "I8: a final task stays as it is",
            Self::NothingStaysHeld => "I20: whoever is left finishes everything",
            Self::NoFalseTakeover => "I21: nobody is declared dead before the end of its lease",
            Self::StepsWithinLease => "I24: no step of a handler past the lease",
            Self::LostHistoryIsNoticed => "I30: a lost beat is noticed by the next one",
        }
    }
}

/// What a step may have been that is worth seeing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Happened {
    BeatFoundDone,
    ClaimedByTheDead,
    DeclarationLost,
    DeclaredDead,
    FinishFoundDone,
    HeardOfItsDeath,
    HistoryFoundLost,
    NotRetired,
    /// Not a step: two handlers of one task are alive.
    Overlap,
    PollRefused,
    Rescued,
    SelfFenced,
    UnknownClaimFound,
    ZombieRefused,
}

macro_rules! sometimes {
    ($what:expr, $name:literal) => {
        Property::sometimes($name, |_: &Protocol, world: &World| {
            world.last == Some($what)
        })
    };
}

impl Happened {
    fn property(self) -> Property<Protocol> {
        match self {
            Self::BeatFoundDone => {
                sometimes!(Self::BeatFoundDone, "a beat is found to have worked")
            }
            Self::ClaimedByTheDead => sometimes!(
                Self::ClaimedByTheDead,
                "a claim races with the death of its node"
            ),
            Self::DeclarationLost => {
                sometimes!(Self::DeclarationLost, "a declaration loses its race")
            }
            Self::DeclaredDead => sometimes!(Self::DeclaredDead, "a node is declared dead"),
            Self::FinishFoundDone => {
                sometimes!(Self::FinishFoundDone, "a finish is found to have worked")
            }
            Self::HeardOfItsDeath => sometimes!(
                Self::HeardOfItsDeath,
                "a node hears that it was declared dead"
            ),
            Self::HistoryFoundLost => {
                sometimes!(Self::HistoryFoundLost, "a lost history is noticed")
            }
            Self::NotRetired => sometimes!(
                Self::NotRetired,
                "a node that holds something cannot retire"
            ),
            Self::Overlap => Property::sometimes("handlers overlap", |_, world: &World| {
                (0..database::TASKS).any(|task| world.overlaps(task, None))
            }),
            Self::PollRefused => sometimes!(Self::PollRefused, "the guard refuses a poll"),
            Self::Rescued => sometimes!(Self::Rescued, "a task is rescued"),
            Self::SelfFenced => sometimes!(Self::SelfFenced, "a node fences itself"),
            Self::UnknownClaimFound => {
                sometimes!(Self::UnknownClaimFound, "an ambiguous claim is found")
            }
            Self::ZombieRefused => sometimes!(
                Self::ZombieRefused,
                "a write of a superseded run is refused"
            ),
        }
    }
}

/// What can be wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mutant {
    /// Whoever holds the task may write, and so may whoever held it.
    NoRunId,
    /// Runs are told apart by the number of the attempt.
    AttemptAsFence,
    /// A finish is written whatever the row holds.
    FinishWithoutFence,
    /// An expired lease is a death; nobody watches.
    DeclaredByExpiry,
    /// The declaration does not compare the beat that was watched.
    DeclaredWithoutCompare,
    /// Only whoever declares a death sweeps, and only then.
    EdgeTriggeredSweep,
    /// Tasks of a node without a row are nobody's business.
    SweepsOnlyForTheDeclared,
    /// A drain removes the node's row before its handlers have ended.
    RowDeletedFirst,
    /// A node believes in itself until it hears otherwise.
    NoSelfFence,
    /// A repeated registration counts from its repetition.
    RegisteredFromTheLastSending,
    /// A beat does not compare what was acknowledged.
    BeatWithoutComparing,
    /// A claim takes what another holds.
    ClaimOfTheHeld,
}
