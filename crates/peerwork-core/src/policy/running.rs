//! What runs: by lane, user and group.

use crate::{LaneId, Name};
use std::collections::BTreeMap;

/// How many tasks run in each lane, of each user, and in each group. What a node has claimed and has no slot for yet counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    lanes: BTreeMap<LaneId, Lane>,
    users: BTreeMap<Name, usize>,
    groups: BTreeMap<Name, usize>,
    total: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lane {
    group: Name,
    user: Name,
    tasks: usize,
}

impl Running {
    /// Nothing runs.
    pub const fn new() -> Self {
        Self {
            lanes: BTreeMap::new(),
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            total: 0,
        }
    }

    /// `tasks` more run in the lane of `user` in `group`.
    pub fn add(&mut self, lane: LaneId, group: &Name, user: &Name, tasks: usize) {
        if tasks == 0 {
            return;
        }
        let known = self.lanes.entry(lane).or_insert_with(|| Lane {
            group: group.clone(),
            user: user.clone(),
            tasks: 0,
        });
        known.tasks += tasks;
        *self.users.entry(user.clone()).or_default() += tasks;
        *self.groups.entry(group.clone()).or_default() += tasks;
        self.total += tasks;
    }

    /// `tasks` of this lane have ended. More than are known to run count as all of them: a snapshot may be older than an end.
    pub fn end(&mut self, lane: LaneId, tasks: usize) {
        let Some(known) = self.lanes.get_mut(&lane) else {
            return;
        };
        let tasks = tasks.min(known.tasks);
        known.tasks -= tasks;
        take(&mut self.users, &known.user, tasks);
        take(&mut self.groups, &known.group, tasks);
        self.total -= tasks;
        if known.tasks == 0 {
            self.lanes.remove(&lane);
        }
    }

    /// The lanes in which something runs: group, user, and how many tasks.
    pub fn lanes(&self) -> impl Iterator<Item = (&Name, &Name, usize)> {
        let lanes = self.lanes.values();
        lanes.map(|lane| (&lane.group, &lane.user, lane.tasks))
    }

    /// The users of whom something runs, and how many tasks.
    pub fn users(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.users.iter().map(|(user, tasks)| (user, *tasks))
    }

    /// How many run in a lane.
    pub fn in_lane(&self, lane: LaneId) -> usize {
        self.lanes.get(&lane).map_or(0, |lane| lane.tasks)
    }

    /// How many run of a user, in all groups.
    pub fn of_user(&self, user: &Name) -> usize {
        self.users.get(user).copied().unwrap_or(0)
    }

    /// How many run in a group, of all users.
    pub fn in_group(&self, group: &Name) -> usize {
        self.groups.get(group).copied().unwrap_or(0)
    }

    /// How many run in all.
    pub fn total(&self) -> usize {
        self.total
    }
}

fn take(counts: &mut BTreeMap<Name, usize>, name: &Name, tasks: usize) {
    let count = counts.get_mut(name).expect("it was counted with its lane");
    *count -= tasks;
    if *count == 0 {
        counts.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::view;
    use super::*;

    #[test]
    fn lanes_users_and_groups_are_counted_together_and_forgotten_at_nothing() {
        let mut running = Running::default();
        let (one, two) = (view("g", "ann", 0, 0), view("h", "ann", 0, 0));
        running.add(one.lane, &one.group, &one.user, 2);
        running.add(two.lane, &two.group, &two.user, 3);
        running.add(two.lane, &two.group, &two.user, 0);
        assert_eq!(running.of_user(&one.user), 5);
        assert_eq!(
            (running.in_group(&one.group), running.in_lane(two.lane)),
            (2, 3)
        );
        running.end(two.lane, 1);
        running.end(one.lane, 9);
        running.end(one.lane, 1);
        assert_eq!((running.total(), running.of_user(&one.user)), (2, 2));
        assert_eq!(running.lanes().count(), 1);
        running.end(two.lane, 2);
        assert_eq!(running, Running::new());
    }
}
