//! What there is around a task, in the reference store.

use super::*;
use crate::explain::facts_of;
use peerwork_core::Work;
use peerwork_core::explain::{
    AHEAD_MAX, Children, Count, Facts, LANES_MAX, Line, NodeFacts, ScopeFacts,
};

impl Data {
    pub fn explain(&self, id: TaskId, now: Timestamp) -> Option<Facts> {
        let row = self.table.rows.get(&id)?;
        let mut facts = facts_of(row.record(id), now);
        let status = row.task.status;
        match status.place() {
            Place::Done => return Some(facts),
            Place::Running => {
                let holder = row.node.and_then(|node| self.nodes.get(&node));
                facts.nodes = holder
                    .map(|entry| self.node_facts(entry))
                    .into_iter()
                    .collect();
                return Some(facts);
            }
            Place::Ready => facts.line = Some(self.line(&facts)),
            Place::Parked if status == Status::Waiting && row.awaited > 0 => {
                facts.children = Some(Children {
                    over: u32::try_from(row.inbox.len()).unwrap_or(u32::MAX),
                    of: row.awaited,
                });
            }
            Place::Parked => {}
        }
        let alive = self.nodes.values().filter(|entry| entry.row.alive);
        facts.nodes = alive.map(|entry| self.node_facts(entry)).collect();
        let has = |key: &KindKey| {
            let mut kinds = facts
                .nodes
                .iter()
                .flat_map(|node| node.kinds.iter().flatten());
            kinds.any(|kind| kind == key)
        };
        let kinds = self.kinds.iter().filter(|(key, _)| has(key));
        facts.kinds = kinds.map(|(key, row)| (*key, row.kind.clone())).collect();
        if status.work() == Work::Run {
            let scopes = Facts::scopes_of(&row.group, &row.user, &row.kind);
            facts.scopes = scopes
                .iter()
                .filter_map(|scope| self.scope_facts(scope))
                .collect();
        }
        facts.policy = self.config.read().policy;
        Some(facts)
    }

    fn line(&self, facts: &Facts) -> Line {
        let rank = Rank::new(facts.task.status, self.table.rows[&facts.id].priority);
        let place = (facts.lane(), rank, facts.task.ready_at, facts.id);
        let first = (
            place.0,
            Rank(i32::MIN),
            Timestamp(i64::MIN),
            TaskId(uuid::Uuid::nil()),
        );
        let ahead = self.table.ready.range(first..place).count();
        let lanes: BTreeSet<_> = self.table.ready.iter().map(|entry| entry.0).collect();
        Line {
            ahead: Count::up_to(ahead as u64, AHEAD_MAX),
            lanes: Count::up_to(lanes.len() as u64, LANES_MAX),
        }
    }

    fn node_facts(&self, entry: &NodeEntry) -> NodeFacts {
        let row = &entry.row;
        let runs = |id: &&TaskId| self.table.rows[*id].task.status.work() == Work::Run;
        NodeFacts {
            id: row.id,
            label: row.label.clone(),
            lease_until: row.lease_until,
            alive: row.alive,
            slots: row.slots,
            running: self.table.held(row.id).filter(runs).count() as u64,
            kinds: Some(entry.kinds.clone()),
        }
    }

    fn scope_facts(&self, scope: &Scope) -> Option<ScopeFacts> {
        let (setting, full_at) = self.config.of(scope)?;
        let on = |node: &NodeId| self.running_on(*node, scope);
        let running_on = match setting.max_running_per_node {
            Some(_) => self.nodes.keys().map(|node| (*node, on(node))).collect(),
            None => Vec::new(),
        };
        Some(ScopeFacts {
            scope: scope.clone(),
            running: setting.max_running.map_or(0, |_| self.running(scope)),
            running_on: running_on.into_iter().filter(|(_, n)| *n > 0).collect(),
            full_at: full_at.max(Timestamp(0)),
            setting,
        })
    }
}
