//! Everything there is at one point: the database, the machines, what is under way; and a witness who sees all of it
//! and says which promise was broken. What can happen next is `protocol.rs`'s business.

use crate::database::{Answer, Database, Fence, Request, Row, TASKS};
use crate::machine::{Duty, Machine, Phase, Power, Run, TICK_MS, TIMES};
use crate::{Faults, Happened, Mutant, Promise};
use peerwork_core::{BeatAnswer, Heard, Mono, NodeId, Timestamp};

/// Machines of the model.
pub const MACHINES: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub tick: u64,
    /// How far the database's clock has jumped, in ticks.
    pub ahead: u64,
    pub db: Database,
    /// What a replica has got, if it stopped getting more.
    pub replica: Option<Box<Database>>,
    pub machines: [Machine; MACHINES],
    pub witness: [Witness; MACHINES],
    /// Requests that were sent and are not carried out yet.
    pub wire: Vec<Sent>,
    pub left: Faults,
    /// Acknowledged commits were lost.
    pub has_lost_history: bool,
    pub broken: Vec<Promise>,
    /// What the last step was, where it is worth telling.
    pub last: Option<Happened>,
}

/// A request on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sent {
    pub from: usize,
    pub request: Request,
    /// Its machine waits for the answer. Otherwise it has been told that nothing is known.
    pub is_awaited: bool,
    /// The tick in which it arrives at the latest.
    pub by: u64,
}

/// What the witness knows of a machine's lease, without asking the machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Witness {
    /// The newest beat (0: the registration) that was acknowledged, and when the lease that it gave ends.
    acked: u64,
    entitled_until: Option<Mono>,
    /// The unacknowledged beat, and when it was sent first.
    first_sent: Option<(u64, Mono)>,
    /// The database has lost a beat that it had acknowledged.
    must_notice: bool,
    /// It was not well at some tick after the last fault.
    pub was_away: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Carried out and answered.
    Answered,
    /// An error; nothing was done.
    Refused,
    /// An error; it is carried out nevertheless, at any time from now on.
    Ambiguous,
    /// It takes long: carried out at any time from now on, and answered then.
    Slow,
}

impl Witness {
    fn new() -> Self {
        Self {
            acked: 0,
            entitled_until: None,
            first_sent: None,
            must_notice: false,
            was_away: false,
        }
    }

    fn sends(&mut self, seq: u64, now: Mono) {
        if self.first_sent.is_none_or(|(sent, _)| sent != seq) {
            self.first_sent = Some((seq, now));
        }
    }

    fn acknowledged(&mut self) {
        if let Some((seq, sent)) = self.first_sent.take() {
            self.acked = seq;
            self.entitled_until = Some(sent.plus_ms(TIMES.ttl_ms - TIMES.margin_ms));
        }
    }

    fn is_entitled(&self, now: Mono) -> bool {
        self.entitled_until.is_some_and(|until| now < until)
    }

    fn forget(&mut self) {
        *self = Self {
            was_away: self.was_away,
            ..Self::new()
        };
    }
}

impl World {
    /// Two machines that are about to register, and two tasks that wait.
    pub fn new(left: Faults) -> Self {
        Self {
            tick: 0,
            ahead: 0,
            db: Database::new(),
            replica: None,
            machines: [0, 1].map(|index| Machine::new(index, 0)),
            witness: [0, 1].map(|_| Witness::new()),
            wire: Vec::new(),
            left,
            has_lost_history: false,
            broken: Vec::new(),
            last: None,
        }
    }

    /// The database's clock.
    fn db_now(&self) -> Timestamp {
        Timestamp(0).plus_ms((7_000 + self.tick + self.ahead) * TICK_MS)
    }

    fn now(&self, m: usize) -> Mono {
        self.machines[m].mono(self.tick)
    }

    pub fn tick(&mut self, faults_until: u64) {
        self.tick += 1;
        for (machine, witness) in self.machines.iter_mut().zip(&mut self.witness) {
            (machine.has_looked, machine.has_tried) = (false, false);
            witness.was_away |= self.tick > faults_until && (!machine.is_up() || machine.is_cut);
        }
    }

    pub fn crash(&mut self, m: usize) {
        self.machines[m] = self.machines[m].without_process(Power::Down);
        self.witness[m].forget();
        for sent in self.wire.iter_mut().filter(|sent| sent.from == m) {
            sent.is_awaited = false;
        }
    }

