//! The users who wait, each with its lanes, and what they run.

use super::divide::{Party, divide};
use super::fifo::first_of;
use super::{Grant, LaneView, Weights};
use crate::Name;
use std::collections::HashMap;

/// Users in the order in which their lanes are shown.
#[derive(Default)]
pub(super) struct Users<'a> {
    places: HashMap<&'a Name, usize>,
    waiting: Vec<User<'a>>,
}

struct User<'a> {
    name: &'a Name,
    lanes: Vec<&'a LaneView>,
    running: usize,
}

impl<'a> Users<'a> {
    /// A lane in which its user's tasks wait.
    pub fn add(&mut self, view: &'a LaneView) {
        let place = *self.places.entry(&view.user).or_insert_with(|| {
            self.waiting.push(User {
                name: &view.user,
                lanes: Vec::new(),
                running: 0,
            });
            self.waiting.len() - 1
        });
        self.waiting[place].lanes.push(view);
    }

    /// `tasks` more of a user run. It is of no interest unless the user waits for more.
    pub fn run(&mut self, user: &Name, tasks: usize) {
        if let Some(place) = self.places.get(user) {
            self.waiting[*place].running += tasks;
        }
    }

    /// Divides slots among the users by weight. Each one's own tasks go by priority and age.
    pub fn grant(&self, free: usize, weights: &Weights, dice: u64) -> Vec<Grant> {
        let party = |user: &User<'_>| Party {
            weight: weights.user(user.name),
            running: user.running,
        };
        let parties: Vec<Party> = self.waiting.iter().map(party).collect();
        let shares = self.waiting.iter().zip(divide(free, &parties, dice));
        let shares = shares.filter(|(_, share)| *share > 0);
        shares
            .flat_map(|(user, share)| first_of(&user.lanes, share))
            .collect()
    }
}
