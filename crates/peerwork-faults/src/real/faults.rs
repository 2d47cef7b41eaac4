//! What happens to the cluster and when: drawn from the seed, every sort at least once before any comes again.

use super::args::{DatabaseArg, Extra};
use super::history::FaultSort;
use super::node::LEASE;
use super::stage::Stage;
use anyhow::{Result, bail};
use peerwork::Status;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::BTreeSet;
use std::time::Duration;

/// Something to do to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A fault, for so long.
    Fault(FaultSort, Duration),
    /// Kill the node of a task that is just then in this status.
    KillAt(Status),
    /// Create a task of a kind that harms its process.
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

impl Act {
    /// Its name, by which a run may be told to do nothing else.
    pub fn name(self) -> String {
        match self {
            Self::Fault(sort, _) => sort.name().to_owned(),
            Self::KillAt(status) => format!("kill_at_{status}"),
            Self::Poison(kind) => kind.to_owned(),
        }
    }

    /// What must have happened in a run with this act: without it the rest proves little.
    fn must(self) -> Vec<String> {
        let found: &[&str] = match self {
            Self::Fault(FaultSort::Kill, _) => &["rescue", "declared_dead"],
            Self::Fault(FaultSort::Drain, _) => &["drain_hand_over"],
            Self::Fault(FaultSort::Partition, _) => &["self_fence"],
            Self::Fault(FaultSort::SwallowCommits, _) => &["ambiguous_claim", "ambiguous_finish"],
            Self::Fault(FaultSort::Failover, _) => &["lost_history_noticed"],
            Self::Fault(FaultSort::PoolExhausted, _) => &["node_claims_with_its_pool_exhausted"],
            Self::Fault(..) => &[],
            Self::KillAt(Status::Cleaning) => &["rescue_during_cleanup"],
            Self::KillAt(Status::Pausing) => &["rescue_while_pausing"],
            Self::KillAt(_) => &["rescue_while_deleting"],
            Self::Poison("wedges") => &["fault_wedge", "wedge_noticed", "wedge_taken_over"],
            Self::Poison("spins") => &["poison_spins", "abandoned_by_drain"],
            Self::Poison("devours") => &["poison_devours", "poison_failed_at_its_limit"],
            Self::Poison(_) => &["poison_aborts", "poison_failed_at_its_limit"],
        };
        let thrown = match self {
            Self::Fault(sort, _) => Some(format!("fault_{}", sort.name())),
            Self::KillAt(_) | Self::Poison(_) => None,
        };
        found
            .iter()
            .map(|what| (*what).to_owned())
            .chain(thrown)
            .collect()
    }
}

/// What must have happened in a run in which limits are filled and nodes are killed.
pub fn must_under_limits() -> BTreeSet<String> {
    let happened = Act::Fault(FaultSort::Kill, Duration::ZERO).must();
    let limited = ["claim_under_a_limit", "limit_reached"].map(str::to_owned);
    happened.into_iter().chain(limited).collect()
}

/// Nothing but kills, for so long.
pub fn kills(random: &mut StdRng, time: Duration, every: Duration) -> Vec<Planned> {
    let count = u32::try_from(time.as_millis() / every.as_millis()).unwrap_or(u32::MAX);
    let kill = |number| Planned {
        at: every * number + every.mul_f64(random.random_range(0.0..0.8)),
        act: Act::Fault(FaultSort::Kill, Duration::ZERO),
    };
    (0..count).map(kill).collect()
}

/// What must have happened in a run with this plan.
pub fn must(plan: &[Planned], stage: &Stage) -> BTreeSet<String> {
    /// What the forger does.
    const FORGED: [&str; 2] = ["zombie_write_refused", "declare_dead_lost"];
    /// Behind a pooler many clients share a connection, and several servers number theirs alike: whose answer was lost
    /// nobody can tell.
    const BY_CONNECTION: [&str; 2] = ["ambiguous_claim", "ambiguous_finish"];
    /// What operators do.
    const SET: [&str; 6] = [
        "claim_under_a_limit",
        "limit_reached",
        "setting_changed",
        "gate_closed",
        "stopped_by_a_gate",
        "run_moved_between_limited_groups",
    ];
    let mut must: BTreeSet<_> = plan.iter().flat_map(|planned| planned.act.must()).collect();
    must.extend(SET.map(str::to_owned));
    if !stage.has(Extra::Replica) {
        must.extend(FORGED.map(str::to_owned));
    }
    if stage.has(Extra::Pooler) || stage.has(Extra::EveryWriter) {
        must.retain(|what| !BY_CONNECTION.contains(&what.as_str()));
    }
    if stage.database() == DatabaseArg::Sqlite {
        // There a node may run on: no other machine can take its tasks over.
        must.remove("self_fence");
    }
    must
}

