//! Starts per second: a token bucket, kept as one point in time.
//!
//! The point is when the bucket would be full again; it moves on by the time between two starts with each of them. This is the
//! generic cell rate algorithm (ITU-T I.371, "virtual scheduling").

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// So many starts a second on average, and so many at once after a quiet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Starts in a thousand seconds.
    pub per_1000_s: u64,
    /// Starts at once after a quiet time, at least one.
    pub burst: u32,
}

impl Rate {
    /// The fastest, in starts per 1,000 seconds: a million a second, beyond what one row of a database counts.
    pub const PER_1000_S_MAX: u64 = 1_000_000_000;

    /// The largest burst.
    pub const BURST_MAX: u32 = 1_000_000;

    /// So many starts a second, which may be a fraction.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn per_second(starts: f64, burst: u32) -> Result<Self, String> {
        let per_1000_s = (starts * 1_000.0).round();
        if !(1.0..=Self::PER_1000_S_MAX as f64).contains(&per_1000_s) {
            return Err(format!(
                "{starts} starts per second; choose from 0.001 to {}, or close a gate to have none",
                Self::PER_1000_S_MAX / 1_000
            ));
        }
        let rate = Self {
            per_1000_s: per_1000_s as u64,
            burst,
        };
        rate.check()?;
        Ok(rate)
    }

    /// Whether it can be kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self) -> Result<(), String> {
        if !(1..=Self::PER_1000_S_MAX).contains(&self.per_1000_s) {
            return Err(format!(
                "{} starts per 1000 seconds; choose from 1 to {}",
                self.per_1000_s,
                Self::PER_1000_S_MAX
            ));
        }
        if !(1..=Self::BURST_MAX).contains(&self.burst) {
            return Err(format!(
                "a burst of {}; choose from 1 to {}",
                self.burst,
                Self::BURST_MAX
            ));
        }
        Ok(())
    }

    /// How many may start at `now`, if the bucket is full again at `full_at`.
    pub fn room(self, full_at: Timestamp, now: Timestamp) -> u32 {
        let left = ns(now) + self.capacity_ns() - self.base_ns(full_at, now);
        u32::try_from(left.max(0) / self.interval_ns()).unwrap_or(u32::MAX)
    }

    /// When the bucket is full again after `starts` at `now`.
    pub fn take(self, full_at: Timestamp, now: Timestamp, starts: u32) -> Timestamp {
        let full_ns = self.base_ns(full_at, now) + i128::from(starts) * self.interval_ns();
        // Rounded up: never faster than it is set.
        Timestamp(i64::try_from((full_ns + 999) / 1_000).unwrap_or(i64::MAX))
    }

    /// When there is room for one, from `now` on.
    pub fn next_at(self, full_at: Timestamp, now: Timestamp) -> Timestamp {
        self.nth_at(full_at, now, 1)
    }

    /// When there has been room for `starts` of them, one by one, from `now` on.
    pub fn nth_at(self, full_at: Timestamp, now: Timestamp, starts: u64) -> Timestamp {
        let starts_ns = i128::from(starts) * self.interval_ns();
        let at_ns = self.base_ns(full_at, now) + starts_ns - self.capacity_ns();
        Timestamp(i64::try_from((at_ns + 999) / 1_000).unwrap_or(i64::MAX)).max(now)
    }

    /// The slower of two.
    pub fn min(self, other: Self) -> Self {
        Self {
            per_1000_s: self.per_1000_s.min(other.per_1000_s),
            burst: self.burst.min(other.burst),
        }
    }

    fn interval_ns(self) -> i128 {
        let per_1000_s = i128::from(self.per_1000_s.max(1));
        (1_000_000_000_000 + per_1000_s - 1) / per_1000_s
    }

    fn capacity_ns(self) -> i128 {
        i128::from(self.burst.max(1)) * self.interval_ns()
    }

    /// Not before now: an unused bucket holds no more than its burst. Nor later than an empty one is full again: a clock that was
    /// set back, or a rate that was raised, closes nothing for longer.
    fn base_ns(self, full_at: Timestamp, now: Timestamp) -> i128 {
        // Of a bucket that was emptied just now, the point was rounded up.
        let empty_ns = (ns(now) + self.capacity_ns() + 999) / 1_000 * 1_000;
        ns(full_at).clamp(ns(now), empty_ns)
    }
}

