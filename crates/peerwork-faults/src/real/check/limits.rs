//! Limits and gates: no claim raises what runs above a limit in force (I14), what runs is counted in its own group and nowhere else
//! (I15), and nothing is claimed behind a gate that is closed.
//!
//! A setting is in force as long as claims are bound to see it. What is forbidden anew is from the moment on at which it is settled,
//! which is before its answer; a limit that was in force is followed by what it is changed to in the order of the turns at its row, and
//! what is allowed anew is allowed from its own entry on.

use super::held::{Held, Holdings, Step};
use super::{Evidence, Promise, Verdict};
use crate::real::audit::{Change, Op, Table};
use peerwork_core::{Gate, Scope, ScopeKey, Setting, Timestamp};
use std::collections::HashMap;
use uuid::Uuid;

pub(super) fn check(evidence: &Evidence, verdict: &mut Verdict) {
    let mut replay = Replay {
        verdict,
        everything: Scope::Everything.key(),
        in_force: HashMap::new(),
        running: HashMap::new(),
        here: HashMap::new(),
    };
    let mut holdings = Holdings::new(&evidence.audit);
    for change in &evidence.audit {
        if change.table == Table::Setting {
            replay.set(change);
        }
        if let Some(step) = holdings.take(change) {
            replay.step(change, &step);
        }
    }
}

/// What of a setting is in force.
#[derive(Debug, Default)]
struct InForce {
    name: String,
    limit: Option<u32>,
    limit_here: Option<u32>,
    gate: Option<Gate>,
}

struct Replay<'a> {
    verdict: &'a mut Verdict,
    everything: ScopeKey,
    in_force: HashMap<ScopeKey, InForce>,
    /// What runs under each scope, whether or not it is limited.
    running: HashMap<ScopeKey, u32>,
    /// The same on each node, as it was claimed.
    here: HashMap<(ScopeKey, Option<Uuid>), u32>,
}

