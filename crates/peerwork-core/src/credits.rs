//! How many tasks a node may claim: its free slots, and as many more as it will soon start.
//!
//! Invariants: never more than slots + [`Credits::AHEAD_MAX`] are held; nothing is read ahead by a node that is not
//! finishing tasks at a rate that empties the read-ahead within [`Credits::AHEAD_MS`], so that long tasks are left
//! to peers with free slots; and what was read ahead in error goes back after [`Credits::GIVE_BACK_MS`].

use crate::Mono;

/// The claim credits of one sort of work on one node.
#[derive(Clone, Debug)]
pub struct Credits {
    slots: usize,
    /// Claimed and not acknowledged as ended.
    held: usize,
    /// Ends in the current window, and the rate of the last one.
    window_start: Mono,
    ended_in_window: u64,
    ended_per_window: u64,
}

impl Credits {
    /// Tasks read ahead at most: two full claim batches, one that is being started and one on its way.
    pub const AHEAD_MAX: usize = 2_000;

    /// How long a task may be read ahead of its start, in milliseconds.
    pub const AHEAD_MS: u64 = 100;

    /// Tasks that take longer than this part of [`AHEAD_MS`](Self::AHEAD_MS) are read ahead by no more than this part of it: enough for
    /// a claim, and whoever comes does not wait for a whole task that was in line before it.
    const LONGER_PART: usize = 4;

    /// How long a claimed task waits for a slot before it goes back, in milliseconds: short tasks had been ending
    /// quickly, then long ones came. Long enough that a hiccup gives nothing back.
    pub const GIVE_BACK_MS: u64 = 500;

    /// A node with `slots` slots that holds nothing.
    pub fn new(slots: usize, now: Mono) -> Self {
        Self {
            slots,
            held: 0,
            window_start: now,
            ended_in_window: 0,
            ended_per_window: 0,
        }
    }

    /// How many tasks to claim now.
    pub fn free(&self) -> usize {
        (self.slots + self.ahead()).saturating_sub(self.held)
    }

    fn ahead(&self) -> usize {
        let ended = usize::try_from(self.ended_per_window).unwrap_or(usize::MAX);
        let is_short = ended >= self.slots.saturating_mul(Self::LONGER_PART);
        match is_short {
            true => ended.min(Self::AHEAD_MAX),
            false => ended / Self::LONGER_PART,
        }
    }

    /// How many tasks to claim now of what is never read ahead.
    pub fn free_slots(&self) -> usize {
        self.slots.saturating_sub(self.held)
    }

    /// The number of claimed tasks whose end was not acknowledged yet.
    pub fn held(&self) -> usize {
        self.held
    }

    /// `n` tasks were claimed.
    pub fn claimed(&mut self, n: usize) {
        self.held += n;
    }

    /// `n` tasks for which credits were taken were not claimed after all.
    pub fn not_claimed(&mut self, n: usize) {
        self.held = self.held.saturating_sub(n);
    }

    /// The ends of `n` tasks were acknowledged at `now`.
    pub fn ended(&mut self, n: usize, now: Mono) {
        self.roll(now);
        self.held = self.held.saturating_sub(n);
        self.ended_in_window += n as u64;
        // The first busy window counts as it fills: a burst need not wait for its end.
        self.ended_per_window = self.ended_per_window.max(self.ended_in_window);
    }

    /// `n` tasks were given back without having been started: the rate that they were claimed at is past.
    pub fn given_back(&mut self, n: usize, now: Mono) {
        self.roll(now);
        self.held = self.held.saturating_sub(n);
        self.ended_in_window = 0;
        self.ended_per_window = 0;
    }

    /// Forgets a rate that is past. Call it before [`free`](Self::free) after a time without ends.
    pub fn roll(&mut self, now: Mono) {
        let elapsed_ms = now.since(self.window_start).as_millis() as u64;
        if elapsed_ms >= Self::AHEAD_MS {
            let windows = elapsed_ms / Self::AHEAD_MS;
            // After a second without a look nothing is known about the rate.
            self.ended_per_window = if windows < 10 {
                self.ended_in_window / windows
            } else {
                0
            };
            self.ended_in_window = 0;
            self.window_start = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Mono {
        Mono(0).plus_ms(ms)
    }

    #[test]
    fn an_idle_node_claims_its_slots_and_nothing_ahead() {
        let mut credits = Credits::new(4, ms(0));
        assert_eq!(credits.free(), 4);
        credits.claimed(4);
        assert_eq!((credits.free(), credits.held()), (0, 4));
    }

    #[test]
    fn long_tasks_are_not_read_ahead() {
        let mut credits = Credits::new(4, ms(0));
        credits.claimed(4);
        credits.ended(1, ms(60_000));
        credits.claimed(1);
        credits.ended(1, ms(120_000));
        credits.roll(ms(180_000));
        assert!(credits.free() <= 1, "only the free slot");
    }

    #[test]
    fn tasks_that_take_as_long_as_the_read_ahead_are_read_ahead_by_a_part_of_it() {
        let mut credits = Credits::new(16, ms(0));
        let ahead_after = |credits: &mut Credits, ended, from| {
            credits.roll(ms(from));
            credits.claimed(ended);
            credits.ended(ended, ms(from + 50));
            credits.roll(ms(from + Credits::AHEAD_MS));
            credits.free() - credits.free_slots()
        };
        // A hundred milliseconds each, and then one.
        assert_eq!(ahead_after(&mut credits, 16, 1_000), 4);
        assert_eq!(ahead_after(&mut credits, 1_600, 2_000), 1_600);
        assert_eq!(ahead_after(&mut credits, 3, 3_000), 0);
    }

    #[test]
    fn what_was_given_back_is_not_claimed_again_before_a_slot_is_free() {
        let mut credits = Credits::new(4, ms(0));
        credits.claimed(4);
        credits.ended(4, ms(10));
        let claimed = credits.free();
        assert!(claimed > 4, "short tasks: it reads ahead");
        assert_eq!(credits.free_slots(), 4, "but not of everything");
        credits.claimed(claimed);
        // Those that got the slots are long.
        credits.given_back(claimed - 4, ms(10 + Credits::GIVE_BACK_MS));
        assert_eq!((credits.free(), credits.held()), (0, 4));
    }

    #[test]
    fn short_tasks_are_read_ahead_as_fast_as_they_end() {
        let mut credits = Credits::new(64, ms(0));
        for step in 0..50 {
            let n = credits.free();
            credits.claimed(n);
            credits.ended(n, ms(step * 10));
        }
        assert!(credits.free() > 500, "{}", credits.free());
        assert!(credits.free() <= 64 + Credits::AHEAD_MAX);
        credits.roll(ms(60_000));
        assert_eq!(credits.free(), 64, "a rate that is past is forgotten");
    }
}
