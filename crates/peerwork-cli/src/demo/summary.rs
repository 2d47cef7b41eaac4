//! What the demo has shown, in few lines.

use super::faults::Taken;
use super::stage::Stage;
use crate::exit::Trouble;
use crate::output::Output;
use peerwork::TaskRecord;
use serde_json::json;
use std::time::Duration;

/// What has happened.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub digests: usize,
    pub products: usize,
    pub deleted: usize,
    /// Sums that were compared.
    pub files: usize,
    /// Files that somebody wrote to meanwhile.
    pub files_changed: usize,
    /// Cells of the product that were compared.
    pub cells: usize,
    pub pause_ms: u64,
    pub delete_ms: u64,
    pub hand_over: Taken,
    pub rescue: Taken,
    /// Tasks that neither finished nor were deleted on request, each with what became of it.
    pub lost: Vec<String>,
    pub took: Duration,
}

impl Summary {
    /// Counts a task as lost.
    pub fn lose(&mut self, title: String, task: &TaskRecord) {
        let error = task.error.as_deref().unwrap_or_default();
        self.lost.push(format!("{title}: {} {error}", task.state()));
    }

    /// # Errors
    /// If stdout is closed or full.
    pub fn print(&self, stage: &Stage, output: Output) -> Result<(), Trouble> {
        let value = json!({
            "digests": self.digests,
            "products": self.products,
            "deleted": self.deleted,
            "files_compared": self.files,
            "files_changed_meanwhile": self.files_changed,
            "cells_compared": self.cells,
            "pause_ms": self.pause_ms,
            "delete_ms": self.delete_ms,
            "hand_over_ms": self.hand_over.took_ms,
            "hand_over_tasks": self.hand_over.tasks,
            "rescue_ms": self.rescue.took_ms,
            "rescue_tasks": self.rescue.tasks,
            "tasks_lost": self.lost.len(),
            "took_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        });
        output.print(|| self.text(stage), &value)
    }

    fn text(&self, stage: &Stage) -> String {
        let changed = match self.files_changed {
            0 => String::new(),
            n => format!(" ({n} files changed meanwhile, and were left out)"),
        };
        let fault = |taken: &Taken| {
            format!(
                "{}, {} tasks, running elsewhere after {} ms",
                taken.label, taken.tasks, taken.took_ms
            )
        };
        let mut lines = vec![
            format!(
                "\nOn {}, in {:.1} s:",
                stage.database(),
                self.took.as_secs_f64()
            ),
            format!(
                "  finished      {} digests, {} products of matrices with {} cells",
                self.digests, self.products, self.cells
            ),
            format!(
                "  checked       {} sums and {} cells, each against a computation of our own{changed}",
                self.files, self.cells
            ),
            format!(
                "  paused        1 task after {} ms, moved it, resumed it",
                self.pause_ms
            ),
            format!(
                "  deleted       {} task after {} ms, with its file",
                self.deleted, self.delete_ms
            ),
            format!("  hand-over     {}", fault(&self.hand_over)),
            format!("  rescue        {}", fault(&self.rescue)),
        ];
        lines.extend(
            self.lost
                .iter()
                .map(|lost| format!("  lost          {lost}")),
        );
        if !stage.is_own_database {
            lines.push(format!(
                "  tables        {}* stay for you to look at, and to drop",
                stage.prefix
            ));
        }
        lines.push(format!("  tasks lost: {}", self.lost.len()));
        lines.join("\n")
    }
}