    /// A new process on a machine whose last one has crashed.
    pub fn start(&mut self, m: usize) {
        let claims = self.machines[m].claims;
        self.machines[m] = Machine::new(m, self.machines[m].incarnation + 1);
        self.machines[m].claims = claims;
    }

    pub fn freeze(&mut self, m: usize) {
        self.machines[m].power = Power::Frozen;
        for run in &mut self.machines[m].runs {
            run.was_frozen = true;
        }
    }

    pub fn drain(&mut self, m: usize, mutant: Option<Mutant>) {
        let machine = &mut self.machines[m];
        machine.is_draining = true;
        machine.runs.iter_mut().for_each(|run| run.is_told = true);
        if mutant == Some(Mutant::RowDeletedFirst) {
            let request = Request::Retire(machine.node);
            self.execute(&request, mutant);
        }
    }

    /// The database goes on as its replica.
    pub fn fail_over(&mut self, replica: Database) {
        self.has_lost_history |= self.db != replica;
        self.db = replica;
        // Its connections are gone, and what was under way with them.
        self.wire.clear();
        for (machine, witness) in self.machines.iter_mut().zip(&mut self.witness) {
            machine.claiming = None;
            let is_registered =
                matches!(machine.power, Power::Up | Power::Frozen) && machine.registering.is_none();
            let found = self.db.node(machine.node).map(|row| row.seq);
            witness.must_notice = is_registered && found.is_none_or(|seq| seq < witness.acked);
        }
    }

    /// The guard before a poll of a handler's future.
    pub fn poll(&mut self, m: usize, fence: Fence, mutant: Option<Mutant>) {
        let (tick, now) = (self.tick, self.now(m));
        let machine = &mut self.machines[m];
        let Some(node) = machine.run_mut(fence).map(|run| run.node) else {
            return;
        };
        let is_stopped = mutant != Some(Mutant::NoSelfFence) && machine.is_fenced(node, tick);
        let is_within = node == machine.node && self.witness[m].is_entitled(now);
        let run = machine.run_mut(fence).expect("it was found above");
        if is_stopped {
            run.phase = Phase::Stopped;
            self.last = Some(Happened::PollRefused);
        } else {
            run.phase = Phase::Stepping;
            if !is_within {
                self.breaks(Promise::StepsWithinLease);
            }
        }
    }

    /// What the poll comes to.
    pub fn step(&mut self, m: usize, fence: Fence, saves: bool) {
        if let Some(run) = self.machines[m].run_mut(fence) {
            run.phase = match run.is_told {
                true => Phase::Stopped,
                false if saves && !run.has_saved => Phase::Saving,
                false => Phase::Returned,
            };
        }
    }

    pub fn fence(&mut self, m: usize) {
        self.machines[m].drop_runs();
        self.last = Some(Happened::SelfFenced);
    }

    /// One call of the machine to the database.
    pub fn call(&mut self, m: usize, duty: Duty, fate: Fate, mutant: Option<Mutant>) {
        let (tick, now) = (self.tick, self.now(m));
        if duty == Duty::Look {
            if fate == Fate::Answered {
                let db_now = self.db_now();
                self.machines[m].looked(&self.db, db_now, tick, mutant);
                let given_back =
                    |run: &Run| run.is_replaced && run.fence.run.0.as_u128() >> 12 == m as u128 + 1;
                if self.machines[m].runs.iter().any(given_back) {
                    self.last = Some(Happened::UnknownClaimFound);
                }
            } else {
                self.machines[m].has_looked = true;
            }
            return;
        }
        let Some(request) = self.machines[m].request(duty, tick, mutant) else {
            return;
        };
        match &request {
            Request::Beat(_, pulse) => self.witness[m].sends(pulse.seq, now),
            Request::Register(_) => self.witness[m].sends(0, now),
            _ => {}
        }
        match fate {
            Fate::Answered => {
                let answer = self.execute(&request, mutant);
                self.answered(m, &request, answer);
            }
            Fate::Refused => self.refused(m, &request),
            Fate::Ambiguous => {
                self.send(m, request.clone(), false);
                self.refused(m, &request);
            }
            Fate::Slow => {
                if let Request::Claim { run, .. } = request {
                    self.machines[m].claiming = Some(run);
                }
                self.send(m, request, true);
            }
        }
    }

