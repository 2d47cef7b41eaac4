//! The figures of a simulation, of what really ran: the same sums over the times at which tasks came, started and ended.

use super::Trace;
use super::ideal::Ideal;
use super::outcome::{Outcome, UserOutcome, jain};
use crate::Name;
use crate::policy::Weights;
use std::collections::BTreeMap;

/// When a task ran, in microseconds since its trace's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// When it started.
    pub from_us: u64,
    /// When it ended; none, if it still ran when nobody looked any more.
    pub to_us: Option<u64>,
}

/// In the order in which they count at one moment: who has come can start, and who has started can end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Came,
    Started,
    Ended,
}

impl Outcome {
    /// What came of `trace` on a cluster of `slots` slots, by when its tasks ran: `ran` is in the order of
    /// [`arrivals`](Trace::arrivals), none for a task that never started. Counted is what happened before
    /// [`until_us`](Trace::until_us), or all of it; the lengths that the trace states are not used.
    ///
    /// A start before its task's arrival counts as one at the arrival, an end before its start as one at the start.
    pub fn observed(trace: &Trace, weights: &Weights, slots: usize, ran: &[Option<Ran>]) -> Self {
        let arrivals = trace.arrivals();
        let mut names: Vec<Name> = Vec::new();
        let mut indices: BTreeMap<&Name, usize> = BTreeMap::new();
        let mut user_of = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let user = indices.entry(&arrival.user).or_insert_with(|| {
                names.push(arrival.user.clone());
                names.len() - 1
            });
            user_of.push(*user);
        }
        let mut events = Vec::with_capacity(arrivals.len());
        let mut waits = Vec::new();
        let last_us = ran.iter().flatten().map(|ran| ran.to_us);
        let last_us = last_us.map(|to| to.unwrap_or(0)).max().unwrap_or(0);
        let end_us = trace.until_us.unwrap_or(last_us);
        let counts = |at_us: u64| at_us < end_us || trace.until_us.is_none();
        for (task, arrival) in arrivals.iter().enumerate() {
            let at_us = arrival.at_us;
            if !counts(at_us) {
                continue;
            }
            events.push((at_us, Event::Came, task));
            let ran = ran.get(task).copied().flatten();
            let from_us = ran
                .map(|ran| ran.from_us.max(at_us))
                .filter(|at| counts(*at));
            waits.push((
                user_of[task],
                from_us.unwrap_or(end_us).saturating_sub(at_us),
            ));
            let Some(from_us) = from_us else {
                continue;
            };
            events.push((from_us, Event::Started, task));
            let to_us = ran.and_then(|ran| ran.to_us).map(|at| at.max(from_us));
            if let Some(to_us) = to_us.filter(|at| counts(*at)) {
                events.push((to_us, Event::Ended, task));
            }
        }
        events.sort_unstable();

        let mut ideal = Ideal::new(slots, names.iter().map(|user| weights.user(user)));
        let mut running = vec![0_usize; names.len()];
        let mut got_us = vec![0_u64; names.len()];
        let mut since_us = vec![0_u64; names.len()];
        let (mut now_us, mut present, mut all_running) = (0, 0_usize, 0_usize);
        let (mut used_us, mut usable_us) = (0_u128, 0_u128);
        let mut events = events.into_iter().peekable();
        while let Some((at_us, event, task)) = events.next() {
            let time = u128::from(at_us - now_us);
            used_us += time * all_running as u128;
            usable_us += time * present.min(slots) as u128;
            now_us = at_us;
            let user = user_of[task];
            got_us[user] += running[user] as u64 * (at_us - since_us[user]);
            since_us[user] = at_us;
            match event {
                Event::Came => {
                    ideal.came(user);
                    present += 1;
                }
                Event::Started => {
                    running[user] += 1;
                    all_running += 1;
                }
                Event::Ended => {
                    ideal.ended(user);
                    running[user] -= 1;
                    (all_running, present) = (all_running - 1, present - 1);
                }
            }
            if events.peek().is_none_or(|(next_us, ..)| *next_us > at_us) {
                ideal.settle(at_us);
            }
        }
        let end_us = end_us.max(now_us);
        used_us += u128::from(end_us - now_us) * all_running as u128;
        usable_us += u128::from(end_us - now_us) * present.min(slots) as u128;
        let mut work_us = vec![0_u64; names.len()];
        for (arrival, user) in arrivals.iter().zip(&user_of) {
            work_us[*user] = work_us[*user].saturating_add(arrival.length_us);
        }
        let entitled = ideal.entitled_us(end_us);
        let user = |(n, user): (usize, Name)| UserOutcome {
            weight: weights.user(&user),
            user,
            work_us: work_us[n],
            got_us: (got_us[n] + running[n] as u64 * (end_us - since_us[n])) as f64,
            fair_us: entitled[n],
        };
        let users: Vec<_> = names.into_iter().enumerate().map(user).collect();
        Self {
            policy: "observed".to_owned(),
            jain: jain(users.iter().filter_map(UserOutcome::ratio)),
            utilisation: match usable_us {
                0 => 1.0,
                usable => used_us as f64 / usable as f64,
            },
            end_us,
            users,
            waits,
            mistakes: Vec::new(),
            mistaken: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arrival, Cluster, Mix, Workload};
    use super::*;
    use crate::policy::Policies;

