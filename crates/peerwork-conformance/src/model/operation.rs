//! One operation on a store, with what it is done to named by picks: which task, run or node that is, is settled when
//! it is carried out. So any part of a sequence is a sequence, and a failing one shrinks well.

use peerwork_core::*;
use peerwork_store::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::Union;

use crate::behaviours::steer::{kinds, wishes};
use crate::name;

/// Something that a user, a node or the time does.
#[derive(Clone, Debug)]
pub enum Op {
    /// New tasks.
    Create(Vec<Seed>),
    /// Tasks with ids that may exist.
    CreateAgain(Vec<(Index, Seed)>),
    /// New tasks, which a node claims as they are created.
    CreateAndClaim {
        node: Pick,
        kinds: Vec<Name>,
        seeds: Vec<Seed>,
    },
    /// A wish for some tasks, as far as the filter means them.
    Steer(Vec<Index>, Narrow, Wish),
    /// A node claims so many tasks from each lane in which there are any.
    Claim {
        node: Pick,
        work: Work,
        tasks: usize,
        kinds: Vec<Name>,
    },
    /// Runs save.
    Save(Vec<(Pick, Option<Vec<u8>>, Option<Progress>)>),
    /// Runs end.
    End(Vec<(Pick, Ending)>),
    /// Upkeep.
    Promote,
    /// Upkeep.
    Wake,
    /// Upkeep.
    Sweep,
    /// Upkeep.
    Prune,
    /// A new node.
    Register,
    /// A node that is there registers again.
    RegisterAgain(Index),
    /// A beat: its number counts from the last one, and so does what was acknowledged.
    Beat {
        node: Index,
        seq: u64,
        acked: u64,
        ttl_ms: u64,
    },
    /// A peer declares a death; whether it is right about the last beat.
    DeclareDead(Index, bool),
    /// A node ends.
    Retire(Index),
    /// A kind's rules are published.
    Publish(Name, Rules),
    /// Time goes by, in milliseconds.
    Pass(u64),
    /// The clock is set back, in milliseconds.
    SetBack(u64),
    /// All that can be asked is asked.
    Look(Narrow, usize),
}

/// A task to create.
#[derive(Clone, Debug)]
pub struct Seed {
    pub kind: Name,
    pub user: Name,
    pub group: Name,
    pub priority: i16,
    pub start: bool,
    /// Its due time from now, in milliseconds.
    pub due_ms: Option<i64>,
    pub parent: Option<Index>,
    pub input: Vec<u8>,
    pub options: Options,
}

/// A filter.
#[derive(Clone, Debug)]
pub struct Narrow {
    pub user: Option<Name>,
    pub group: Option<Name>,
    pub kinds: Vec<Name>,
    pub states: Vec<State>,
    pub parent: Option<Index>,
}

/// A run or a node: one that holds its task or is alive if there is any, or any that ever was.
#[derive(Clone, Debug)]
pub struct Pick {
    pub live: bool,
    pub index: Index,
}

/// How a run ends.
#[derive(Clone, Debug)]
pub struct Ending {
    pub event: Event,
    /// With [`Event::Wait`]: its end from now, in milliseconds.
    pub until_ms: Option<i64>,
    pub rules: Rules,
    pub output: Option<Vec<u8>>,
    pub error: Option<String>,
    pub awaited_children: u32,
}

/// The names that users and groups have here: equal to somebody's eyes.
pub const NAMES: [&str; 3] = ["a", "a ", "A"];