    fn send(&mut self, m: usize, mut request: Request, is_awaited: bool) {
        if let Request::Claim { node, checked, .. } = &mut request {
            *checked = Some(self.db.is_alive(*node));
            self.machines[m].claims += 1;
        }
        self.wire.push(Sent {
            from: m,
            request,
            is_awaited,
            by: 0,
        });
    }

    /// Carries out what was on the wire.
    pub fn arrive(&mut self, at: usize, mutant: Option<Mutant>) {
        let sent = self.wire.remove(at);
        let answer = self.execute(&sent.request, mutant);
        if !sent.is_awaited {
            return;
        }
        if self.machines[sent.from].is_cut {
            self.machines[sent.from].claiming = None;
        } else {
            self.answered(sent.from, &sent.request, answer);
        }
    }

    /// The database carries a request out, and the witness looks on.
    fn execute(&mut self, request: &Request, mutant: Option<Mutant>) -> Answer {
        let before = self.db.tasks.clone();
        let answer = self.db.execute(request, self.db_now(), mutant);
        for (task, before) in before.iter().enumerate() {
            self.compare(task, before, &answer);
        }
        match (request, &answer) {
            (
                Request::Save(fence) | Request::Finish(fence) | Request::GiveBack(fence),
                Answer::Taken(taken),
            ) => {
                let is_holder = before[fence.task]
                    .holder
                    .is_some_and(|(_, run)| run == fence.run);
                if *taken && !is_holder {
                    self.breaks(Promise::WritesOfTheHolder);
                }
                if !taken && before[fence.task].output == Some(fence.run) {
                    self.last = Some(Happened::FinishFoundDone);
                } else if !taken {
                    self.last = Some(Happened::ZombieRefused);
                }
            }
            (Request::Declare(node, _), Answer::Taken(true)) => {
                self.last = Some(Happened::DeclaredDead);
                if self.is_entitled(*node) && !self.has_lost_history {
                    self.breaks(Promise::NoFalseTakeover);
                }
            }
            (Request::Declare(..), _) => self.last = Some(Happened::DeclarationLost),
            (Request::Sweep, Answer::Swept(tasks)) if *tasks > 0 => {
                self.last = Some(Happened::Rescued);
            }
            (Request::Retire(_), Answer::Taken(false)) => self.last = Some(Happened::NotRetired),
            (Request::Claim { node, .. }, Answer::Claimed(Some(_))) if !self.db.is_alive(*node) => {
                self.last = Some(Happened::ClaimedByTheDead);
            }
            _ => {}
        }
        answer
    }

    /// What one transaction did to one task.
    fn compare(&mut self, task: usize, before: &Row, answer: &Answer) {
        let after = &self.db.tasks[task];
        if before.is_final() && before != after {
            self.breaks(Promise::FinalStaysFinal);
        }
        let is_claimed = matches!(answer, Answer::Claimed(Some(fence)) if fence.task == task);
        if is_claimed && before.holder.is_some() {
            self.breaks(Promise::OneHolder);
        }
    }

    /// Whether the process with this incarnation may still believe in its lease.
    fn is_entitled(&self, node: NodeId) -> bool {
        (0..MACHINES).any(|m| {
            let machine = &self.machines[m];
            matches!(machine.power, Power::Up | Power::Frozen)
                && machine.node == node
                && self.witness[m].is_entitled(self.now(m))
        })
    }

    fn answered(&mut self, m: usize, request: &Request, answer: Answer) {
        match (request, answer) {
            (Request::Register(_), _) => {
                let sent = self.machines[m].registering.take().flatten();
                let sent = sent.unwrap_or(self.now(m));
                self.machines[m].beat = peerwork_core::Beat::new(TIMES, sent);
                self.witness[m].acknowledged();
            }
            (Request::Beat(..), Answer::Beat(answer)) => self.heard(m, answer),
            (Request::Claim { node, run, .. }, Answer::Claimed(claimed)) => {
                if self.machines[m]
                    .claiming
                    .take_if(|claiming| claiming == run)
                    .is_none()
                    && claimed.is_some()
                {
                    self.machines[m].claims += 1;
                }
                if let Some(fence) = claimed {
                    self.machines[m].hold(fence, *node);
                }
            }
            (Request::Save(fence), Answer::Taken(taken)) => {
                if let Some(run) = self.machines[m].run_mut(*fence) {
                    run.has_saved = true;
                    // A lost save stops the handler.
                    run.phase = if taken {
                        Phase::Working
                    } else {
                        Phase::Stopped
                    };
                }
            }
            (Request::Finish(fence) | Request::GiveBack(fence), _) => {
                self.machines[m].release(*fence)
            }
            (Request::Declare(..), Answer::Taken(taken)) => self.machines[m].sweeps |= taken,
            (Request::Sweep, _) => self.machines[m].sweeps = false,
            (Request::Retire(_), _) => {
                self.machines[m] = self.machines[m].without_process(Power::Gone);
                self.witness[m].forget();
            }
            _ => unreachable!("every request has its own answer"),
        }
    }

