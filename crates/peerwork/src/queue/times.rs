//! How long a node waits for a queue.

/// How often a node tells a queue what it should know, and how long it bears with it, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueTimes {
    /// From one offer of all that is claimable to the next; by default 2,000. Where much is claimable it takes longer: see
    /// `docs/queues.md`.
    pub offer_ms: u64,
    /// How long a task that may be claimed waits for a queue that does not name it, while slots are free: then the node claims by its policy,
    /// and waits no more before the queue has named something again. By default 10,000.
    pub patience_ms: u64,
    /// How long a call of the queue may take; by default 2,000.
    pub answer_ms: u64,
    /// How long a queue rests after an error, a call that took too long, or a panic; by default 5,000.
    pub rest_ms: u64,
}

impl Default for QueueTimes {
    fn default() -> Self {
        Self {
            offer_ms: 2_000,
            patience_ms: 10_000,
            answer_ms: 2_000,
            rest_ms: 5_000,
        }
    }
}

impl QueueTimes {
    /// Whether these are times that can be kept.
    pub(crate) fn check(self) -> Result<Self, String> {
        /// Shorter ones would have a node do nothing else.
        const MS_MIN: u64 = 10;
        let times = [
            ("offer_ms", self.offer_ms),
            ("patience_ms", self.patience_ms),
            ("answer_ms", self.answer_ms),
            ("rest_ms", self.rest_ms),
        ];
        match times.into_iter().find(|(_, ms)| *ms < MS_MIN) {
            Some((name, ms)) => Err(format!(
                "a queue's {name} of {ms} ms is too short; give it {MS_MIN} ms or more"
            )),
            None => Ok(self),
        }
    }
}
