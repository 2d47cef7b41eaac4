//! What is held, and under which settings each held task has to be counted: replayed from the audit, by groups, users and kinds, and
//! not by what peerwork keeps of them.
//!
//! Whoever claims or moves under a limit takes his turn at the limit's row before he writes, and holds it until his commit: of two
//! of them the audit has all entries of the first before all of the second. An end takes no turn, and counts from its entry on, which
//! may be a moment before its commit.

use crate::real::audit::{Change, Op, Table};
use peerwork_core::{LaneId, Name, Scope, ScopeKey, Work};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The scopes that count a task: group, user, user in group, kind.
pub type Keys = [ScopeKey; 4];

/// A task that a node holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// What counts it.
    pub keys: Keys,
    /// What counted it when it was claimed.
    pub claimed_as: Keys,
    /// Who holds it.
    pub node: Option<Uuid>,
    /// Where it is moved to, until its new group counts it too.
    moves: Option<Keys>,
}

/// The tasks that something was set for at any time, wherever they were then.
pub fn restrained(audit: &[Change]) -> HashSet<Uuid> {
    let of = |table| audit.iter().filter(move |change| change.table == table);
    let set: HashSet<_> = of(Table::Setting)
        .map(|change| ScopeKey(change.attempt))
        .collect();
    let is_set = |change: &&Change| {
        names(change).is_some_and(|(group, user, kind)| {
            scopes(group, user, kind)
                .iter()
                .chain([&Scope::Everything])
                .any(|scope| set.contains(&scope.key()))
        })
    };
    of(Table::Task)
        .filter(is_set)
        .map(|change| change.id)
        .collect()
}

/// Group, user and kind of a task.
fn names(change: &Change) -> Option<(Name, Name, Name)> {
    let [group, user, kind] = change.parts()?;
    let group = Name::new("group", group).ok()?;
    let user = Name::new("user", user).ok()?;
    Some((group, user, Name::new("kind", kind).ok()?))
}

fn scopes(group: Name, user: Name, kind: Name) -> [Scope; 4] {
    [
        Scope::Group(group.clone()),
        Scope::User(user.clone()),
        Scope::UserIn { group, user },
        Scope::Kind(kind),
    ]
}

/// What an entry of the audit does to what is counted.
#[derive(Debug)]
pub enum Step {
    /// Claimed to be run.
    Claimed(Held),
    /// Counted elsewhere from now on.
    Moved(Keys, Held),
    /// Written to, and counted as before.
    Kept(Held),
    /// Not held any more.
    Left(Held),
}

/// What is held to be run.
#[derive(Debug, Default)]
pub struct Holdings {
    lanes: HashMap<Uuid, (Name, Name)>,
    kinds: HashMap<Uuid, Name>,
    /// The lane of each task's runs, as it was created or moved last.
    lane_of: HashMap<Uuid, Uuid>,
    keys: HashMap<(Uuid, Uuid), Keys>,
    held: HashMap<Uuid, Held>,
}

impl Holdings {
    /// Nothing is held; names are learnt from the whole audit.
    pub fn new(audit: &[Change]) -> Self {
        let mut holdings = Self::default();
        for change in audit.iter().filter(|change| change.table == Table::Task) {
            if let Some((group, user, kind)) = names(change) {
                let lane = LaneId::new(&group, &user);
                holdings.lanes.insert(lane.0, (group, user));
                holdings.kinds.insert(change.id, kind);
                holdings.lane_of.insert(change.id, lane.0);
            }
        }
        holdings
    }

    /// The group that the task was in at the end.
    pub fn group_of(&self, task: Uuid) -> Option<&Name> {
        let (group, _) = self.lanes.get(self.lane_of.get(&task)?)?;
        Some(group)
    }

    /// What an entry does; none if it is about nothing that is held to be run.
    pub fn take(&mut self, change: &Change) -> Option<Step> {
        if change.table != Table::Running {
            return None;
        }
        if change.op == Op::Delete {
            return self.held.remove(&change.id).map(Step::Left);
        }
        let status = change.task_status()?;
        if !status.is_held() || status.work() != Work::Run {
            return self.held.remove(&change.id).map(Step::Left);
        }
        let [lane, ..] = change.parts::<5>()?;
        let keys = self.keys(change.id, Uuid::parse_str(lane).ok()?)?;
        let Some(held) = self.held.get_mut(&change.id) else {
            let (claimed_as, node) = (keys, change.node);
            let held = Held {
                keys,
                claimed_as,
                node,
                moves: None,
            };
            self.held.insert(change.id, held.clone());
            return Some(Step::Claimed(held));
        };
        match held.moves.take() {
            // It waits for its turn still, and then writes once more.
            None if held.keys != keys => {
                held.moves = Some(keys);
                None
            }
            None => Some(Step::Kept(held.clone())),
            Some(to) => {
                let from = std::mem::replace(&mut held.keys, to);
                Some(Step::Moved(from, held.clone()))
            }
        }
    }

    /// The scopes that count this task in this lane.
    fn keys(&mut self, task: Uuid, lane: Uuid) -> Option<Keys> {
        if let Some(keys) = self.keys.get(&(task, lane)) {
            return Some(*keys);
        }
        let (group, user) = self.lanes.get(&lane)?.clone();
        let kind = self.kinds.get(&task)?.clone();
        let keys = scopes(group, user, kind).map(|scope| scope.key());
        self.keys.insert((task, lane), keys);
        Some(keys)
    }
}
