//! One machine of the model: the real [`Beat`] and [`Watch`], and around them what a node does, as `peerwork/src/node` does it.
//!
//! *Not here:* faults, time, and who sees whether a promise was broken (`world.rs`).

use crate::Mutant;
use crate::database::{Database, Fence, Request};
use peerwork_core::{Beat, LeaseTimes, Mono, NodeId, RunId, Timestamp, Watch};
use uuid::Uuid;

/// One tick of the model.
pub const TICK_MS: u64 = 1_000;
/// The tightest lease that is allowed: it must hold with the least room.
pub const TIMES: LeaseTimes = LeaseTimes {
    beat_ms: TICK_MS,
    ttl_ms: crate::database::TTL_MS,
    margin_ms: 1_000,
};

/// One machine, with the process on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    pub index: usize,
    pub power: Power,
    /// Nothing that it sends arrives.
    pub is_cut: bool,
    pub incarnation: u8,
    pub node: NodeId,
    pub beat: Beat,
    /// When the registration in progress was first sent; `None` once it is acknowledged.
    pub registering: Option<Option<Mono>>,
    pub watch: Watch,
    /// What it has done in this tick, so that it does it once.
    pub has_looked: bool,
    pub has_tried: bool,
    /// What the last look has left to do.
    pub suspects: Vec<(NodeId, u64)>,
    pub sweeps: bool,
    pub runs: Vec<Run>,
    pub claims: u8,
    /// The claim in flight.
    pub claiming: Option<RunId>,
    pub is_draining: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Power {
    Up,
    Frozen,
    /// Crashed.
    Down,
    /// Drained.
    Gone,
}

/// A run as its machine knows it, until its end is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub fence: Fence,
    /// The incarnation that claimed it.
    pub node: NodeId,
    pub phase: Phase,
    pub has_saved: bool,
    /// Told to stop.
    pub is_told: bool,
    /// A later run of the task has taken its place in the node's list; only its end is still to be written.
    pub is_replaced: bool,
    /// For the witness only: its machine was frozen while it ran.
    pub was_frozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The handler's future can be polled.
    Working,
    /// In the middle of a poll: the guard has let it pass.
    Stepping,
    /// The handler has asked for a save, and waits for it.
    Saving,
    /// The future is gone, having returned `Ok`.
    Returned,
    /// The future is gone: dropped, or stopped as it was told.
    Stopped,
}

/// What a machine may ask of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Duty {
    Register,
    Beat,
    Look,
    Declare,
    Sweep,
    Claim,
    Save(Fence),
    End(Fence),
    Retire,
}

pub fn node_id(index: usize, incarnation: u8) -> NodeId {
    NodeId(Uuid::from_u128(
        0x10 * (index as u128 + 1) + u128::from(incarnation),
    ))
}

impl Duty {
    /// Whether an error leaves everything as it was: it is simply asked again.
    pub fn is_moot_if_refused(self) -> bool {
        matches!(self, Self::Claim | Self::Save(_) | Self::End(_))
    }
}

impl Run {
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Returned | Phase::Stopped)
    }

    /// A future is dropped between its polls.
    fn can_be_dropped(&self) -> bool {
        matches!(self.phase, Phase::Working | Phase::Saving)
    }

    fn drop_future(&mut self) {
        // One in the middle of a poll is told: it ends with that poll.
        self.is_told |= !self.is_over();
        if self.can_be_dropped() {
            self.phase = Phase::Stopped;
        }
    }
}

impl Machine {
    /// A process that has just started.
    pub fn new(index: usize, incarnation: u8) -> Self {
        Self {
            index,
            power: Power::Up,
            is_cut: false,
            incarnation,
            node: node_id(index, incarnation),
            beat: Beat::new(TIMES, Mono(0)),
            registering: Some(None),
            watch: Watch::default(),
            has_looked: false,
            has_tried: false,
            suspects: Vec::new(),
            sweeps: false,
            runs: Vec::new(),
            claims: 0,
            claiming: None,
            is_draining: false,
        }
    }

    /// A machine without a process.
    pub fn without_process(&self, power: Power) -> Self {
        Self {
            power,
            claims: self.claims,
            ..Self::new(self.index, self.incarnation)
        }
    }

