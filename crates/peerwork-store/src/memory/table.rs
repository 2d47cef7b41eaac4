//! The rows of the reference store and the indexes over them, which only [`Table::put`] keeps.

use super::*;

#[derive(Clone)]
pub(super) struct Row {
    pub kind: Name,
    pub user: Name,
    pub group: Name,
    pub priority: i16,
    pub options: Options,
    pub parent: Option<TaskId>,
    pub created_at: Timestamp,
    pub input: Vec<u8>,
    pub task: Task,
    pub node: Option<NodeId>,
    pub run: Option<RunId>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub checkpoint: Option<Vec<u8>>,
    pub progress: Option<Progress>,
    pub output: Option<Vec<u8>>,
    pub failures: Vec<Failure>,
    pub awaited: u32,
    /// Whether its run is that of a suspect.
    pub on_trial: bool,
    /// The run that ended by itself and has brought it where it is.
    pub ended_by: Option<RunId>,
    pub inbox: BTreeSet<TaskId>,
}

impl Row {
    pub fn new(new: NewTask, now: Timestamp) -> Self {
        Self {
            task: Task::new(new.start, new.due, now),
            kind: new.kind,
            user: new.user,
            group: new.group,
            priority: new.priority,
            options: new.options,
            parent: new.parent,
            created_at: now,
            input: new.input,
            node: None,
            run: None,
            started_at: None,
            finished_at: None,
            checkpoint: None,
            progress: None,
            output: None,
            failures: Vec::new(),
            awaited: 0,
            on_trial: false,
            ended_by: None,
            inbox: BTreeSet::new(),
        }
    }

    pub fn lane(&self) -> peerwork_core::LaneId {
        peerwork_core::LaneId::new(&self.group, &self.user)
    }

    /// Whether it waits for children that are over.
    fn is_woken(&self) -> bool {
        let is_waiting = self.task.status == Status::Waiting && self.awaited > 0;
        is_waiting && self.inbox.len() >= self.awaited as usize
    }

    /// Drops what its runs have left.
    pub fn forget_runs(&mut self) {
        (self.checkpoint, self.progress, self.output) = (None, None, None);
        self.failures.clear();
    }

    pub fn fail(&mut self, at: Timestamp, error: &str) {
        self.failures.push(Failure {
            attempt: self.task.attempt,
            at,
            error: bounded_error(error),
        });
        let extra = self.failures.len().saturating_sub(ERRORS_KEPT_MAX);
        self.failures.drain(..extra);
    }

    pub fn record(&self, id: TaskId) -> TaskRecord {
        TaskRecord {
            id,
            kind: self.kind.clone(),
            user: self.user.clone(),
            group: self.group.clone(),
            priority: self.priority,
            options: self.options,
            parent: self.parent,
            created_at: self.created_at,
            task: self.task,
            node: self.node,
            run: self.run,
            started_at: self.started_at,
            finished_at: self.finished_at,
            progress: self.progress,
            error: self.failures.last().map(|failure| failure.error.clone()),
        }
    }
}

/// A task's row before or after a call of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Its facts.
    pub task: Task,
    /// The run that holds it, or held it at its end.
    pub run: Option<RunId>,
    /// The node of that run.
    pub node: Option<NodeId>,
}

/// What one call of the store has changed of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The task.
    pub id: TaskId,
    /// None if the call created it.
    pub before: Option<Seen>,
    /// None if the call removed it.
    pub after: Option<Seen>,
}

#[derive(Clone, Default)]
pub(super) struct Table {
    pub rows: BTreeMap<TaskId, Row>,
    /// What the current call has touched, as it was before; kept only for an audit.
    pub touched: Option<BTreeMap<TaskId, Option<Seen>>>,
    /// What is claimable, in order.
    pub ready: BTreeSet<(peerwork_core::LaneId, Rank, Timestamp, TaskId)>,
    /// What sleeps, by when it is due.
    pub wake: BTreeSet<(Timestamp, TaskId)>,
    /// The parents that need wait no longer.
    pub woken: BTreeSet<TaskId>,
    held: BTreeMap<NodeId, BTreeSet<TaskId>>,
}

