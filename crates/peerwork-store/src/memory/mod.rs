//! The reference store: in memory, short, and obviously right. The oracle of the conformance suite, and what tests
//! and the simulated cluster run on.
//!
//! Everything is done under one lock, so every call is one transaction. Nothing survives the process.

mod bounds;
mod config;
mod data;
mod explain;
mod offers;
mod snapshot;
mod table;

use crate::store::other_wish;
use crate::*;
use async_trait::async_trait;
use bounds::{bounded, bounded_new, bounded_payload, bounded_sought};
use data::{Data, NodeEntry};
use peerwork_core::explain::Facts;
use peerwork_core::{
    BATCH_MAX, BeatAnswer, Bounds, ERRORS_KEPT_MAX, Event, KindKey, LaneLook, LaneView, Name,
    NodeId, OperationId, PAGE_MAX, Place, Pulse, Rank, Reach, Rules, RunId, Scope, ScopeKey,
    SettingChange, Status, TOMBSTONE_MS, Task, TaskId, Timestamp, Transition, bounded_error,
    decide,
};
pub use snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
pub use table::{Change, Seen};
use tokio::sync::mpsc;

/// A store in memory. Clones share their tasks: each clone stands for a connection of another process.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    data: Arc<Mutex<Data>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store on the system's clock.
    pub fn new() -> Self {
        Self::with_clock(|| Timestamp::from(std::time::SystemTime::now()))
    }

    /// An empty store whose time is what `clock` says.
    pub fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            data: Arc::default(),
        }
    }

    /// Keeps an audit from now on: see [`audit`](Self::audit).
    pub fn start_audit(&self) {
        self.data().table.touched = Some(BTreeMap::new());
    }

    /// What has been changed since the last call of this, in the order of the ids. Call it after every call of the
    /// store to have the changes of each by themselves.
    pub fn audit(&self) -> Vec<Change> {
        self.data().table.changes()
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // A panic under the lock is a bug of this file; the data of a test store is then no use to anyone.
        self.data.lock().expect("no panic under the lock")
    }

    fn time(&self) -> Timestamp {
        (self.clock)()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn migrate(&self) -> Result<()> {
        Ok(())
    }

    async fn check_schema(&self) -> Result<()> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.time())
    }

    async fn create(&self, tasks: Vec<NewTask>) -> Result<Vec<Created>> {
        bounded_new(&tasks)?;
        let (now, mut data) = (self.time(), self.data());
        Ok(data.create(tasks, now))
    }

    async fn create_and_claim(
        &self,
        tasks: Vec<NewTask>,
        claim: ClaimNew,
    ) -> Result<(Vec<Created>, Vec<Claimed>)> {
        bounded_new(&tasks)?;
        let (now, mut data) = (self.time(), self.data());
        Ok(data.create_and_claim(tasks, &claim, now))
    }

    async fn steer(&self, ids: Vec<TaskId>, filter: Filter, wish: Wish) -> Result<Vec<Steered>> {
        bounded(&ids)?;
        let (now, mut data) = (self.time(), self.data());
        Ok(ids
            .into_iter()
            .map(|id| data.steer(id, &filter, &wish, now))
            .collect())
    }

    async fn steer_once(
        &self,
        operation: OperationId,
        ids: Vec<TaskId>,
        filter: Filter,
        wish: Wish,
    ) -> Result<Vec<Steered>> {
        bounded(&ids)?;
        let (now, mut data) = (self.time(), self.data());
        let mut answers = Vec::with_capacity(ids.len());
        for id in ids {
            let before = data.operation(operation, &wish, now)?.answers.get(&id);
            answers.push(match before.copied() {
                Some(answer) => answer,
                None => {
                    let answer = data.steer(id, &filter, &wish, now);
                    if answer != Steered::NotFound {
                        let operation = data.operation(operation, &wish, now)?;
                        operation.answers.insert(id, answer);
                    }
                    answer
                }
            });
        }
        Ok(answers)
    }

    async fn concluded(&self, operation: OperationId, wish: Wish) -> Result<Option<Tally>> {
        match self.data().operations.get(&operation) {
            None => Ok(None),
            Some(begun) if begun.wish == wish => Ok(begun.concluded),
            Some(begun) => Err(other_wish(operation, &begun.wish.to_string(), &wish)),
        }
    }

    async fn conclude(&self, operation: OperationId, wish: Wish, tally: Tally) -> Result<()> {
        let (now, mut data) = (self.time(), self.data());
        data.operation(operation, &wish, now)?
            .concluded
            .get_or_insert(tally);
        Ok(())
    }

    async fn get(&self, ids: Vec<TaskId>) -> Result<Vec<Option<TaskRecord>>> {
        bounded(&ids)?;
        let data = self.data();
        let find = |id| Some(data.table.rows.get(&id)?.record(id));
        Ok(ids.into_iter().map(find).collect())
    }

    async fn list(&self, filter: Filter, after: Option<Cursor>, limit: usize) -> Result<Page> {
        let limit = limit.clamp(1, PAGE_MAX);
        let data = self.data();
        let place = |task: &TaskRecord| Cursor {
            created_at: task.created_at,
            id: task.id,
        };
        let mut tasks: Vec<_> = data
            .table
            .rows
            .iter()
            .map(|(id, row)| row.record(*id))
            .filter(|task| filter.matches(task) && after.is_none_or(|after| place(task) < after))
            .collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(place(task)));
        let more = tasks.len() > limit;
        tasks.truncate(limit);
        let next = tasks.last().map(place).filter(|_| more);
        Ok(Page { tasks, next })
    }

    async fn payload(&self, id: TaskId, which: Payload) -> Result<Option<Vec<u8>>> {
        let data = self.data();
        let Some(row) = data
            .table
            .rows
            .get(&id)
            .filter(|row| row.task.status != Status::Deleted)
        else {
            return Ok(None);
        };
        Ok(match which {
            Payload::Input => Some(row.input.clone()),
            Payload::Checkpoint => row.checkpoint.clone(),
            Payload::Output => row
                .output
                .clone()
                .filter(|_| row.task.status == Status::Finished),
        })
    }

    async fn outputs(&self, ids: Vec<TaskId>) -> Result<Vec<Option<Vec<u8>>>> {
        bounded(&ids)?;
        let data = self.data();
        let output = |id| {
            let row = data.table.rows.get(id)?;
            row.output
                .clone()
                .filter(|_| row.task.status == Status::Finished)
        };
        Ok(ids.iter().map(output).collect())
    }

    async fn failures(&self, id: TaskId) -> Result<Vec<Failure>> {
        Ok(self
            .data()
            .table
            .rows
            .get(&id)
            .map(|row| row.failures.clone())
            .unwrap_or_default())
    }

    async fn explain(&self, id: TaskId) -> Result<Option<Facts>> {
        Ok(self.data().explain(id, self.time()))
    }

    async fn publish_kinds(&self, kinds: Vec<(Name, Rules)>) -> Result<()> {
        bounded(&kinds)?;
        let mut data = self.data();
        for (kind, rules) in kinds {
            let key = KindKey::new(&kind);
            data.kinds.insert(key, KindRow { kind, key, rules });
        }
        Ok(())
    }

    async fn kinds(&self) -> Result<Vec<KindRow>> {
        Ok(self.data().kinds.values().cloned().collect())
    }

    async fn register(&self, card: NodeCard) -> Result<()> {
        let now = self.time();
        let row = NodeRow {
            id: card.id,
            label: card.label,
            started_at: now,
            seq: 0,
            ttl_ms: card.ttl_ms,
            lease_until: now.plus_ms(card.ttl_ms),
            alive: true,
            slots: card.slots,
            held: 0,
        };
        self.data().nodes.entry(card.id).or_insert(NodeEntry {
            row,
            kinds: card.kinds,
            died_at: None,
        });
        Ok(())
    }

    async fn beat(&self, node: NodeId, pulse: Pulse, ttl_ms: u64) -> Result<BeatAnswer> {
        let (now, mut data) = (self.time(), self.data());
        let Some(entry) = data.nodes.get_mut(&node) else {
            return Ok(BeatAnswer::Missing);
        };
        let row = &mut entry.row;
        if row.alive && row.seq >= pulse.acked && row.seq < pulse.seq {
            (row.seq, row.ttl_ms, row.lease_until) = (pulse.seq, ttl_ms, now.plus_ms(ttl_ms));
            return Ok(BeatAnswer::Renewed);
        }
        Ok(BeatAnswer::Row {
            seq: row.seq,
            alive: row.alive,
        })
    }

    async fn retire(&self, node: NodeId) -> Result<bool> {
        let mut data = self.data();
        if data.table.held_count(node) > 0 {
            return Ok(false);
        }
        data.nodes.remove(&node);
        Ok(true)
    }

    async fn declare_dead(&self, node: NodeId, seq: u64) -> Result<bool> {
        let (now, mut data) = (self.time(), self.data());
        let Some(entry) = data
            .nodes
            .get_mut(&node)
            .filter(|e| e.row.alive && e.row.seq == seq)
        else {
            return Ok(false);
        };
        entry.row.alive = false;
        entry.died_at = Some(now);
        Ok(true)
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>> {
        let data = self.data();
        let row = |entry: &NodeEntry| NodeRow {
            held: data.table.held_count(entry.row.id),
            ..entry.row.clone()
        };
        Ok(data.nodes.values().map(row).collect())
    }

    async fn glance(&self, node: NodeId, width: usize, depth: Depth) -> Result<Glance> {
        let (now, data) = (self.time(), self.data());
        let is_full = depth == Depth::Full;
        let wished = |id: &TaskId| {
            let row = &data.table.rows[id];
            let run = row.run.filter(|_| row.task.status.is_stopping())?;
            Some(Wished {
                id: *id,
                run,
                status: row.task.status,
            })
        };
        let after = (Bound::Excluded(node), Bound::Unbounded);
        let ring = data.nodes.range(after).chain(data.nodes.range(..node));
        let alive = ring.map(|(_, entry)| entry).filter(|e| e.row.alive);
        Ok(Glance {
            now,
            wishes: data.table.held(node).filter_map(wished).collect(),
            held: is_full.then(|| data.table.held_count(node)),
            peers: alive
                .take(width)
                .map(|e| (e.row.id, e.row.seq, e.row.ttl_ms, e.row.lease_until))
                .collect(),
            ready: is_full && !data.table.ready.is_empty(),
            dead: data.table.holders().any(|node| data.is_dead(node)),
            inbox: !data.table.woken.is_empty(),
            next_wake: data.table.wake.first().map(|(at, _)| *at),
            version: data.config.version,
        })
    }

    async fn lanes(&self, kinds: Vec<KindKey>, look: LaneLook) -> Result<Vec<LaneView>> {
        Ok(self.data().lanes(&kinds, look))
    }

    async fn running_elsewhere(&self, node: NodeId) -> Result<Vec<RunningIn>> {
        Ok(self.data().running_elsewhere(node))
    }

    async fn heads(&self, kinds: Vec<KindKey>, reaches: Vec<Reach>) -> Result<Vec<LaneView>> {
        Ok(self.data().heads(&kinds, reaches))
    }

    async fn claim(&self, mut claim: Claim) -> Result<ClaimAnswer> {
        claim.sort();
        let (now, mut data) = (self.time(), self.data());
        if claim.version != data.config.version {
            return Ok(ClaimAnswer::stale());
        }
        if !data.is_alive(claim.node) {
            return Ok(ClaimAnswer::default());
        }
        let mut claimed = Vec::new();
        for grant in &claim.grants {
            let room = grant.tasks.min(BATCH_MAX - claimed.len());
            let reaches = claim.reaches_of(grant.lane);
            let ids: Vec<_> = reaches
                .into_iter()
                .flat_map(|reach| data.table.within(reach))
                .filter(|id| data.is_one_of(&claim.kinds, id))
                .take(room)
                .collect();
            for id in ids {
                claimed.extend(data.claim_one(id, claim.node, claim.run, now));
            }
        }
        Ok(ClaimAnswer::of(claimed))
    }

    async fn claim_within(&self, mut claim: Claim, bounds: Bounds) -> Result<ClaimAnswer> {
        claim.sort();
        let (now, mut data) = (self.time(), self.data());
        Ok(data.claim_within(&claim, &bounds, now))
    }

    async fn claim_these(&self, claim: ClaimThese, bounds: Bounds) -> Result<ClaimAnswer> {
        bounded(&claim.tasks)?;
        Ok(self.data().claim_these(&claim, &bounds, self.time()))
    }

    async fn offers(&self, sought: Sought, limit: usize) -> Result<Vec<Offer>> {
        bounded_sought(&sought)?;
        Ok(self.data().offers(sought, limit.clamp(1, BATCH_MAX)))
    }

    async fn full(&self, keys: Vec<ScopeKey>) -> Result<Vec<ScopeKey>> {
        bounded(&keys)?;
        Ok(self.data().full(&keys, self.time()))
    }

    async fn config(&self) -> Result<Config> {
        Ok(self.data().config.read())
    }

    async fn set(&self, scope: Scope, changes: Vec<SettingChange>) -> Result<Applied> {
        self.data().config.set(&scope, changes, self.time())
    }

    async fn settle(&self, _scope: Scope) -> Result<()> {
        // Every call is one transaction, and what counts is looked up.
        Ok(())
    }

    async fn set_policy(&self, policy: Option<String>) -> Result<Applied> {
        Ok(self.data().config.set_policy(policy))
    }

    async fn save(&self, saves: Vec<Save>) -> Result<Vec<Saved>> {
        bounded(&saves)?;
        for save in &saves {
            bounded_payload("checkpoint", save.checkpoint.as_ref())?;
        }
        let mut data = self.data();
        let mut save_one = |save: Save| {
            if data.table.held_by(save.id, save.run).is_none() {
                return Saved::Lost;
            }
            data.table.update(save.id, |row| {
                if save.checkpoint.is_some() {
                    row.checkpoint = save.checkpoint;
                    (row.task.crashes, row.on_trial) = (0, false);
                }
                row.progress = save.progress.or(row.progress);
                Saved::Kept(row.task.status)
            })
        };
        Ok(saves.into_iter().map(&mut save_one).collect())
    }

    async fn try_suspect(&self, id: TaskId, run: RunId) -> Result<bool> {
        let mut data = self.data();
        if data.table.held_by(id, run).is_none() {
            return Ok(false);
        }
        data.table.update(id, |row| row.on_trial = true);
        Ok(true)
    }

    async fn end(&self, ends: Vec<End>) -> Result<Vec<Ended>> {
        bounded(&ends)?;
        for end in &ends {
            bounded_payload("output", end.output.as_ref())?;
        }
        let (now, mut data) = (self.time(), self.data());
        Ok(ends.into_iter().map(|end| data.end(end, now)).collect())
    }

    async fn held(&self, node: NodeId, limit: usize) -> Result<Vec<(TaskId, RunId)>> {
        let data = self.data();
        let run = |id: &TaskId| Some((*id, data.table.rows[id].run?));
        Ok(data.table.held(node).filter_map(run).take(limit).collect())
    }

    async fn verify(&self, runs: Vec<(TaskId, RunId)>) -> Result<Vec<Option<Status>>> {
        bounded(&runs)?;
        let data = self.data();
        Ok(runs
            .into_iter()
            .map(|(id, run)| data.table.held_by(id, run).map(|row| row.task.status))
            .collect())
    }

    async fn promote(&self, limit: usize) -> Result<Promoted> {
        let (now, mut data) = (self.time(), self.data());
        let due: Vec<_> = data
            .table
            .wake
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, id)| *id)
            .collect();
        let mut promoted = Promoted {
            tasks: 0,
            more: due.len() > limit,
        };
        for id in due.into_iter().take(limit) {
            if let Ok(Transition::To(to)) = decide(
                &data.table.rows[&id].task,
                &Rules::default(),
                Event::Due,
                now,
            ) {
                data.apply(id, to, now);
                promoted.tasks += 1;
            }
        }
        Ok(promoted)
    }

    async fn wake(&self, limit: usize) -> Result<usize> {
        let (now, mut data) = (self.time(), self.data());
        let ids: Vec<_> = data.table.woken.iter().copied().take(limit).collect();
        for id in &ids {
            if let Ok(Transition::To(to)) = decide(
                &data.table.rows[id].task,
                &Rules::default(),
                Event::Woken,
                now,
            ) {
                data.apply(*id, to, now);
            }
        }
        Ok(ids.len())
    }

    async fn sweep(&self, limit: usize) -> Result<Swept> {
        let (now, mut data) = (self.time(), self.data());
        let orphans: BTreeSet<_> = data
            .table
            .holders()
            .filter(|node| !data.is_alive(*node))
            .collect();
        let ids: Vec<_> = orphans
            .iter()
            .flat_map(|node| data.table.held(*node).copied())
            .collect();
        let mut swept = Swept {
            tasks: Vec::new(),
            more: ids.len() > limit,
        };
        for id in ids.into_iter().take(limit) {
            let row = &data.table.rows[&id];
            let (task, rules) = (row.task, data.rules(&row.kind));
            let dead_owner = Event::DeadOwner {
                on_trial: row.on_trial,
            };
            if let Ok(Transition::To(to)) = decide(&task, &rules, dead_owner, now) {
                if matches!(to.status, Status::Failed | Status::CleanupFailed) {
                    let text = crate::record::death_text(&to);
                    data.table.update(id, |row| row.fail(now, &text));
                }
                data.apply(id, to, now);
                swept.tasks.push((id, to.status));
            }
        }
        Ok(swept)
    }

    async fn prune(&self, limit: usize) -> Result<usize> {
        let (now, mut data) = (self.time(), self.data());
        let old = |at: Option<Timestamp>| at.is_some_and(|at| at.plus_ms(TOMBSTONE_MS) <= now);
        let tombs: Vec<_> = data
            .table
            .rows
            .iter()
            .filter(|(_, row)| row.task.status == Status::Deleted && old(row.finished_at))
            .map(|(id, _)| *id)
            .take(limit)
            .collect();
        for id in &tombs {
            data.table.remove(*id);
        }
        let Data {
            table,
            nodes,
            operations,
            ..
        } = &mut *data;
        nodes.retain(|id, entry| !old(entry.died_at) || table.held_count(*id) > 0);
        operations.retain(|_, operation| !old(Some(operation.asked_at)));
        Ok(tombs.len())
    }

    async fn hint(&self, hint: Hint) -> Result<()> {
        self.data().listeners.retain(|listener| {
            !listener.is_closed() && (listener.try_send(hint).is_ok() || !listener.is_closed())
        });
        Ok(())
    }

    async fn listen(&self) -> Result<Option<Hints>> {
        let (sender, receiver) = mpsc::channel(Hints::UNREAD_MAX);
        self.data().listeners.push(sender);
        Ok(Some(Hints(receiver)))
    }
}
