//! The parts of a run: each is timed, a failure does not hide what comes after it, and the end is one table.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// What has been run so far.
pub struct Phases {
    started: Instant,
    done: Vec<Phase>,
}

struct Phase {
    name: &'static str,
    took: Duration,
    budget: Option<Duration>,
    failure: Option<String>,
}

impl Phases {
    /// Starts the clock.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            done: Vec::new(),
        }
    }

    /// Runs one phase. `None` where it failed, or where we are to end: the next ones may go on without its result.
    pub fn run<T>(
        &mut self,
        name: &'static str,
        budget: Option<Duration>,
        phase: impl FnOnce() -> Result<T>,
    ) -> Option<T> {
        if interrupt::requested() {
            return None;
        }
        println!("\n== {name}");
        let started = Instant::now();
        let result = phase();
        let failure = result.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            println!("== {name} FAILED: {failure}");
        }
        self.done.push(Phase {
            name,
            took: started.elapsed(),
            budget,
            failure,
        });
        result.ok()
    }

    /// Prints the table; an error when any phase failed or we were interrupted.
    pub fn finish(self) -> Result<()> {
        print!("\n{}", self.table());
        if interrupt::requested() {
            bail!("interrupted");
        }
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|phase| phase.failure.is_some())
            .map(|phase| phase.name)
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", failed.join(", "))
    }

    fn table(&self) -> String {
        let mut table = String::new();
        for phase in &self.done {
            let verdict = if phase.failure.is_some() {
                "FAILED"
            } else {
                "ok"
            };
            let note = match phase.budget {
                Some(budget) if phase.took > budget => {
                    format!("  over its budget of {} s", budget.as_secs())
                }
                _ => String::new(),
            };
            table += &format!(
                "{:<10} {:>7.1} s  {verdict}{note}\n",
                phase.name,
                phase.took.as_secs_f64()
            );
        }
        table
            + &format!(
                "{:<10} {:>7.1} s\n",
                "total",
                self.started.elapsed().as_secs_f64()
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_reported_and_does_not_stop_the_next_phase() {
        let mut phases = Phases::new();
        assert_eq!(
            phases.run("first", None, || -> Result<()> { bail!("broken") }),
            None
        );
        assert_eq!(phases.run("second", None, || Ok(7)), Some(7));
        assert!(phases.table().contains("FAILED"));
        assert_eq!(phases.finish().unwrap_err().to_string(), "failed: first");
    }

    #[test]
    fn a_phase_over_its_budget_is_named() {
        let mut phases = Phases::new();
        phases.run("slow", Some(Duration::ZERO), || Ok(()));
        assert!(phases.table().contains("over its budget"));
        assert!(phases.finish().is_ok());
    }
}