impl Table {
    /// Writes a row, with its entries in the indexes.
    pub fn put(&mut self, id: TaskId, row: Row) {
        self.touch(id);
        self.remove(id);
        match row.task.status.place() {
            Place::Ready => {
                self.ready.insert(Self::ready_key(id, &row));
            }
            Place::Parked => {
                let sleeps = matches!(
                    row.task.status,
                    Status::Scheduled | Status::Waiting | Status::CleanupScheduled
                );
                if let Some(at) = row.task.wake_at.filter(|_| sleeps) {
                    self.wake.insert((at, id));
                }
                if row.is_woken() {
                    self.woken.insert(id);
                }
            }
            Place::Running => {
                let node = row.node.expect("a held task has a holder");
                self.held.entry(node).or_default().insert(id);
            }
            Place::Done => {}
        }
        self.rows.insert(id, row);
    }

    /// Changes a row that is there, with its entries in the indexes.
    pub fn update<T>(&mut self, id: TaskId, change: impl FnOnce(&mut Row) -> T) -> T {
        let mut row = self.remove(id).expect("the row is there");
        let answer = change(&mut row);
        self.put(id, row);
        answer
    }

    /// Removes a row, with its entries in the indexes.
    pub fn remove(&mut self, id: TaskId) -> Option<Row> {
        self.touch(id);
        let row = self.rows.remove(&id)?;
        self.ready.remove(&Self::ready_key(id, &row));
        self.woken.remove(&id);
        if let Some(at) = row.task.wake_at {
            self.wake.remove(&(at, id));
        }
        if let Some(node) = row.node
            && let Some(held) = self.held.get_mut(&node)
        {
            held.remove(&id);
            if held.is_empty() {
                self.held.remove(&node);
            }
        }
        Some(row)
    }

    pub fn seen(&self, id: TaskId) -> Option<Seen> {
        self.rows.get(&id).map(|row| Seen {
            task: row.task,
            run: row.run,
            node: row.node,
        })
    }

    fn touch(&mut self, id: TaskId) {
        let before = self.seen(id);
        if let Some(touched) = &mut self.touched {
            touched.entry(id).or_insert(before);
        }
    }

    /// What has been changed since the last call of this.
    pub fn changes(&mut self) -> Vec<Change> {
        let touched = self
            .touched
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        let change = |(id, before)| Change {
            id,
            before,
            after: self.seen(id),
        };
        touched
            .into_iter()
            .map(change)
            .filter(|change| change.before != change.after)
            .collect()
    }

    fn ready_key(id: TaskId, row: &Row) -> (peerwork_core::LaneId, Rank, Timestamp, TaskId) {
        let status = row.task.status;
        (
            row.lane().of(status.work()),
            Rank::new(status, row.priority),
            row.task.ready_at,
            id,
        )
    }

    /// The row of a task while `run` holds it.
    pub fn held_by(&self, id: TaskId, run: RunId) -> Option<&Row> {
        self.rows
            .get(&id)
            .filter(|row| row.task.status.is_held() && row.run == Some(run))
    }

    pub fn held(&self, node: NodeId) -> impl Iterator<Item = &TaskId> {
        self.held.get(&node).into_iter().flatten()
    }

    pub fn held_count(&self, node: NodeId) -> u64 {
        self.held.get(&node).map_or(0, |held| held.len() as u64)
    }

    pub fn holders(&self) -> impl Iterator<Item = NodeId> {
        self.held.keys().copied()
    }

    /// The claimable tasks of a range, in order.
    pub fn within(&self, reach: Reach) -> impl Iterator<Item = TaskId> {
        let nil = TaskId(uuid::Uuid::nil());
        self.ready
            .range((reach.lane, reach.rank, reach.since, nil)..)
            .take_while(move |entry| (entry.0, entry.1) < (reach.lane, reach.until))
            .map(|entry| entry.3)
    }
}
