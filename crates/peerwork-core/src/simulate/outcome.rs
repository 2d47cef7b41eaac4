//! What came of a simulation, in figures.

use crate::Name;
use crate::policy::Misgrant;

/// What a policy made of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The policy.
    pub policy: String,
    /// Jain's index over the users' share to fair share: 1 if all are alike, 1/n if one of n has everything. (R. Jain, D. Chiu, W. Hawe, "A
    /// quantitative measure of fairness and discrimination", 1984.)
    pub jain: f64,
    /// Of the slot time that there was work for, the part that was used. A policy that never leaves a slot free beside a waiting
    /// task comes to 1.
    pub utilisation: f64,
    /// When it ended, in microseconds.
    pub end_us: u64,
    /// The users, in the order in which they first came.
    pub users: Vec<UserOutcome>,
    /// Of each task that came, in the trace's order: which of the users, and how long it waited for its slot, in microseconds; one
    /// that had not begun at the end counts with what it had waited.
    pub waits: Vec<(usize, u64)>,
    /// What the policy did wrong at first.
    pub mistakes: Vec<Misgrant>,
    /// How often it did something wrong.
    pub mistaken: usize,
}

/// What a user got.
#[derive(Clone, Debug, PartialEq)]
pub struct UserOutcome {
    /// The user.
    pub user: Name,
    /// Its weight.
    pub weight: u32,
    /// What it asked for, in microseconds of a slot.
    pub work_us: u64,
    /// What it got until the end, in microseconds of a slot.
    pub got_us: f64,
    /// Its fair share until the end, in microseconds of a slot: at every moment the slots are divided by weight among the users with
    /// tasks, nobody gets more slots than it has tasks, and what that leaves over goes to the others (max-min).
    pub fair_us: f64,
}

/// Users of one sort.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// `all`, a user's name, or `heavy` (who asked for more than the mean) and `light`.
    pub name: String,
    /// The users, by their places.
    pub users: Vec<usize>,
    /// How long their tasks waited.
    pub waits: Waits,
    /// What they got, to their fair share.
    pub ratio: Option<f64>,
}

/// How long tasks waited, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many there are.
    pub tasks: usize,
    /// Half of them waited no longer.
    pub p50_us: u64,
    /// 95 of 100 waited no longer.
    pub p95_us: u64,
    /// 99 of 100 waited no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// Up to so many users are told one by one.
const USERS_TOLD_MAX: usize = 8;

impl Outcome {
    /// Mistakes of a policy that are kept.
    pub const MISTAKES_KEPT_MAX: usize = 10;

    /// All users; then each of them if they are few, else the heavy and the light ones.
    pub fn classes(&self) -> Vec<Class> {
        let mut classes = vec![self.class("all".to_owned(), |_| true)];
        if self.users.len() <= USERS_TOLD_MAX {
            let users = self.users.iter().enumerate();
            classes.extend(users.map(|(i, user)| self.class(user.user.to_string(), |n| n == i)));
            return classes;
        }
        let all: u128 = self.users.iter().map(|user| u128::from(user.work_us)).sum();
        let mean = all / self.users.len() as u128;
        let is_heavy = |n: usize| u128::from(self.users[n].work_us) > mean;
        classes.push(self.class("heavy".to_owned(), is_heavy));
        classes.push(self.class("light".to_owned(), |n| !is_heavy(n)));
        classes
    }

    fn class(&self, name: String, is_in: impl Fn(usize) -> bool) -> Class {
        let users: Vec<usize> = (0..self.users.len()).filter(|n| is_in(*n)).collect();
        let got: f64 = users.iter().map(|n| self.users[*n].got_us).sum();
        let fair: f64 = users.iter().map(|n| self.users[*n].fair_us).sum();
        Class {
            name,
            waits: Waits::of(&self.sorted_waits_us(&users)),
            users,
            ratio: (fair > 0.0).then_some(got / fair),
        }
    }

    /// How long the tasks of these users waited, in microseconds, the shortest first. Users are given by their places.
    pub fn sorted_waits_us(&self, users: &[usize]) -> Vec<u64> {
        let mut is_in = vec![false; self.users.len()];
        for user in users {
            is_in[*user] = true;
        }
        let of_class = self.waits.iter().filter(|(user, _)| is_in[*user]);
        let mut waits: Vec<u64> = of_class.map(|(_, wait)| *wait).collect();
        waits.sort_unstable();
        waits
    }
}

impl UserOutcome {
    /// What it got, to its fair share; none, if that is nothing.
    pub fn ratio(&self) -> Option<f64> {
        (self.fair_us > 0.0).then_some(self.got_us / self.fair_us)
    }
}

impl Waits {
    /// Of waits in ascending order: the smallest that at least so many of 100 do not exceed.
    pub fn of(sorted_us: &[u64]) -> Self {
        let percentile = |part: usize| {
            let rank = (sorted_us.len() * part).div_ceil(100);
            sorted_us.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            tasks: sorted_us.len(),
            p50_us: percentile(50),
            p95_us: percentile(95),
            p99_us: percentile(99),
            max_us: percentile(100),
        }
    }
}

/// Jain's index; 1 for nobody.
pub(super) fn jain(ratios: impl Iterator<Item = f64>) -> f64 {
    let sums = ratios.fold((0.0, 0.0, 0.0), |(n, sum, squares), ratio| {
        (n + 1.0, sum + ratio, squares + ratio * ratio)
    });
    match sums {
        (n, sum, squares) if squares > 0.0 => sum * sum / (n * squares),
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_is_one_for_equals_and_a_part_for_the_only_one() {
        let index = |ratios: &[f64]| jain(ratios.iter().copied());
        assert!((index(&[0.5; 7]) - 1.0).abs() < 1e-12);
        assert!((index(&[3.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-12);
        assert!((index(&[]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn percentiles_are_waits_that_were_waited() {
        let waits = Waits::of(&(1..=200).collect::<Vec<_>>());
        assert_eq!((waits.p50_us, waits.p95_us), (100, 190));
        assert_eq!((waits.p99_us, waits.max_us, waits.tasks), (198, 200, 200));
        assert_eq!(Waits::of(&[]), Waits::default());
        assert_eq!(Waits::of(&[7]).p99_us, 7);
    }
}
