//! Which lanes get the next free slots: a pure function over a snapshot of the lanes.
//!
//! A bad policy can be unfair, never unsafe: what it grants becomes guarded claims, and [`Guarded`] cuts what is nonsense.
//!
//! | policy | who goes next |
//! | --- | --- |
//! | [`Fifo`] | whoever has waited longest among the most urgent |
//! | [`Fair`] | the user who runs least for its weight, over all groups |
//! | [`WeightedGroups`] | the group that runs least for its weight, and in it such a user |
//! | [`PriorityAgeing`] | the most urgent, where waiting makes more urgent |
//!
//! *Not here:* limits and gates. They are in force whatever a policy grants.

mod ageing;
mod divide;
mod fair;
mod fifo;
mod groups;
mod guarded;
mod lanes;
mod named;
mod odds;
mod running;
mod users;
mod weights;

pub use ageing::PriorityAgeing;
pub use fair::Fair;
pub use fifo::Fifo;
pub use groups::WeightedGroups;
pub use guarded::{Guarded, Misgrant};
pub use lanes::{LaneView, Lanes};
pub use named::{Policies, UnknownPolicy};
pub use running::Running;
pub use weights::Weights;

use crate::{LaneId, Rank};

/// So many tasks may be claimed from a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lane.
    pub lane: LaneId,
    /// At most so many tasks.
    pub tasks: usize,
}

/// Decides which lanes get free slots.
///
/// Every node asks its own, with a snapshot that is up to half a second old. What runs is in the snapshot: on all nodes, and of the
/// node itself as it is now.
pub trait Policy: Send + Sync {
    /// Divides `free` slots among `lanes`: each lane at most once, no more than `free` in all.
    ///
    /// All lanes wait for the same sort of work. A grant may exceed what a lane has: what it does not use is granted again, to
    /// the lanes that are left. To grant less than `free` leaves slots idle until the lanes change.
    fn grant(&self, lanes: &Lanes<'_>, free: usize) -> Vec<Grant>;

    /// Of a lane that is shown with several heads: the rank to claim from. None: in the lane's own order.
    ///
    /// Asked only of a policy that [needs](Self::needs) heads by rank, about a lane that it granted.
    fn rank_of(&self, heads: &[&LaneView]) -> Option<Rank> {
        let _ = heads;
        None
    }

    /// What the snapshot has to contain; nothing beyond the first task of each lane, if it does not say.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// What operators call it: for a built-in one, the text by which it is [found](Policies::find).
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }
}

/// What a policy needs of a snapshot. What it does not need is not asked of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What runs, by lane: [`Lanes::running`] and the weights.
    pub running: bool,
    /// The first task of each rank of a lane, not only of the smallest: a lane is then shown once for each rank.
    pub heads_by_rank: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Name, Timestamp, Work};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The lane of `user` in `group`, whose first task has this rank and time.
    pub(super) fn view(group: &str, user: &str, rank: i32, since: i64) -> LaneView {
        let (group, user) = (named(group), named(user));
        LaneView {
            lane: LaneId::new(&group, &user),
            group,
            user,
            work: Work::Run,
            rank: Rank(rank),
            since: Timestamp(since),
        }
    }

    pub(super) fn named(text: &str) -> Name {
        Name::new("name", text).unwrap()
    }

    /// The slots of each lane that gets some, by user and group.
    pub(super) fn shares(lanes: &Lanes<'_>, grants: &[Grant]) -> Vec<(String, String, usize)> {
        let share = |grant: &Grant| {
            let view = lanes.iter().find(|view| view.lane == grant.lane).unwrap();
            (view.user.to_string(), view.group.to_string(), grant.tasks)
        };
        let mut shares: Vec<_> = grants.iter().map(share).collect();
        shares.sort();
        shares
    }

    fn built_in() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "fifo",
            "fair",
            "weighted-groups",
            "weighted-groups=3",
            "priority-ageing=10ms",
        ])
    }

    proptest! {
        #[test]
        fn a_built_in_policy_grants_all_slots_each_lane_once_and_nothing_else(
            text in built_in(),
            views in prop::collection::btree_set((0..6u8, 0..6u8, -3..3i32), 0..40),
            busy in prop::collection::vec((0..8u8, 0..8u8, 1..9usize), 0..20),
            weights in prop::collection::vec((0..6u8, 0..5u32), 0..8),
            free in 0..70usize,
            dice: u64,
        ) {
            let policy = Policies::default().find(text).unwrap();
            let name = |n: u8| n.to_string();
            let views: Vec<_> = views
                .iter()
                .enumerate()
                .map(|(i, (g, u, rank))| view(&name(*g), &name(*u), *rank, i as i64 * 7 % 13))
                .collect();
            let mut running = Running::default();
            for (g, u, tasks) in busy {
                let busy = view(&name(g), &name(u), 0, 0);
                running.add(busy.lane, &busy.group, &busy.user, tasks);
            }
            let mut weighted = Weights::default();
            for (n, weight) in weights {
                weighted.set_group(named(&name(n)), weight);
                weighted.set_user(named(&name(n)), weight);
            }
            let lanes = Lanes::new(&views).running(&running).weights(&weighted).dice(dice);
            let grants = policy.grant(&lanes, free);
            let granted: usize = grants.iter().map(|grant| grant.tasks).sum();
            prop_assert_eq!(granted, if views.is_empty() { 0 } else { free }, "work-conserving");
            let known: BTreeSet<_> = views.iter().map(|view| view.lane).collect();
            let lanes: BTreeSet<_> = grants.iter().map(|grant| grant.lane).collect();
            prop_assert_eq!(lanes.len(), grants.len(), "each once");
            prop_assert!(lanes.is_subset(&known));
            prop_assert!(grants.iter().all(|grant| grant.tasks > 0));
        }
    }
}
