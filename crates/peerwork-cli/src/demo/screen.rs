//! What a person sees: bars in a terminal, plain lines without one, JSON lines on request.

use super::bars::Bars;
use super::board::Board;
use super::digest::Digest;
use super::matrix::{Dot, Matrix};
use crate::args::Format;
use peerwork::{Handler, State, TaskId, TaskRecord};
use serde_json::json;
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// From one plain line about progress to the next.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Where the demo's events and progress go to.
pub(crate) struct Screen {
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    face: Face,
    titles: HashMap<TaskId, String>,
}

enum Face {
    Bars(Box<Bars>),
    Lines { next: Instant },
    Json,
}

impl Screen {
    pub fn new(format: Format) -> Self {
        let face = match format {
            Format::Json => Face::Json,
            Format::Text if std::io::stdout().is_terminal() => Face::Bars(Box::default()),
            Format::Text => Face::Lines {
                next: Instant::now() + LINE_EVERY,
            },
        };
        Self {
            started: Instant::now(),
            inner: Mutex::new(Inner {
                face,
                titles: HashMap::new(),
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic under the lock")
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Names a task for people.
    pub fn name(&self, id: TaskId, title: String) {
        self.inner().titles.insert(id, title);
    }

    /// Something has happened.
    pub fn event(&self, text: &str) {
        let elapsed = self.elapsed();
        match &self.inner().face {
            Face::Bars(bars) => bars.event(elapsed, text),
            Face::Lines { .. } => line(&format!("{:>5.1} s  {text}", elapsed.as_secs_f64())),
            Face::Json => line(&json!({"at_ms": millis(elapsed), "event": text}).to_string()),
        }
    }

    /// Everything as it is now.
    pub fn draw(&self, board: &Board) {
        let inner = &mut *self.inner();
        match &mut inner.face {
            Face::Bars(bars) => bars.draw(board, &inner.titles),
            Face::Lines { next } if Instant::now() >= *next => {
                *next = Instant::now() + LINE_EVERY;
                line(&format!(
                    "{:>5.1} s    .. {}",
                    self.elapsed().as_secs_f64(),
                    in_brief(board)
                ));
            }
            Face::Lines { .. } | Face::Json => {}
        }
    }

    /// Takes the bars away: what follows is plain text.
    pub fn close(&self) {
        if let Face::Bars(bars) = &self.inner().face {
            bars.close();
        }
    }
}

/// A reader that has gone is no reason to stop the work.
fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The whole board in one line.
fn in_brief(board: &Board) -> String {
    let held = board
        .nodes
        .iter()
        .filter(|node| node.alive)
        .map(|node| format!("{} {}", node.label, node.held));
    let mut held: Vec<_> = held.collect();
    held.sort();
    let digests: Vec<_> = board.of_kind(Digest::KIND).collect();
    let percent = digests
        .iter()
        .map(|task| (share(board, task) * 100.0) as u64)
        .sum::<u64>()
        / (digests.len() as u64).max(1);
    let finished = |kind| {
        board
            .of_kind(kind)
            .filter(|task| task.state() == State::Finished)
            .count()
    };
    format!(
        "digests {percent} %, {} of {} finished; cells {} of {}; held by {}",
        finished(Digest::KIND),
        digests.len(),
        finished(Dot::KIND),
        board.of_kind(Dot::KIND).count(),
        held.join(", ")
    )
}

/// How far a task is, from 0 to 1: by what it says, or for a product by its cells.
pub(crate) fn share(board: &Board, task: &TaskRecord) -> f64 {
    if task.state() == State::Finished {
        return 1.0;
    }
    let (done, total) = if task.kind.as_str() == Matrix::KIND {
        let cells = board
            .tasks
            .iter()
            .filter(|cell| cell.parent == Some(task.id));
        let states: Vec<_> = cells.map(TaskRecord::state).collect();
        let done = states
            .iter()
            .filter(|state| **state == State::Finished)
            .count();
        (done as u64, states.len() as u64)
    } else {
        task.progress
            .map_or((0, 0), |progress| (progress.done, progress.total))
    };
    if total == 0 {
        0.0
    } else {
        done as f64 / total as f64
    }
}
