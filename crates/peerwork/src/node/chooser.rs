//! Who goes next: the policy that is in force, what it is shown, and what is said of its mistakes.
//!
//! A policy that is chosen in the database is in force on all nodes that know it; the others keep their own and say so.
//!
//! It is shown what runs here, counted from each claim to the end, and what ran on the other nodes when that was last asked.

use super::Core;
use peerwork_core::policy::{Guarded, Misgrant, Needs, Policies, Running, Weights};
use peerwork_core::{Grant, LaneBook, LaneId, LaneView, Lanes, Mono, Policy, Rank, Scope, Work};
use peerwork_store::{Claimed, Config, Result, RunningIn};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

/// From one report of mistakes to the next, in milliseconds: a bad policy makes them at every claim.
const REPORT_MS: u64 = 10_000;

/// The policies of a node.
pub(crate) struct Chooser {
    /// In force unless another one is chosen for all.
    own: Guarded,
    known: Policies,
    in_force: Mutex<Arc<InForce>>,
    /// What this node has claimed to run, and not let go of.
    here: Mutex<Running>,
    elsewhere: Mutex<Elsewhere>,
    /// When mistakes may be told again.
    tells_from: Mutex<Mono>,
}

struct InForce {
    policy: Guarded,
    needs: Needs,
    weights: Weights,
}

/// What runs on other nodes.
#[derive(Default)]
struct Elsewhere {
    lanes: Vec<RunningIn>,
    asked_at: Option<Mono>,
}

impl InForce {
    fn new(policy: Guarded, weights: Weights) -> Self {
        Self {
            needs: policy.needs(),
            policy,
            weights,
        }
    }
}

impl Chooser {
    pub fn new(own: Arc<dyn Policy>, known: Policies) -> Self {
        let own = Guarded::new(own);
        let in_force = InForce::new(own.clone(), Weights::new());
        Self {
            own,
            known,
            in_force: Mutex::new(Arc::new(in_force)),
            here: Mutex::default(),
            elsewhere: Mutex::default(),
            tells_from: Mutex::default(),
        }
    }

    /// Takes over what is set.
    pub fn load(&self, config: &Config) {
        let policy = match config.policy.as_deref().map(|text| self.known.find(text)) {
            None => self.own.clone(),
            Some(Ok(chosen)) => Guarded::new(chosen),
            Some(Err(error)) => {
                let own = self.own.name();
                tracing::warn!(%error, own, "this node cannot follow the policy that is chosen for all, and keeps its own");
                self.own.clone()
            }
        };
        *self.tells_from.lock().expect("no panic under the lock") = Mono::default();
        let in_force = Arc::new(InForce::new(policy, weights(config)));
        *self.in_force.lock().expect("no panic under the lock") = in_force;
    }

    fn in_force(&self) -> Arc<InForce> {
        self.in_force
            .lock()
            .expect("no panic under the lock")
            .clone()
    }

    /// What the policy that is in force needs to be shown.
    pub fn needs(&self) -> Needs {
        self.in_force().needs
    }

    /// Tasks were claimed, to be run.
    pub fn claimed(&self, tasks: &[Claimed]) {
        let mut here = self.here();
        // They come lane by lane as a rule.
        for of_lane in tasks.chunk_by(|one, next| one.lane == next.lane) {
            let task = &of_lane[0];
            here.add(task.lane, &task.group, &task.user, of_lane.len());
        }
    }

    /// One of them is held no more.
    pub fn let_go(&self, lane: LaneId) {
        self.here().end(lane, 1);
    }

    fn here(&self) -> MutexGuard<'_, Running> {
        self.here.lock().expect("no panic under the lock")
    }

    fn elsewhere(&self) -> MutexGuard<'_, Elsewhere> {
        self.elsewhere.lock().expect("no panic under the lock")
    }

    /// What runs, as far as it is known.
    fn running(&self) -> Running {
        let mut running = self.here().clone();
        for lane in &self.elsewhere().lanes {
            running.add(lane.lane, &lane.group, &lane.user, lane.tasks);
        }
        running
    }

    fn tell(&self, mistakes: &[Misgrant], name: &str, now: Mono) {
        let mut tells_from = self.tells_from.lock().expect("no panic under the lock");
        if mistakes.is_empty() || now < *tells_from {
            return;
        }
        *tells_from = now.plus_ms(REPORT_MS);
        for mistake in mistakes {
            tracing::warn!(policy = name, %mistake, "a policy makes mistakes; what it grants is made good");
        }
    }
}