impl Replay<'_> {
    fn set(&mut self, change: &Change) {
        let key = ScopeKey(change.attempt);
        if change.op == Op::Delete {
            self.in_force.remove(&key);
            self.verdict.saw("setting_cleared");
            return;
        }
        let Some([name, user, unsettled, spec]) = change.parts() else {
            return;
        };
        let Ok(setting) = serde_json::from_str::<Setting>(spec) else {
            return;
        };
        self.verdict.saw("setting_changed");
        let (is_settled, now) = (unsettled.is_empty(), now(change));
        let running = self.running.get(&key).copied().unwrap_or(0);
        let known = self.in_force.entry(key).or_default();
        if known.name.is_empty() {
            known.name = format!("{name:?} {user:?} (sort {})", change.status);
        }
        let was = known.limit;
        known.limit = followed(known.limit, setting.max_running, is_settled);
        // Nodes keep to it by themselves: they all have to have heard of it.
        known.limit_here = setting.max_running_per_node.filter(|_| is_settled);
        let closed = setting.gate.filter(|gate| gate.is_closed(now));
        let was_closed = known.gate.take();
        if is_settled && closed.is_some() && was_closed.is_none() {
            self.verdict.saw("gate_closed");
        }
        // One that is closed anew has been closed all the time; whichever end comes first may be the one that is known.
        known.gate = match (was_closed, closed) {
            (_, Some(closed)) if is_settled => Some(closed),
            (Some(was), Some(closed)) => Some(if ends(&closed) < ends(&was) {
                closed
            } else {
                was
            }),
            (_, _) => None,
        };
        if was.is_some() && known.limit.is_some_and(|limit| limit < running) {
            self.verdict.saw("limit_lowered_below_what_runs");
        }
    }

    fn step(&mut self, change: &Change, step: &Step) {
        match step {
            Step::Claimed(held) => {
                self.add(held);
                self.claimed(change, held);
                self.counted(change, held);
            }
            Step::Moved(from, held) => {
                for key in from {
                    less(&mut self.running, *key);
                }
                for key in held.keys {
                    *self.running.entry(key).or_default() += 1;
                }
                self.moved(from, held);
                self.counted(change, held);
            }
            Step::Kept(held) => self.counted(change, held),
            Step::Left(held) => {
                for key in held.keys {
                    less(&mut self.running, key);
                }
                for key in held.claimed_as {
                    less(&mut self.here, (key, held.node));
                }
            }
        }
    }

    fn add(&mut self, held: &Held) {
        for key in held.keys {
            *self.running.entry(key).or_default() += 1;
            *self.here.entry((key, held.node)).or_default() += 1;
        }
    }

    fn claimed(&mut self, change: &Change, held: &Held) {
        let now = now(change);
        let (mut is_limited, mut fills) = (false, false);
        for key in std::iter::once(self.everything).chain(held.keys) {
            let Some(known) = self.in_force.get(&key) else {
                continue;
            };
            let running = self.running.get(&key).copied().unwrap_or(0);
            if let Some(limit) = known.limit {
                is_limited = true;
                fills |= running == limit;
                if running > limit {
                    let text = format!(
                        "task {}: its claim has {running} run under {}, of which {limit} may (audit {})",
                        change.id, known.name, change.seq
                    );
                    self.verdict.find(Promise::LimitExcessDb, text);
                }
            }
            if known.gate.as_ref().is_some_and(|gate| gate.is_closed(now)) {
                let text = format!(
                    "task {}: claimed while the gate of {} is closed (audit {})",
                    change.id, known.name, change.seq
                );
                self.verdict.find(Promise::GatesPassed, text);
            }
            let here = self.here.get(&(key, held.node)).copied().unwrap_or(0);
            if known.limit_here.is_some_and(|limit| here > limit) {
                self.verdict.add("claims_above_a_limit_per_node", 1);
            }
        }
        if is_limited {
            self.verdict.saw("claim_under_a_limit");
        }
        if fills {
            self.verdict.saw("limit_reached");
        }
    }

    fn moved(&mut self, from: &[ScopeKey], held: &Held) {
        let limit = |key: &ScopeKey| self.in_force.get(key).and_then(|known| known.limit);
        let is_limited = |keys: &[ScopeKey]| keys[..1].iter().any(|key| limit(key).is_some());
        if is_limited(from) && is_limited(&held.keys) {
            self.verdict.saw("run_moved_between_limited_groups");
        }
        let exceeds = |key: &ScopeKey| {
            let running = self.running.get(key).copied().unwrap_or(0);
            limit(key).is_some_and(|limit| running > limit)
        };
        if held.keys.iter().any(exceeds) {
            self.verdict.saw("move_exceeded_a_limit");
        }
    }

    /// What peerwork counts it under is what it belongs to, and all of that which limits it.
    fn counted(&mut self, change: &Change, held: &Held) {
        let Some([_, columns @ ..]) = change.parts::<5>() else {
            return;
        };
        for (column, key) in columns.into_iter().zip(held.keys) {
            let is_limited = || {
                self.in_force
                    .get(&key)
                    .is_some_and(|known| known.limit.is_some())
            };
            let is_right = match column {
                "" => !is_limited(),
                column => column.parse() == Ok(key.0),
            };
            if !is_right {
                let text = format!(
                    "task {}: counted under {column:?}, and belongs to {} (audit {})",
                    change.id, key.0, change.seq
                );
                self.verdict.find(Promise::CountedElsewhere, text);
            }
        }
    }
}

/// The limit that is in force, once it is to be another.
fn followed(known: Option<u32>, to: Option<u32>, is_settled: bool) -> Option<u32> {
    to.filter(|_| is_settled || known.is_some())
}

fn ends(gate: &Gate) -> Timestamp {
    gate.until.unwrap_or(Timestamp(i64::MAX))
}

fn now(change: &Change) -> Timestamp {
    Timestamp(i64::try_from(change.at_us).unwrap_or(i64::MAX))
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count = count.saturating_sub(1);
    }
}
