//! What was measured, and what it comes to over the rounds: medians, and ratios of figures of the same round.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::order::Measure;
use crate::roster::OURS;

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Tasks a second.
    Rate {
        per_second: f64,
        note: Option<String>,
    },
    Latency(Latency),
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub samples: usize,
}

/// The median over the rounds that did not fail.
#[derive(Debug, PartialEq)]
pub struct Median {
    pub outcome: Outcome,
    /// A peer's figure to ours, and ours to the best peer's; the median of the rounds' own ratios.
    pub ratio: Option<f64>,
}

/// By measure and contender, one for each round.
#[derive(Default)]
pub struct Figures(BTreeMap<(Measure, &'static str), BTreeMap<usize, Outcome>>);

impl Outcome {
    pub fn rate(tasks: u32, took: Duration) -> Self {
        Self::Rate {
            per_second: f64::from(tasks) / took.as_secs_f64(),
            note: None,
        }
    }

    /// `ms` is not empty.
    pub fn latency(mut ms: Vec<f64>) -> Self {
        ms.sort_by(f64::total_cmp);
        let at = |share: f64| ms[((ms.len() as f64 * share) as usize).min(ms.len() - 1)];
        Self::Latency(Latency {
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            samples: ms.len(),
        })
    }

    pub fn noted(self, text: String) -> Self {
        match self {
            Self::Rate { per_second, .. } => Self::Rate {
                per_second,
                note: Some(text),
            },
            other => other,
        }
    }

    /// What ratios are made of.
    fn figure(&self) -> Option<f64> {
        match self {
            Self::Rate { per_second, .. } => Some(*per_second),
            Self::Latency(latency) => Some(latency.p50_ms),
            Self::Failed(_) => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate { per_second, note } => {
                write!(f, "{per_second:.0}/s")?;
                note.iter().try_for_each(|note| write!(f, ", {note}"))
            }
            Self::Latency(latency) => write!(
                f,
                "{:.2} / {:.2} / {:.2} ms",
                latency.p50_ms, latency.p95_ms, latency.p99_ms
            ),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

impl Figures {
    pub fn record(&mut self, round: usize, name: &'static str, measure: Measure, outcome: Outcome) {
        let rounds = self.0.entry((measure, name)).or_default();
        rounds.insert(round, outcome);
    }

    /// `None` where it was not measured.
    pub fn median(&self, measure: Measure, name: &'static str) -> Option<Median> {
        let rounds = self.0.get(&(measure, name))?;
        Some(Median {
            outcome: middle(rounds.values().collect()),
            ratio: self.ratio(measure, name, rounds),
        })
    }

    fn ratio(
        &self,
        measure: Measure,
        name: &'static str,
        rounds: &BTreeMap<usize, Outcome>,
    ) -> Option<f64> {
        let ratios = rounds.iter().filter_map(|(round, outcome)| {
            let other = match name {
                OURS => self.best_peer(measure, *round)?,
                _ => self.0.get(&(measure, OURS))?.get(round)?.figure()?,
            };
            Some(outcome.figure()? / other)
        });
        median(ratios.collect())
    }

    fn best_peer(&self, measure: Measure, round: usize) -> Option<f64> {
        let peers = self
            .0
            .iter()
            .filter(|((of, name), _)| *of == measure && *name != OURS);
        let figures = peers.filter_map(|(_, rounds)| rounds.get(&round)?.figure());
        figures.reduce(match measure {
            Measure::Pickup => f64::min,
            Measure::Create | Measure::Bulk | Measure::Drain => f64::max,
        })
    }
}

/// Percentiles each by themselves; where every round failed, the last failure.
fn middle(rounds: Vec<&Outcome>) -> Outcome {
    let latencies: Vec<Latency> = rounds
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Latency(latency) => Some(*latency),
            _ => None,
        })
        .collect();
    let each = |of: fn(&Latency) -> f64| median(latencies.iter().map(of).collect());
    if let (Some(p50_ms), Some(p95_ms), Some(p99_ms)) =
        (each(|l| l.p50_ms), each(|l| l.p95_ms), each(|l| l.p99_ms))
    {
        return Outcome::Latency(Latency {
            p50_ms,
            p95_ms,
            p99_ms,
            samples: latencies.iter().map(|latency| latency.samples).sum(),
        });
    }
    let mut rates: Vec<&&Outcome> = rounds.iter().filter(|o| o.figure().is_some()).collect();
    rates.sort_by(|a, b| {
        a.figure()
            .unwrap_or(0.0)
            .total_cmp(&b.figure().unwrap_or(0.0))
    });
    match rates.get(rates.len() / 2) {
        Some(outcome) => (**outcome).clone(),
        None => (*rounds.last().expect("recorded rounds")).clone(),
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: f64) -> Outcome {
        Outcome::Rate {
            per_second,
            note: None,
        }
    }

    fn ratio(figures: &Figures, measure: Measure, name: &'static str) -> Option<f64> {
        figures.median(measure, name)?.ratio
    }

    #[test]
    fn ratios_are_made_within_a_round_and_their_median_is_reported() {
        let mut figures = Figures::default();
        for (round, (ours, a, b)) in [(8.0, 2.0, 4.0), (90.0, 30.0, 10.0), (5.0, 5.0, 1.0)]
            .into_iter()
            .enumerate()
        {
            figures.record(round, OURS, Measure::Drain, rate(ours));
            figures.record(round, "a", Measure::Drain, rate(a));
            figures.record(round, "b", Measure::Drain, rate(b));
        }
        // 8/4, 90/30, 5/5
        assert_eq!(ratio(&figures, Measure::Drain, OURS), Some(2.0));
        // 2/8, 30/90, 5/5
        assert_eq!(ratio(&figures, Measure::Drain, "a"), Some(1.0 / 3.0));
        let median = figures.median(Measure::Drain, OURS).unwrap();
        assert_eq!(median.outcome, rate(8.0));
    }

    #[test]
    fn the_best_peer_of_a_pick_up_is_the_quickest() {
        let mut figures = Figures::default();
        for (name, ms) in [(OURS, 1.0), ("a", 2.0), ("b", 4.0)] {
            figures.record(0, name, Measure::Pickup, Outcome::latency(vec![ms]));
        }
        assert_eq!(ratio(&figures, Measure::Pickup, OURS), Some(0.5));
        assert_eq!(ratio(&figures, Measure::Pickup, "b"), Some(4.0));
    }

    #[test]
    fn a_failed_round_is_left_out_and_only_failures_fail() {
        let mut figures = Figures::default();
        let failed = || Outcome::Failed("gone".to_owned());
        figures.record(0, "a", Measure::Bulk, failed());
        figures.record(1, "a", Measure::Bulk, rate(3.0));
        figures.record(0, "b", Measure::Bulk, failed());
        let outcome = |name| figures.median(Measure::Bulk, name).unwrap().outcome;
        assert_eq!(outcome("a"), rate(3.0));
        assert_eq!(outcome("b"), failed());
        assert_eq!(ratio(&figures, Measure::Bulk, "a"), None);
    }

    #[test]
    fn percentiles_are_samples() {
        let ms = (1..=100).map(f64::from).collect();
        let Outcome::Latency(latency) = Outcome::latency(ms) else {
            panic!("not a latency");
        };
        assert_eq!(
            (latency.p50_ms, latency.p95_ms, latency.p99_ms),
            (51.0, 96.0, 100.0)
        );
    }
}
