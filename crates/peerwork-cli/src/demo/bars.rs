//! The demo in a terminal: a line for the nodes, a bar for each task, events above them.

use super::board::Board;
use super::matrix::Dot;
use super::screen::share;
use console::{Style, measure_text_width, pad_str, style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use peerwork::{Handler, NodeRow, State, TaskId, TaskRecord};
use std::collections::HashMap;
use std::time::Duration;

/// Frames a second at most: more than there are looks at the board.
const FRAMES: u8 = 10;
/// A bar in thousandths: progress of any size fits.
const FULL: u64 = 1_000;
/// How wide a task's title is at least and at most.
const TITLE_MIN: usize = 16;
const TITLE_MAX: usize = 34;

pub(crate) struct Bars {
    all: MultiProgress,
    nodes: ProgressBar,
    tasks: HashMap<TaskId, ProgressBar>,
}

impl Default for Bars {
    fn default() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(FRAMES));
        let nodes = all.add(ProgressBar::new(1));
        nodes.set_style(ProgressStyle::with_template("{msg}").expect("a literal"));
        Self {
            all,
            nodes,
            tasks: HashMap::new(),
        }
    }
}

impl Bars {
    pub fn event(&self, elapsed: Duration, text: &str) {
        let at = style(format!("{:>5.1} s", elapsed.as_secs_f64())).dim();
        // A terminal that has gone is no reason to stop the work.
        let _ = self.all.println(format!("{at}  {text}"));
    }

    pub fn draw(&mut self, board: &Board, titles: &HashMap<TaskId, String>) {
        self.nodes.set_message(nodes(&board.nodes));
        let shown = board
            .tasks
            .iter()
            .filter(|task| task.kind.as_str() != Dot::KIND);
        let width = titles
            .values()
            .map(|title| measure_text_width(title))
            .max()
            .unwrap_or(0);
        let width = width.clamp(TITLE_MIN, TITLE_MAX);
        for task in shown {
            let all = &self.all;
            let bar = self.tasks.entry(task.id).or_insert_with(|| {
                let bar = all.add(ProgressBar::new(FULL));
                let line = "  {prefix} {bar:26.cyan/238} {percent:>3} %  {msg}";
                let style = ProgressStyle::with_template(line).expect("a literal");
                bar.set_style(style.progress_chars("━╸─"));
                bar
            });
            let title = titles
                .get(&task.id)
                .map_or(task.kind.as_str(), String::as_str);
            bar.set_prefix(pad_str(title, width, console::Alignment::Left, Some("…")).into_owned());
            bar.set_position((share(board, task) * FULL as f64) as u64);
            bar.set_message(state(board, task));
        }
        // A deleted task is not on the board any more.
        self.tasks.retain(|id, bar| {
            let is_there = board.task(*id).is_some();
            if !is_there {
                self.all.remove(bar);
            }
            is_there
        });
    }

    pub fn close(&self) {
        let _ = self.all.clear();
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// `node-1 ●●●○○  node-2 ●●●●●`: a dot for each slot.
fn nodes(nodes: &[NodeRow]) -> String {
    let mut nodes: Vec<_> = nodes.iter().collect();
    nodes.sort_by(|a, b| (a.label.len(), &a.label).cmp(&(b.label.len(), &b.label)));
    let node = |node: &&NodeRow| {
        let slots = u64::from(node.slots);
        let full = "●".repeat(usize::try_from(node.held.min(slots)).unwrap_or(0));
        let free = "○".repeat(usize::try_from(slots.saturating_sub(node.held)).unwrap_or(0));
        if node.alive {
            format!(
                "{} {}{}",
                style(&node.label).bold(),
                style(full).green(),
                style(free).dim()
            )
        } else {
            format!("{} {}", style(&node.label).dim(), style("dead").red())
        }
    };
    format!(
        "  {}",
        nodes.iter().map(node).collect::<Vec<_>>().join("   ")
    )
}

fn state(board: &Board, task: &TaskRecord) -> String {
    let state = task.state();
    let colour = match state {
        State::Running => Style::new().cyan(),
        State::Finished => Style::new().green(),
        State::Paused | State::Pausing => Style::new().yellow(),
        State::Failed | State::Deleting | State::DeleteFailed | State::Deleted => {
            Style::new().red()
        }
        State::Created | State::Scheduled | State::Retrying | State::Queued | State::Waiting => {
            Style::new().dim()
        }
    };
    let node = board.label_of(task).filter(|_| task.status().is_held());
    let text = match (state, node) {
        (State::Running, None) => "looks for another node".to_owned(),
        (State::Waiting, _) => "waits for its cells".to_owned(),
        (_, Some(node)) => format!("{state} on {node}"),
        (_, None) => state.to_string(),
    };
    format!(
        "{}  {}",
        colour.apply_to(text),
        style(task.group.as_str()).dim()
    )
}
