//! What one machine has read of its peers' beats, as its own calls show it: whom it may declare dead.

use peerwork::{LeaseTimes, NodeId};
use std::collections::BTreeMap;

/// The readings of one machine. Times are the simulation's, in microseconds.
#[derive(Default)]
pub(super) struct Watching {
    last: u64,
    /// The beat of each peer that was read last, and since when.
    seen: BTreeMap<NodeId, (u64, u64)>,
}

impl Watching {
    /// It has the answer to a look at `peers`, with their beats; its own newest acknowledged beat was sent at `heard`.
    pub fn read(&mut self, lease: LeaseTimes, now: u64, heard: u64, peers: &[(NodeId, u64)]) {
        let gap = 2 * lease.beat_ms * 1_000;
        if now - self.last > gap || now.saturating_sub(heard) > gap {
            self.seen.clear();
        }
        self.last = now;
        self.seen
            .retain(|node, _| peers.iter().any(|(peer, _)| peer == node));
        for &(peer, seq) in peers {
            let seen = self.seen.entry(peer).or_insert((seq, now));
            if seen.0 != seq {
                *seen = (seq, now);
            }
        }
    }

    /// Whether it has read this beat, and no other, for a whole ttl, without a gap, and while its own were heard.
    pub fn justifies(&self, lease: LeaseTimes, now: u64, peer: NodeId, seq: u64) -> bool {
        let ttl = lease.ttl_ms * 1_000;
        let seen = self.seen.get(&peer);
        seen.is_some_and(|&(read, since)| read == seq && now - since >= ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(uuid::Uuid::from_u128(1));
    const SECOND: u64 = 1_000_000;
    const LEASE: LeaseTimes = LeaseTimes {
        beat_ms: 1_000,
        ttl_ms: 5_000,
        margin_ms: 1_000,
    };

    /// After readings of beat 7 at these seconds, by one whose own beats were heard until `heard`.
    fn after(readings: &[u64], heard: u64) -> bool {
        let mut watching = Watching::default();
        for at in readings {
            let heard = (*at).min(heard) * SECOND;
            watching.read(LEASE, at * SECOND, heard, &[(PEER, 7)]);
        }
        let now = readings[readings.len() - 1] * SECOND;
        assert!(!watching.justifies(LEASE, now, PEER, 6), "another beat");
        watching.justifies(LEASE, now, PEER, 7)
    }

    #[test]
    fn only_a_whole_ttl_without_a_gap_and_with_beats_of_its_own_justifies() {
        assert!(after(&[0, 2, 4, 5], 5));
        assert!(!after(&[0, 2, 4], 4), "not a whole ttl");
        assert!(!after(&[0, 1, 4, 5], 5), "a gap");
        assert!(!after(&[0, 2, 4, 5], 2), "nobody heard it");
    }
}
