//! What groups and users weigh.

use crate::{Name, WEIGHT_MAX};
use std::collections::BTreeMap;

/// The weights of groups and users: who weighs twice as much gets twice as many slots.
///
/// A weight of 0 counts as 1, one beyond [`WEIGHT_MAX`] as that. What is to get nothing is gated, not weighed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    groups: BTreeMap<Name, u32>,
    users: BTreeMap<Name, u32>,
}

impl Weights {
    /// Everybody weighs the same.
    pub const fn new() -> Self {
        Self {
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }

    /// Gives a group a weight of its own.
    pub fn set_group(&mut self, group: Name, weight: u32) {
        self.groups.insert(group, weight.clamp(1, WEIGHT_MAX));
    }

    /// Gives a user a weight.
    pub fn set_user(&mut self, user: Name, weight: u32) {
        self.users.insert(user, weight.clamp(1, WEIGHT_MAX));
    }

    /// The weight that a group was given.
    pub fn group(&self, group: &Name) -> Option<u32> {
        self.groups.get(group).copied()
    }

    /// The weight of a user; 1 unless it was given another.
    pub fn user(&self, user: &Name) -> u32 {
        self.users.get(user).copied().unwrap_or(1)
    }
}
