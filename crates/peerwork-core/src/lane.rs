//! Lanes, ranks and kind keys: the fixed-size columns that stand for names on the claim path.

use crate::status::Work;
use crate::{Name, Status};
use std::fmt;
use uuid::Uuid;

/// The tasks of one user in one group that wait for one sort of work: the unit of fair sharing.
///
/// A 128-bit hash of its parts, so that an index over lanes is narrow whatever the names' lengths are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub Uuid);

impl LaneId {
    /// Tells a lane's cleanups from its runs: an arbitrary constant, so that one follows from the other.
    const CLEANUP: u128 = 0x7065_6572_776f_726b_2063_6c65_616e_7570;

    /// The lane of `user`'s runs in `group`.
    pub fn new(group: &Name, user: &Name) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("peerwork 2026 lane");
        // Lengths first: ("ab", "c") and ("a", "bc") are two lanes.
        hash.update(&(group.as_str().len() as u64).to_le_bytes());
        hash.update(group.as_str().as_bytes());
        hash.update(user.as_str().as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Self(Uuid::from_bytes(bytes))
    }

    /// The lane of the same user in the same group for `work`. `self` is the lane of its runs.
    pub fn of(self, work: Work) -> Self {
        match work {
            Work::Run => self,
            Work::Cleanup => Self(Uuid::from_u128(self.0.as_u128() ^ Self::CLEANUP)),
        }
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
    /// Added to the rank of everything that does not resume: more than any two priorities are apart.
    const NOT_RESUMING: i32 = 1 << 17;

    /// The priority that this rank was made of.
    pub fn priority(self) -> i16 {
        let priority = if self.0 > Self::NOT_RESUMING / 2 {
            self.0 - Self::NOT_RESUMING
        } else {
            self.0
        };
        i16::try_from(priority).unwrap_or(if priority < 0 { i16::MIN } else { i16::MAX })
    }

    /// Whether it is of a task that resumes: those go before all others.
    pub fn is_resuming(self) -> bool {
        self.0 <= Self::NOT_RESUMING / 2
    }

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
        let lane = |g, u, w| LaneId::new(&name(g), &name(u)).of(w);
        assert_eq!(lane("g", "u", Work::Run), lane("g", "u", Work::Run));
        assert_ne!(lane("ab", "c", Work::Run), lane("a", "bc", Work::Run));
        assert_ne!(lane("g", "u", Work::Run), lane("g", "u", Work::Cleanup));
        assert_ne!(lane("a", "b", Work::Run), lane("b", "a", Work::Run));
    }

    #[test]
    fn resuming_goes_before_every_priority() {
        assert!(Rank::new(Status::Resuming, i16::MAX) < Rank::new(Status::Queued, i16::MIN));
        assert!(Rank::new(Status::Queued, -1) < Rank::new(Status::Queued, 0));
        for status in [Status::Resuming, Status::Queued] {
            for priority in [i16::MIN, -1, 0, 1, i16::MAX] {
                let rank = Rank::new(status, priority);
                assert_eq!(rank.priority(), priority);
                assert_eq!(rank.is_resuming(), status == Status::Resuming);
            }
        }
    }
}
