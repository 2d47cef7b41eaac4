//! A policy behind a guard: whatever it does, what comes out can be claimed.

use super::{Fifo, Grant, LaneView, Lanes, Needs, Policy};
use crate::{LaneId, Rank, bounded_error};
use std::any::Any;
use std::collections::{BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Asks a policy, and makes good what it does wrong.
///
/// What is nonsense is left out; what exceeds the free slots is cut, the last grants first. If it panics, or if nothing it grants
/// makes sense, [`Fifo`] decides this time. A policy that grants nothing has decided so: nothing is claimed, and that is no
/// error.
#[derive(Clone)]
pub struct Guarded {
    policy: Arc<dyn Policy>,
}

/// What a policy did wrong, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misgrant {
    /// It panicked with this text; first in, first out decided instead.
    #[error("it panicked: {0}")]
    Panicked(String),
    /// It granted more than there was; the last grants were cut.
    #[error("it granted {granted} tasks for {free} free slots")]
    TooMuch {
        /// What it granted, nonsense left out.
        granted: usize,
        /// What there was.
        free: usize,
    },
    /// It granted a lane that it was not shown; that grant was left out.
    #[error("it granted lane {0}, which it was not shown")]
    NoSuchLane(LaneId),
    /// It granted a lane more than once; the later grants were left out.
    #[error("it granted lane {0} more than once")]
    Twice(LaneId),
    /// It chose a rank that the lane was not shown with; the lane's own order holds.
    #[error("it chose rank {} of lane {lane}, which it was not shown", rank.0)]
    NoSuchRank {
        /// The lane.
        lane: LaneId,
        /// The rank.
        rank: Rank,
    },
}

/// Kinds of mistakes are told once for each call.
type Mistakes = Vec<Misgrant>;

impl Guarded {
    /// Guards a policy.
    pub fn new(policy: Arc<dyn Policy>) -> Self {
        Self { policy }
    }

    /// What may be claimed, and what was wrong: at most one mistake of each sort.
    pub fn grant(&self, lanes: &Lanes<'_>, free: usize) -> (Vec<Grant>, Vec<Misgrant>) {
        if lanes.is_empty() || free == 0 {
            return (Vec::new(), Vec::new());
        }
        match caught(|| self.policy.grant(lanes, free)) {
            Ok(grants) => check(grants, lanes, free),
            Err(panic) => (Fifo.grant(lanes, free), vec![panic]),
        }
    }

    /// The same, where a limit may leave less than is granted and serves the grants in their order: first the lane that would get a
    /// single slot.
    pub fn grant_in_turn(&self, lanes: &Lanes<'_>, free: usize) -> (Vec<Grant>, Vec<Misgrant>) {
        let (mut grants, mistakes) = self.grant(lanes, free);
        if grants.len() > 1 {
            let (single, _) = self.grant(lanes, 1);
            let goes_first = |grant: &Grant| single.first().is_some_and(|it| it.lane == grant.lane);
            if let Some(place) = grants.iter().position(goes_first) {
                grants[..=place].rotate_right(1);
            }
        }
        (grants, mistakes)
    }

    /// The rank of a granted lane to claim from, if not in its own order, and what was wrong.
    pub fn rank_of(&self, heads: &[&LaneView]) -> (Option<Rank>, Option<Misgrant>) {
        let rank = match caught(|| self.policy.rank_of(heads)) {
            Ok(rank) => rank,
            Err(panic) => return (None, Some(panic)),
        };
        match (rank, heads.first()) {
            (Some(rank), Some(head)) if heads.iter().all(|head| head.rank != rank) => {
                let lane = head.lane;
                (None, Some(Misgrant::NoSuchRank { lane, rank }))
            }
            (rank, _) => (rank, None),
        }
    }

    /// What the policy needs; nothing, if it panics over the question.
    pub fn needs(&self) -> Needs {
        caught(|| self.policy.needs()).unwrap_or_default()
    }

    /// What operators call it.
    pub fn name(&self) -> &str {
        caught(|| self.policy.name()).unwrap_or("a policy that panics over its name")
    }
}

fn caught<T>(ask: impl FnOnce() -> T) -> Result<T, Misgrant> {
    // The policy answers for its own state after a panic; ours is not touched meanwhile.
    catch_unwind(AssertUnwindSafe(ask))
        .map_err(|panic| Misgrant::Panicked(bounded_error(text_of(&*panic))))
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return text;
    }
    let text = panic.downcast_ref::<String>();
    text.map_or("without a text", String::as_str)
}

