//! Weighted groups, and fair users in each of them.

use super::divide::{Party, divide};
use super::users::Users;
use super::{Grant, Lanes, Needs, Policy};
use crate::{Dice, Name};
use std::collections::BTreeMap;

/// Two levels: groups by weight, and within them users by weight.
///
/// A group that was given a weight gets its part of the slots as long as it has work. All groups to which nobody gave one share
/// a single part, and their users share it by what they run in all of them: a user who invents fifty groups gains
/// nothing. In a weighted group, too, users are served by what they run there, and a user's own tasks go by
/// priority and age. What a group does not use goes to the others.
#[derive(Clone, Debug)]
pub struct WeightedGroups {
    others: u32,
    name: String,
}

impl WeightedGroups {
    /// All groups without a weight of their own weigh `others` together. 0 counts as 1.
    pub fn new(others: u32) -> Self {
        let others = others.max(1);
        let name = match others {
            1 => "weighted-groups".to_owned(),
            others => format!("weighted-groups={others}"),
        };
        Self { others, name }
    }
}

impl Default for WeightedGroups {
    fn default() -> Self {
        Self::new(1)
    }
}

/// A weighted group, or (none) all the others.
type Class<'a> = Option<&'a Name>;

#[derive(Default)]
struct Members<'a> {
    users: Users<'a>,
    /// Also of users who wait for nothing.
    running: usize,
}

impl Policy for WeightedGroups {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let weights = lanes.weighed();
        let class = |group| weights.group(group).map(|_| group);
        let mut classes: BTreeMap<Class<'_>, Members<'_>> = BTreeMap::new();
        for view in lanes.views() {
            let members = classes.entry(class(&view.group)).or_default();
            members.users.add(view);
        }
        for (group, user, tasks) in lanes.what_runs().lanes() {
            if let Some(members) = classes.get_mut(&class(group)) {
                members.running += tasks;
                members.users.run(user, tasks);
            }
        }
        let weigh = |class: &Class<'_>| class.and_then(|group| weights.group(group));
        let party = |(class, members): (&Class<'_>, &Members<'_>)| Party {
            weight: weigh(class).unwrap_or(self.others),
            running: members.running,
        };
        let parties: Vec<Party> = classes.iter().map(party).collect();
        let mut dice = Dice::new(lanes.roll());
        let shares = divide(free, &parties, dice.roll());
        let mut grants = Vec::new();
        for (members, share) in classes.values().zip(shares) {
            grants.extend(members.users.grant(share, weights, dice.roll()));
        }
        grants
    }

    fn needs(&self) -> Needs {
        Needs {
            running: true,
            ..Needs::default()
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{named, shares, view};
    use super::super::{Running, Weights};
    use super::*;

    #[test]
    fn groups_share_by_weight_and_their_users_evenly() {
        let views = [
            view("films", "ann", 0, 0),
            view("films", "bob", 0, 1),
            view("maths", "ann", 0, 2),
        ];
        let mut weights = Weights::default();
        weights.set_group(named("films"), 3);
        weights.set_group(named("maths"), 1);
        let lanes = Lanes::new(&views).weights(&weights);
        let grants = WeightedGroups::default().grant(&lanes, 8);
        let share = |user: &str, group: &str, tasks| (user.to_owned(), group.to_owned(), tasks);
        let expected = [
            share("ann", "films", 3),
            share("ann", "maths", 2),
            share("bob", "films", 3),
        ];
        assert_eq!(shares(&lanes, &grants), expected);
    }

    #[test]
    fn fifty_groups_of_a_users_own_count_as_one() {
        let own = |n| view(&format!("own {n}"), "heavy", 0, n);
        let mut views: Vec<_> = (0..50).map(own).collect();
        views.push(view("g", "light", 0, 99));
        let mut running = Running::default();
        for view in &views[..7] {
            running.add(view.lane, &view.group, &view.user, 1);
        }
        for policy in [WeightedGroups::default(), WeightedGroups::new(5)] {
            let lanes = Lanes::new(&views).running(&running);
            let grants = policy.grant(&lanes, 9);
            let light = shares(&lanes, &grants)
                .into_iter()
                .find(|share| share.0 == "light");
            assert_eq!(light.map(|share| share.2), Some(8), "of 16 slots");
        }
    }
}
