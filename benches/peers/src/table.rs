//! The results as one table in Markdown, or as JSON lines.

use serde_json::{Value, json};

use crate::figures::{Figures, Median, Outcome};
use crate::order::Measure;
use crate::roster::{Entry, OURS};

/// A reason that is longer is cut in the table; the lines before it have it whole.
const REASON_CHARS: usize = 60;

pub fn print(entries: &[&Entry], measures: &[Measure], figures: &Figures) {
    let headings: Vec<_> = measures.iter().map(|measure| heading(*measure)).collect();
    println!("| contender | {} |", headings.join(" | "));
    println!("| --- |{}", " --- |".repeat(measures.len()));
    for entry in entries {
        let cells = measures.iter().map(|measure| {
            let median = figures.median(*measure, entry.name);
            median.map_or("-".to_owned(), |median| cell(&median))
        });
        let cells: Vec<_> = cells.collect();
        println!(
            "| {} ({}) | {} |",
            entry.name,
            entry.version,
            cells.join(" | ")
        );
    }
    println!();
    println!(
        "In parentheses: a peer's figure divided by {OURS}'s, and {OURS}'s by the best peer's of the same round; of a \
         pick-up, the p50's. Medians of the rounds."
    );
}

fn heading(measure: Measure) -> &'static str {
    match measure {
        Measure::Create => "create, one at a time, /s",
        Measure::Bulk => "create in bulk, /s",
        Measure::Drain => "drain, /s",
        Measure::Pickup => "pick-up p50 / p95 / p99, ms",
    }
}

fn cell(median: &Median) -> String {
    let figure = match &median.outcome {
        Outcome::Rate {
            per_second,
            note: None,
        } => short(*per_second),
        Outcome::Rate {
            per_second,
            note: Some(note),
        } => format!("{}, {note}", short(*per_second)),
        Outcome::Latency(_) => median.outcome.to_string().replace(" ms", ""),
        Outcome::Failed(why) => {
            let why: String = why.chars().take(REASON_CHARS).collect();
            return format!("failed: {}", why.replace(['|', '\n'], " "));
        }
    };
    match median.ratio {
        Some(ratio) => format!("{figure} ({ratio:.2})"),
        None => figure,
    }
}

/// 948, 3.31k, 52.9k, 106k: three digits.
fn short(per_second: f64) -> String {
    match per_second {
        ..999.5 => format!("{per_second:.0}"),
        ..9_995.0 => format!("{:.2}k", per_second / 1e3),
        ..99_950.0 => format!("{:.1}k", per_second / 1e3),
        _ => format!("{:.0}k", per_second / 1e3),
    }
}

pub fn print_json(entries: &[&Entry], measures: &[Measure], figures: &Figures) {
    for measure in measures {
        for entry in entries {
            if let Some(median) = figures.median(*measure, entry.name) {
                let mut line = described(entry.name, *measure, &median.outcome);
                line["median"] = json!(true);
                line["ratio"] = json!(median.ratio.map(hundredths));
                println!("{line}");
            }
        }
    }
}

/// One figure of one round.
pub fn json_line(round: usize, name: &str, measure: Measure, outcome: &Outcome) -> Value {
    let mut line = described(name, measure, outcome);
    line["round"] = json!(round);
    line
}

fn described(name: &str, measure: Measure, outcome: &Outcome) -> Value {
    let mut line = match outcome {
        Outcome::Rate { per_second, note } => {
            json!({ "per_second": per_second.round(), "note": note })
        }
        Outcome::Latency(latency) => json!({
            "p50_ms": hundredths(latency.p50_ms),
            "p95_ms": hundredths(latency.p95_ms),
            "p99_ms": hundredths(latency.p99_ms),
            "samples": latency.samples,
        }),
        Outcome::Failed(why) => json!({ "failed": why }),
    };
    line["contender"] = json!(name);
    line["measure"] = json!(measure.name());
    line
}

fn hundredths(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_with_three_digits() {
        for (rate, text) in [
            (151.2, "151"),
            (999.6, "1.00k"),
            (3_312.0, "3.31k"),
            (52_940.0, "52.9k"),
            (99_960.0, "100k"),
        ] {
            assert_eq!(short(rate), text);
        }
    }

    #[test]
    fn a_failure_stays_in_its_cell() {
        let median = Median {
            outcome: Outcome::Failed("a | b\nc".to_owned()),
            ratio: None,
        };
        assert_eq!(cell(&median), "failed: a   b c");
    }
}
