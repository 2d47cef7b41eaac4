//! What can happen in a world, for the checker: the steps, when each is possible, and the promises.

use crate::database::Fence;
use crate::machine::{Duty, Machine, Phase, Power, Run, TIMES};
use crate::world::{Fate, MACHINES, World};
use crate::{Faults, Happened, Mutant, Promise};
use stateright::{Model, Property};

/// One configuration of the model.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// How many faults of each sort may happen.
    pub faults: Faults,
    /// The last tick at which machines and the database may begin to fail.
    pub faults_until: u64,
    /// The first and the last tick at which a call may fail.
    pub errors_from: u64,
    pub errors_until: u64,
    /// How long a claim, and any other request, may be on its way, in ticks.
    pub claim_ticks: u64,
    pub wire_ticks: u64,
    /// The last tick.
    pub ends_at: u64,
    /// How many machines have registered before the first step.
    pub registered: usize,
    /// How many machines may fail: the two are alike, so that of a single fault one is enough.
    pub faulty: usize,
    /// Tasks that a node runs at once.
    pub slots: usize,
    /// Which task's handler may take its time; the other's returns in the tick in which it was claimed.
    pub lingers: [bool; 2],
    /// Which task's handler saves before it returns.
    pub saves: [bool; 2],
    /// What must happen somewhere, or the configuration shows nothing about it.
    pub expects: &'static [Happened],
    /// What is wrong on purpose.
    pub mutant: Option<Mutant>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Time goes on for everyone.
    Tick,
    /// The database's clock jumps over a whole ttl.
    Jump,
    /// The replica gets no more after this.
    ReplicaStops,
    FailOver,
    Crash(usize),
    Start(usize),
    Freeze(usize),
    Thaw(usize),
    Cut(usize),
    Mend(usize),
    Drain(usize),
    Call(usize, Duty, Fate),
    /// The guard lets a handler's future be polled, or not.
    Poll(usize, Fence),
    /// The poll ends.
    PollEnds(usize, Fence),
    SelfFence(usize),
    /// What is on the wire is carried out.
    Arrive(usize),
}

impl Protocol {
    fn faults(&self, world: &World, steps: &mut Vec<Step>) {
        if world.tick > self.faults_until {
            return;
        }
        let left = world.left;
        let mut if_left = |left: u8, step: Step| {
            if left > 0 {
                steps.push(step);
            }
        };
        if_left(left.jumps, Step::Jump);
        if world.replica.is_none() {
            if_left(left.failovers, Step::ReplicaStops);
        } else {
            if_left(left.failovers, Step::FailOver);
        }
        for (m, machine) in world.machines.iter().enumerate().take(self.faulty) {
            if machine.is_up() {
                if_left(left.crashes, Step::Crash(m));
                if_left(left.freezes, Step::Freeze(m));
                if !machine.is_cut {
                    if_left(left.cuts, Step::Cut(m));
                }
                if !machine.is_draining {
                    if_left(left.drains, Step::Drain(m));
                }
            }
        }
    }

    /// What ends a fault. Nothing promises that it happens; where it does, it does at the beginning of a tick.
    fn repairs(&self, world: &World, steps: &mut Vec<Step>) {
        if world
            .machines
            .iter()
            .any(|machine| machine.is_up() && machine.has_looked)
        {
            return;
        }
        for (m, machine) in world.machines.iter().enumerate() {
            match machine.power {
                Power::Down if world.left.starts > 0 => steps.push(Step::Start(m)),
                Power::Frozen => steps.push(Step::Thaw(m)),
                Power::Up if machine.is_cut => steps.push(Step::Mend(m)),
                Power::Up | Power::Down | Power::Gone => {}
            }
        }
    }

    /// What happens by itself, without a fault.
    fn course(&self, world: &World, steps: &mut Vec<Step>) {
        for (at, sent) in world.wire.iter().enumerate() {
            // Whoever waits for an answer must be there to take it.
            if !sent.is_awaited || world.machines[sent.from].is_up() {
                steps.push(Step::Arrive(at));
            }
        }
        for (m, machine) in world.machines.iter().enumerate() {
            if !machine.is_up() {
                continue;
            }
            let fate = if machine.is_cut {
                Fate::Refused
            } else {
                Fate::Answered
            };
            for duty in machine.duties(world.tick, &world.db, self.slots, self.mutant) {
                if !(machine.is_cut && duty.is_moot_if_refused()) {
                    steps.push(Step::Call(m, duty, fate));
                }
            }
            if machine.must_fence(world.tick, self.mutant) {
                steps.push(Step::SelfFence(m));
            }
            for run in &machine.runs {
                match run.phase {
                    Phase::Working => steps.push(Step::Poll(m, run.fence)),
                    Phase::Stepping => steps.push(Step::PollEnds(m, run.fence)),
                    Phase::Saving | Phase::Returned | Phase::Stopped => {}
                }
            }
        }
    }

    /// Calls that fail, in the ways that make a difference.
    fn errors(&self, world: &World, steps: &mut Vec<Step>) {
        if world.left.errors == 0 || world.tick < self.errors_from {
            return;
        }
        for (m, machine) in world.machines.iter().enumerate() {
            if !machine.is_up() || machine.is_cut {
                continue;
            }
            for duty in machine.duties(world.tick, &world.db, self.slots, self.mutant) {
                let fates: &[Fate] = match duty {
                    Duty::Look => &[Fate::Refused],
                    Duty::Claim => &[Fate::Ambiguous, Fate::Slow],
                    Duty::Save(_) | Duty::End(_) => &[Fate::Ambiguous],
                    Duty::Register | Duty::Beat | Duty::Declare | Duty::Sweep | Duty::Retire => {
                        &[Fate::Refused, Fate::Ambiguous]
                    }
                };
                steps.extend(fates.iter().map(|fate| Step::Call(m, duty, *fate)));
            }
        }
    }

