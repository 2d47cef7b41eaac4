//! Manners in a crowd: a wake-up that is meant for everybody must not cost a statement of everybody, each time.
//!
//! A node follows a wake-up at once, unless the last one that it followed led to nothing: then it holds back for a
//! while that grows with the number of nodes. So all of them together ask in vain [`VAIN_PER_SECOND`] times a second, however
//! many there are and however often they are woken, and the first to look after a wake-up still does so within
//! milliseconds. Nothing is forgotten: a wake-up that comes meanwhile is followed when the while is over.

use crate::{Mono, NodeId};

/// How often all nodes together look in vain, in a second, up to a cluster of as many nodes; of a larger one each node
/// does once.
pub const VAIN_PER_SECOND: u64 = 200;
/// The longest time to hold back, in milliseconds: after it a node looks anyway.
const HOLD_BACK_MS_MAX: u64 = 1_000;

/// How many nodes there are, given those that follow `me` in the ring of ids, nearest first, of which up to `width`
/// were asked for.
///
/// Exact if these are all. Otherwise an estimate from the part of the ring that they take up, for ids are random: of
/// sixteen it is off by a quarter, typically.
pub fn size(me: NodeId, width: usize, following: &[NodeId]) -> u64 {
    let seen = following.len() as u64;
    let Some(last) = following.last().filter(|_| following.len() >= width) else {
        return seen + 1;
    };
    let part = last.0.as_u128().wrapping_sub(me.0.as_u128());
    let ring = 2f64.powi(128);
    // As an integer it saturates.
    (seen as f64 * (ring / part as f64)).max(seen as f64 + 1.0) as u64
}

/// How long a node of that many holds back after it has looked in vain, at most, in milliseconds.
pub fn hold_back_ms(nodes: u64) -> u64 {
    match nodes {
        // There is nobody whose share it could take.
        0 | 1 => 0,
        _ => pause_ms(nodes).min(HOLD_BACK_MS_MAX),
    }
}

/// How long a node of that many is silent after it has woken all others, in milliseconds.
pub fn pause_ms(nodes: u64) -> u64 {
    nodes.saturating_mul(1_000 / VAIN_PER_SECOND)
}

/// When a node may follow a wake-up that is meant for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restraint {
    until: Mono,
}

impl Restraint {
    /// It has followed one at `now`, and that led to something or not. `jitter` is random over its whole range.
    pub fn followed(&mut self, now: Mono, led_to_something: bool, nodes: u64, jitter: u32) {
        if led_to_something {
            self.until = now;
            return;
        }
        // Half of it is random, so that not all look together for ever.
        let half = hold_back_ms(nodes) * 500;
        let random = half * u64::from(jitter) / u64::from(u32::MAX);
        self.until = Mono(now.0 + half + random);
    }

    /// From when on it may follow the next one.
    pub fn until(&self) -> Mono {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn node(n: u128) -> NodeId {
        NodeId(Uuid::from_u128(n))
    }

    #[test]
    fn a_small_cluster_is_counted() {
        assert_eq!(size(node(5), 16, &[]), 1);
        assert_eq!(size(node(5), 16, &[node(9), node(2)]), 3);
        assert_eq!(size(node(5), 0, &[]), 1);
    }

    #[test]
    fn a_large_cluster_is_estimated_from_the_density_of_its_ids() {
        for nodes in [20u128, 100, 1_000, 100_000] {
            let step = u128::MAX / nodes;
            for me in [0, nodes / 2, nodes - 1] {
                let following: Vec<_> = (1..=16).map(|n| node((me + n) % nodes * step)).collect();
                let estimate = size(node(me * step), 16, &following);
                assert!(
                    (nodes as u64).abs_diff(estimate) <= nodes as u64 / 50,
                    "{estimate} of {nodes}"
                );
            }
        }
    }

    #[test]
    fn neighbours_that_follow_at_once_are_no_reason_to_stop() {
        let following: Vec<_> = (1..=16).map(node).collect();
        assert!(size(node(0), 16, &following) > 1 << 40);
        assert_eq!(hold_back_ms(u64::MAX), 1_000);
    }

    #[test]
    fn all_together_look_in_vain_at_a_bounded_rate() {
        for nodes in 2..=VAIN_PER_SECOND {
            // Half of it is certain.
            assert_eq!(nodes * 2_000 / hold_back_ms(nodes), 2 * VAIN_PER_SECOND);
        }
        assert_eq!(hold_back_ms(1), 0, "nobody else takes anything");
    }

    #[test]
    fn only_who_looked_in_vain_holds_back() {
        let mut restraint = Restraint::default();
        let now = Mono(1_000_000);
        assert!(restraint.until() <= now);
        restraint.followed(now, true, 100, u32::MAX);
        assert_eq!(restraint.until(), now);
        restraint.followed(now, false, 100, 0);
        assert_eq!(restraint.until(), now.plus_ms(250));
        restraint.followed(now, false, 100, u32::MAX);
        assert_eq!(restraint.until(), now.plus_ms(500));
        restraint.followed(now, false, 1, u32::MAX);
        assert_eq!(restraint.until(), now, "alone, nothing is in vain");
    }
}
