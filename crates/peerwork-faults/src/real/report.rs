//! What is said at the end: for people, and as one line of JSON. A run passes if no promise was broken and everything
//! that it had to meet was met.

use super::args::{DatabaseArg, Extra};
use super::check::{Finding, Promise, Verdict};
use super::history::FaultSort;
use std::collections::BTreeSet;
use std::fmt::Write;

/// A judged run.
#[derive(Debug)]
pub struct Report {
    /// On what it ran.
    pub database: DatabaseArg,
    /// What came on top.
    pub extras: Vec<Extra>,
    /// What must have happened.
    pub must: BTreeSet<String>,
    /// Faults that nobody was allowed to bring about.
    pub not_thrown: Vec<FaultSort>,
    /// What it followed from.
    pub seed: u64,
    /// How long tasks were created and faults happened.
    pub seconds: u64,
    /// What it came to.
    pub verdict: Verdict,
}

/// Findings of a promise that are printed.
const SHOWN: usize = 8;

impl Report {
    /// What did not happen and should have: without it the rest proves little.
    pub fn missed(&self) -> Vec<&str> {
        let happened = &self.verdict.happened;
        let is_missed = |what: &&String| happened.get(*what).is_none_or(|count| *count == 0);
        let missed = self.must.iter().filter(is_missed);
        missed.map(String::as_str).collect()
    }

    /// Whether the run passes.
    pub fn passes(&self) -> bool {
        let is_judged = |found: &Finding| self.judges(found.promise);
        !self.verdict.findings.iter().any(is_judged) && self.missed().is_empty()
    }

    /// Whether a breach of this promise is a failure here. A database that has lost acknowledged commits keeps what does
    /// not rest on them; one that is written to at several places may lose any.
    fn judges(&self, promise: Promise) -> bool {
        if self.extras.contains(&Extra::EveryWriter) {
            return false;
        }
        let has_lost = self.extras.contains(&Extra::Replica);
        match promise {
            Promise::Lost
            | Promise::PoisonsSpared
            | Promise::CheckpointRegressions
            | Promise::LimitExcessDb
            | Promise::CountedElsewhere
            | Promise::GatesPassed
            | Promise::DoubleEffectsInTransaction => !has_lost,
            Promise::IllegalTransitions
            | Promise::FencedWritesAccepted
            | Promise::FalseTakeovers
            | Promise::Ghosts
            | Promise::InnocentsFailed
            | Promise::StuckAfterHeal => true,
        }
    }

    /// One line.
    pub fn json(&self) -> String {
        let zero: serde_json::Map<_, _> = Promise::ALL
            .into_iter()
            .map(|promise| {
                (
                    promise.name().to_owned(),
                    self.verdict.count(promise).into(),
                )
            })
            .collect();
        let reported: Vec<_> = Promise::ALL
            .into_iter()
            .filter(|promise| !self.judges(*promise))
            .map(Promise::name)
            .collect();
        serde_json::json!({
            "verdict": if self.passes() { "pass" } else { "fail" },
            "seed": self.seed,
            "database": self.database.name(),
            "seconds": self.seconds,
            "with": self.extras.iter().map(|extra| extra.name()).collect::<Vec<_>>(),
            "must_be_zero": zero,
            "reported_only": reported,
            "not_thrown": self.not_thrown.iter().map(|sort| sort.name()).collect::<Vec<_>>(),
            "must_have_happened": self.must,
            "missed": self.missed(),
            "happened": self.verdict.happened,
            "reported": self.verdict.reported,
            "times": self.verdict.times,
            "limits": self.verdict.utilisation,
        })
        .to_string()
    }

    /// Several lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let word = if self.passes() { "PASS" } else { "FAIL" };
        let _ = writeln!(
            text,
            "{word}: {} for {} s from seed {}",
            self.database.name(),
            self.seconds,
            self.seed
        );
        let _ = writeln!(text, "  must be zero:");
        for promise in Promise::ALL {
            let _ = writeln!(
                text,
                "    {:<30} {}{}",
                promise.name(),
                self.verdict.count(promise),
                if self.judges(promise) {
                    ""
                } else {
                    "  (reported only)"
                }
            );
            let of = self
                .verdict
                .findings
                .iter()
                .filter(|found| found.promise == promise);
            for finding in of.take(SHOWN) {
                let _ = writeln!(text, "      {}", finding.text);
            }
        }
        for sort in &self.not_thrown {
            let _ = writeln!(text, "  not thrown: {}", sort.name());
        }
        for missed in self.missed() {
            let _ = writeln!(text, "  did not happen: {missed}");
        }
        for (title, counters) in [
            ("happened", &self.verdict.happened),
            ("reported", &self.verdict.reported),
        ] {
            let _ = writeln!(text, "  {title}:");
            for (name, count) in counters {
                let _ = writeln!(text, "    {name:<38} {count}");
            }
        }
        if let Some(found) = &self.verdict.utilisation {
            let _ = writeln!(
                text,
                "  limits: {:.3} of {} slots in {} groups used over {:.1} s by {} claims; {:.3} awaited a rescue and are left out",
                found.used,
                found.slots,
                found.groups,
                found.busy_s,
                found.claims,
                found.awaiting_rescue
            );
            let _ = writeln!(
                text,
                "  a free slot was filled after {} ms (p50), {} ms (p99)",
                found.refill_p50_ms, found.refill_p99_ms
            );
        }
        let _ = writeln!(text, "  times in ms:");
        for (name, spread) in &self.verdict.times {
            let _ = writeln!(
                text,
                "    {name:<22} {:>6} times  p50 {:>6}  p99 {:>6}  max {:>6}",
                spread.count, spread.p50_ms, spread.p99_ms, spread.max_ms
            );
            for slow in self.verdict.slowest.get(name).into_iter().flatten() {
                let _ = writeln!(text, "      {slow}");
            }
        }
        text
    }
}