/// Any operation, where `has_tasks` and `has_runs` say what there is to pick from.
pub fn any_op(has_tasks: bool, has_runs: bool) -> BoxedStrategy<Op> {
    let (people, runs) = (u32::from(has_tasks), u32::from(has_runs));
    let pick = any::<Index>;
    let save = (
        any_pick(),
        option::weighted(0.8, any_bytes()),
        option::of(any_progress()),
    );
    let options = vec![
        (4, vec(any_seed(), 1..4).prop_map(Op::Create).boxed()),
        (
            people,
            vec((pick(), any_seed()), 1..3)
                .prop_map(Op::CreateAgain)
                .boxed(),
        ),
        (3, any_create_and_claim().boxed()),
        (
            12 * people,
            (vec(pick(), 1..4), any_narrow(), any_wish())
                .prop_map(|(ids, narrow, wish)| Op::Steer(ids, narrow, wish))
                .boxed(),
        ),
        (14 * people, any_claim().boxed()),
        (6 * runs, vec(save, 1..4).prop_map(Op::Save).boxed()),
        (
            18 * runs,
            vec((any_pick(), any_ending()), 1..4)
                .prop_map(Op::End)
                .boxed(),
        ),
        (4 * people, Just(Op::Promote).boxed()),
        (2 * people, Just(Op::Wake).boxed()),
        (4 * runs, Just(Op::Sweep).boxed()),
        (1, Just(Op::Prune).boxed()),
        (1, Just(Op::Register).boxed()),
        (1, pick().prop_map(Op::RegisterAgain).boxed()),
        (
            2,
            (pick(), 0u64..3, 0u64..3, 3_000u64..9_000)
                .prop_map(|(node, seq, acked, ttl_ms)| Op::Beat {
                    node,
                    seq,
                    acked,
                    ttl_ms,
                })
                .boxed(),
        ),
        (
            2,
            (pick(), prop::bool::weighted(0.8))
                .prop_map(|(node, right)| Op::DeclareDead(node, right))
                .boxed(),
        ),
        (1, pick().prop_map(Op::Retire).boxed()),
        (
            1,
            (any_kind(), any_rules())
                .prop_map(|(kind, rules)| Op::Publish(kind, rules))
                .boxed(),
        ),
        (
            4,
            prop_oneof![5 => 1u64..200, 1 => Just(TOMBSTONE_MS)]
                .prop_map(Op::Pass)
                .boxed(),
        ),
        (1, (1u64..500).prop_map(Op::SetBack).boxed()),
        (
            3,
            (any_narrow(), 1usize..5)
                .prop_map(|(narrow, page)| Op::Look(narrow, page))
                .boxed(),
        ),
    ];
    let options = options.into_iter().filter(|(weight, _)| *weight > 0);
    Union::new_weighted(options.collect()).boxed()
}

pub fn any_kind() -> impl Strategy<Value = Name> + Clone {
    let kinds: Vec<_> = kinds().into_iter().map(|(kind, _)| kind).collect();
    prop::sample::select(kinds)
}

pub fn any_rules() -> impl Strategy<Value = Rules> {
    let limits = (
        1u32..4,
        1u32..4,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let deadline = prop_oneof![
        Just(OnPauseDeadline::Force),
        Just(OnPauseDeadline::Wait),
        Just(OnPauseDeadline::Refuse)
    ];
    (limits, deadline).prop_map(
        |((limit, crash_limit, cleanup, fails, pauses), on_pause_deadline)| Rules {
            cleanup,
            retry: Retry {
                limit,
                base_ms: 40,
                cap_ms: 100,
            },
            crash_limit,
            on_node_death: if fails {
                OnNodeDeath::Fail
            } else {
                OnNodeDeath::Resume
            },
            on_exhausted: if pauses {
                OnExhausted::Pause
            } else {
                OnExhausted::Fail
            },
            on_pause_deadline,
            ..Rules::default()
        },
    )
}

fn any_name() -> impl Strategy<Value = Name> + Clone {
    prop::sample::select(&NAMES[..]).prop_map(name)
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(vec![0]), vec(any::<u8>(), 1..8)]
}

fn any_progress() -> impl Strategy<Value = Progress> {
    (0u64..5, 0u64..5).prop_map(|(done, total)| Progress { done, total })
}