    /// Whether something must happen on a machine before time goes on: one that is up is on time.
    fn is_late(&self, world: &World, machine: &Machine) -> bool {
        let must_poll = |run: &Run| {
            run.phase == Phase::Stepping
                || run.phase == Phase::Working && (run.is_told || !self.lingers[run.fence.task])
        };
        let duties = || machine.duties(world.tick, &world.db, self.slots, self.mutant);
        machine.is_up()
            && (machine.must_fence(world.tick, self.mutant)
                || machine.runs.iter().any(must_poll)
                || duties()
                    .into_iter()
                    .any(|duty| !machine.is_cut || !duty.is_moot_if_refused()))
    }

    /// What cannot happen any more makes no difference any more.
    fn forgo(&self, world: &mut World) {
        if world.tick > self.errors_until {
            world.left.errors = 0;
        }
        if world.tick > self.faults_until {
            let (errors, starts) = (world.left.errors, world.left.starts);
            world.left = Faults {
                errors,
                starts,
                ..Faults::default()
            };
            world.replica = None;
        }
    }

    fn can_tick(&self, world: &World) -> bool {
        world.tick < self.ends_at
            && !world.wire.iter().any(|sent| world.tick >= sent.by)
            && !world
                .machines
                .iter()
                .any(|machine| self.is_late(world, machine))
    }

    /// Whether time is over and nothing happens any more, unless something breaks or is repaired.
    fn is_quiet(&self, world: &World) -> bool {
        let mut steps = Vec::new();
        if world.tick == self.ends_at {
            self.course(world, &mut steps);
        }
        world.tick == self.ends_at
            && steps
                .into_iter()
                .all(|step| self.next_state(world, step).is_none())
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::new(self.faults);
        for m in MACHINES - self.registered..MACHINES {
            world.call(m, Duty::Register, Fate::Answered, self.mutant);
        }
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.is_over() {
            return;
        }
        self.course(world, steps);
        self.faults(world, steps);
        self.repairs(world, steps);
        self.errors(world, steps);
        if self.can_tick(world) {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        world.last = None;
        let left = &mut world.left;
        match step {
            Step::Tick => {
                world.tick(self.faults_until);
                self.forgo(&mut world);
            }
            Step::Jump => {
                left.jumps -= 1;
                world.ahead += TIMES.ttl_ms / crate::machine::TICK_MS + 1;
            }
            Step::ReplicaStops => world.replica = Some(Box::new(world.db.clone())),
            Step::FailOver => {
                left.failovers -= 1;
                if let Some(replica) = world.replica.take() {
                    world.fail_over(*replica);
                }
            }
            Step::Crash(m) => {
                left.crashes -= 1;
                world.crash(m);
            }
            Step::Start(m) => {
                left.starts -= 1;
                world.start(m);
            }
            Step::Freeze(m) => {
                left.freezes -= 1;
                world.freeze(m);
            }
            Step::Thaw(m) => world.machines[m].power = Power::Up,
            Step::Cut(m) => {
                left.cuts -= 1;
                world.machines[m].is_cut = true;
            }
            Step::Mend(m) => world.machines[m].is_cut = false,
            Step::Drain(m) => {
                left.drains -= 1;
                world.drain(m, self.mutant);
            }
            Step::Call(m, duty, fate) => {
                if fate != Fate::Answered && !world.machines[m].is_cut {
                    left.errors -= 1;
                }
                world.call(m, duty, fate, self.mutant);
                if let Some(sent) = world.wire.last_mut().filter(|sent| sent.by == 0) {
                    let ticks = if duty == Duty::Claim {
                        self.claim_ticks
                    } else {
                        self.wire_ticks
                    };
                    sent.by = before.tick + ticks;
                }
            }
            Step::Poll(m, fence) => world.poll(m, fence, self.mutant),
            Step::PollEnds(m, fence) => world.step(m, fence, self.saves[fence.task]),
            Step::SelfFence(m) => world.fence(m),
            Step::Arrive(at) => world.arrive(at, self.mutant),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(Promise::WritesOfTheHolder.name(), |_, world: &World| {
                !world.broken.contains(&Promise::WritesOfTheHolder)
            }),
            Property::always(Promise::OneHolder.name(), |_, world: &World| {
                !world.broken.contains(&Promise::OneHolder)
            }),
            Property::always(Promise::NoOverlap.name(), |model: &Self, world: &World| {
                !world.overlaps_without_excuse(model.mutant)
            }),
            Property::always(Promise::FinalStaysFinal.name(), |_, world: &World| {
                !world.broken.contains(&Promise::FinalStaysFinal)
            }),
            Property::always(
                Promise::NothingStaysHeld.name(),
                |model: &Self, world: &World| {
                    world.db.is_finished() || !world.has_rescuer() || !model.is_quiet(world)
                },
            ),
            Property::always(Promise::NoFalseTakeover.name(), |_, world: &World| {
                !world.broken.contains(&Promise::NoFalseTakeover)
            }),
            Property::always(Promise::StepsWithinLease.name(), |_, world: &World| {
                !world.broken.contains(&Promise::StepsWithinLease)
            }),
            Property::always(Promise::LostHistoryIsNoticed.name(), |_, world: &World| {
                !world.broken.contains(&Promise::LostHistoryIsNoticed)
            }),
        ];
        properties.extend(self.expects.iter().map(|what| what.property()));
        properties
    }
}
