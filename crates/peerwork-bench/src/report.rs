//! What was measured, as a line for people or as JSON.

use crate::Args;
use crate::target::Target;

pub struct Report {
    scenario: &'static str,
    database: &'static str,
    settings: String,
    per_second: f64,
    yardstick: f64,
    ratio: f64,
    rounds: usize,
}

impl Report {
    /// The medians over the rounds; the ratio is the median of the rounds' own ratios.
    pub fn new(args: &Args, target: &Target, rounds: Vec<(f64, f64)>) -> Self {
        Self {
            scenario: args.scenario.name(),
            database: target.name,
            settings: format!(
                "tasks={} nodes={} slots={}",
                args.tasks, args.nodes, args.slots
            ),
            per_second: median(rounds.iter().map(|(figure, _)| *figure)),
            yardstick: median(rounds.iter().map(|(_, yardstick)| *yardstick)),
            ratio: median(rounds.iter().map(|(figure, yardstick)| figure / yardstick)),
            rounds: rounds.len(),
        }
    }

    pub fn to_text(&self) -> String {
        format!(
            "{:<18} {:<9} {:>9.0} tasks/s   {:>6.2} times the {:.0} one-row commits/s of one connection   ({}, median of {})",
            self.scenario,
            self.database,
            self.per_second,
            self.ratio,
            self.yardstick,
            self.settings,
            self.rounds
        )
    }

    pub fn to_json(&self) -> String {
        serde_json::json!({
            "scenario": self.scenario,
            "database": self.database,
            "settings": self.settings,
            "per_second": self.per_second.round(),
            "yardstick": { "one_row_commits_per_second": self.yardstick.round() },
            "ratio": (self.ratio * 100.0).round() / 100.0,
            "rounds": self.rounds,
        })
        .to_string()
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([5.0].into_iter()), 5.0);
    }
}
