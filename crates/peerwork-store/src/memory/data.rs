//! What one call of the reference store does to its rows: find, decide, write.

use super::config::Configured;
use super::table::{Row, Table};
use crate::store::other_wish;
use crate::*;
use peerwork_core::{
    Event, KindKey, LaneId, LaneLook, LaneView, Name, NodeId, OperationId, Place, Rank, Reach,
    Rules, RunId, Status, Task, TaskId, Timestamp, Transition, Work, decide,
};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

#[derive(Clone, Default)]
pub(super) struct Data {
    pub table: Table,
    pub nodes: BTreeMap<NodeId, NodeEntry>,
    pub kinds: BTreeMap<KindKey, KindRow>,
    pub listeners: Vec<mpsc::Sender<Hint>>,
    pub operations: BTreeMap<OperationId, Operation>,
    pub config: Configured,
}

/// What was asked under an operation's id, and what was answered.
#[derive(Clone)]
pub(super) struct Operation {
    pub wish: Wish,
    pub asked_at: Timestamp,
    pub answers: BTreeMap<TaskId, Steered>,
    pub concluded: Option<Tally>,
}

#[derive(Clone)]
pub(super) struct NodeEntry {
    pub row: NodeRow,
    pub kinds: Vec<KindKey>,
    pub died_at: Option<Timestamp>,
}

impl Data {
    pub fn rules(&self, kind: &Name) -> Rules {
        self.kinds
            .get(&KindKey::new(kind))
            .map(|row| row.rules.clone())
            .unwrap_or_default()
    }