    fn heard(&mut self, m: usize, answer: BeatAnswer) {
        let heard = self.machines[m].beat.answered(answer);
        if heard == Heard::Alive && self.witness[m].must_notice {
            self.breaks(Promise::LostHistoryIsNoticed);
        }
        match heard {
            Heard::Alive => {
                self.witness[m].acknowledged();
                if answer != BeatAnswer::Renewed {
                    self.last = Some(Happened::BeatFoundDone);
                }
            }
            // It verifies its runs by and by; the fence does not wait for that, so neither does the model.
            Heard::HistoryLost { has_row: true } => {
                self.last = Some(Happened::HistoryFoundLost);
                self.witness[m].must_notice = false;
            }
            Heard::Dead | Heard::HistoryLost { has_row: false } => {
                self.last = Some(match heard {
                    Heard::Dead => Happened::HeardOfItsDeath,
                    _ => Happened::HistoryFoundLost,
                });
                self.machines[m].reincarnate();
                self.witness[m].forget();
            }
        }
    }

    /// What a machine does when all it knows of a call is an error.
    fn refused(&mut self, m: usize, request: &Request) {
        let now = self.now(m);
        let machine = &mut self.machines[m];
        match request {
            Request::Beat(..) => machine.beat.failed(now),
            // The rest waits for the next look.
            Request::Declare(..) | Request::Sweep => {
                machine.suspects.clear();
                machine.sweeps = false;
            }
            Request::Retire(_) => {
                *machine = machine.without_process(Power::Gone);
                self.witness[m].forget();
            }
            Request::Register(_)
            | Request::Claim { .. }
            | Request::Save(_)
            | Request::Finish(_)
            | Request::GiveBack(_) => {}
        }
    }

    fn breaks(&mut self, promise: Promise) {
        if let Err(at) = self.broken.binary_search(&promise) {
            self.broken.insert(at, promise);
        }
    }

    /// Handlers of a task that can take a step: in the middle of one, or not stopped by their guard.
    fn handlers(&self, task: usize, mutant: Option<Mutant>) -> impl Iterator<Item = &Run> {
        self.machines.iter().flat_map(move |machine| {
            machine.runs.iter().filter(move |run| {
                let passes =
                    mutant == Some(Mutant::NoSelfFence) || !machine.is_fenced(run.node, self.tick);
                run.fence.task == task && !run.is_over() && (run.phase == Phase::Stepping || passes)
            })
        })
    }

    /// Whether two handlers of a task are alive at once.
    pub fn overlaps(&self, task: usize, mutant: Option<Mutant>) -> bool {
        self.handlers(task, mutant).count() > 1
    }

    /// Whether an overlap has no excuse: the older one's machine was never frozen while it ran, and no history was lost.
    pub fn overlaps_without_excuse(&self, mutant: Option<Mutant>) -> bool {
        let is_older = |run: &Run| !self.db.is_held_by(run.fence);
        !self.has_lost_history
            && (0..TASKS).any(|task| {
                self.overlaps(task, mutant)
                    && self
                        .handlers(task, mutant)
                        .any(|run| is_older(run) && !run.was_frozen)
            })
    }

    /// Whether all is done and nothing is left that could undo it.
    pub fn is_over(&self) -> bool {
        self.db.is_finished()
            && self.wire.is_empty()
            && self.left.failovers == 0
            && self.machines.iter().all(|machine| machine.runs.is_empty())
    }

    /// Whether a machine has been able to rescue since the faults were over.
    pub fn has_rescuer(&self) -> bool {
        self.machines
            .iter()
            .zip(&self.witness)
            .any(|(machine, witness)| {
                machine.is_up() && !machine.is_cut && !machine.is_draining && !witness.was_away
            })
    }
}
