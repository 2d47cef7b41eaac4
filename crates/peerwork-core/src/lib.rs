//! The rules of peerwork, pure: what a task may become, when a node is alive, who goes next.
//!
//! Everything here is a function of its arguments. The current time, jitter and ids are arguments; nothing
//! waits, nothing is stored, and nothing is random, so every rule can be enumerated and every machine can be
//! driven by hand in a test.
//!
//! *Not here:* SQL and storage (`peerwork-store`), tasks of a runtime, timers and sockets (`peerwork`).
//!
//! | to find | look at |
//! | --- | --- |
//! | what an event does in a status | [`decide`] |
//! | the statuses and what people see of them | [`Status`], [`State`] |
//! | what a kind chooses: retries, deaths, deadlines | [`Rules`] |
//! | when a node must stop believing in itself, and when a peer may bury it | [`Beat`], [`Watch`] |
//! | whom the death of a node counts against | [`blame`] |
//! | how many tasks a node may claim | [`Credits`] |
//! | how many nodes may follow one wake-up | [`crowd`] |
//! | what is limited or gated, and what follows for a claim | [`Setting`], [`Rooms`], [`LimitBook`] |
//! | why a task is not running | [`explain`] |
//! | which lanes go next | [`Policy`], [`policy`] |
//! | what a policy would do with a workload | [`simulate`] |
//! | how often something costly is asked | [`Pace`] |
//! | how densely hints are sent and followed | [`Spacing`] |
//! | what a node knows of the lanes, and from where on it claims | [`LaneBook`], [`Frontier`] |

pub mod blame;
mod bounds;
mod credits;
pub mod crowd;
mod decide;
mod dice;
pub mod explain;
mod frontier;
mod ids;
mod lane;
pub mod lane_book;
mod lease;
pub mod lifecycle;
mod limits;
mod name;
mod pace;
pub mod policy;
mod rules;
pub mod simulate;
mod spacing;
mod status;
mod task;
mod time;

pub use bounds::*;
pub use credits::Credits;
pub use decide::{Event, Refused, Transition, decide};
pub use dice::Dice;
pub use frontier::{Frontier, Reach};
pub use ids::{NodeId, OperationId, RunId, TaskId};
pub use lane::{KindKey, LaneId, Rank};
pub use lane_book::{LaneBook, LaneLook};
pub use lease::{Beat, BeatAnswer, Heard, LeaseTimes, Pulse, Watch};
pub use limits::{
    Bound, Bounds, Gate, LimitBook, Ramp, Rate, Rooms, SETTINGS_MAX, SETTLE_MS, Scope, ScopeKey,
    ScopeSort, Setting, SettingChange, WEIGHT_MAX, Whose, within_slots,
};
pub use name::{Name, NameError};
pub use pace::Pace;
pub use policy::{Fifo, Grant, LaneView, Lanes, Policy};
pub use rules::{OnExhausted, OnNodeDeath, OnPauseDeadline, OnUnreachable, Retry, Rules};
pub use spacing::Spacing;
pub use status::{Place, State, Status, Work};
pub use task::Task;
pub use time::{Mono, Timestamp};
