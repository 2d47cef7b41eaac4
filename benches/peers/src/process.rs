//! A contender's process: told what to do, listened to, ended. The words are described in `contender/src/lib.rs`.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Of what it complained about, enough to see why it failed.
const COMPLAINTS: usize = 5;
/// A contender says three things.
const AHEAD: usize = 16;
/// Its last words may come a moment after its end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a contender says.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Ready,
    First,
    Done { tasks: u32, repeats: u32 },
    PickedUp { ms: Vec<f64> },
}

pub struct Process {
    child: Child,
    input: ChildStdin,
    events: Receiver<(String, Instant)>,
    complaints: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let errors = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, events) = mpsc::sync_channel(AHEAD);
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let heard = complaints.clone();
        let readers = vec![
            thread::spawn(move || {
                for line in output.lines().map_while(Result::ok) {
                    // The moment counts at which the line is here.
                    if sender.send((line, Instant::now())).is_err() {
                        return;
                    }
                }
            }),
            thread::spawn(move || {
                for line in errors.lines().map_while(Result::ok) {
                    let mut heard = heard.lock().expect("no reader panics");
                    if heard.len() == COMPLAINTS {
                        heard.pop_front();
                    }
                    heard.push_back(line);
                }
            }),
        ];
        Ok(Self {
            child,
            input,
            events,
            complaints,
            readers,
        })
    }

    /// Tells it to begin.
    pub fn go(&mut self) -> Result<Instant> {
        writeln!(self.input, "go").context("tell the contender to begin")?;
        Ok(Instant::now())
    }

    /// What it says next and when, or `None` if it says nothing until `deadline`.
    pub fn event_until(&mut self, deadline: Instant) -> Result<Option<(Event, Instant)>> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(left) {
            Ok((line, at)) => {
                let event = serde_json::from_str(&line)
                    .with_context(|| format!("the contender says {line:?}"))?;
                Ok(Some((event, at)))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("{}", self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        thread::sleep(LAST_WORDS);
        let complaints = self.complaints.lock().expect("no reader panics");
        match complaints.is_empty() {
            true => "it ended without a word".to_owned(),
            false => complaints.iter().cloned().collect::<Vec<_>>().join(" / "),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has nothing to lose: its database goes next.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A reader that waits for room to tell more is let go.
        let (_, nothing) = mpsc::sync_channel(0);
        self.events = nothing;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}
