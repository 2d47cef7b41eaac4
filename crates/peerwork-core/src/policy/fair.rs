//! Fair share by user.

use super::users::Users;
use super::{Grant, Lanes, Needs, Policy};

/// Fair share by user: free slots go to the users who run least for their weight, over all groups.
///
/// Users without work leave their share to the others (it is work-conserving), and have no claim to what they did not use. While the
/// same users have work, each has its part of the slots by weight, up to one slot at any moment, and exactly on average; see
/// `docs/policies.md`. A user's own tasks go by priority and age, in whatever groups they wait: more groups bring it nothing.
/// A priority means nothing between users.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fair;

impl Policy for Fair {
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant> {
        let mut users = Users::default();
        for view in lanes.views() {
            users.add(view);
        }
        for (user, tasks) in lanes.what_runs().users() {
            users.run(user, tasks);
        }
        users.grant(free, lanes.weighed(), lanes.roll())
    }

    fn needs(&self) -> Needs {
        Needs {
            running: true,
            ..Needs::default()
        }
    }

    fn name(&self) -> &str {
        "fair"
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{named, shares, view};
    use super::super::{Running, Weights};
    use super::*;

    fn busy(lanes: &[(&str, &str, usize)]) -> Running {
        let mut running = Running::default();
        for (group, user, tasks) in lanes {
            let lane = view(group, user, 0, 0);
            running.add(lane.lane, &lane.group, &lane.user, *tasks);
        }
        running
    }

    fn share(user: &str, group: &str, tasks: usize) -> (String, String, usize) {
        (user.to_owned(), group.to_owned(), tasks)
    }

    #[test]
    fn the_next_slot_is_for_who_runs_least_over_all_groups() {
        let views = [view("a", "ann", 0, 0), view("a", "bob", 0, 9)];
        let running = busy(&[("a", "bob", 2), ("b", "ann", 9), ("c", "cid", 4)]);
        let lanes = Lanes::new(&views).running(&running);
        assert_eq!(
            shares(&lanes, &Fair.grant(&lanes, 1)),
            [share("bob", "a", 1)]
        );
    }

    #[test]
    fn weights_count() {
        let views = [view("a", "ann", 0, 0), view("a", "bob", 0, 9)];
        let mut weights = Weights::default();
        weights.set_user(named("bob"), 3);
        let lanes = Lanes::new(&views).weights(&weights);
        let expected = [share("ann", "a", 2), share("bob", "a", 6)];
        assert_eq!(shares(&lanes, &Fair.grant(&lanes, 8)), expected);
    }

    #[test]
    fn a_users_own_tasks_go_by_priority_and_age_in_whatever_group() {
        let views = [
            view("a", "ann", 0, 5),
            view("b", "ann", 0, 3),
            view("c", "ann", 1, 0),
            view("a", "bob", 7, 0),
        ];
        let lanes = Lanes::new(&views);
        let expected = [share("ann", "b", 1), share("bob", "a", 1)];
        assert_eq!(shares(&lanes, &Fair.grant(&lanes, 2)), expected);
    }
}
