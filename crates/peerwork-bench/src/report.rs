//! What was measured, as a line for people or as JSON.

use crate::figures::{Figure, median, median_ratio};
use serde_json::{Map, Value, json};

/// One round: what was measured, the yardstick beside it, and what else is worth knowing.
#[derive(Clone, Debug)]
pub struct Round {
    pub ours: Figure,
    pub yardstick: Figure,
    pub besides: Vec<(&'static str, f64)>,
}

impl Round {
    pub fn new(ours: Figure, yardstick: Figure) -> Self {
        Self {
            ours,
            yardstick,
            besides: Vec::new(),
        }
    }

    /// The same with another number, told and not compared.
    pub fn with(mut self, name: &'static str, number: f64) -> Self {
        self.besides.push((name, number));
        self
    }

    fn parts(&self) -> Vec<(&'static str, f64)> {
        let mut parts = self.ours.parts();
        parts.extend(self.besides.iter().copied());
        parts
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct Report {
    pub scenario: String,
    pub database: &'static str,
    pub settings: String,
    /// What the yardstick is.
    pub yardstick: &'static str,
    /// All of them alike.
    pub rounds: Vec<Round>,
}

impl Report {
    /// The median of each number, and the median of the rounds' ratios.
    pub fn to_json(&self) -> String {
        let mut line = Map::new();
        line.insert("scenario".into(), json!(self.scenario));
        line.insert("database".into(), json!(self.database));
        line.insert("settings".into(), json!(self.settings));
        line.extend(self.medians(Round::parts));
        let mut yardstick = Map::from_iter([("is".to_owned(), json!(self.yardstick))]);
        yardstick.extend(self.medians(|round| round.yardstick.parts()));
        line.insert("yardstick".into(), Value::Object(yardstick));
        line.insert("ratio".into(), short(self.ratio()));
        line.insert("rounds".into(), json!(self.rounds.len()));
        Value::Object(line).to_string()
    }

    pub fn to_text(&self) -> String {
        format!(
            "{:<22} {:<9} {}\n    {:.2} times {} ({})\n    {}, median of {}",
            self.scenario,
            self.database,
            listed(&self.medians(Round::parts)),
            self.ratio(),
            self.yardstick,
            listed(&self.medians(|round| round.yardstick.parts())),
            self.settings,
            self.rounds.len()
        )
    }

    fn ratio(&self) -> f64 {
        let scores = |round: &Round| (round.ours.score(), round.yardstick.score());
        median_ratio(self.rounds.iter().map(scores))
    }

    /// The median of each part over the rounds.
    fn medians(&self, parts: impl Fn(&Round) -> Vec<(&'static str, f64)>) -> Map<String, Value> {
        let rounds: Vec<_> = self.rounds.iter().map(parts).collect();
        let names = rounds.first().into_iter().flatten().map(|(name, _)| *name);
        let value = |name| {
            let parts = rounds.iter().flatten().filter(|part| part.0 == name);
            median(parts.map(|(_, number)| *number))
        };
        names
            .map(|name| (name.to_owned(), short(value(name))))
            .collect()
    }
}

/// Four digits are more than any of this is worth.
fn short(number: f64) -> Value {
    if number.abs() >= 1_000.0 {
        json!(number.round() as i64)
    } else if number.abs() >= 100.0 {
        json!((number * 10.0).round() / 10.0)
    } else {
        json!((number * 1_000.0).round() / 1_000.0)
    }
}

fn listed(parts: &Map<String, Value>) -> String {
    let parts: Vec<_> = parts
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Percentiles;

    fn report(rounds: Vec<Round>) -> Report {
        Report {
            scenario: "drain".into(),
            database: "sqlite",
            settings: "tasks=5".into(),
            yardstick: "floor",
            rounds,
        }
    }

    #[test]
    fn a_line_has_the_medians_and_the_median_ratio() {
        let round = |ours, yardstick, batch| {
            Round::new(Figure::Rate(ours), Figure::Rate(yardstick)).with("batch", batch)
        };
        let report = report(vec![
            round(10.0, 20.0, 1.0),
            round(3_000.4, 1_000.0, 3.0),
            round(20.0, 25.0, 2.0),
        ]);
        let line: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(line["per_second"], 20.0);
        assert_eq!(line["batch"], 2.0);
        assert_eq!(line["yardstick"]["is"], "floor");
        assert_eq!(line["yardstick"]["per_second"], 25.0);
        assert_eq!(line["ratio"], 0.8);
        assert_eq!(line["rounds"], 3);
    }

    #[test]
    fn latencies_are_compared_by_their_medians() {
        let latency = |p50_ms| {
            Figure::Latency(Percentiles {
                p50_ms,
                p95_ms: 8.0,
                p99_ms: 9.0,
            })
        };
        let report = report(vec![Round::new(latency(3.0), latency(2.0))]);
        let line: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(line["p99_ms"], 9.0);
        assert_eq!(line["ratio"], 1.5);
        assert!(report.to_text().contains("1.50 times floor"));
    }
}
