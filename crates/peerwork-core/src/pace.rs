//! How often to ask for something whose price is not known beforehand: as often as one likes while it is cheap, and for a small part
//! of the time once it is not.

use crate::Mono;

/// The pace of one question that is asked again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    took_ms: u64,
    again_at: Mono,
}

impl Pace {
    /// An answer that takes longer than this, in milliseconds, is costly: an index is stepped through in less, and only walks over
    /// what cannot be cleared away take more.
    pub const COSTLY_MS: u64 = 20;

    /// From a costly answer to the next question, as a multiple of what the answer took: a tenth of the time is spent on it.
    const PAUSE: u64 = 10;

    /// The longest pause, in milliseconds: an answer may also have taken long because the database was away.
    const PAUSE_MS_MAX: u64 = 5_000;

    /// It was asked at `began` and answered at `now`.
    pub fn took(&mut self, began: Mono, now: Mono) {
        self.took_ms = now.since(began).as_millis() as u64;
        self.again_at = match self.is_costly() {
            true => now.plus_ms(Self::PAUSE_MS_MAX.min(Self::PAUSE * self.took_ms)),
            false => now,
        };
    }

    /// Whether the last answer was costly.
    pub fn is_costly(&self) -> bool {
        self.took_ms > Self::COSTLY_MS
    }

    /// From when on it may be asked again.
    pub fn again_at(&self) -> Mono {
        self.again_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cheap_may_be_asked_at_once_and_what_is_not_a_tenth_of_the_time() {
        let ms = |ms| Mono(0).plus_ms(ms);
        let mut pace = Pace::default();
        pace.took(ms(0), ms(20));
        assert_eq!((pace.is_costly(), pace.again_at()), (false, ms(20)));
        pace.took(ms(20), ms(120));
        assert_eq!((pace.is_costly(), pace.again_at()), (true, ms(1_120)));
        pace.took(ms(0), ms(30_000));
        assert_eq!(pace.again_at(), ms(35_000));
        pace.took(ms(1_120), ms(1_121));
        assert!(!pace.is_costly(), "it recovers by itself");
    }
}
