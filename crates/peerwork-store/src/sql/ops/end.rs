//! The ends of runs.

use super::failures::{self, Failed};
use super::finish::Finish;
use super::finish_batches::finish_batches;
use crate::sql::engine::{Engine, Operation};
use crate::sql::fault::Fault;
use crate::sql::lock::lock_running;
use crate::sql::moves::{self, Move};
use crate::sql::rows::{by_id, table};
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::{End, Ended};
use peerwork_core::{Event, Place, RunId, Status, TaskId, Transition, decide};
use std::collections::HashMap;
use uuid::Uuid;

/// Ends runs: successful ones first, as many at once as can be. A failure after that is no harm, for a repetition finds what is
/// recorded.
pub(crate) async fn end_all(engine: &Engine, ends: Vec<End>) -> Result<Vec<Ended>, Fault> {
    if !engine.dialect.finishes_unread() {
        return engine.write_here(&EndRuns { ends }).await;
    }
    let mut plain = Finish::plain(&ends);
    let mut finished = finish_batches(engine, &plain).await?;
    plain.retain(|end| !finished.contains(&end.id));
    let finish = Finish::of(plain);
    if !finish.is_empty() {
        finished.extend(engine.write_here(&finish).await?);
    }
    let is_finished: Vec<bool> = ends.iter().map(|end| finished.contains(&end.id)).collect();
    let rest = ends.into_iter().zip(&is_finished).filter(|(_, is)| !**is);
    let rest: Vec<End> = rest.map(|(end, _)| end).collect();
    let mut answers = match rest.is_empty() {
        true => Vec::new(),
        false => engine.write_here(&EndRuns { ends: rest }).await?,
    }
    .into_iter();
    let answer = |is: bool| match is {
        true => Ended::Recorded(Status::Finished),
        false => answers.next().expect("an answer for each"),
    };
    Ok(is_finished.into_iter().map(answer).collect())
}

pub(crate) struct EndRuns {
    pub ends: Vec<End>,
}

impl Operation for EndRuns {
    const NAME: &'static str = "end runs";
    type Answer = Vec<Ended>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Ended>, Fault> {
        let ids = self.ends.iter().map(|end| end.id);
        let held = lock_running(tx, ids).await?;
        let mut moves: HashMap<_, Move> = held
            .into_iter()
            .map(|row| (row.id, Move::new(row.clone(), row)))
            .collect();
        let is_held = |end: &End| {
            moves
                .get(&end.id)
                .is_some_and(|m| m.old.run == Some(end.run))
        };
        let superseded = self.ends.iter().filter(|end| !is_held(end));
        let already = ended_already(tx, superseded.map(|end| end.id.0).collect()).await?;
        let answer_again = |end: &End| match already.get(&(end.id, end.run)) {
            Some(status) => Ended::Already(*status),
            None => Ended::Lost,
        };
        if moves.is_empty() {
            return Ok(self.ends.iter().map(answer_again).collect());
        }
        let now = tx.now().await?;
        let (mut answers, mut failed) = (Vec::with_capacity(self.ends.len()), Vec::new());
        for end in &self.ends {
            // The fence: nobody but the run that holds it ends it, and only once.
            let held = moves
                .get_mut(&end.id)
                .filter(|m| m.old.run == Some(end.run));
            let Some(m) = held else {
                answers.push(answer_again(end));
                continue;
            };
            let task = m.new.task;
            if !task.status.is_held() {
                answers.push(Ended::Already(task.status));
                continue;
            }
            answers.push(match decide(&task, &end.rules, end.event, now) {
                Ok(Transition::To(to)) => {
                    failed.extend(failure(end, task.attempt, to.status));
                    m.new = m.new.with(to, now);
                    match m.new.place() {
                        Place::Running => {}
                        Place::Ready | Place::Parked => m.new.ended_by = Some(end.run),
                        Place::Done => m.new.run = Some(end.run),
                    }
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

/// The runs that have ended by themselves, among the last ones of these tasks, and where that has led: an end whose answer
/// was lost is repeated, and is no superseded one.
async fn ended_already(
    tx: &mut Tx<'_>,
    ids: Vec<Uuid>,
) -> Result<HashMap<(TaskId, RunId), Status>, Fault> {
    let mut ended = HashMap::new();
    if ids.is_empty() {
        return Ok(ended);
    }
    for (place, run) in [
        (Place::Done, "run_id"),
        (Place::Ready, "ended_by"),
        (Place::Parked, "ended_by"),
    ] {
        let mut sql = tx.sql("select id, status, ");
        sql.push(run)
            .push(" from ~")
            .push(table(place).name)
            .push_on(Database::MySql, by_id(place))
            .push(" where ")
            .ids("id", ids.iter().copied());
        for mut row in tx.fetch(sql).await?.rows() {
            let (id, status) = (TaskId(row.id()?), row.status()?);
            if let Some(run) = row.opt_id()? {
                ended.insert((id, RunId(run)), status);
            }
        }
    }
    Ok(ended)
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