    /// The runs that a simulation has made up, from how long its tasks waited.
    fn runs(trace: &Trace, outcome: &Outcome) -> Vec<Option<Ran>> {
        let tasks = trace.arrivals().iter().enumerate();
        let ran = |(n, arrival): (usize, &Arrival)| {
            let (_, wait_us) = outcome.waits.get(n)?;
            let from_us = arrival.at_us + wait_us;
            Some(Ran {
                from_us,
                to_us: Some(from_us + arrival.length_us.max(1)),
            })
        };
        tasks.map(ran).collect()
    }

    #[test]
    fn what_was_simulated_is_observed_alike() {
        for workload in Workload::ALL {
            let mix = Mix {
                tasks: 3_000,
                ..Mix::default()
            };
            let (trace, weights) = (workload.trace(&mix), workload.weights());
            for policy in ["fifo", "fair"] {
                let found = Policies::default().find(policy).unwrap();
                let cluster = Cluster {
                    snapshot_age_ms: 0,
                    ..Cluster::default()
                };
                let simulated = cluster.run(&trace, &weights, found);
                let ran = runs(&trace, &simulated);
                let observed = Outcome::observed(&trace, &weights, 16, &ran);
                assert_eq!(observed.waits, simulated.waits);
                let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6 * (1.0 + b), "{a} {b}");
                near(observed.utilisation, simulated.utilisation);
                near(observed.jain, simulated.jain);
                for (a, b) in observed.users.iter().zip(&simulated.users) {
                    assert_eq!((&a.user, a.work_us), (&b.user, b.work_us));
                    near(a.got_us, b.got_us);
                    near(a.fair_us, b.fair_us);
                }
            }
        }
    }

    #[test]
    fn what_never_started_waits_until_the_end_and_what_never_ended_runs_until_then() {
        let name = |text| Name::new("name", text).unwrap();
        let arrival = |at_us, user| Arrival {
            at_us,
            user: name(user),
            group: name(""),
            priority: 0,
            length_us: 5,
        };
        let mut trace = Trace::new(vec![
            arrival(0, "ann"),
            arrival(10, "bob"),
            arrival(200, "bob"),
        ]);
        trace.until_us = Some(100);
        let runs = Ran {
            from_us: 20,
            to_us: None,
        };
        let outcome = Outcome::observed(&trace, &Weights::new(), 1, &[Some(runs), None]);
        assert_eq!(outcome.waits, [(0, 20), (1, 90)]);
        let got: Vec<_> = outcome.users.iter().map(|user| user.got_us).collect();
        assert_eq!(got, [80.0, 0.0]);
        // Alone for ten, then a half each.
        let fair: Vec<_> = outcome.users.iter().map(|user| user.fair_us).collect();
        assert_eq!(fair, [55.0, 45.0]);
        assert!((outcome.utilisation - 0.8).abs() < 1e-12);
        assert_eq!(
            Outcome::observed(&Trace::default(), &Weights::new(), 1, &[]).jain,
            1.0
        );
    }
}
