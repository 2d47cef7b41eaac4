//! Wishes of users.

use super::operations;
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::limits::{self, Moved};
use crate::sql::lock::lock;
use crate::sql::moves::{self, Move};
use crate::sql::rows::{KindRules, Placed, TaskRow, by_id};
use crate::sql::settings::Database;
use crate::sql::tx::Tx;
use crate::{Filter, Steered, Wish};
use peerwork_core::{
    KindKey, LaneId, Name, OperationId, Place, Scope, TaskId, Timestamp, Transition, Work, decide,
};
use std::collections::HashMap;
use uuid::Uuid;

pub(crate) struct Steer {
    pub ids: Vec<TaskId>,
    pub filter: Filter,
    pub wish: Wish,
    /// Under which it may be repeated.
    pub operation: Option<OperationId>,
}

impl Operation for Steer {
    const NAME: &'static str = "steer tasks";
    type Answer = Vec<Steered>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Steered>, Fault> {
        let locked = lock(tx, &self.ids).await?;
        if locked.is_empty() {
            return Ok(vec![Steered::NotFound; self.ids.len()]);
        }
        let before = match self.operation {
            Some(operation) => operations::recall(tx, operation, &self.wish, &self.ids).await?,
            None => HashMap::new(),
        };
        let kinds = locked.values().map(|(_, task)| KindKey::new(&task.kind));
        let rules = KindRules::read(tx, kinds).await?;
        let now = tx.now().await?;
        let mut tasks: HashMap<TaskId, Steering> = locked
            .into_iter()
            .map(|(id, (old, task))| (id, Steering::new(old, task)))
            .collect();
        let mut answers = Vec::with_capacity(self.ids.len());
        let mut given = before.clone();
        for id in &self.ids {
            answers.push(match (given.get(id), tasks.get_mut(id)) {
                (Some(answer), _) => *answer,
                (None, Some(task)) => task.steer(&self.filter, &self.wish, &rules, now),
                (None, None) => Steered::NotFound,
            });
            if self.operation.is_some() {
                given.extend(answers.last().map(|answer| (*id, *answer)));
            }
        }
        if let Some(operation) = self.operation {
            let new = given.into_iter().filter(|(id, _)| !before.contains_key(id));
            operations::note(tx, operation, &self.wish, new).await?;
        }
        let mut changed: Vec<Steering> = tasks.into_values().filter(|task| task.changed).collect();
        changed.sort_by_key(|task| task.old.id);
        write_tasks(tx, &self.wish, &changed).await?;
        // Where it is over, only the task itself knows its group and priority.
        let in_place = |s: &Steering| s.old.place() == Place::Done && s.old.task == s.new.task;
        let moved: Vec<_> = changed.iter().filter_map(Steering::moved).collect();
        let moves = changed.into_iter().filter(|s| !in_place(s)).map(|s| Move {
            starts_anew: self.wish == Wish::Rerun,
            ..Move::new(s.old, s.new)
        });
        moves::apply(tx, moves.collect(), now).await?;
        limits::recount(tx, &moved).await?;
        Ok(answers)
    }
}

/// A task on its way from what it was to what is wished.
struct Steering {
    old: Placed,
    new: Placed,
    task: TaskRow,
    changed: bool,
    /// The group that it was in, if it is moved.
    from: Option<Name>,
}

impl Steering {
    fn new(old: Placed, task: TaskRow) -> Self {
        Self {
            new: old.clone(),
            old,
            task,
            changed: false,
            from: None,
        }
    }

    fn steer(
        &mut self,
        filter: &Filter,
        wish: &Wish,
        rules: &KindRules,
        now: Timestamp,
    ) -> Steered {
        if !filter.matches(&self.task.record(&self.new)) {
            return Steered::NotFound;
        }
        let task = self.new.task;
        match decide(&task, &rules.of(self.new.kind), wish.event(), now) {
            Err(refused) => Steered::Refused(task.status, refused),
            Ok(Transition::To(to)) => {
                self.new = self.new.with(to, now);
                self.changed = true;
                Steered::Changed(to.status)
            }
            Ok(Transition::Same) => {
                let changed = match wish {
                    Wish::MoveTo(group) => self.move_to(group),
                    Wish::Priority(priority) => self.set_priority(*priority),
                    Wish::Run
                    | Wish::Resume
                    | Wish::Pause
                    | Wish::Delete
                    | Wish::ForceDelete
                    | Wish::Rerun => false,
                };
                self.changed |= changed;
                if changed {
                    Steered::Changed(task.status)
                } else {
                    Steered::Unchanged(task.status)
                }
            }
            // No wish removes a tombstone.
            Ok(Transition::Erase) => Steered::Unchanged(task.status),
        }
    }

    fn move_to(&mut self, group: &Name) -> bool {
        if self.task.group == *group {
            return false;
        }
        self.from = Some(std::mem::replace(&mut self.task.group, group.clone()));
        self.new.lane = LaneId::new(group, &self.task.user);
        true
    }

    /// What is to be counted elsewhere: a run goes on in its new group. A cleanup counts nowhere.
    fn moved(&self) -> Option<Moved> {
        let status = self.new.task.status;
        let from = self.from.as_ref()?;
        if !status.is_held() || status.work() != Work::Run {
            return None;
        }
        let lane = |group: &Name| Scope::UserIn {
            group: group.clone(),
            user: self.task.user.clone(),
        };
        Some(Moved {
            id: self.new.id,
            from: Scope::Group(from.clone()),
            to: Scope::Group(self.task.group.clone()),
            from_lane: lane(from),
            to_lane: lane(&self.task.group),
        })
    }

    fn set_priority(&mut self, priority: i16) -> bool {
        if self.task.priority == priority {
            return false;
        }
        self.task.priority = priority;
        self.new.priority = priority;
        true
    }
}

/// Writes the task's own columns, where the wish is about them.
async fn write_tasks(tx: &mut Tx<'_>, wish: &Wish, changed: &[Steering]) -> Result<(), Fault> {
    let update = |tx: &Tx<'_>| {
        let mut sql = tx.sql("update ~task");
        sql.push_on(Database::MySql, by_id(Place::Done))
            .push(" set ");
        sql
    };
    match wish {
        Wish::MoveTo(group) => {
            // The lanes of different users differ.
            let mut lanes: HashMap<LaneId, Vec<Uuid>> = HashMap::new();
            for steering in changed {
                lanes
                    .entry(steering.new.lane)
                    .or_default()
                    .push(steering.old.id.0);
            }
            for (lane, ids) in lanes {
                let mut sql = update(tx);
                let expected = ids.len();
                sql.push("grp = ")
                    .bind(group)
                    .push(", lane = ")
                    .bind(lane)
                    .push(" where ")
                    .ids("id", ids);
                tx.execute_exactly(sql, expected).await?;
            }
        }
        Wish::Priority(priority) if !changed.is_empty() => {
            let mut sql = update(tx);
            sql.push("priority = ")
                .bind(*priority)
                .push(" where ")
                .ids("id", changed.iter().map(|s| s.old.id.0));
            tx.execute_exactly(sql, changed.len()).await?;
        }
        Wish::Priority(_)
        | Wish::Run
        | Wish::Resume
        | Wish::Pause
        | Wish::Delete
        | Wish::ForceDelete
        | Wish::Rerun => {}
    }
    Ok(())
}
