//! The two clocks: [`Timestamp`] is the database's, [`Mono`] is one machine's own.
//!
//! They are different types so that they cannot be compared with each other, and no node's wall clock is here.

use std::fmt;
use std::time::Duration;

/// A point in time by the database's clock, in microseconds since 1970-01-01 UTC.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The point `ms` milliseconds later; saturates at the end of time.
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)),
        )
    }

    /// The point `ms` milliseconds earlier; saturates at the beginning of time.
    pub fn minus_ms(self, ms: u64) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)),
        )
    }

    /// Milliseconds from `earlier` to here, 0 if it is not earlier.
    pub fn ms_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0) / 1_000).unwrap_or(0)
    }
}

impl From<std::time::SystemTime> for Timestamp {
    /// Times before 1970 become 1970. This converts a due time that a user names; nodes never read their wall clock.
    fn from(at: std::time::SystemTime) -> Self {
        let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for std::time::SystemTime {
    fn from(at: Timestamp) -> Self {
        std::time::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, e.g. `2026-01-31T09:05:00.250Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.div_euclid(1_000);
        let (days, in_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        // Days to a civil date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let (h, m, s, milli) = (
            in_day / 3_600_000,
            in_day / 60_000 % 60,
            in_day / 1_000 % 60,
            in_day % 1_000,
        );
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{milli:03}Z"
        )
    }
}

/// A point on one machine's clock that runs through suspension, in microseconds since some fixed origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The point `ms` milliseconds later; saturates.
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// The time from `earlier` to here, zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            Timestamp(1_709_210_096_789_000).to_string(),
            "2024-02-29T12:34:56.789Z"
        );
        assert_eq!(Timestamp(-1_000).to_string(), "1969-12-31T23:59:59.999Z");
    }
}