/// The plan of a run of which faults take `time`: of those named in `only`, if any is.
///
/// # Errors
/// If one of them does not exist here.
pub fn plan(
    random: &mut StdRng,
    stage: &Stage,
    time: Duration,
    only: &[String],
) -> Result<Vec<Planned>> {
    let every = round(random, stage.database(), stage.has_disk());
    let exists = |name: &&String| every.iter().any(|act| act.name() == **name);
    if let Some(unknown) = only.iter().find(|name| !exists(name)) {
        let names: BTreeSet<_> = every.iter().map(|act| act.name()).collect();
        let names: Vec<_> = names.into_iter().collect();
        bail!("there is no {unknown} here; there are {}", names.join(", "));
    }
    let mut plan = plan_for(random, stage.database(), stage.has_disk(), only, time);
    if stage.has(Extra::Replica) {
        // Once, and late: there is one replica, and much is to be lost by then.
        let act = Act::Fault(FaultSort::Failover, REPLICA_BEHIND);
        let at = time.mul_f64(0.6);
        plan.push(Planned { at, act });
        plan.sort_by_key(|planned| planned.at);
    }
    Ok(plan)
}

fn plan_for(
    random: &mut StdRng,
    database: DatabaseArg,
    has_disk: bool,
    only: &[String],
    time: Duration,
) -> Vec<Planned> {
    /// From one act to the next, in the mean.
    const PACE: Duration = Duration::from_millis(1_700);
    let count = (time.as_millis() / PACE.as_millis()).max(1);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    // A run may be too short for more than one round; what must happen is in the first.
    let wanted = |act: &Act| only.is_empty() || only.contains(&act.name());
    let mut acts = round(random, database, has_disk);
    acts.retain(wanted);
    while acts.len() < count {
        let mut more = round(random, database, has_disk);
        // Nothing else may happen to the database meanwhile: once is enough.
        more.retain(|act| wanted(act) && *act != Act::Poison("wedges"));
        if more.is_empty() {
            break;
        }
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
fn round(random: &mut StdRng, database: DatabaseArg, has_disk: bool) -> Vec<Act> {
    let mut frozen = || TTL + Duration::from_millis(random.random_range(800..3_000));
    let away = match database {
        DatabaseArg::Sqlite => FaultSort::DatabaseLocked,
        DatabaseArg::Postgres | DatabaseArg::Mysql | DatabaseArg::Galera => {
            FaultSort::DatabaseStopped
        }
    };
    let mut acts = vec![
        // Poison first: it takes its time until it is found.
        Act::Poison("spins"),
        Act::KillAt(Status::Cleaning),
        Act::Poison("devours"),
        Act::Fault(FaultSort::Freeze, frozen()),
        Act::KillAt(Status::Pausing),
        Act::Fault(FaultSort::Drain, Duration::ZERO),
        Act::KillAt(Status::DeletingRun),
        Act::Fault(FaultSort::Kill, Duration::ZERO),
        Act::Fault(away, 3 * TTL),
        Act::Fault(FaultSort::Freeze, frozen()),
        Act::Fault(FaultSort::Drain, Duration::ZERO),
        Act::Poison("aborts"),
        Act::Fault(FaultSort::PoolExhausted, Duration::ZERO),
        Act::Poison("wedges"),
        Act::Fault(FaultSort::ReportStorm, Duration::ZERO),
    ];
    if has_disk {
        acts.push(Act::Fault(FaultSort::DiskFull, 2 * TTL));
    }
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
                true,
                &[],
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
            FaultSort::DiskFull,
        ] {
            assert!(has(
                &|act| matches!(act, Act::Fault(found, _) if *found == sort)
            ));
        }
        assert!(has(&|act| matches!(act, Act::Poison("spins"))));
    }
}
