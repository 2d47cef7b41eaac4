//! Traces that are made up: each shows one difference between policies.

use super::{Arrival, Trace};
use crate::policy::Weights;
use crate::{Dice, Name};

/// A sort of trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A heavy user hands in all its tasks at once (in as many groups as it likes); 99 light ones have a task now and then, a tenth of
    /// all work together.
    HeavyLight,
    /// Thousands of users, few of them with most of the tasks (Zipf), in bursts; a few tasks take most of the time (Pareto). The
    /// slots are 95 per cent busy.
    ManyUsers,
    /// Three users whose weights are 1, 2 and 4, each in a group of the same weight, who always have work.
    Weights,
    /// A steady stream of urgent tasks for nine tenths of the slots, and less urgent ones of priorities 1 to 3 for another three
    /// tenths: there is more work than the slots can do.
    Priorities,
}

/// How much there is of a workload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    /// Slots of the cluster that is to be kept busy.
    pub slots: usize,
    /// Users, as far as the workload has a choice.
    pub users: usize,
    /// Groups over which the heavy user spreads, or many users do.
    pub groups: usize,
    /// Tasks of the heavy user, or of all.
    pub tasks: usize,
    /// How long a task takes on average, in milliseconds.
    pub length_ms: u64,
    /// The same seed makes the same trace.
    pub seed: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            slots: 16,
            users: 100,
            groups: 1,
            tasks: 100_000,
            length_ms: 1_000,
            seed: 1,
        }
    }
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::HeavyLight,
        Self::ManyUsers,
        Self::Weights,
        Self::Priorities,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::HeavyLight => "heavy-light",
            Self::ManyUsers => "many-users",
            Self::Weights => "weights",
            Self::Priorities => "priorities",
        }
    }

    /// What its groups and users weigh.
    pub fn weights(self) -> Weights {
        let mut weights = Weights::default();
        match self {
            Self::HeavyLight | Self::ManyUsers | Self::Priorities => {}
            Self::Weights => {
                for weight in WEIGHTS {
                    weights.set_user(weighing(weight), weight);
                    weights.set_group(weighing(weight), weight);
                }
            }
        }
        weights
    }

    /// A trace of it. No number of a mix is too small: what is 0 counts as 1.
    pub fn trace(self, mix: &Mix) -> Trace {
        let maker = Maker {
            slots: mix.slots.max(1) as f64,
            users: mix.users.max(2),
            groups: mix.groups.max(1),
            tasks: mix.tasks.clamp(1, Trace::TASKS_MAX / 2),
            length_us: (mix.length_ms.clamp(1, LENGTH_MS_MAX) * 1_000) as f64,
            dice: Dice::new(mix.seed),
            arrivals: Vec::new(),
        };
        match self {
            Self::HeavyLight => maker.heavy_light(),
            Self::ManyUsers => maker.many_users(),
            Self::Weights => maker.weights(),
            Self::Priorities => maker.priorities(),
        }
    }
}

const WEIGHTS: [u32; 3] = [1, 2, 4];
/// The part of all slots that light users need together.
const LIGHT_LOAD: f64 = 0.1;
/// The part of all slots that many users need together.
const MANY_LOAD: f64 = 0.95;
/// Tasks that one of many users hands in at once, on average.
const BURST: f64 = 20.0;
/// The heavy tail of lengths: its mean is finite, its variance is not.
const PARETO: f64 = 1.5;
/// Of a length to the mean: one task is not to decide a simulation.
const TAIL_MAX: f64 = 1_000.0;
/// A day; with the tail it is still a time.
const LENGTH_MS_MAX: u64 = 86_400_000;
const URGENT_LOAD: f64 = 0.9;
const PATIENT_LOAD: f64 = 0.1;
const PATIENT: [i16; 3] = [1, 2, 3];

struct Maker {
    slots: f64,
    users: usize,
    groups: usize,
    tasks: usize,
    /// The mean.
    length_us: f64,
    dice: Dice,
    arrivals: Vec<Arrival>,
}

impl Maker {
    fn heavy_light(mut self) -> Trace {
        let heavy = name("heavy");
        for n in 0..self.tasks {
            let group = match self.groups {
                1 => name("shared"),
                groups => name(&format!("heavy {}", n % groups)),
            };
            let length = self.exponential(self.length_us);
            self.arrive(0.0, &heavy, &group, 0, length);
        }
        // Until the heavy user's work is done beside that of the others.
        let until = self.tasks as f64 * self.length_us / (self.slots * (1.0 - LIGHT_LOAD));
        let gap = self.length_us / (self.slots * LIGHT_LOAD);
        let shared = name("shared");
        let mut at = self.exponential(gap);
        while at < until {
            let user = name(&format!("light {}", 1 + self.dice.below(self.users - 1)));
            let length = self.exponential(self.length_us);
            self.arrive(at, &user, &shared, 0, length);
            at += self.exponential(gap);
        }
        self.until(until)
    }

