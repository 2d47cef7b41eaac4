//! The database of the model: two tasks, the nodes' rows, and what each request does to them in one transaction.
//!
//! Who may do what is `decide`'s business, as in every store; the guards are written here as the stores have them.

use crate::Mutant;
use peerwork_core::{
    BeatAnswer, Event, NodeId, Place, Pulse, Rules, RunId, Status, Task, Timestamp, Transition,
    decide,
};

/// Tasks of the model.
pub const TASKS: usize = 2;
/// The end of a lease after a beat, in milliseconds.
pub const TTL_MS: u64 = 3_000;

/// Nothing is scheduled in the model: only leases have times.
const NO_TIME: Timestamp = Timestamp(0);

/// Everything that is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Database {
    pub tasks: [Row; TASKS],
    /// In the order of their ids.
    pub nodes: Vec<NodeRow>,
}

/// A task's row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub task: Task,
    pub holder: Option<(NodeId, RunId)>,
    pub checkpoint: bool,
    /// The run that wrote the result.
    pub output: Option<RunId>,
}

/// A node's row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeRow {
    pub id: NodeId,
    pub seq: u64,
    pub lease_until: Timestamp,
    pub alive: bool,
}

/// By what a run's writes are told from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    pub task: usize,
    pub run: RunId,
    pub attempt: u32,
}

/// A transaction that a machine asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    Register(NodeId),
    Beat(NodeId, Pulse),
    /// `checked` is what the statement found of its node before it waited: the node's row is not locked.
    Claim {
        node: NodeId,
        run: RunId,
        checked: Option<bool>,
    },
    Save(Fence),
    Finish(Fence),
    GiveBack(Fence),
    Declare(NodeId, u64),
    Sweep,
    Retire(NodeId),
}

/// What it is told.
#[derive(Clone, Debug)]
pub enum Answer {
    Done,
    Beat(BeatAnswer),
    Claimed(Option<Fence>),
    /// Of a run's write, of a declaration: whether it was taken.
    Taken(bool),
    Swept(usize),
}

/// What one look at the database shows.
pub struct Glance {
    pub peers: Vec<(NodeId, u64, u64, Timestamp)>,
    pub held: Vec<(usize, RunId)>,
    /// A node that is not alive holds something.
    pub dead: bool,
}

impl Database {
    /// Two tasks that wait for a node.
    pub fn new() -> Self {
        let row = Row {
            task: Task::new(true, None, NO_TIME),
            holder: None,
            checkpoint: false,
            output: None,
        };
        Self {
            tasks: [row.clone(), row],
            nodes: Vec::new(),
        }
    }

    pub fn node(&self, id: NodeId) -> Option<&NodeRow> {
        self.nodes.iter().find(|row| row.id == id)
    }