    /// Its own clock. The machines have booted at different times.
    pub fn mono(&self, tick: u64) -> Mono {
        Mono(0).plus_ms((100 + 50 * self.index as u64 + tick) * TICK_MS)
    }

    pub fn is_up(&self) -> bool {
        self.power == Power::Up
    }

    pub fn is_fenced(&self, node: NodeId, tick: u64) -> bool {
        node != self.node || self.beat.is_fenced(self.mono(tick))
    }

    /// Tasks in the node's list.
    pub fn held(&self) -> usize {
        self.runs.iter().filter(|run| !run.is_replaced).count()
    }

    pub fn run_mut(&mut self, fence: Fence) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.fence == fence)
    }

    fn beats(&self, mutant: Option<Mutant>) -> bool {
        // Whose row is deleted first has also stopped beating: the missing row would tell it of a lost history.
        self.registering.is_none() && !(self.is_draining && mutant == Some(Mutant::RowDeletedFirst))
    }

    /// Whether the fence has something to drop.
    pub fn must_fence(&self, tick: u64, mutant: Option<Mutant>) -> bool {
        mutant != Some(Mutant::NoSelfFence)
            && self
                .runs
                .iter()
                .any(|run| run.can_be_dropped() && self.is_fenced(run.node, tick))
    }

    /// Whether a beat, or a registration, is due.
    fn is_due(&self, tick: u64, mutant: Option<Mutant>) -> bool {
        match self.registering {
            Some(_) => !self.has_tried,
            None => self.beats(mutant) && self.beat.due() <= self.mono(tick),
        }
    }

    /// What it may ask of the database now. Its beat goes before its look, which only leaves out orders in which
    /// these two do not concern each other.
    pub fn duties(
        &self,
        tick: u64,
        db: &Database,
        slots: usize,
        mutant: Option<Mutant>,
    ) -> Vec<Duty> {
        let mut duties = Vec::new();
        if self.is_due(tick, mutant) {
            duties.push(match self.registering {
                Some(_) => Duty::Register,
                None => Duty::Beat,
            });
        } else if !self.suspects.is_empty() {
            duties.push(Duty::Declare);
        } else if self.sweeps {
            duties.push(Duty::Sweep);
        } else if !self.has_looked {
            duties.push(Duty::Look);
        } else if db.glance(self.node).dead
            && !matches!(
                mutant,
                Some(Mutant::EdgeTriggeredSweep | Mutant::SweepsOnlyForTheDeclared)
            )
        {
            duties.push(Duty::Sweep);
        }
        let can_claim = !self.is_draining
            && self.registering.is_none()
            && self.claiming.is_none()
            && self.held() < slots
            && !self.is_fenced(self.node, tick);
        if can_claim && db.is_ready() {
            duties.push(Duty::Claim);
        }
        for run in &self.runs {
            match run.phase {
                Phase::Saving => duties.push(Duty::Save(run.fence)),
                Phase::Returned | Phase::Stopped => duties.push(Duty::End(run.fence)),
                Phase::Working | Phase::Stepping => {}
            }
        }
        if self.is_draining && self.held() == 0 && self.claiming.is_none() {
            duties.push(Duty::Retire);
        }
        duties
    }

    /// What it sends for a duty; nothing for a look, which is a reading.
    pub fn request(&mut self, duty: Duty, tick: u64, mutant: Option<Mutant>) -> Option<Request> {
        let now = self.mono(tick);
        Some(match duty {
            Duty::Look => return None,
            Duty::Register => {
                self.has_tried = true;
                let sent = self.registering.as_mut()?;
                if sent.is_none() || mutant == Some(Mutant::RegisteredFromTheLastSending) {
                    *sent = Some(now);
                }
                Request::Register(self.node)
            }
            Duty::Beat => Request::Beat(self.node, self.beat.send(now)),
            Duty::Declare => {
                let (node, seq) = self.suspects.remove(0);
                Request::Declare(node, seq)
            }
            Duty::Sweep => Request::Sweep,
            Duty::Claim => Request::Claim {
                node: self.node,
                run: RunId(Uuid::from_u128(
                    0x1000 * (self.index as u128 + 1) + u128::from(self.claims) + 1,
                )),
                checked: None,
            },
            Duty::Save(fence) => Request::Save(fence),
            Duty::End(fence) => match self.run_mut(fence)?.phase {
                Phase::Returned => Request::Finish(fence),
                _ => Request::GiveBack(fence),
            },
            Duty::Retire => Request::Retire(self.node),
        })
    }

    /// Takes what a look has shown.
    pub fn looked(&mut self, db: &Database, db_now: Timestamp, tick: u64, mutant: Option<Mutant>) {
        self.has_looked = true;
        let glance = db.glance(self.node);
        let now = self.mono(tick);
        let dead = self
            .watch
            .read(now, 2 * TIMES.beat_ms, db_now, &glance.peers);
        self.suspects = if mutant == Some(Mutant::DeclaredByExpiry) {
            let expired = glance.peers.iter().filter(|(.., until)| *until < db_now);
            expired.map(|(node, seq, ..)| (*node, *seq)).collect()
        } else {
            dead
        };
        self.suspects.retain(|(node, _)| *node != self.node);
        self.sweeps = glance.dead
            && !matches!(
                mutant,
                Some(Mutant::EdgeTriggeredSweep | Mutant::SweepsOnlyForTheDeclared)
            );
        if mutant == Some(Mutant::SweepsOnlyForTheDeclared) {
            // The trigger is a dead row that holds something; a row that is gone is none.
            self.sweeps = db.tasks.iter().any(|row| {
                row.holder
                    .and_then(|(node, _)| db.node(node))
                    .is_some_and(|node| !node.alive)
            });
        }
        if self.held() != glance.held.len() {
            self.compare(db, &glance.held);
        }
    }

    /// The node's own list against the database's.
    fn compare(&mut self, db: &Database, held: &[(usize, RunId)]) {
        for run in &mut self.runs {
            run.is_told |= !run.is_replaced && !db.is_held_by(run.fence);
        }
        for &(task, run) in held {
            let is_known = self.claiming == Some(run)
                || self
                    .runs
                    .iter()
                    .any(|known| known.fence.task == task && known.fence.run == run);
            if !is_known {
                let fence = Fence {
                    task,
                    run,
                    attempt: db.tasks[task].task.attempt,
                };
                self.give_back(fence);
            }
        }
    }

    fn give_back(&mut self, fence: Fence) {
        let run = Run {
            phase: Phase::Stopped,
            is_replaced: true,
            ..self.new_run(fence, self.node)
        };
        self.insert(run);
    }

    /// Takes note of a claimed task.
    pub fn hold(&mut self, fence: Fence, node: NodeId) {
        let earlier = self
            .runs
            .iter_mut()
            .find(|run| run.fence.task == fence.task && !run.is_replaced);
        match earlier {
            Some(earlier) if !earlier.is_over() => return self.give_back(fence),
            Some(earlier) => earlier.is_replaced = true,
            None => {}
        }
        let run = self.new_run(fence, node);
        self.insert(run);
    }

    fn new_run(&self, fence: Fence, node: NodeId) -> Run {
        Run {
            fence,
            node,
            phase: Phase::Working,
            has_saved: false,
            is_told: self.is_draining,
            is_replaced: false,
            was_frozen: false,
        }
    }

    fn insert(&mut self, run: Run) {
        self.runs.push(run);
        self.runs.sort_by_key(|run| run.fence);
    }

    pub fn release(&mut self, fence: Fence) {
        self.runs.retain(|run| run.fence != fence);
    }

    /// Drops the futures of all runs.
    pub fn drop_runs(&mut self) {
        self.runs.iter_mut().for_each(Run::drop_future);
    }

    /// It was declared dead, or has lost its history: a new incarnation, not registered yet.
    pub fn reincarnate(&mut self) {
        self.drop_runs();
        self.incarnation += 1;
        self.node = node_id(self.index, self.incarnation);
        self.beat = Beat::new(TIMES, Mono(0));
        self.registering = Some(None);
        self.has_tried = false;
    }
}