    fn many_users(mut self) -> Trace {
        let mut chances: Vec<f64> = Vec::with_capacity(self.users);
        let mut sum = 0.0;
        for rank in 1..=self.users {
            sum += 1.0 / rank as f64;
            chances.push(sum);
        }
        let gap = BURST * self.length_us / (self.slots * MANY_LOAD);
        let mut at = 0.0;
        while self.arrivals.len() < self.tasks {
            at += self.exponential(gap);
            let drawn = self.dice.fraction() * sum;
            let rank = chances.partition_point(|chance| *chance < drawn);
            let user = name(&format!("user {}", rank + 1));
            let group = name(&format!("group {}", rank % self.groups));
            let burst = self.exponential(BURST).ceil() as usize;
            for _ in 0..burst.min(self.tasks - self.arrivals.len()) {
                let length = self.pareto();
                self.arrive(at, &user, &group, 0, length);
            }
        }
        Trace::new(self.arrivals)
    }

    fn weights(mut self) -> Trace {
        let all: u32 = WEIGHTS.iter().sum();
        for weight in WEIGHTS {
            let user = weighing(weight);
            for _ in 0..self.tasks * weight as usize / all as usize {
                let length = self.exponential(self.length_us);
                self.arrive(0.0, &user, &user, 0, length);
            }
        }
        // Before the first of them is out of work.
        let until = 0.8 * self.tasks as f64 * self.length_us / self.slots;
        self.until(until)
    }

    fn priorities(mut self) -> Trace {
        let load = URGENT_LOAD + PATIENT_LOAD * PATIENT.len() as f64;
        let until = self.tasks as f64 * self.length_us / (self.slots * load);
        let patient = PATIENT.map(|priority| (priority, PATIENT_LOAD));
        for (priority, load) in [(0, URGENT_LOAD)].into_iter().chain(patient) {
            let gap = self.length_us / (self.slots * load);
            let user = name(&format!("priority {priority}"));
            let group = name("shared");
            let mut at = self.exponential(gap);
            while at < until {
                let length = self.exponential(self.length_us);
                self.arrive(at, &user, &group, priority, length);
                at += self.exponential(gap);
            }
        }
        self.until(until)
    }

    fn until(self, until: f64) -> Trace {
        let mut trace = Trace::new(self.arrivals);
        trace.until_us = Some(until as u64);
        trace
    }

    fn arrive(&mut self, at: f64, user: &Name, group: &Name, priority: i16, length: f64) {
        self.arrivals.push(Arrival {
            at_us: at as u64,
            user: user.clone(),
            group: group.clone(),
            priority,
            length_us: length as u64,
        });
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -self.dice.fraction().ln() * mean
    }

    fn pareto(&mut self) -> f64 {
        let least = self.length_us * (PARETO - 1.0) / PARETO;
        let length = least * self.dice.fraction().powf(-1.0 / PARETO);
        length.min(TAIL_MAX * self.length_us)
    }
}

fn weighing(weight: u32) -> Name {
    name(&format!("weight {weight}"))
}

fn name(text: &str) -> Name {
    Name::new("name", text).expect("a short name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn small(workload: Workload) -> Trace {
        workload.trace(&Mix {
            tasks: 5_000,
            groups: 3,
            ..Mix::default()
        })
    }

    #[test]
    fn a_seed_makes_a_trace() {
        for workload in Workload::ALL {
            let trace = small(workload);
            assert_eq!(trace, small(workload), "{}", workload.name());
            let arrivals = trace.arrivals();
            assert!(arrivals.len() > 4_000 && arrivals.len() < 6_000);
            assert!(arrivals.is_sorted_by_key(|arrival| arrival.at_us));
            let mean = arrivals.iter().map(|a| a.length_us as f64).sum::<f64>();
            let mean = mean / arrivals.len() as f64;
            assert!((700_000.0..1_300_000.0).contains(&mean), "{mean}");
        }
    }

    #[test]
    fn few_of_many_users_have_most_of_the_tasks() {
        let trace = small(Workload::ManyUsers);
        let users: BTreeSet<_> = trace.arrivals().iter().map(|a| &a.user).collect();
        let of_first = |a: &&Arrival| a.user == *"user 1";
        let first = trace.arrivals().iter().filter(of_first).count();
        assert!(users.len() > 50 && first > 5_000 / 10, "{first}");
    }

    #[test]
    fn nothing_is_too_small() {
        let nothing = Mix {
            slots: 0,
            users: 0,
            groups: 0,
            tasks: 0,
            length_ms: 0,
            seed: 0,
        };
        for workload in Workload::ALL {
            let _ = workload.trace(&nothing);
        }
        assert_eq!(Workload::ManyUsers.trace(&nothing).arrivals().len(), 1);
    }
}