    pub fn is_alive(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|entry| entry.row.alive)
    }

    /// Whether it was declared dead.
    pub fn is_dead(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|entry| !entry.row.alive)
    }

    /// Writes what was decided about `id`, with everything that goes with it.
    pub fn apply(&mut self, id: TaskId, to: Task, now: Timestamp) {
        let parent = self.table.update(id, |row| {
            let was = row.task.status;
            let was_held = was.is_held();
            row.task = to;
            row.on_trial &= to.status.is_held();
            if Place::Done == was.place() || Place::Done == to.status.place() {
                row.ended_by = None;
            }
            match to.status.place() {
                Place::Running => {}
                Place::Done => (row.run, row.finished_at) = (None, Some(now)),
                Place::Ready | Place::Parked if was_held || row.finished_at.is_some() => {
                    (row.node, row.run, row.started_at, row.finished_at) = (None, None, None, None);
                }
                Place::Ready | Place::Parked => {}
            }
            if to.status == Status::Deleted {
                row.input.clear();
                row.inbox.clear();
                row.forget_runs();
            }
            row.parent.filter(|_| to.status.is_final())
        });
        if let Some(parent) = parent.filter(|parent| self.table.rows.contains_key(parent)) {
            self.table.update(parent, |row| row.inbox.insert(id));
        }
    }

    pub fn steer(&mut self, id: TaskId, filter: &Filter, wish: &Wish, now: Timestamp) -> Steered {
        let found = self
            .table
            .rows
            .get(&id)
            .filter(|row| filter.matches(&row.record(id)));
        let Some(row) = found else {
            return Steered::NotFound;
        };
        let task = row.task;
        match decide(&task, &self.rules(&row.kind), wish.event(), now) {
            Err(refused) => Steered::Refused(task.status, refused),
            Ok(Transition::To(to)) => {
                if *wish == Wish::Rerun {
                    self.table.update(id, |row| row.forget_runs());
                }
                self.apply(id, to, now);
                Steered::Changed(to.status)
            }
            Ok(Transition::Same) => {
                let changed = self.table.update(id, |row| match wish {
                    Wish::MoveTo(to) => std::mem::replace(&mut row.group, to.clone()) != *to,
                    Wish::Priority(to) => std::mem::replace(&mut row.priority, *to) != *to,
                    _ => false,
                });
                if changed {
                    Steered::Changed(task.status)
                } else {
                    Steered::Unchanged(task.status)
                }
            }
            Ok(Transition::Erase) => unreachable!("no wish erases"),
        }
    }

    /// Whether a task is of one of these kinds.
    pub fn is_one_of(&self, kinds: &[KindKey], id: &TaskId) -> bool {
        kinds.contains(&KindKey::new(&self.table.rows[id].kind))
    }

    /// A lane with this task as its first one.
    pub fn head(&self, lane: LaneId, id: TaskId) -> LaneView {
        let row = &self.table.rows[&id];
        LaneView {
            lane,
            group: row.group.clone(),
            user: row.user.clone(),
            work: row.task.status.work(),
            rank: Rank::new(row.task.status, row.priority),
            since: row.task.ready_at,
        }
    }

    /// The lanes that `look` means.
    pub fn lanes(&self, kinds: &[KindKey], look: LaneLook) -> Vec<LaneView> {
        let mut lanes = BTreeMap::new();
        for (lane, rank, _, id) in &self.table.ready {
            let is_behind = look.after.is_none_or(|after| *lane > after);
            if is_behind && self.is_one_of(kinds, id) {
                let head = || self.head(*lane, *id);
                let key = (*lane, look.by_rank.then_some(*rank));
                lanes.entry(key).or_insert_with(head);
            }
        }
        lanes.into_values().take(look.limit).collect()
    }

    /// The first task of each of these ranges' lanes.
    pub fn heads(&self, kinds: &[KindKey], reaches: Vec<Reach>) -> Vec<LaneView> {
        let mut heads = BTreeMap::new();
        for reach in reaches {
            let mut ids = self.table.within(reach);
            if let Some(id) = ids.find(|id| self.is_one_of(kinds, id)) {
                let head = || self.head(reach.lane, id);
                heads.entry(reach.lane).or_insert_with(head);
            }
        }
        heads.into_values().collect()
    }

    /// What runs on other nodes, by lane.
    pub fn running_elsewhere(&self, node: NodeId) -> Vec<RunningIn> {
        let mut lanes: BTreeMap<LaneId, RunningIn> = BTreeMap::new();
        let nodes = self.table.holders().filter(|holder| *holder != node);
        for id in nodes.flat_map(|holder| self.table.held(holder)) {
            let row = &self.table.rows[id];
            if row.task.status.work() == Work::Run {
                let lane = LaneId::new(&row.group, &row.user);
                let known = lanes.entry(lane).or_insert_with(|| RunningIn {
                    lane,
                    group: row.group.clone(),
                    user: row.user.clone(),
                    tasks: 0,
                });
                known.tasks += 1;
            }
        }
        lanes.into_values().collect()
    }

    /// The operation with this id, begun if it is new.
    pub fn operation(
        &mut self,
        id: OperationId,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<&mut Operation> {
        let operation = self.operations.entry(id).or_insert_with(|| Operation {
            wish: wish.clone(),
            asked_at: now,
            answers: BTreeMap::new(),
            concluded: None,
        });
        if operation.wish != *wish {
            return Err(other_wish(id, &operation.wish.to_string(), wish));
        }
        Ok(operation)
    }

    pub fn end(&mut self, end: End, now: Timestamp) -> Ended {
        let Some(row) = self.table.held_by(end.id, end.run) else {
            let row = self.table.rows.get(&end.id);
            return match row.filter(|row| row.ended_by == Some(end.run)) {
                Some(row) => Ended::Already(row.task.status),
                None => Ended::Lost,
            };
        };
        let task = row.task;
        match decide(&task, &end.rules, end.event, now) {
            Ok(Transition::To(to)) => {
                self.table.update(end.id, |row| {
                    if to.status == Status::Finished {
                        row.output = end.output;
                    }
                    if let (Event::Err { .. }, Some(error)) = (end.event, end.error) {
                        row.fail(now, &error);
                    }
                    if to.status == Status::Waiting || to.returns_to == Some(Status::Waiting) {
                        row.awaited = end.awaited_children;
                    }
                });
                self.apply(end.id, to, now);
                self.table.update(end.id, |row| {
                    if to.status.place() == Place::Done {
                        row.run = Some(end.run);
                    }
                    if !to.status.is_held() {
                        row.ended_by = Some(end.run);
                    }
                });
                Ended::Recorded(to.status)
            }
            Ok(Transition::Same) => Ended::Recorded(task.status),
            Ok(Transition::Erase) | Err(_) => Ended::Lost,
        }
    }

    pub fn create(&mut self, tasks: Vec<NewTask>, now: Timestamp) -> Vec<Created> {
        let create = |new: NewTask| {
            if self.table.rows.contains_key(&new.id) {
                return Created::Existed;
            }
            self.table.put(new.id, Row::new(new, now));
            Created::New
        };
        tasks.into_iter().map(create).collect()
    }

    pub fn create_and_claim(
        &mut self,
        tasks: Vec<NewTask>,
        claim: &ClaimNew,
        now: Timestamp,
    ) -> (Vec<Created>, Vec<Claimed>) {
        let may_claim = claim.version == self.config.version && self.is_alive(claim.node);
        let somebody_is = |reach: Reach| {
            let mut there = self.table.within(reach);
            there.any(|id| self.is_one_of(&claim.kinds, &id))
        };
        let is_first = |before: Vec<Reach>| !before.into_iter().any(somebody_is);
        let is_first = claim.before(&tasks).is_some_and(is_first);
        let claims = may_claim && claim.can_run(&tasks) && is_first;
        let ranked = tasks
            .iter()
            .map(|task| (task.rank(), task.id))
            .collect::<Vec<_>>();
        let created = self.create(tasks, now);
        let new = ranked.into_iter().zip(&created);
        let new = new.filter(|(_, created)| claims && **created == Created::New);
        let mut new: Vec<_> = new
            .filter_map(|((rank, id), _)| Some((rank?, id)))
            .collect();
        new.sort_unstable();
        let claim_one = |(_, id)| self.claim_one(id, claim.node, claim.run, now);
        let claimed = new.into_iter().filter_map(claim_one).collect();
        (created, claimed)
    }

    pub fn claim_one(
        &mut self,
        id: TaskId,
        node: NodeId,
        run: RunId,
        now: Timestamp,
    ) -> Option<Claimed> {
        let task = self.table.rows.get(&id)?.task;
        let Ok(Transition::To(to)) = decide(&task, &Rules::default(), Event::Claim, now) else {
            return None;
        };
        self.table.update(id, |row| {
            (row.node, row.run, row.started_at) = (Some(node), Some(run), Some(now));
            row.ended_by = None;
        });
        self.apply(id, to, now);
        let row = &self.table.rows[&id];
        Some(Claimed {
            rank: Rank::new(task.status, row.priority),
            id,
            run,
            kind: row.kind.clone(),
            user: row.user.clone(),
            group: row.group.clone(),
            lane: row.lane().of(to.status.work()),
            options: row.options,
            parent: row.parent,
            task: to,
            created_at: row.created_at,
            input: row.input.clone(),
            checkpoint: row.checkpoint.clone(),
        })
    }
}
