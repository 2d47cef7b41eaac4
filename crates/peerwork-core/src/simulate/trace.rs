//! A trace: which tasks come when, and how long they take.

use crate::{Name, NameError};
use serde::Deserialize;

/// A task that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it becomes claimable, in microseconds since the trace's beginning.
    pub at_us: u64,
    /// Whose it is.
    pub user: Name,
    /// Where it waits.
    pub group: Name,
    /// Smaller is sooner.
    pub priority: i16,
    /// How long it runs, in microseconds.
    pub length_us: u64,
}

/// Tasks in the order in which they come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    arrivals: Vec<Arrival>,
    /// When to stop looking, in microseconds; none: when the last task has ended.
    pub until_us: Option<u64>,
}

/// Why a text is no trace.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TraceError {
    /// A line is no task.
    #[error(
        "line {line} of the trace: {why}; write {{\"at_ms\":0,\"user\":\"ann\",\"group\":\"films\",\"priority\":0,\"length_ms\":250}}"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// There is no task in it.
    #[error("the trace has no tasks; write one a line")]
    Empty,
    /// It is longer than a simulation takes.
    #[error("the trace has more than {} tasks; cut it", Trace::TASKS_MAX)]
    TooLong,
}

/// A line, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_ms: f64,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    priority: i16,
    length_ms: f64,
}

impl Trace {
    /// Tasks that a trace has at most: a simulation of so many takes minutes and a gigabyte.
    pub const TASKS_MAX: usize = 5_000_000;

    /// The longest time in a trace, in milliseconds: a hundred years.
    const MS_MAX: f64 = 100.0 * 366.0 * 86_400_000.0;

    /// A trace of these tasks, in whatever order they are given.
    pub fn new(mut arrivals: Vec<Arrival>) -> Self {
        arrivals.sort_by_key(|arrival| arrival.at_us);
        Self {
            arrivals,
            until_us: None,
        }
    }

    /// Reads a task from each line that is not empty, as a JSON object: `at_ms` and `length_ms` (numbers, from 0 on), and perhaps
    /// `user`, `group` and `priority`.
    ///
    /// # Errors
    /// [`TraceError`] names the line and says how to write it.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut arrivals = Vec::new();
        for (text, line) in text.lines().zip(1..) {
            if text.trim().is_empty() {
                continue;
            }
            if arrivals.len() == Self::TASKS_MAX {
                return Err(TraceError::TooLong);
            }
            let arrival = arrival(text).map_err(|why| TraceError::Line { line, why })?;
            arrivals.push(arrival);
        }
        if arrivals.is_empty() {
            return Err(TraceError::Empty);
        }
        Ok(Self::new(arrivals))
    }

    /// The tasks, in the order in which they come.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }
}

fn arrival(text: &str) -> Result<Arrival, String> {
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let name =
        |what, text: &str| Name::new(what, text).map_err(|error: NameError| error.to_string());
    Ok(Arrival {
        at_us: microseconds("at_ms", line.at_ms)?,
        user: name("user", &line.user)?,
        group: name("group", &line.group)?,
        priority: line.priority,
        length_us: microseconds("length_ms", line.length_ms)?,
    })
}

fn microseconds(what: &str, ms: f64) -> Result<u64, String> {
    if (0.0..=Trace::MS_MAX).contains(&ms) {
        Ok((ms * 1_000.0) as u64)
    } else {
        Err(format!("{what} is {ms}, which is no time from 0 on"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_read_one_a_line_in_any_order() {
        let text = r#"
            {"at_ms":2.5,"length_ms":10}
            {"at_ms":0,"user":"ann","group":"films","priority":-1,"length_ms":0.25}
        "#;
        let trace = Trace::parse(text).unwrap();
        let [first, second] = trace.arrivals() else {
            panic!("{trace:?}");
        };
        assert_eq!(
            (first.user.as_str(), first.group.as_str()),
            ("ann", "films")
        );
        assert_eq!((first.at_us, first.length_us, first.priority), (0, 250, -1));
        assert_eq!((second.at_us, second.length_us), (2_500, 10_000));
        assert_eq!(second.user, Name::default());
    }

    #[test]
    fn a_line_that_is_no_task_is_named() {
        let good = r#"{"at_ms":0,"length_ms":1}"#;
        for (bad, part) in [
            ("nonsense", "expected"),
            (r#"{"at_ms":0}"#, "length_ms"),
            (r#"{"at_ms":-1,"length_ms":1}"#, "at_ms is -1"),
            (r#"{"at_ms":0,"length_ms":1e300}"#, "length_ms"),
            (r#"{"at_ms":0,"length_ms":1,"usr":"ann"}"#, "usr"),
            (r#"{"at_ms":0,"length_ms":1,"user":"\u0000"}"#, "NUL"),
        ] {
            let text = format!("{good}\n\n{bad}\n");
            let error = Trace::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with("line 3 of the trace: "), "{error}");
            assert!(
                error.contains(part) && error.contains("; write {"),
                "{error}"
            );
        }
        assert_eq!(Trace::parse("\n"), Err(TraceError::Empty));
    }
}
