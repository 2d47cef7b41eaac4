//! Limits, rates and gates: what can be set for groups, users and kinds, and what follows for a claim.
//!
//! | to find | look at |
//! | --- | --- |
//! | what something is set for | [`Scope`] |
//! | what can be set, and how it is changed | [`Setting`], [`SettingChange`], [`Gate`] |
//! | starts per second | [`Rate`] |
//! | how much a claim may still take | [`Rooms`] |
//! | what a node knows of all that | [`LimitBook`] |
//!
//! *Not here:* counting what runs (`peerwork-store`), and who goes first ([`Policy`](crate::Policy)).

mod book;
mod rate;
mod rooms;
mod scope;
mod setting;

pub use book::{Bound, Bounds, LimitBook, Whose, within_slots};
pub use rate::Rate;
pub use rooms::Rooms;
pub use scope::{Scope, ScopeKey, ScopeSort};
pub use setting::{Gate, Ramp, Setting, SettingChange, WEIGHT_MAX};

/// Settings in one database at most: every node holds all of them.
pub const SETTINGS_MAX: usize = 10_000;

/// How long after its commit a setting is in force at the latest, in milliseconds: by then every claim and move that was under way has
/// been committed or taken back. Tasks that such a claim has taken are counted then, too.
pub const SETTLE_MS: u64 = 2_000;
