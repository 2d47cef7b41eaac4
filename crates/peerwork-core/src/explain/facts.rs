//! What an explanation rests on, as a store has read it.

use crate::{KindKey, LaneId, Name, NodeId, Scope, Setting, Status, Task, TaskId, Timestamp};
use std::fmt;

/// Tasks ahead of one in its lane that are counted at most: beyond it the number tells nothing more, and costs more.
pub const AHEAD_MAX: u64 = 10_000;

/// Lanes with work that are counted at most: each is a step of an index.
pub const LANES_MAX: u64 = 1_000;

/// What was counted, up to a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many there are, or the bound.
    pub n: u64,
    /// There may be more.
    pub is_bound: bool,
}

impl Count {
    /// `found`, where no more than `max` count; whoever counts stops at one more.
    pub fn up_to(found: u64, max: u64) -> Self {
        Self {
            n: found.min(max),
            is_bound: found > max,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_least = if self.is_bound { "at least " } else { "" };
        write!(f, "{at_least}{}", self.n)
    }
}

/// A task, and what there is around it that may keep it from running. Read one after the other, within milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The database's time.
    pub now: Timestamp,
    /// The task.
    pub id: TaskId,
    /// Its type.
    pub kind: Name,
    /// Whose it is.
    pub user: Name,
    /// The group it is in.
    pub group: Name,
    /// Its status, counters and times.
    pub task: Task,
    /// The node that holds it.
    pub node: Option<NodeId>,
    /// Since when it does.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The text of its last failure.
    pub error: Option<String>,
    /// How many children it waits for, while it does.
    pub children: Option<Children>,
    /// Its place, while it is in line.
    pub line: Option<Line>,
    /// What is set for it, while nobody holds it and it is not over: for everything, its group, its user, both, its kind.
    pub scopes: Vec<ScopeFacts>,
    /// While a node holds it, that one, if its row is there; otherwise those that are not declared dead. None once it is over.
    pub nodes: Vec<NodeFacts>,
    /// The names of the kinds that these nodes have.
    pub kinds: Vec<(KindKey, Name)>,
    /// The policy that is chosen for all nodes.
    pub policy: Option<String>,
}

/// The children that a task waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Children {
    /// Those of them that are over.
    pub over: u32,
    /// How many have to be.
    pub of: u32,
}

/// A place in line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The tasks ahead of it in its lane, at most [`AHEAD_MAX`].
    pub ahead: Count,
    /// The lanes in which there is something to claim, at most [`LANES_MAX`].
    pub lanes: Count,
}

/// What is set for a scope that the task is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeFacts {
    /// The scope.
    pub scope: Scope,
    /// What is set.
    pub setting: Setting,
    /// When its bucket is full again.
    pub full_at: Timestamp,
    /// The tasks that run and count under its limit; 0 without one.
    pub running: u64,
    /// The tasks that run on each node, if there is a limit for each node. Nodes without any are left out.
    pub running_on: Vec<(NodeId, u64)>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its id.
    pub id: NodeId,
    /// For people.
    pub label: String,
    /// Until when its lease runs.
    pub lease_until: Timestamp,
    /// False once it was declared dead.
    pub alive: bool,
    /// The slots for runs.
    pub slots: u32,
    /// The tasks that it holds to run.
    pub running: u64,
    /// Its kinds; none if it does not tell, because it is of an earlier version.
    pub kinds: Option<Vec<KindKey>>,
}

impl NodeFacts {
    /// Whether it works, as far as can be seen.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.alive && self.lease_until >= now
    }

    /// Whether it may have this kind.
    pub fn may_have(&self, kind: KindKey) -> bool {
        let kinds = self.kinds.as_ref();
        kinds.is_none_or(|kinds| kinds.contains(&kind))
    }
}

impl Facts {
    /// The scopes that a task of this group, user and kind is in.
    pub fn scopes_of(group: &Name, user: &Name, kind: &Name) -> [Scope; 5] {
        [
            Scope::Everything,
            Scope::Group(group.clone()),
            Scope::User(user.clone()),
            Scope::UserIn {
                group: group.clone(),
                user: user.clone(),
            },
            Scope::Kind(kind.clone()),
        ]
    }

    /// The lane that it waits in, or would.
    pub fn lane(&self) -> LaneId {
        LaneId::new(&self.group, &self.user).of(self.task.status.work())
    }

    /// The same for the eyes of one user: without the names of others. What they have written as a reason stays.
    pub fn for_eyes_of(mut self, user: &Name) -> Self {
        for scope in &mut self.scopes {
            if let Some(gate) = &mut scope.setting.gate {
                gate.by = gate.by.take().filter(|by| *user == **by);
            }
        }
        self
    }

    /// The nodes that work and may have its kind.
    pub(super) fn able(&self) -> impl Iterator<Item = &NodeFacts> {
        let kind = KindKey::new(&self.kind);
        let live = self.nodes.iter().filter(|node| node.is_live(self.now));
        live.filter(move |node| node.may_have(kind))
    }

    pub(super) fn status(&self) -> Status {
        self.task.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_to_its_bound_says_so() {
        assert_eq!(Count::up_to(7, 10).to_string(), "7");
        assert_eq!(Count::up_to(10, 10).to_string(), "10");
        assert_eq!(Count::up_to(11, 10).to_string(), "at least 10");
    }
}
