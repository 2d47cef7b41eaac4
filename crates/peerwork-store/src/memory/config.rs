//! Settings in the reference store, and claims under limits.

use super::*;
use crate::config::{refused, too_many};
use peerwork_core::{Bounds, Rooms, SETTINGS_MAX, Scope, ScopeKey, Setting, SettingChange, Work};

/// All that is set.
#[derive(Clone, Default)]
pub(super) struct Configured {
    pub version: u64,
    policy: Option<String>,
    settings: BTreeMap<ScopeKey, Row>,
}

#[derive(Clone)]
struct Row {
    scope: Scope,
    setting: Setting,
    /// When its bucket is full again.
    full_at: Timestamp,
}

impl Configured {
    pub fn read(&self) -> Config {
        let row = |row: &Row| SettingRow {
            scope: row.scope.clone(),
            setting: row.setting.clone(),
            unsettled: None,
        };
        Config {
            version: self.version,
            policy: self.policy.clone(),
            settings: self.settings.values().map(row).collect(),
        }
    }

    /// What is set for a scope, and when its bucket is full again.
    pub fn of(&self, scope: &Scope) -> Option<(Setting, Timestamp)> {
        let row = self.settings.get(&scope.key())?;
        Some((row.setting.clone(), row.full_at))
    }

    pub fn set(
        &mut self,
        scope: &Scope,
        changes: Vec<SettingChange>,
        now: Timestamp,
    ) -> Result<Applied> {
        let key = scope.key();
        let known = self.settings.get(&key);
        let before = known.map(|row| row.setting.clone()).unwrap_or_default();
        let mut setting = before.clone();
        for change in changes {
            setting
                .change(scope, change, now)
                .map_err(|why| refused(scope, why))?;
        }
        if setting == before {
            return Ok(self.applied());
        }
        if setting.is_empty() {
            self.settings.remove(&key);
        } else if known.is_none() && self.settings.len() >= SETTINGS_MAX {
            return Err(Error::new(ErrorKind::Invalid, too_many(scope)));
        } else {
            let full_at = known.map_or(Timestamp(i64::MIN), |row| row.full_at);
            let row = Row {
                scope: scope.clone(),
                setting,
                full_at,
            };
            self.settings.insert(key, row);
        }
        Ok(self.changed())
    }

    pub fn set_policy(&mut self, policy: Option<String>) -> Applied {
        if policy == self.policy {
            return self.applied();
        }
        self.policy = policy;
        self.changed()
    }

    fn changed(&mut self) -> Applied {
        self.version += 1;
        self.applied()
    }

    fn applied(&self) -> Applied {
        Applied {
            version: self.version,
            settles_in_ms: 0,
        }
    }
}

impl Data {
    /// What is left under the limits of a claim; none, if one of them is not set any more.
    fn rooms(&self, bounds: &Bounds, now: Timestamp) -> Option<Rooms> {
        let mut rooms = Rooms::new(now);
        for bound in &bounds.bounds {
            let row = self.config.settings.get(&bound.key)?;
            let running = self.running(&row.scope);
            rooms.add(bound.key, &row.setting, running, row.full_at, bound.here);
        }
        Some(rooms)
    }

    pub fn full(&self, keys: &[ScopeKey], now: Timestamp) -> Vec<ScopeKey> {
        let mut rooms = Rooms::new(now);
        for key in keys {
            if let Some(row) = self.config.settings.get(key) {
                rooms.add(
                    *key,
                    &row.setting,
                    self.running(&row.scope),
                    row.full_at,
                    None,
                );
            }
        }
        rooms.full().into_iter().map(|(key, _)| key).collect()
    }

    /// How many tasks run that a scope's limit counts.
    pub fn running(&self, scope: &Scope) -> u64 {
        let rows = self.table.rows.values();
        rows.filter(|row| counts(row, scope)).count() as u64
    }

    /// How many of them run on one node.
    pub fn running_on(&self, node: NodeId, scope: &Scope) -> u64 {
        let held = self.table.held(node).map(|id| &self.table.rows[id]);
        held.filter(|row| counts(row, scope)).count() as u64
    }

    pub fn claim_within(&mut self, claim: &Claim, bounds: &Bounds, now: Timestamp) -> ClaimAnswer {
        let rooms = self.rooms(bounds, now);
        let Some(mut rooms) = rooms.filter(|_| claim.version == self.config.version) else {
            return ClaimAnswer::stale();
        };
        if !self.is_alive(claim.node) {
            return ClaimAnswer::default();
        }
        let mut tasks: Vec<Claimed> = Vec::new();
        for grant in &claim.grants {
            let mut left = grant.tasks.min(BATCH_MAX - tasks.len());
            let reaches = claim.reaches_of(grant.lane).into_iter();
            let ids: Vec<_> = reaches
                .flat_map(|reach| self.table.within(reach))
                .filter(|id| self.is_one_of(&claim.kinds, id))
                .collect();
            for id in ids {
                let keys = bounds.keys(grant.lane, KindKey::new(&self.table.rows[&id].kind));
                if left == 0 {
                    break;
                }
                if rooms.left(&keys) == 0 {
                    continue;
                }
                if let Some(claimed) = self.claim_one(id, claim.node, claim.run, now) {
                    rooms.take(&keys, 1);
                    tasks.push(claimed);
                    left -= 1;
                }
            }
        }
        self.within(tasks, &rooms)
    }

    pub fn claim_these(
        &mut self,
        these: &ClaimThese,
        bounds: &Bounds,
        now: Timestamp,
    ) -> ClaimAnswer {
        let rooms = self.rooms(bounds, now);
        let Some(mut rooms) = rooms.filter(|_| these.version == self.config.version) else {
            return ClaimAnswer::stale();
        };
        if !self.is_alive(these.node) {
            return ClaimAnswer::default();
        }
        let claim = these.to_claim();
        let mut tasks = Vec::new();
        for (id, lane) in these.distinct() {
            let is_there = self.ready(id).is_some_and(|offer| offer.lane == lane);
            if !is_there || !self.is_one_of(&claim.kinds, &id) {
                continue;
            }
            let keys = bounds.keys(lane, KindKey::new(&self.table.rows[&id].kind));
            if rooms.left(&keys) == 0 {
                continue;
            }
            if let Some(claimed) = self.claim_one(id, claim.node, claim.run, now) {
                rooms.take(&keys, 1);
                tasks.push(claimed);
            }
        }
        self.within(tasks, &rooms)
    }

    /// What a claim answers, with its starts taken from the buckets.
    fn within(&mut self, tasks: Vec<Claimed>, rooms: &Rooms) -> ClaimAnswer {
        for (key, full_at) in rooms.buckets() {
            if let Some(row) = self.config.settings.get_mut(&key) {
                row.full_at = full_at;
            }
        }
        ClaimAnswer {
            tasks,
            full: rooms.full(),
            ..ClaimAnswer::default()
        }
    }
}

fn counts(row: &super::table::Row, scope: &Scope) -> bool {
    let status = row.task.status;
    let is_its = match scope {
        Scope::Everything => true,
        Scope::Group(group) => row.group == *group,
        Scope::User(user) => row.user == *user,
        Scope::UserIn { group, user } => row.group == *group && row.user == *user,
        Scope::Kind(kind) => row.kind == *kind,
    };
    status.is_held() && status.work() == Work::Run && is_its
}