    pub fn is_alive(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|row| row.alive)
    }

    pub fn is_ready(&self) -> bool {
        self.tasks
            .iter()
            .any(|row| row.task.status.place() == Place::Ready)
    }

    pub fn is_finished(&self) -> bool {
        self.tasks
            .iter()
            .all(|row| row.task.status == Status::Finished)
    }

    /// Whether `fence` is that of the run which holds the row.
    pub fn is_held_by(&self, fence: Fence) -> bool {
        self.tasks[fence.task]
            .holder
            .is_some_and(|(_, run)| run == fence.run)
    }

    pub fn glance(&self, node: NodeId) -> Glance {
        let holders = self.tasks.iter().filter_map(|row| row.holder);
        Glance {
            peers: self
                .nodes
                .iter()
                .filter(|row| row.alive)
                .map(|row| (row.id, row.seq, TTL_MS, row.lease_until))
                .collect(),
            held: (0..TASKS)
                .filter_map(|task| self.tasks[task].holder.map(|holder| (task, holder)))
                .filter(|(_, (holder, _))| *holder == node)
                .map(|(task, (_, run))| (task, run))
                .collect(),
            dead: holders
                .into_iter()
                .any(|(holder, _)| !self.is_alive(holder)),
        }
    }

    /// Carries a request out at `now` by its own clock.
    pub fn execute(&mut self, request: &Request, now: Timestamp, mutant: Option<Mutant>) -> Answer {
        match *request {
            Request::Register(node) => {
                if self.node(node).is_none() {
                    self.nodes.push(NodeRow {
                        id: node,
                        seq: 0,
                        lease_until: now.plus_ms(TTL_MS),
                        alive: true,
                    });
                    self.nodes.sort_by_key(|row| row.id);
                }
                Answer::Done
            }
            Request::Beat(node, pulse) => Answer::Beat(self.beat(node, pulse, now, mutant)),
            Request::Claim { node, run, checked } => {
                let may = checked.unwrap_or_else(|| self.is_alive(node));
                Answer::Claimed(may.then(|| self.claim(node, run, mutant)).flatten())
            }
            Request::Save(fence) => {
                let taken = self.is_fenced_in(fence, mutant);
                if taken {
                    self.tasks[fence.task].checkpoint = true;
                    self.tasks[fence.task].task.crashes = 0;
                }
                Answer::Taken(taken)
            }
            Request::Finish(fence) if mutant == Some(Mutant::FinishWithoutFence) => {
                let row = &mut self.tasks[fence.task];
                row.task.status = Status::Finished;
                (row.holder, row.output) = (None, Some(fence.run));
                Answer::Taken(true)
            }
            Request::Finish(fence) => {
                let taken = self.end(fence, Event::Ok { forget: false }, mutant);
                if taken {
                    self.tasks[fence.task].output = Some(fence.run);
                }
                Answer::Taken(taken)
            }
            Request::GiveBack(fence) => Answer::Taken(self.end(fence, Event::Stopped, mutant)),
            Request::Declare(node, seq) => Answer::Taken(self.declare(node, seq, mutant)),
            Request::Sweep => Answer::Swept(self.sweep()),
            Request::Retire(node) => {
                let holds = self
                    .tasks
                    .iter()
                    .any(|row| row.holder.is_some_and(|(n, _)| n == node));
                if !holds || mutant == Some(Mutant::RowDeletedFirst) {
                    self.nodes.retain(|row| row.id != node);
                }
                Answer::Taken(!holds)
            }
        }
    }

    fn beat(
        &mut self,
        node: NodeId,
        pulse: Pulse,
        now: Timestamp,
        mutant: Option<Mutant>,
    ) -> BeatAnswer {
        let Some(row) = self.nodes.iter_mut().find(|row| row.id == node) else {
            return BeatAnswer::Missing;
        };
        let compares = mutant != Some(Mutant::BeatWithoutComparing);
        if row.alive && (row.seq >= pulse.acked || !compares) && row.seq < pulse.seq {
            (row.seq, row.lease_until) = (pulse.seq, now.plus_ms(TTL_MS));
            return BeatAnswer::Renewed;
        }
        BeatAnswer::Row {
            seq: row.seq,
            alive: row.alive,
        }
    }

    fn claim(&mut self, node: NodeId, run: RunId, mutant: Option<Mutant>) -> Option<Fence> {
        let ready = |row: &Row| row.task.status.place() == Place::Ready;
        let held = |row: &Row| mutant == Some(Mutant::ClaimOfTheHeld) && row.holder.is_some();
        let task = self.tasks.iter().position(|row| ready(row) || held(row))?;
        if self.tasks[task].holder.is_none() {
            self.apply(task, Event::Claim)?;
        }
        let row = &mut self.tasks[task];
        row.holder = Some((node, run));
        let attempt = row.task.attempt;
        Some(Fence { task, run, attempt })
    }

    fn end(&mut self, fence: Fence, event: Event, mutant: Option<Mutant>) -> bool {
        self.is_fenced_in(fence, mutant) && self.apply(fence.task, event).is_some()
    }

    fn declare(&mut self, node: NodeId, seq: u64, mutant: Option<Mutant>) -> bool {
        let compares = mutant != Some(Mutant::DeclaredWithoutCompare);
        let found = self
            .nodes
            .iter_mut()
            .find(|row| row.id == node && row.alive && (row.seq == seq || !compares));
        match found {
            Some(row) => {
                row.alive = false;
                true
            }
            None => false,
        }
    }

    fn sweep(&mut self) -> usize {
        let orphan = |db: &Self, task: usize| {
            db.tasks[task]
                .holder
                .is_some_and(|(node, _)| !db.is_alive(node))
        };
        let orphans: Vec<_> = (0..TASKS).filter(|task| orphan(self, *task)).collect();
        let swept = orphans.into_iter().filter(|task| {
            self.apply(*task, Event::DeadOwner { on_trial: false })
                .is_some()
        });
        swept.count()
    }

    /// The guard of a run's writes.
    fn is_fenced_in(&self, fence: Fence, mutant: Option<Mutant>) -> bool {
        let row = &self.tasks[fence.task];
        match mutant {
            Some(Mutant::NoRunId) => row.holder.is_some(),
            Some(Mutant::AttemptAsFence) => {
                row.holder.is_some() && row.task.attempt == fence.attempt
            }
            _ => self.is_held_by(fence),
        }
    }

    /// Writes what is decided, with what goes with it.
    fn apply(&mut self, task: usize, event: Event) -> Option<Task> {
        let row = &mut self.tasks[task];
        let Ok(Transition::To(to)) = decide(&row.task, &Rules::default(), event, NO_TIME) else {
            return None;
        };
        row.task = to;
        if !to.status.is_held() {
            row.holder = None;
        }
        Some(to)
    }
}

impl Row {
    pub fn is_final(&self) -> bool {
        self.task.status.is_final()
    }
}
