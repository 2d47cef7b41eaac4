//! The ends of runs.

use super::failures::{self, Failed};
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::moves::{self, Move};
use crate::sql::rows::lock_in;
use crate::sql::tx::Tx;
use crate::{End, Ended};
use peerwork_core::{Event, Place, Status, Transition, decide};
use std::collections::HashMap;

pub(crate) struct EndRuns {
    pub ends: Vec<End>,
}

impl Operation for EndRuns {
    const NAME: &'static str = "end runs";
    type Answer = Vec<Ended>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Ended>, Fault> {
        let ids = self.ends.iter().map(|end| end.id);
        let held = lock_in(tx, Place::Running, ids).await?;
        if held.is_empty() {
            return Ok(vec![Ended::Lost; self.ends.len()]);
        }
        let now = tx.now().await?;
        let mut moves: HashMap<_, Move> = held
            .into_iter()
            .map(|row| (row.id, Move::new(row.clone(), row)))
            .collect();
        let (mut answers, mut failed) = (Vec::with_capacity(self.ends.len()), Vec::new());
        for end in &self.ends {
            // The fence: nobody but the run that holds it ends it, and only once.
            let held = moves
                .get_mut(&end.id)
                .filter(|m| m.new.task.status.is_held() && m.new.run == Some(end.run));
            let Some(m) = held else {
                answers.push(Ended::Lost);
                continue;
            };
            let task = m.new.task;
            answers.push(match decide(&task, &end.rules, end.event, now) {
                Ok(Transition::To(to)) => {
                    failed.extend(failure(end, task.attempt, to.status));
                    m.new = m.new.with(to, now);
                    if to.status == Status::Waiting || to.returns_to == Some(Status::Waiting) {
                        m.new.awaited = end.awaited_children;
                    }
                    m.output = end.output.clone().filter(|_| to.status == Status::Finished);
                    Ended::Recorded(to.status)
                }
                Ok(Transition::Same) => Ended::Recorded(task.status),
                Ok(Transition::Erase) | Err(_) => Ended::Lost,
            });
        }
        let mut changed: Vec<Move> = moves.into_values().filter(|m| m.old != m.new).collect();
        changed.sort_by_key(|m| m.old.id);
        failures::record(tx, failed, now).await?;
        moves::apply(tx, changed, now).await?;
        Ok(answers)
    }
}

/// The error to keep. Of a task that is gone nothing is kept.
fn failure(end: &End, attempt: u32, to: Status) -> Option<Failed> {
    let error = end
        .error
        .clone()
        .filter(|_| matches!(end.event, Event::Err { .. }) && to != Status::Deleted)?;
    Some(Failed {
        id: end.id,
        attempt,
        error,
    })
}
