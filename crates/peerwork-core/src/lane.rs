//! Lanes, ranks and kind keys: the fixed-size columns that stand for names on the claim path.

use crate::status::Work;
use crate::{Name, Status};
use std::fmt;
use uuid::Uuid;

/// The tasks of one user in one group that wait for one sort of work: the unit of fair sharing.
///
/// A 128-bit hash of its parts, so that an index over lanes is narrow whatever the names' lengths are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub Uuid);

impl LaneId {
    /// The lane of `user`'s tasks in `group`, for runs or for cleanups.
    pub fn new(group: &Name, user: &Name, work: Work) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("peerwork 2026 lane");
        // Lengths first: ("ab", "c") and ("a", "bc") are two lanes.
        hash.update(&(group.as_str().len() as u64).to_le_bytes());
        hash.update(group.as_str().as_bytes());
        hash.update(user.as_str().as_bytes());
        hash.update(match work {
            Work::Run => b"\0run",
            Work::Cleanup => b"\0del",
        });
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A kind on the claim path: the first 64 bits of a hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindKey(pub i64);

impl KindKey {
    /// The key of the kind with this name.
    pub fn new(kind: &Name) -> Self {
        let hash = blake3::derive_key("peerwork 2026 kind", kind.as_str().as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash[..8]);
        Self(i64::from_le_bytes(bytes))
    }
}

/// The first part of the order in a lane, smaller first: resuming tasks, then priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub i32);

impl Rank {
    /// Added to the rank of everything that does not resume: more than any priority.
    const NOT_RESUMING: i32 = 1 << 16;

    /// The rank of a task with `priority` (smaller is sooner) that enters `status`.
    pub fn new(status: Status, priority: i16) -> Self {
        let class = if status == Status::Resuming {
            0
        } else {
            Self::NOT_RESUMING
        };
        Self(class + i32::from(priority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_tell_their_parts_apart() {
        let name = |text| Name::new("user", text).unwrap();
        let lane = |g, u, w| LaneId::new(&name(g), &name(u), w);
        assert_eq!(lane("g", "u", Work::Run), lane("g", "u", Work::Run));
        assert_ne!(lane("ab", "c", Work::Run), lane("a", "bc", Work::Run));
        assert_ne!(lane("g", "u", Work::Run), lane("g", "u", Work::Cleanup));
        assert_ne!(lane("a", "b", Work::Run), lane("b", "a", Work::Run));
    }

    #[test]
    fn resuming_goes_before_every_priority() {
        assert!(Rank::new(Status::Resuming, i16::MAX) < Rank::new(Status::Queued, i16::MIN));
        assert!(Rank::new(Status::Queued, -1) < Rank::new(Status::Queued, 0));
    }
}
