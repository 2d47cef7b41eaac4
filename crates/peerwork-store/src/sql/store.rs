//! The contract, kept with operations: what is asked is checked here, what is done is in `ops`.

use super::SqlStore;
use super::batch::Unfold;
use super::engine::{Operation, spawned};
use super::fault::Fault;
use super::hints::{self, Notify, Said};
use super::ops::claim::{self, Take};
use super::ops::claim_within::{TakeWithin, claim_within};
use super::ops::config::{ReadConfig, ReadFull, SetPolicy, SetScope, Settle};
use super::ops::create::Create;
use super::ops::end::{EndRuns, end_all};
use super::ops::explain::Explain;
use super::ops::glance::Look;
use super::ops::lanes::{Heads, Lanes, RunningElsewhere};
use super::ops::list::List;
use super::ops::nodes::{DeclareDead, Kinds, Nodes, Now, Publish, Register, RenewLease, Retire};
use super::ops::offers::Offers;
use super::ops::operations::{Conclude, Concluded};
use super::ops::read::{Failures, Get, HeldRuns, Outputs, ReadPayload, Verify};
use super::ops::save::{SaveRuns, TrySuspect};
use super::ops::steer::Steer;
use super::ops::upkeep::{Promote, Prune, Sweep, Wake};
use super::schema::{self, MigrationStatus};
use super::settings::Database;
use super::tx::Tx;
use crate::*;
use async_trait::async_trait;
use peerwork_core::explain::Facts;
use peerwork_core::{
    BATCH_MAX, BeatAnswer, Bounds, KindKey, LaneLook, LaneView, Name, NodeId, OperationId,
    PAGE_MAX, PAYLOAD_BYTES_MAX, Pulse, Reach, Rules, RunId, Scope, ScopeKey, SettingChange,
    Status, TaskId, Timestamp,
};
use std::time::Instant;

