//! What each user is entitled to: its max-min fair share of the slots, over time.
//!
//! At every moment the slots are divided among the users who have tasks (waiting or running) by weight; nobody is given more
//! than one slot for each of its tasks, and what that leaves over goes to the others. The fair share is this, summed up
//! over time. It is taken from what a policy made of the trace: a user whose tasks wait for long is entitled for long.

/// One event in so many users with work has the shares computed anew: up to so many users they are exact, beyond that a little late.
const EXACT_USERS: usize = 32;

/// Adds up fair shares.
pub(super) struct Ideal {
    slots: f64,
    users: Vec<User>,
    /// Users with tasks.
    active: Vec<usize>,
    /// Since when the shares have been as they are, in microseconds.
    since_us: u64,
    events: usize,
}

struct User {
    weight: f64,
    tasks: usize,
    is_active: bool,
    /// Slots that it is entitled to now.
    share: f64,
    entitled_us: f64,
}

impl Ideal {
    pub fn new(slots: usize, weights: impl Iterator<Item = u32>) -> Self {
        let user = |weight| User {
            weight: f64::from(weight),
            tasks: 0,
            is_active: false,
            share: 0.0,
            entitled_us: 0.0,
        };
        Self {
            slots: slots as f64,
            users: weights.map(user).collect(),
            active: Vec::new(),
            since_us: 0,
            events: 0,
        }
    }

    /// A user has one task more.
    pub fn came(&mut self, user: usize) {
        let state = &mut self.users[user];
        state.tasks += 1;
        if !std::mem::replace(&mut state.is_active, true) {
            self.active.push(user);
        }
    }

    /// A task of a user has ended.
    pub fn ended(&mut self, user: usize) {
        self.users[user].tasks -= 1;
    }

    /// All that happened at `now_us` was told.
    pub fn settle(&mut self, now_us: u64) {
        self.events += 1;
        if self.events * EXACT_USERS >= self.active.len() {
            self.events = 0;
            self.add_up(now_us);
            self.divide();
        }
    }

    /// What each user was entitled to until `end_us`, in microseconds of a slot.
    pub fn entitled_us(mut self, end_us: u64) -> Vec<f64> {
        self.add_up(end_us);
        self.users
            .into_iter()
            .map(|user| user.entitled_us)
            .collect()
    }

    fn add_up(&mut self, now_us: u64) {
        let time = (now_us - self.since_us) as f64;
        for user in &self.active {
            let user = &mut self.users[*user];
            user.entitled_us += user.share * time;
        }
        self.since_us = now_us;
    }

    fn divide(&mut self) {
        let users = &mut self.users;
        self.active.retain(|user| {
            let state = &mut users[*user];
            if state.tasks == 0 {
                (state.is_active, state.share) = (false, 0.0);
            }
            state.tasks > 0
        });
        // Who needs least for its weight is satisfied first.
        let need = |user: &usize| users[*user].tasks as f64 / users[*user].weight;
        self.active
            .sort_unstable_by(|a, b| need(a).total_cmp(&need(b)));
        let mut slots = self.slots;
        let mut weight: f64 = self.active.iter().map(|user| users[*user].weight).sum();
        for user in &self.active {
            let user = &mut users[*user];
            user.share = (user.tasks as f64).min(slots * user.weight / weight);
            slots -= user.share;
            weight -= user.weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_does_not_need_goes_to_the_others_by_weight() {
        let mut ideal = Ideal::new(10, [1, 1, 2].into_iter());
        ideal.came(0);
        for _ in 0..20 {
            ideal.came(1);
            ideal.came(2);
        }
        ideal.settle(0);
        ideal.ended(0);
        ideal.settle(10);
        // Slots: 1, 3, 6 for ten microseconds; then 0, 3.33, 6.67 for six.
        let entitled = ideal.entitled_us(16);
        let expected = [10.0, 50.0, 100.0];
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
        assert!(entitled.iter().zip(&expected).all(is_near), "{entitled:?}");
    }
}
