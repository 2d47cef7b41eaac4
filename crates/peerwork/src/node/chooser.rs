//! Who goes next: the policy that is in force, what it is shown, and what is said of its mistakes.
//!
//! A policy that is chosen in the database is in force on all nodes that know it; the others keep their own and say so.

use super::Core;
use peerwork_core::policy::{Guarded, Misgrant, Policies, Running, Weights};
use peerwork_core::{Grant, LaneId, LaneView, Lanes, Mono, Policy, Scope, Work};
use peerwork_store::Config;
use std::sync::{Arc, Mutex};

/// From one report of mistakes to the next, in milliseconds: a bad policy makes them at every claim.
const REPORT_MS: u64 = 10_000;

/// The policies of a node.
pub(crate) struct Chooser {
    /// In force unless another one is chosen for all.
    own: Guarded,
    known: Policies,
    in_force: Mutex<Arc<InForce>>,
    /// When mistakes may be told again.
    tells_from: Mutex<Mono>,
}

struct InForce {
    policy: Guarded,
    weights: Weights,
}

impl Chooser {
    pub fn new(own: Arc<dyn Policy>, known: Policies) -> Self {
        let own = Guarded::new(own);
        let in_force = InForce {
            policy: own.clone(),
            weights: Weights::new(),
        };
        Self {
            own,
            known,
            in_force: Mutex::new(Arc::new(in_force)),
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
        let weights = weights(config);
        *self.tells_from.lock().expect("no panic under the lock") = Mono::default();
        let in_force = Arc::new(InForce { policy, weights });
        *self.in_force.lock().expect("no panic under the lock") = in_force;
    }

    fn in_force(&self) -> Arc<InForce> {
        self.in_force
            .lock()
            .expect("no panic under the lock")
            .clone()
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
        let running = match work == Work::Run && in_force.policy.needs().running {
            true => self.running_here(),
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

    /// What this node holds to run. What runs on the others is theirs to share out.
    fn running_here(&self) -> Running {
        let mut running = Running::new();
        let runs = self.runs.lock().expect("no panic under the lock");
        for names in runs.values().filter_map(|held| held.names.as_ref()) {
            let (group, user) = names.group_and_user();
            running.add(LaneId::new(group, user), group, user, 1);
        }
        running
    }
}