pub(super) fn check_batch<T>(operation: &str, items: &[T]) -> Result<()> {
    if items.len() <= BATCH_MAX {
        return Ok(());
    }
    let message = format!(
        "{operation}: a batch of {}; split it into batches of {BATCH_MAX} or fewer",
        items.len()
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

fn check_payload(what: impl std::fmt::Display, payload: Option<&Vec<u8>>) -> Result<()> {
    let bytes = payload.map_or(0, Vec::len);
    if bytes <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "{what} has {bytes} bytes; the limit is {PAYLOAD_BYTES_MAX}: store it elsewhere and pass a reference to it"
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

pub(crate) fn check_new(tasks: &[NewTask]) -> Result<()> {
    check_batch("create tasks", tasks)?;
    for task in tasks {
        check_payload(
            format_args!(
                "create task {} of kind {:?}: its input",
                task.id,
                task.kind.as_str()
            ),
            Some(&task.input),
        )?;
    }
    Ok(())
}

pub(crate) fn check_save(save: &Save) -> Result<()> {
    let what = format_args!("save task {}: its checkpoint", save.id);
    check_payload(what, save.checkpoint.as_ref())
}

pub(crate) fn check_end(end: &End) -> Result<()> {
    let what = format_args!("end task {}: its output", end.id);
    check_payload(what, end.output.as_ref())
}

struct ReadSchema;

impl Operation for ReadSchema {
    const NAME: &'static str = "check the schema";
    type Answer = MigrationStatus;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<MigrationStatus, Fault> {
        schema::status(tx).await
    }
}

impl SqlStore {
    /// Creates tasks, for somebody who wants to run them at once.
    async fn create_for(
        &self,
        tasks: Vec<NewTask>,
        claim: Option<ClaimNew>,
    ) -> Result<(Vec<Created>, Vec<Claimed>)> {
        check_new(&tasks)?;
        if tasks.is_empty() {
            return Ok(Default::default());
        }
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        let (mut new, claimed) = self.engine.write(Create::new(tasks, claim)).await?;
        // Of an id that was handed in twice the first one is new.
        let answer = |id: &TaskId| {
            if new.remove(id) {
                Created::New
            } else {
                Created::Existed
            }
        };
        Ok((ids.iter().map(answer).collect(), claimed))
    }

    /// Gives all that runs a row of its own, before it is counted.
    async fn unfold_all(&self) -> Result<()> {
        match self.engine.dialect.database {
            Database::Postgres => self.engine.write(Unfold::All).await,
            Database::Sqlite | Database::MySql => Ok(()),
        }
    }

    /// Unfolds what this store has claimed in batches that are not over after a moment.
    async fn unfold_old(&self) {
        let runs = self.engine.batches.old(Instant::now());
        if runs.is_empty() {
            return;
        }
        match self.engine.write(Unfold::Of(runs.clone())).await {
            Ok(()) => self.engine.batches.unfolded(&runs),
            Err(error) => {
                tracing::warn!(%error, "old batches stay for now; trying again at the next look")
            }
        }
    }

    /// Where the schema of the database is.
    ///
    /// # Errors
    /// `Schema`, if tables of these names belong to somebody else.
    pub async fn migration_status(&self) -> Result<MigrationStatus> {
        self.engine.read(ReadSchema).await
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn migrate(&self) -> Result<()> {
        let engine = self.engine.clone();
        spawned("migrate", async move { schema::migrate(&engine).await }).await
    }

    async fn check_schema(&self) -> Result<()> {
        match self.migration_status().await?.advice() {
            Some(advice) => Err(Error::new(
                ErrorKind::Schema,
                format!("check the schema: {advice}"),
            )),
            None => Ok(()),
        }
    }

    async fn now(&self) -> Result<Timestamp> {
        self.engine.read(Now).await
    }

    async fn create(&self, tasks: Vec<NewTask>) -> Result<Vec<Created>> {
        let (created, _) = self.create_for(tasks, None).await?;
        Ok(created)
    }

    async fn create_and_claim(
        &self,
        tasks: Vec<NewTask>,
        claim: ClaimNew,
    ) -> Result<(Vec<Created>, Vec<Claimed>)> {
        self.create_for(tasks, Some(claim)).await
    }

    async fn steer(&self, ids: Vec<TaskId>, filter: Filter, wish: Wish) -> Result<Vec<Steered>> {
        check_batch("steer tasks", &ids)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let operation = None;
        self.engine
            .write(Steer {
                ids,
                filter,
                wish,
                operation,
            })
            .await
    }

    async fn steer_once(
        &self,
        operation: OperationId,
        ids: Vec<TaskId>,
        filter: Filter,
        wish: Wish,
    ) -> Result<Vec<Steered>> {
        check_batch("steer tasks", &ids)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let operation = Some(operation);
        self.engine
            .write(Steer {
                ids,
                filter,
                wish,
                operation,
            })
            .await
    }

    async fn concluded(&self, operation: OperationId, wish: Wish) -> Result<Option<Tally>> {
        self.engine.read(Concluded { operation, wish }).await
    }

    async fn conclude(&self, operation: OperationId, wish: Wish, tally: Tally) -> Result<()> {
        self.engine
            .write(Conclude {
                operation,
                wish,
                tally,
            })
            .await
    }

    async fn get(&self, ids: Vec<TaskId>) -> Result<Vec<Option<TaskRecord>>> {
        check_batch("read tasks", &ids)?;
        let records = self.engine.read(Get { ids: ids.clone() }).await?;
        Ok(ids.iter().map(|id| records.get(id).cloned()).collect())
    }

    async fn list(&self, filter: Filter, after: Option<Cursor>, limit: usize) -> Result<Page> {
        self.engine
            .read(List {
                filter,
                after,
                limit: limit.clamp(1, PAGE_MAX),
            })
            .await
    }

    async fn payload(&self, id: TaskId, which: Payload) -> Result<Option<Vec<u8>>> {
        self.engine.read(ReadPayload { id, which }).await
    }

    async fn outputs(&self, ids: Vec<TaskId>) -> Result<Vec<Option<Vec<u8>>>> {
        check_batch("read outputs", &ids)?;
        self.engine.read(Outputs { ids }).await
    }

    async fn failures(&self, id: TaskId) -> Result<Vec<Failure>> {
        self.engine.read(Failures { id }).await
    }

    async fn explain(&self, id: TaskId) -> Result<Option<Facts>> {
        self.engine.read(Explain { id }).await
    }

    async fn publish_kinds(&self, kinds: Vec<(Name, Rules)>) -> Result<()> {
        check_batch("publish kinds", &kinds)?;
        self.engine.write(Publish::new(kinds)).await
    }

    async fn kinds(&self) -> Result<Vec<KindRow>> {
        self.engine.read(Kinds).await
    }

    async fn register(&self, card: NodeCard) -> Result<()> {
        self.engine.write(Register { card }).await
    }

    async fn beat(&self, node: NodeId, pulse: Pulse, ttl_ms: u64) -> Result<BeatAnswer> {
        self.engine
            .write(RenewLease {
                node,
                pulse,
                ttl_ms,
            })
            .await
    }

    async fn retire(&self, node: NodeId) -> Result<bool> {
        self.engine.write(Retire { node }).await
    }

    async fn declare_dead(&self, node: NodeId, seq: u64) -> Result<bool> {
        self.engine.write(DeclareDead { node, seq }).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>> {
        self.engine.read(Nodes).await
    }

    async fn glance(&self, node: NodeId, width: usize, depth: Depth) -> Result<Glance> {
        self.unfold_old().await;
        self.engine.read(Look { node, width, depth }).await
    }

    async fn lanes(&self, kinds: Vec<KindKey>, look: LaneLook) -> Result<Vec<LaneView>> {
        self.engine.read(Lanes { kinds, look }).await
    }

    async fn running_elsewhere(&self, node: NodeId) -> Result<Vec<RunningIn>> {
        self.engine.read(RunningElsewhere { node }).await
    }

    async fn heads(&self, kinds: Vec<KindKey>, reaches: Vec<Reach>) -> Result<Vec<LaneView>> {
        self.engine.read(Heads { kinds, reaches }).await
    }

    async fn claim(&self, claim: Claim) -> Result<ClaimAnswer> {
        let take = Take::new(claim);
        if take.is_empty() {
            return Ok(ClaimAnswer::default());
        }
        let engine = self.engine.clone();
        spawned(Take::NAME, async move { claim::claim(&engine, take).await }).await
    }

    async fn claim_within(&self, claim: Claim, bounds: Bounds) -> Result<ClaimAnswer> {
        let take = TakeWithin::new(claim, bounds);
        let engine = self.engine.clone();
        let work = async move { claim_within(&engine, take).await };
        spawned(TakeWithin::NAME, work).await
    }

    async fn claim_these(&self, claim: ClaimThese, bounds: Bounds) -> Result<ClaimAnswer> {
        check_batch("claim named tasks", &claim.tasks)?;
        let take = TakeWithin::these(&claim, bounds);
        let engine = self.engine.clone();
        let work = async move { claim_within(&engine, take).await };
        spawned(TakeWithin::NAME, work).await
    }

    async fn offers(&self, sought: Sought, limit: usize) -> Result<Vec<Offer>> {
        match &sought {
            Sought::After(_) => {}
            Sought::First { lanes, .. } => check_batch("read what is claimable", lanes)?,
            Sought::These(ids) => check_batch("read what is claimable", ids)?,
        }
        let limit = limit.clamp(1, BATCH_MAX);
        self.engine.read(Offers { sought, limit }).await
    }

    async fn full(&self, keys: Vec<ScopeKey>) -> Result<Vec<ScopeKey>> {
        check_batch("look at limits", &keys)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.engine.read(ReadFull { keys }).await
    }

    async fn config(&self) -> Result<Config> {
        self.engine.read(ReadConfig).await
    }

    async fn set(&self, scope: Scope, changes: Vec<SettingChange>) -> Result<Applied> {
        self.unfold_all().await?;
        self.engine.write(SetScope { scope, changes }).await
    }

    async fn settle(&self, scope: Scope) -> Result<()> {
        self.unfold_all().await?;
        self.engine.write(Settle { scope }).await
    }

    async fn set_policy(&self, policy: Option<String>) -> Result<Applied> {
        self.engine.write(SetPolicy { policy }).await
    }

    async fn save(&self, saves: Vec<Save>) -> Result<Vec<Saved>> {
        check_batch("save checkpoints", &saves)?;
        saves.iter().try_for_each(check_save)?;
        if saves.is_empty() {
            return Ok(Vec::new());
        }
        self.engine.write(SaveRuns { saves }).await
    }

    async fn try_suspect(&self, id: TaskId, run: RunId) -> Result<bool> {
        self.engine.write(TrySuspect { id, run }).await
    }

    async fn end(&self, ends: Vec<End>) -> Result<Vec<Ended>> {
        check_batch("end runs", &ends)?;
        ends.iter().try_for_each(check_end)?;
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let engine = self.engine.clone();
        spawned(EndRuns::NAME, async move { end_all(&engine, ends).await }).await
    }

    async fn held(&self, node: NodeId, limit: usize) -> Result<Vec<(TaskId, RunId)>> {
        self.engine.read(HeldRuns { node, limit }).await
    }

    async fn verify(&self, runs: Vec<(TaskId, RunId)>) -> Result<Vec<Option<Status>>> {
        check_batch("verify runs", &runs)?;
        self.engine.read(Verify { runs }).await
    }

    async fn promote(&self, limit: usize) -> Result<Promoted> {
        self.engine
            .write(Promote {
                limit: limit.min(BATCH_MAX),
            })
            .await
    }

    async fn wake(&self, limit: usize) -> Result<usize> {
        self.engine
            .write(Wake {
                limit: limit.min(BATCH_MAX),
            })
            .await
    }

    async fn sweep(&self, limit: usize) -> Result<Swept> {
        self.engine
            .write(Sweep {
                limit: limit.min(BATCH_MAX),
            })
            .await
    }

    async fn prune(&self, limit: usize) -> Result<usize> {
        self.engine
            .write(Prune {
                limit: limit.min(BATCH_MAX),
            })
            .await
    }

    async fn hint(&self, hint: Hint) -> Result<()> {
        let said = Said {
            hint,
            by: self.engine.origin,
        };
        if let Some(file) = &self.engine.file {
            file.tell(said);
        }
        if self.engine.dialect.capabilities.listen_notify {
            self.engine.read(Notify { said }).await?;
        }
        Ok(())
    }

    async fn listen(&self) -> Result<Option<Hints>> {
        hints::listen(&self.engine).await
    }
}
