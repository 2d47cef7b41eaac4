//! Figures and what is made of them: medians, percentiles, ratios.

use std::time::Duration;

/// What one round came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// So many a second.
    Rate(f64),
    /// How long each took.
    Latency(Percentiles),
    /// So much of the unit that the scenario names.
    Amount(&'static str, f64),
}

impl Figure {
    /// The number of `count` things in `time`.
    pub fn rate(count: usize, time: Duration) -> Self {
        Self::Rate(count as f64 / time.as_secs_f64().max(f64::EPSILON))
    }

    /// The number that ratios are made of.
    pub fn score(self) -> f64 {
        match self {
            Self::Rate(score) | Self::Amount(_, score) => score,
            Self::Latency(percentiles) => percentiles.p50_ms,
        }
    }

    /// Its numbers with their names.
    pub fn parts(self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Rate(rate) => vec![("per_second", rate)],
            Self::Latency(p) => {
                vec![
                    ("p50_ms", p.p50_ms),
                    ("p95_ms", p.p95_ms),
                    ("p99_ms", p.p99_ms),
                ]
            }
            Self::Amount(name, amount) => vec![(name, amount)],
        }
    }
}

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}

impl Percentiles {
    /// Of these times; zeros if there are none.
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let ms = |percent| percentile(&times, percent).as_secs_f64() * 1_000.0;
        Self {
            p50_ms: ms(50),
            p95_ms: ms(95),
            p99_ms: ms(99),
        }
    }
}

/// The smallest of the sorted `times` that at least `percent` in a hundred of them do not exceed ("nearest rank").
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

/// The middle one; of an even number the mean of the middle two; zero of none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        n if n % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

/// The median of the rounds' own ratios, so that a slow minute slows both sides of a ratio.
pub fn median_ratio(rounds: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    median(
        rounds
            .into_iter()
            .map(|(ours, yardstick)| ratio(ours, yardstick)),
    )
}

fn ratio(ours: f64, yardstick: f64) -> f64 {
    if yardstick == 0.0 {
        0.0
    } else {
        ours / yardstick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_the_mean_of_the_middle_two() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([5.0]), 5.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let percentiles = Percentiles::of(times);
        assert_eq!(percentiles.p50_ms, 100.0);
        assert_eq!(percentiles.p95_ms, 190.0);
        assert_eq!(percentiles.p99_ms, 198.0);
        let one = Percentiles::of(vec![Duration::from_millis(7)]);
        assert_eq!((one.p50_ms, one.p99_ms), (7.0, 7.0));
        assert_eq!(Percentiles::of(vec![]), Percentiles::default());
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios_and_not_the_ratio_of_medians() {
        let rounds = [(10.0, 10.0), (20.0, 40.0), (90.0, 30.0)];
        assert_eq!(median_ratio(rounds), 1.0);
        assert_eq!(median_ratio([(1.0, 0.0)]), 0.0);
    }

    #[test]
    fn a_rate_counts_in_seconds() {
        assert_eq!(
            Figure::rate(50, Duration::from_millis(500)),
            Figure::Rate(100.0)
        );
    }
}
