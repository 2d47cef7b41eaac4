//! How densely something may be done: a few times at once after a quiet time, and on average once in a gap.
//!
//! A token bucket, kept as the time at which it is full again: there is nothing to refill. A gap that is longer than the
//! burst's share leaves no burst: whoever is slowed down because they are many does one at a time.

use crate::Mono;

/// What was done lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spacing {
    full_at: Mono,
    /// How much earlier than that the next one may come, in milliseconds.
    burst_ms: u64,
}

impl Spacing {
    /// At most `burst` at once where they are to be `gap_ms` apart on average.
    pub const fn new(burst: u64, gap_ms: u64) -> Self {
        Self {
            full_at: Mono(0),
            burst_ms: burst.saturating_sub(1) * gap_ms,
        }
    }

    /// From when on the next one may be done.
    pub fn free_at(&self) -> Mono {
        Mono(self.full_at.0.saturating_sub(self.burst_ms * 1_000))
    }

    /// One is done at `now`; from it on there are `gap_ms` for each, on average.
    pub fn done(&mut self, now: Mono, gap_ms: u64) {
        self.full_at = self.full_at.max(now).plus_ms(gap_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP_MS: u64 = 50;

    /// When each of `count` is done that are all wanted from `from` on, in milliseconds.
    fn times(spacing: &mut Spacing, from: u64, count: usize, gap_ms: u64) -> Vec<u64> {
        let mut now = Mono(0).plus_ms(from);
        let next = |_| {
            now = now.max(spacing.free_at());
            spacing.done(now, gap_ms);
            now.0 / 1_000
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn a_few_go_at_once_and_the_others_a_gap_apart() {
        let mut spacing = Spacing::new(3, GAP_MS);
        let seen = times(&mut spacing, 1_000, 6, GAP_MS);
        assert_eq!(seen, [1_000, 1_000, 1_000, 1_050, 1_100, 1_150]);
        let seen = times(&mut spacing, 1_200, 3, GAP_MS);
        assert_eq!(seen, [1_200, 1_250, 1_300], "it was just about to be free");
        let seen = times(&mut spacing, 9_000, 4, GAP_MS);
        assert_eq!(seen, [9_000, 9_000, 9_000, 9_050], "it is quiet again");
    }

    #[test]
    fn in_no_time_are_there_more_than_the_burst_and_one_for_each_gap() {
        let mut spacing = Spacing::new(3, GAP_MS);
        let mut all = Vec::new();
        for from in [1_000, 1_010, 1_170, 1_171, 1_400, 2_500] {
            all.extend(times(&mut spacing, from, 3, GAP_MS));
        }
        for (n, first) in all.iter().enumerate() {
            for (m, last) in all.iter().enumerate().skip(n) {
                let done = (m - n + 1) as u64;
                assert!(done <= 3 + (last - first) / GAP_MS, "{all:?}");
            }
        }
    }

    #[test]
    fn a_long_gap_leaves_no_burst() {
        let mut spacing = Spacing::new(3, GAP_MS);
        assert_eq!(times(&mut spacing, 0, 3, 500), [0, 400, 900]);
    }
}
