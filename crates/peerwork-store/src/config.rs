//! What is set for groups, users and kinds, as the database has it; and claims under limits.

use crate::{Claimed, Error, ErrorKind};
use peerwork_core::{LaneId, SETTINGS_MAX, Scope, ScopeKey, Setting, Timestamp};
use std::collections::BTreeSet;

/// Everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Rises with every change.
    pub version: u64,
    /// The policy that is chosen for all nodes, as text; none: each node's own.
    pub policy: Option<String>,
    /// What is set for each scope that has a setting.
    pub settings: Vec<SettingRow>,
}

/// A scope's setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingRow {
    /// What it is for.
    pub scope: Scope,
    /// What is set.
    pub setting: Setting,
    /// Since when tasks may run uncounted that were claimed as it was changed: see [`Store::settle`](crate::Store::settle).
    pub unsettled: Option<Timestamp>,
}

/// The answer to a change of what is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The version with the change.
    pub version: u64,
    /// What is set may be passed over by claims that are under way, for so many milliseconds.
    pub settles_in_ms: u64,
}

/// The answer to a claim.
#[derive(Clone, Debug, Default)]
pub struct ClaimAnswer {
    /// What was taken.
    pub tasks: Vec<Claimed>,
    /// The limits under which nothing is left now, each with the time at which something may start again if it is a matter of
    /// starts per second.
    pub full: Vec<(ScopeKey, Option<Timestamp>)>,
    /// The granted lanes that were not looked into, because somebody else was claiming under one of their limits or the claim took too
    /// long: what is in them may be claimed still.
    pub unseen: BTreeSet<LaneId>,
    /// It was decided on settings that are not those of the database any more: nothing was taken.
    pub is_stale: bool,
}

impl ClaimAnswer {
    /// The answer to a claim that was decided on the settings that are in force.
    pub(crate) fn of(tasks: Vec<Claimed>) -> Self {
        Self {
            tasks,
            ..Self::default()
        }
    }

    /// The answer to a claim that was decided on other settings.
    pub(crate) fn stale() -> Self {
        Self {
            is_stale: true,
            ..Self::default()
        }
    }
}

/// The error of a change that makes no sense.
pub(crate) fn refused(scope: &Scope, why: String) -> Error {
    Error::new(ErrorKind::Invalid, format!("set {scope}: {why}"))
}

/// The text of one setting too many.
pub(crate) fn too_many(scope: &Scope) -> String {
    format!(
        "set {scope}: there are {SETTINGS_MAX} settings already; clear those of groups and users that are gone, or set a limit for a group \
         instead of each of its users"
    )
}
