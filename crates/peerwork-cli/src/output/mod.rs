//! What commands print: text for people, or one JSON object a line.

pub(crate) mod explain;
pub(crate) mod json;
pub(crate) mod text;

use crate::args::Format;
use crate::exit::{Exit, Trouble};
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Where a command prints to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub format: Format,
}

impl Output {
    /// Prints `text`, or `value` as one line of JSON.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub fn print(
        self,
        text: impl FnOnce() -> String,
        value: &impl Serialize,
    ) -> Result<(), Trouble> {
        match self.format {
            Format::Text => self.line(&text()),
            Format::Json => {
                self.line(&serde_json::to_string(value).expect("our own types are JSON"))
            }
        }
    }

    /// Prints text, whatever the format is.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub fn line(self, text: &str) -> Result<(), Trouble> {
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            // `peerwork task list | head`: the reader has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Trouble::new(
                Exit::Done,
                "stdout is closed",
                "its reader is gone",
                "nothing",
            )),
            Err(error) => Err(Trouble::new(
                Exit::Failed,
                "cannot print",
                error.to_string(),
                "check where the output goes to",
            )),
        }
    }

    /// Says something beside the output proper, to people only.
    pub fn remark(self, text: &str) {
        if self.format == Format::Text {
            eprintln!("{text}");
        }
    }
}
