//! How much of what limits allow was made use of: of the groups that are limited from the beginning on, while each of them has tasks
//! that wait.
//!
//! A slot is used while a task runs in it whose node's process lives. One whose process was killed awaits its rescue, which takes a
//! lease and is no matter of limits: until then it is left out, of what is used and of what there is.

use super::Evidence;
use super::facts::Facts;
use super::held::{Holdings, Step};
use crate::real::audit::{Change, Op, Table};
use crate::real::history::FaultSort;
use peerwork_core::{Scope, ScopeKey, ScopeSort, Setting};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use uuid::Uuid;

/// What limits came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Utilisation {
    /// Limited groups.
    pub groups: usize,
    /// The sum of their limits.
    pub slots: u64,
    /// From the first claim until a group has no task left that waits, in seconds.
    pub busy_s: f64,
    /// Of the slots that awaited no rescue, the part that was used.
    pub used: f64,
    /// Of all slots, the part that awaited a rescue.
    pub awaiting_rescue: f64,
    /// Claims in this time.
    pub claims: u64,
    /// From a slot's becoming free to the next claim under its limit, the median in milliseconds.
    pub refill_p50_ms: u64,
    /// The same, of one in a hundred longer.
    pub refill_p99_ms: u64,
}

/// None where no group is limited, or where none of them ever had to wait.
pub(super) fn measure(facts: &Facts<'_>, evidence: &Evidence) -> Option<Utilisation> {
    let limits = limits(&evidence.audit);
    if limits.is_empty() {
        return None;
    }
    let mut kills: Vec<(u64, &str)> = facts
        .faults
        .iter()
        .filter(|fault| matches!(fault.sort, FaultSort::Kill | FaultSort::Crash))
        .filter_map(|fault| Some((fault.from_us, fault.node.as_deref()?)))
        .collect();
    kills.sort_unstable();
    let mut busy = Busy {
        slots: limits.values().map(|limit| u64::from(*limit)).sum(),
        limits,
        facts,
        holders: HashMap::new(),
        dead: BTreeSet::new(),
        waiting: HashMap::new(),
        free_since: HashMap::new(),
        refills_us: Vec::new(),
        held: 0,
        awaiting: 0,
        claims: 0,
        began_us: None,
        at_us: 0,
        used: 0.0,
        awaited: 0.0,
    };
    let mut holdings = Holdings::new(&evidence.audit);
    let mut kills = kills.into_iter().peekable();
    for change in &evidence.audit {
        while let Some((at_us, label)) = kills.next_if(|(at_us, _)| *at_us <= change.at_us) {
            busy.advance(at_us);
            busy.killed(label);
        }
        busy.advance(change.at_us);
        busy.queue(&holdings, change);
        if let Some(step) = holdings.take(change) {
            busy.step(&step);
        }
        if busy.is_over() {
            break;
        }
    }
    busy.sum()
}

/// The limits of groups that were set once and for all.
fn limits(audit: &[Change]) -> BTreeMap<ScopeKey, u32> {
    let mut limits: BTreeMap<ScopeKey, Option<u32>> = BTreeMap::new();
    let groups = |change: &&Change| {
        change.table == Table::Setting
            && change.op != Op::Delete
            && change.status == ScopeSort::Group as i64
    };
    for change in audit.iter().filter(groups) {
        let setting = change
            .parts()
            .and_then(|[_, _, _, spec]| serde_json::from_str::<Setting>(spec).ok());
        let limit = setting.and_then(|setting| setting.max_running);
        let known = limits.entry(ScopeKey(change.attempt)).or_insert(limit);
        *known = known.filter(|known| Some(*known) == limit);
    }
    let set = limits.into_iter();
    set.filter_map(|(key, limit)| Some((key, limit?))).collect()
}

struct Busy<'a> {
    facts: &'a Facts<'a>,
    limits: BTreeMap<ScopeKey, u32>,
    slots: u64,
    /// How many tasks each node holds under the limits.
    holders: HashMap<Uuid, u64>,
    /// The killed processes, by their labels.
    dead: BTreeSet<String>,
    /// Tasks that wait in each group.
    waiting: HashMap<ScopeKey, u64>,
    /// When the slots of each group became free that are free still.
    free_since: HashMap<ScopeKey, VecDeque<u64>>,
    refills_us: Vec<u64>,
    held: u64,
    awaiting: u64,
    claims: u64,
    began_us: Option<u64>,
    at_us: u64,
    used: f64,
    awaited: f64,
}

