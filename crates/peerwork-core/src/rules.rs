//! What a kind chooses: how often it is tried, what a death of its node means, how long a pause may take.

use serde::{Deserialize, Serialize};

/// The choices of one kind. Nodes publish them in the database, because whoever decides about a task
/// (a client that deletes it, a peer that rescues it) need not have its handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// Whether deletion runs the handler's cleanup; without one a deletion is immediate.
    pub cleanup: bool,
    /// How failed runs (and failed cleanups) are tried again.
    pub retry: Retry,
    /// Deaths of its node without progress after which a task is given up, at least 1. From the second one on only
    /// those count that it suffers as a suspect, alone on its node among suspects ([`blame`](crate::blame)): with a
    /// limit of 1 or 2 a task may be given up for what its neighbour did.
    pub crash_limit: u32,
    /// What the death of its node does to a running task.
    pub on_node_death: OnNodeDeath,
    /// What becomes of a task that has exhausted its retries.
    pub on_exhausted: OnExhausted,
    /// What happens when a run has not stopped `pause_deadline_ms` after it was asked to.
    pub on_pause_deadline: OnPauseDeadline,
    /// How long a run may take to stop, in milliseconds.
    pub pause_deadline_ms: u64,
    /// The longest time a run may go without a save or a report of progress, in milliseconds; none: as long as it
    /// likes. One that is silent for longer is told to stop, and its attempt fails with that reason.
    pub progress_timeout_ms: Option<u64>,
    /// What a run does when its node has lost its way to the database.
    pub on_unreachable: OnUnreachable,
}

impl Default for Rules {
    /// Has a cleanup, five tries, five crashes, resumes elsewhere, fails when exhausted, is forced to pause
    /// after 30 s, may be silent for ever, and stops where its database stays away. Also what is assumed of a kind that no node has ever had: nothing of it is skipped.
    fn default() -> Self {
        Self {
            cleanup: true,
            retry: Retry::default(),
            crash_limit: 5,
            on_node_death: OnNodeDeath::Resume,
            on_exhausted: OnExhausted::Fail,
            on_pause_deadline: OnPauseDeadline::Force,
            pause_deadline_ms: 30_000,
            progress_timeout_ms: None,
            on_unreachable: OnUnreachable::Auto,
        }
    }
}

/// Exponential back-off with full jitter: before try n + 1 a random time of up to `base_ms * 2^(n-1)`, at most `cap_ms`.
///
/// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Failures after which no further try is made, at least 1 (1: never tried again).
    pub limit: u32,
    /// The bound of the first delay, in milliseconds.
    pub base_ms: u64,
    /// The bound of every delay, in milliseconds.
    pub cap_ms: u64,
}

impl Default for Retry {
    /// Five tries, delays of up to 1, 2, 4 and 8 seconds; at most five minutes.
    fn default() -> Self {
        Self {
            limit: 5,
            base_ms: 1_000,
            cap_ms: 300_000,
        }
    }
}

impl Retry {
    /// Never tried again.
    pub const NEVER: Self = Self {
        limit: 1,
        base_ms: 0,
        cap_ms: 0,
    };

    /// Tried again at once, up to `limit` tries in all.
    pub const fn at_once(limit: u32) -> Self {
        Self {
            limit,
            base_ms: 0,
            cap_ms: 0,
        }
    }

    /// The delay in milliseconds after failure number `failures` (from 1). `jitter` is a random number over
    /// the whole range of `u32`.
    pub fn delay_ms(self, failures: u32, jitter: u32) -> u64 {
        let doubled = failures.saturating_sub(1).min(62);
        let bound = self.base_ms.saturating_mul(1 << doubled).min(self.cap_ms);
        let part = (u128::from(bound) * (u128::from(jitter) + 1)) >> 32;
        u64::try_from(part).unwrap_or(bound)
    }
}

/// What the death of its node does to a running task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNodeDeath {
    /// It goes on elsewhere from its last checkpoint.
    Resume,
    /// It fails.
    Fail,
}

/// What becomes of a task that has exhausted its retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// It fails.
    Fail,
    /// It is paused for a person, who may resume it with a fresh budget.
    Pause,
}

/// What happens to a run that does not stop in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPauseDeadline {
    /// Its future is dropped; the pause is marked as forced.
    Force,
    /// It stays pausing until it stops by itself.
    Wait,
    /// The pause is withdrawn: it runs on.
    Refuse,
}

/// What a run does when its node's lease cannot be renewed in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnreachable {
    /// As suits the database: stop, but on SQLite run on, since whoever could take over is on the same machine.
    Auto,
    /// It is dropped at the lease's deadline, so that no two runs of a task overlap.
    Stop,
    /// It runs on until it is known that the node was declared dead: work goes on through an outage of the database,
    /// but where only this node was cut off, a peer runs the same task meanwhile.
    RunOn,
}

impl OnUnreachable {
    /// Whether a run goes on without a lease. `is_embedded`: all processes of the database are on one machine.
    pub fn runs_on(self, is_embedded: bool) -> bool {
        match self {
            Self::Auto => is_embedded,
            Self::Stop => false,
            Self::RunOn => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delay_is_within_its_bounds_and_grows_with_jitter(failures in 1u32..200, jitter: u32, base in 0u64..1 << 40, cap: u64) {
            let retry = Retry { limit: 5, base_ms: base, cap_ms: cap };
            let delay = retry.delay_ms(failures, jitter);
            prop_assert!(delay <= cap);
            prop_assert!(delay <= retry.delay_ms(failures, u32::MAX));
            prop_assert!(retry.delay_ms(failures, u32::MAX) <= retry.delay_ms(failures + 1, u32::MAX));
        }
    }

    #[test]
    fn the_largest_jitter_gives_the_bound() {
        let retry = Retry {
            limit: 5,
            base_ms: 1_000,
            cap_ms: 5_000,
        };
        let bounds: Vec<_> = (1..=5).map(|n| retry.delay_ms(n, u32::MAX)).collect();
        assert_eq!(bounds, [1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(retry.delay_ms(1, 0), 0);
    }

    #[test]
    fn rules_from_a_newer_or_older_node_are_read_with_defaults() {
        let read: Rules = serde_json_like("{}");
        assert_eq!(read, Rules::default());
    }

    /// Rules are stored as JSON by peerwork-store; here an empty map stands for "no field known".
    fn serde_json_like(_empty: &str) -> Rules {
        use serde::de::value::{Error, MapDeserializer};
        let empty: MapDeserializer<'_, std::iter::Empty<(&str, u32)>, Error> =
            MapDeserializer::new(std::iter::empty());
        Rules::deserialize(empty).unwrap()
    }
}