fn ns(at: Timestamp) -> i128 {
    i128::from(at.0) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEVER: Timestamp = Timestamp(i64::MIN);
    const NOW: Timestamp = Timestamp(1_780_000_000_000_000);

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let rate = Rate::per_second(10.0, 20).unwrap();
        assert_eq!(rate.room(NEVER, NOW), 20);
        let full_at = rate.take(NEVER, NOW, 20);
        assert_eq!(rate.room(full_at, NOW), 0);
        assert_eq!(rate.next_at(full_at, NOW), NOW.plus_ms(100));
        assert_eq!(rate.room(full_at, NOW.plus_ms(99)), 0);
        assert_eq!(rate.room(full_at, NOW.plus_ms(100)), 1);
        assert_eq!(rate.room(full_at, NOW.plus_ms(1_000)), 10);
        assert_eq!(rate.room(full_at, NOW.plus_ms(60_000)), 20, "no more");
    }

    #[test]
    fn a_clock_that_was_set_back_closes_it_for_no_longer_than_a_burst_takes() {
        let rate = Rate::per_second(2.0, 4).unwrap();
        let full_at = rate.take(NEVER, NOW.plus_ms(3_600_000), 4);
        assert_eq!(rate.room(full_at, NOW), 0);
        assert_eq!(rate.next_at(full_at, NOW), NOW.plus_ms(500));
    }

    #[test]
    fn the_nth_start_is_that_of_one_who_takes_each_as_soon_as_it_is_there() {
        let rate = Rate::per_second(3.0, 2).unwrap();
        let full_at = rate.take(NEVER, NOW, 1);
        let (mut at, mut bucket) = (NOW, full_at);
        for n in 1..=7 {
            at = rate.next_at(bucket, at);
            bucket = rate.take(bucket, at, 1);
            // Each step rounds up by less than a microsecond.
            let late_us = at.0 - rate.nth_at(full_at, NOW, n).0;
            assert!((0..=n as i64).contains(&late_us), "start {n}: {late_us} µs");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        assert!(Rate::per_second(0.0, 1).is_err());
        assert!(Rate::per_second(f64::NAN, 1).is_err());
        assert!(Rate::per_second(-1.0, 1).is_err());
        assert!(Rate::per_second(1.0, 0).is_err());
        assert!(Rate::per_second(2e6, 1).is_err());
        assert_eq!(Rate::per_second(0.001, 1).unwrap().per_1000_s, 1);
    }

    proptest! {
        #[test]
        fn no_more_start_than_the_rate_and_one_burst_allow(
            per_1000_s in 1..5_000_000u64,
            burst in 1..50u32,
            steps in prop::collection::vec((0..3_000_000i64, 1..100u32), 1..60),
        ) {
            let rate = Rate { per_1000_s, burst };
            let (mut now, mut full_at, mut started) = (NOW, NEVER, 0u64);
            for (us, wanted) in steps {
                now = Timestamp(now.0 + us);
                let got = rate.room(full_at, now).min(wanted);
                full_at = rate.take(full_at, now, got);
                started += u64::from(got);
                let seconds = (now.0 - NOW.0) as f64 / 1e6;
                let allowed = f64::from(burst) + seconds * per_1000_s as f64 / 1e3;
                prop_assert!(started as f64 <= allowed + 1e-6, "{started} of {allowed}");
                let next_at = rate.next_at(full_at, now);
                prop_assert!(rate.room(full_at, next_at) >= 1);
                prop_assert!(next_at == now || rate.room(full_at, Timestamp(next_at.0 - 1)) == 0);
            }
        }
    }
}