impl Busy<'_> {
    fn advance(&mut self, at_us: u64) {
        let us = at_us.saturating_sub(self.at_us) as f64;
        if self.began_us.is_some() {
            self.used += us * (self.held - self.awaiting) as f64;
            self.awaited += us * self.awaiting as f64;
        }
        self.at_us = self.at_us.max(at_us);
    }

    fn queue(&mut self, holdings: &Holdings, change: &Change) {
        if change.table != Table::Ready || change.op == Op::Update {
            return;
        }
        let key = holdings
            .group_of(change.id)
            .map(|group| Scope::Group(group.clone()).key());
        if let Some(key) = key.filter(|key| self.limits.contains_key(key)) {
            let waiting = self.waiting.entry(key).or_default();
            *waiting = match change.op {
                Op::Insert => *waiting + 1,
                Op::Delete | Op::Update => waiting.saturating_sub(1),
            };
        }
    }

    /// Whether a group has nothing left to start, or nothing is killed any more.
    fn is_over(&self) -> bool {
        let is_peace = self.facts.peace_us.is_some_and(|peace| peace <= self.at_us);
        is_peace || self.began_us.is_some() && self.waiting.values().any(|waiting| *waiting == 0)
    }

    fn is_dead(&self, node: Option<Uuid>) -> bool {
        let node = node.and_then(|node| self.facts.nodes.get(&node));
        node.is_some_and(|node| self.dead.contains(&node.label))
    }

    fn killed(&mut self, label: &str) {
        self.dead.insert(label.to_owned());
        let of = |node: &&Uuid| {
            self.facts
                .nodes
                .get(*node)
                .is_some_and(|n| n.label == label)
        };
        let lost: u64 = self
            .holders
            .keys()
            .filter(of)
            .filter_map(|node| self.holders.get(node))
            .sum();
        self.awaiting += lost;
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Claimed(held) if self.limits.contains_key(&held.keys[0]) => {
                self.began_us.get_or_insert(self.at_us);
                self.held += 1;
                self.claims += 1;
                self.awaiting += u64::from(self.is_dead(held.node));
                if let Some(node) = held.node {
                    *self.holders.entry(node).or_default() += 1;
                }
                let free = self.free_since.get_mut(&held.keys[0]);
                if let Some(since_us) = free.and_then(VecDeque::pop_front) {
                    self.refills_us.push(self.at_us.saturating_sub(since_us));
                }
            }
            Step::Left(held) if self.limits.contains_key(&held.keys[0]) => {
                self.held = self.held.saturating_sub(1);
                self.awaiting -= u64::from(self.is_dead(held.node)).min(self.awaiting);
                if let Some(count) = held.node.and_then(|node| self.holders.get_mut(&node)) {
                    *count = count.saturating_sub(1);
                }
                let free = self.free_since.entry(held.keys[0]).or_default();
                free.push_back(self.at_us);
            }
            _ => {}
        }
    }

    fn sum(mut self) -> Option<Utilisation> {
        let busy_us = self.at_us.saturating_sub(self.began_us?) as f64;
        let all = busy_us * self.slots as f64;
        if all <= self.awaited {
            return None;
        }
        self.refills_us.sort_unstable();
        let at = |percent: usize| {
            let at = self.refills_us.len() * percent / 100;
            let last = self.refills_us.len().saturating_sub(1);
            self.refills_us.get(at.min(last)).map_or(0, |us| us / 1_000)
        };
        Some(Utilisation {
            groups: self.limits.len(),
            slots: self.slots,
            busy_s: busy_us / 1e6,
            used: self.used / (all - self.awaited),
            awaiting_rescue: self.awaited / all,
            claims: self.claims,
            refill_p50_ms: at(50),
            refill_p99_ms: at(99),
        })
    }
}
