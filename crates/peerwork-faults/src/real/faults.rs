//! What happens to the cluster and when: drawn from the seed, every sort at least once before any comes again.

use super::args::{DatabaseArg, Extra};
use super::history::FaultSort;
use super::node::LEASE;
use super::stage::Stage;
use peerwork::Status;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::time::Duration;

/// Something to do to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A fault, for so long.
    Fault(FaultSort, Duration),
    /// Kill the node of a task that is just then in this status.
    KillAt(Status),
    /// Create a task of a kind that ends its process.
    Poison(&'static str),
}

/// An act and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// After the beginning.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// What the server acknowledges in this time before its end is lost.
const REPLICA_BEHIND: Duration = Duration::from_millis(1_500);
const TTL: Duration = Duration::from_millis(LEASE.ttl_ms);

/// The plan of a run of which faults take `time`.
pub fn plan(random: &mut StdRng, stage: &Stage, time: Duration) -> Vec<Planned> {
    let mut plan = plan_for(random, stage.database(), time);
    if stage.has(Extra::Replica) {
        // Once, and late: there is one replica, and much is to be lost by then.
        let act = Act::Fault(FaultSort::Failover, REPLICA_BEHIND);
        let at = time.mul_f64(0.6);
        plan.push(Planned { at, act });
        plan.sort_by_key(|planned| planned.at);
    }
    plan
}

fn plan_for(random: &mut StdRng, database: DatabaseArg, time: Duration) -> Vec<Planned> {
    /// From one act to the next, in the mean.
    const PACE: Duration = Duration::from_millis(1_700);
    let count = (time.as_millis() / PACE.as_millis()).max(1);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    // A run may be too short for more than one round; what must happen is in the first.
    let mut acts = round(random, database, true);
    while acts.len() < count {
        let mut more = round(random, database, false);
        more.shuffle(random);
        more.truncate(count - acts.len());
        acts.extend(more);
    }
    let pace = time / u32::try_from(acts.len()).unwrap_or(u32::MAX);
    let mut planned: Vec<_> = acts
        .into_iter()
        .zip(0u32..)
        .map(|(act, number)| {
            let jitter = pace.mul_f64(random.random_range(0.0..0.8));
            let at = pace * number + jitter;
            Planned { at, act }
        })
        .collect();
    planned.sort_by_key(|planned| planned.at);
    planned
}

/// Each act once.
fn round(random: &mut StdRng, database: DatabaseArg, first: bool) -> Vec<Act> {
    let mut frozen = || TTL + Duration::from_millis(random.random_range(800..3_000));
    let away = match database {
        DatabaseArg::Sqlite => FaultSort::DatabaseLocked,
        DatabaseArg::Postgres | DatabaseArg::Mysql | DatabaseArg::Galera => {
            FaultSort::DatabaseStopped
        }
    };
    let mut acts = vec![
        Act::KillAt(Status::Cleaning),
        Act::Fault(FaultSort::Freeze, frozen()),
        Act::KillAt(Status::Pausing),
        Act::Fault(FaultSort::Drain, Duration::ZERO),
        Act::KillAt(Status::DeletingRun),
        Act::Fault(FaultSort::Kill, Duration::ZERO),
        Act::Fault(away, 3 * TTL),
        Act::Fault(FaultSort::Freeze, frozen()),
        Act::Fault(FaultSort::Drain, Duration::ZERO),
        Act::Poison("aborts"),
    ];
    if database != DatabaseArg::Sqlite {
        let storm = Duration::from_secs(2);
        acts.push(Act::Fault(FaultSort::ConnectionsKilled, storm));
        acts.push(Act::Fault(FaultSort::DatabaseKilled, Duration::ZERO));
        let seconds = Duration::from_secs;
        acts.push(Act::Fault(FaultSort::SwallowCommits, seconds(4)));
        acts.push(Act::Fault(FaultSort::Partition, TTL + seconds(2)));
        acts.push(Act::Fault(FaultSort::HalfOpen, TTL + seconds(2)));
        acts.push(Act::Fault(FaultSort::Latency, seconds(4)));
    }
    if !first {
        acts.push(Act::Poison("devours"));
        acts.push(Act::Poison("spins"));
    }
    acts
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_plan_follows_from_its_seed_and_holds_every_sort() {
        let plan = |seed| {
            plan_for(
                &mut StdRng::seed_from_u64(seed),
                DatabaseArg::Postgres,
                Duration::from_secs(90),
            )
        };
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
        let has = |act: &dyn Fn(&Act) -> bool| plan(1).iter().any(|planned| act(&planned.act));
        for sort in [
            FaultSort::Kill,
            FaultSort::Freeze,
            FaultSort::DatabaseKilled,
        ] {
            assert!(has(
                &|act| matches!(act, Act::Fault(found, _) if *found == sort)
            ));
        }
        assert!(has(&|act| matches!(act, Act::Poison("spins"))));
    }
}
