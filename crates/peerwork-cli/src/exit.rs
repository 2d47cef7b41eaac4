//! How a command ends: its exit code, and errors of three lines (what, why, what to do).

use peerwork::Error;
use std::fmt;
use std::process::{ExitCode, Termination};

/// How a command ended. The codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// The operation was refused or failed.
    Failed = 1,
    /// The command line, a name or a setting cannot be used.
    Usage = 2,
    /// There is no such task, or it is deleted.
    NotFound = 3,
    /// The database cannot be reached, refuses us, or its schema is not this version's.
    Database = 4,
    /// The awaited task failed.
    TaskFailed = 5,
    /// The time given to wait was up.
    TimedOut = 6,
}

/// What `--help` says about exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the operation was refused or failed
  2  the command line, a name or a setting cannot be used
  3  there is no such task, or it is deleted
  4  the database cannot be reached, refuses us, or its schema is not this version's
  5  the awaited task failed
  6  the time given to wait was up

Errors are three lines on stderr: what failed, why, and what to do.";

impl Exit {
    /// Its number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub exit: Exit,
    what: String,
    why: String,
    advice: String,
}

impl Trouble {
    pub fn new(
        exit: Exit,
        what: impl Into<String>,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            exit,
            what: what.into(),
            why: why.into(),
            advice: advice.into(),
        }
    }

    /// What peerwork answered while `what` was tried.
    pub fn of(what: impl Into<String>, error: &Error) -> Self {
        let exit = exit_of(error);
        let said = with_causes(error);
        // Our messages say what to do after the last semicolon. About a database that does not answer we say more.
        let (why, advice) = match (error.is_transient(), said.rsplit_once("; ")) {
            (true, _) => (said.split("; ").next().unwrap_or(&said), advice_for(exit)),
            (false, Some(parts)) => parts,
            (false, None) => (said.as_str(), advice_for(exit)),
        };
        let what = what.into();
        // The first line says it already.
        let why = why.strip_prefix(&format!("{what}: ")).unwrap_or(why);
        Self::new(exit, what, why, advice)
    }

    /// The same while the database was opened: whatever it is, it is about the database.
    pub fn opening(error: &Error) -> Self {
        let mut trouble = Self::of("cannot use the database", error);
        if trouble.exit == Exit::Failed {
            trouble.exit = Exit::Database;
            trouble.advice = advice_for(Exit::Database).to_owned();
        }
        trouble
    }
}

fn exit_of(error: &Error) -> Exit {
    if error.is_not_found() || error.is_gone() {
        Exit::NotFound
    } else if error.is_task_failed() {
        Exit::TaskFailed
    } else if error.is_transient() || error.is_schema() {
        Exit::Database
    } else if error.is_invalid() {
        Exit::Usage
    } else {
        Exit::Failed
    }
}

fn advice_for(exit: Exit) -> &'static str {
    match exit {
        Exit::Database => {
            "check that the database runs and that its URL, user and password are right, then repeat the command"
        }
        Exit::Usage => "see --help",
        Exit::NotFound => "check the id, and --as-user if it is given",
        Exit::TaskFailed => "see `task get`, then `task run` it again from its checkpoint",
        Exit::TimedOut => "wait for longer",
        Exit::Failed | Exit::Done => "see `task get` for the state it is in",
    }
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, why) = (one_line(&self.what), one_line(&self.why));
        write!(
            f,
            "error: {what}\n  why: {why}\n  do:  {}",
            one_line(&self.advice)
        )
    }
}

/// Texts come from users, tasks and databases: none of them may break the three lines, or steer a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let visible: String = text.chars().map(visible).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_three_lines_whatever_is_in_it() {
        let trouble = Trouble::new(Exit::Failed, "a\nb", "c\u{1b}[31m\r\nd", "e");
        let text = trouble.to_string();
        assert_eq!(text, "error: a b\n  why: c [31m d\n  do:  e");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn the_help_lists_every_code() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::NotFound,
            Exit::Database,
            Exit::TaskFailed,
            Exit::TimedOut,
        ] {
            assert!(
                EXIT_CODES.contains(&format!("\n  {}  ", exit.code())),
                "{exit:?}"
            );
        }
    }
}