fn weights(config: &Config) -> Weights {
    let mut weights = Weights::new();
    for row in &config.settings {
        match (&row.scope, row.setting.weight) {
            (Scope::Group(group), Some(weight)) => weights.set_group(group.clone(), weight),
            (Scope::User(user), Some(weight)) => weights.set_user(user.clone(), weight),
            (
                Scope::Everything
                | Scope::Kind(_)
                | Scope::UserIn { .. }
                | Scope::Group(_)
                | Scope::User(_),
                _,
            ) => {}
        }
    }
    weights
}

impl Core {
    /// What the policy grants of these lanes: no more than `free`, and no lane that is not among them.
    pub(super) fn grants(&self, work: Work, lanes: &[LaneView], free: usize) -> Vec<Grant> {
        let in_force = self.chooser.in_force();
        // A cleanup has no share: what runs says nothing about whose turn it is.
        let running = match work == Work::Run && in_force.needs.running {
            true => self.chooser.running(),
            false => Running::new(),
        };
        let random = || u64::from(self.client.env.random());
        let dice = random() << 32 | random();
        let now = self.client.env.now();
        let lanes = Lanes::new(lanes)
            .at(self.limits.time(now))
            .running(&running)
            .weights(&in_force.weights)
            .dice(dice);
        // The lock is let go before: a policy is somebody else's code.
        let is_unlimited = self.limits.book().is_empty();
        let (grants, mistakes) = match is_unlimited {
            true => in_force.policy.grant(&lanes, free),
            false => in_force.policy.grant_in_turn(&lanes, free),
        };
        self.chooser.tell(&mistakes, in_force.policy.name(), now);
        grants
    }

    /// Of the granted lanes those of which the policy wants one rank only.
    pub(super) fn ranks(&self, lanes: &[LaneView], grants: &[Grant]) -> BTreeMap<LaneId, Rank> {
        let in_force = self.chooser.in_force();
        let mut ranks = BTreeMap::new();
        if !in_force.needs.heads_by_rank {
            return ranks;
        }
        let mut heads: BTreeMap<LaneId, Vec<&LaneView>> = BTreeMap::new();
        for view in lanes {
            heads.entry(view.lane).or_default().push(view);
        }
        let mut mistakes = Vec::new();
        for lane in grants.iter().map(|grant| grant.lane) {
            let heads = heads.get(&lane).map_or(&[][..], Vec::as_slice);
            let (rank, mistake) = in_force.policy.rank_of(heads);
            ranks.extend(rank.map(|rank| (lane, rank)));
            mistakes.extend(mistake);
        }
        let now = self.client.env.now();
        self.chooser.tell(&mistakes, in_force.policy.name(), now);
        ranks
    }

    /// Whether the policy can decide now on what it needs to be shown.
    pub(super) fn chooser_is_informed(&self) -> bool {
        let needs = self.chooser.needs();
        !needs.heads_by_rank && (!needs.running || self.knows_what_runs())
    }

    /// Whether what runs on the other nodes was asked just now, or there are none.
    fn knows_what_runs(&self) -> bool {
        let now = self.client.env.now();
        let mut elsewhere = self.chooser.elsewhere();
        let age = |asked_at| now.since(asked_at).as_millis();
        let is_fresh = |at| age(at) < u128::from(LaneBook::AGE_MS);
        let is_alone = self.crowd.load(Ordering::Relaxed) == 1;
        if is_alone {
            elsewhere.lanes.clear();
        }
        is_alone || elsewhere.asked_at.is_some_and(is_fresh)
    }

    /// Asks what runs on the other nodes, if there are any, the policy needs it, and it was not asked just now.
    pub(super) async fn ask_what_runs(&self) -> Result<()> {
        let chooser = &self.chooser;
        if !chooser.needs().running || self.knows_what_runs() {
            return Ok(());
        }
        let asked_at = Some(self.client.env.now());
        let lanes = self.store.running_elsewhere(self.lease.node()).await?;
        *chooser.elsewhere() = Elsewhere { lanes, asked_at };
        Ok(())
    }
}