fn any_wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        6 => prop::sample::select(wishes().to_vec()),
        2 => prop::sample::select(vec![Wish::Pause, Wish::Delete]),
        1 => any_name().prop_map(Wish::MoveTo),
        1 => (-2i16..3).prop_map(Wish::Priority),
    ]
}

fn any_seed() -> impl Strategy<Value = Seed> {
    let names = (any_kind(), any_name(), any_name());
    let start = (
        prop::bool::weighted(0.85),
        option::weighted(0.25, -50i64..200),
    );
    let rest = (
        option::weighted(0.3, any::<Index>()),
        any_bytes(),
        any::<bool>(),
        any::<bool>(),
    );
    (names, -2i16..3, start, rest).prop_map(
        |((kind, user, group), priority, (start, due_ms), rest)| {
            let (parent, input, forget_on_finish, forget_on_failure) = rest;
            let options = Options {
                forget_on_finish,
                forget_on_failure,
            };
            Seed {
                kind,
                user,
                group,
                priority,
                start,
                due_ms,
                parent,
                input,
                options,
            }
        },
    )
}

fn any_narrow() -> impl Strategy<Value = Narrow> {
    let states = prop_oneof![
        4 => Just(State::ALL.to_vec()),
        1 => Just(Vec::new()),
        1 => vec(prop::sample::select(&State::ALL[..]), 1..5),
    ];
    let kinds = prop_oneof![4 => Just(Vec::new()), 1 => vec(any_kind(), 1..3)];
    let rare = || option::weighted(0.15, any_name());
    (
        rare(),
        rare(),
        kinds,
        states,
        option::weighted(0.1, any::<Index>()),
    )
        .prop_map(|(user, group, kinds, states, parent)| Narrow {
            user,
            group,
            kinds,
            states,
            parent,
        })
}

fn any_create_and_claim() -> impl Strategy<Value = Op> {
    let parts = (any_pick(), any_kinds(), vec(any_seed(), 1..4));
    parts.prop_map(|(node, kinds, seeds)| Op::CreateAndClaim { node, kinds, seeds })
}

/// The kinds that a node can run.
fn any_kinds() -> impl Strategy<Value = Vec<Name>> {
    let all: Vec<_> = kinds().into_iter().map(|(kind, _)| kind).collect();
    prop_oneof![4 => Just(all), 1 => vec(any_kind(), 1..4)]
}

fn any_claim() -> impl Strategy<Value = Op> {
    let work = prop_oneof![2 => Just(Work::Run), 1 => Just(Work::Cleanup)];
    (any_pick(), work, 1usize..4, any_kinds()).prop_map(|(node, work, tasks, kinds)| Op::Claim {
        node,
        work,
        tasks,
        kinds,
    })
}

fn any_pick() -> impl Strategy<Value = Pick> {
    (prop::bool::weighted(0.85), any::<Index>()).prop_map(|(live, index)| Pick { live, index })
}

fn any_ending() -> impl Strategy<Value = Ending> {
    let retry_after = option::of(0u64..200);
    let event = prop_oneof![
        3 => any::<bool>().prop_map(|forget| Event::Ok { forget }),
        3 => (any::<bool>(), retry_after, any::<u32>(), any::<bool>()).prop_map(|(permanent, retry_after_ms, jitter, forget)| {
            Event::Err { permanent, retry_after_ms, jitter, forget }
        }),
        2 => Just(Event::Stopped),
        2 => Just(Event::Wait { until: None }),
        1 => Just(Event::Deadline),
    ];
    let texts = (
        option::of(any_bytes()),
        option::weighted(0.8, "[a-c\u{0}é]{0,4}"),
    );
    (event, option::of(-20i64..200), any_rules(), texts, 0u32..4).prop_map(
        |(event, until_ms, rules, (output, error), awaited_children)| Ending {
            event,
            until_ms,
            rules,
            output,
            error,
            awaited_children,
        },
    )
}