fn check(granted: Vec<Grant>, lanes: &Lanes<'_>, free: usize) -> (Vec<Grant>, Mistakes) {
    let known: HashSet<LaneId> = lanes.iter().map(|view| view.lane).collect();
    let (mut no_such, mut twice) = (None, None);
    let mut seen = BTreeSet::new();
    let mut grants = granted;
    grants.retain(|grant| {
        if grant.tasks == 0 {
            return false;
        }
        if !known.contains(&grant.lane) {
            no_such.get_or_insert(Misgrant::NoSuchLane(grant.lane));
            return false;
        }
        let is_new = seen.insert(grant.lane);
        if !is_new {
            twice.get_or_insert(Misgrant::Twice(grant.lane));
        }
        is_new
    });
    let mut mistakes: Mistakes = no_such.into_iter().chain(twice).collect();
    if grants.is_empty() && !mistakes.is_empty() {
        return (Fifo.grant(lanes, free), mistakes);
    }
    let sum = |sum: usize, grant: &Grant| sum.saturating_add(grant.tasks);
    let granted = grants.iter().fold(0, sum);
    if granted > free {
        mistakes.push(Misgrant::TooMuch { granted, free });
    }
    let mut left = free;
    grants.retain_mut(|grant| {
        grant.tasks = grant.tasks.min(left);
        left -= grant.tasks;
        grant.tasks > 0
    });
    (grants, mistakes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{named, view};
    use super::super::{Fair, Running};
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    #[test]
    fn where_only_one_may_be_served_it_is_whoever_would_get_a_single_slot() {
        let views = [view("a", "ann", 0, 0), view("a", "bob", 0, 9)];
        let mut running = Running::new();
        running.add(views[0].lane, &named("a"), &named("ann"), 1);
        let lanes = Lanes::new(&views).running(&running);
        let fair = Guarded::new(Arc::new(Fair));
        let (grants, mistakes) = fair.grant_in_turn(&lanes, 6);
        assert_eq!(grants[0].lane, views[1].lane, "bob has nothing yet");
        assert_eq!(grants.iter().map(|grant| grant.tasks).sum::<usize>(), 6);
        assert_eq!((grants.len(), mistakes), (2, vec![]));
        assert_ne!(
            fair.grant(&lanes, 6).0[0].lane,
            views[1].lane,
            "or this shows nothing"
        );
    }

    /// Grants what it was made with.
    struct Says(Vec<Grant>);

    impl Policy for Says {
        fn grant(&self, _lanes: &Lanes<'_>, _free: usize) -> Vec<Grant> {
            self.0.clone()
        }

        fn rank_of(&self, _heads: &[&LaneView]) -> Option<Rank> {
            Some(Rank(5))
        }
    }

    struct Panics;

    impl Policy for Panics {
        fn grant(&self, lanes: &Lanes<'_>, _free: usize) -> Vec<Grant> {
            panic!("no idea about {} lanes", lanes.len());
        }

        fn rank_of(&self, _heads: &[&LaneView]) -> Option<Rank> {
            panic!("no idea");
        }
    }

    fn grant(lane: LaneId, tasks: usize) -> Grant {
        Grant { lane, tasks }
    }

    fn guarded(policy: impl Policy + 'static) -> Guarded {
        Guarded::new(Arc::new(policy))
    }

    #[test]
    fn a_policy_that_panics_is_told_and_first_in_first_out_decides() {
        let views = [view("g", "ann", 0, 0)];
        let (grants, wrong) = guarded(Panics).grant(&Lanes::new(&views), 3);
        assert_eq!(grants, [grant(views[0].lane, 3)]);
        assert_eq!(
            wrong,
            [Misgrant::Panicked("no idea about 1 lanes".to_owned())]
        );
        let (rank, wrong) = guarded(Panics).rank_of(&[&views[0]]);
        assert_eq!(rank, None);
        assert_eq!(wrong.unwrap().to_string(), "it panicked: no idea");
    }

    #[test]
    fn too_much_is_cut_and_nonsense_left_out() {
        let views = [view("g", "ann", 0, 0), view("g", "bob", 0, 0)];
        let (ann, bob) = (views[0].lane, views[1].lane);
        let other = LaneId(Uuid::from_u128(1));
        let lanes = Lanes::new(&views);
        let says = |grants: &[Grant]| guarded(Says(grants.to_vec())).grant(&lanes, 3);
        let (grants, wrong) = says(&[grant(ann, 2), grant(bob, usize::MAX)]);
        assert_eq!(grants, [grant(ann, 2), grant(bob, 1)]);
        let granted = usize::MAX;
        assert_eq!(wrong, [Misgrant::TooMuch { granted, free: 3 }]);
        let (grants, wrong) = says(&[grant(other, 2), grant(bob, 1), grant(bob, 2)]);
        assert_eq!(grants, [grant(bob, 1)]);
        assert_eq!(wrong, [Misgrant::NoSuchLane(other), Misgrant::Twice(bob)]);
        let (grants, wrong) = says(&[grant(other, 2)]);
        assert_eq!((grants.len(), wrong.len()), (2, 1), "first in, first out");
        assert_eq!(says(&[]), (vec![], vec![]), "it may want nothing");
        assert_eq!(says(&[grant(ann, 0)]), (vec![], vec![]));
    }

    #[test]
    fn a_rank_that_was_not_shown_is_not_claimed() {
        let says = guarded(Says(Vec::new()));
        let (five, six) = (view("g", "ann", 5, 0), view("g", "ann", 6, 0));
        assert_eq!(says.rank_of(&[&five, &six]), (Some(Rank(5)), None));
        let (rank, wrong) = says.rank_of(&[&six]);
        assert_eq!(rank, None);
        assert!(matches!(
            wrong,
            Some(Misgrant::NoSuchRank { rank: Rank(5), .. })
        ));
    }

    proptest! {
        #[test]
        fn whatever_a_policy_grants_no_more_than_the_free_slots_of_shown_lanes_comes_out(
            said in prop::collection::vec((0..6usize, 0..9usize), 0..20),
            free in 0..20usize,
        ) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let all: Vec<_> = names.iter().map(|user| view("g", user, 0, 0)).collect();
            let shown = &all[..4];
            let said = said.iter().map(|(i, tasks)| grant(all[*i].lane, *tasks)).collect();
            let (grants, _) = guarded(Says(said)).grant(&Lanes::new(shown), free);
            prop_assert!(grants.iter().map(|grant| grant.tasks).sum::<usize>() <= free);
            prop_assert!(grants.iter().all(|grant| shown.iter().any(|view| view.lane == grant.lane)));
            let lanes: BTreeSet<_> = grants.iter().map(|grant| grant.lane).collect();
            prop_assert_eq!(lanes.len(), grants.len());
        }
    }
}
