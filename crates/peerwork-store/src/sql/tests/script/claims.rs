//! Claims: of rows, and of one that is kept as a batch where the database keeps some.

use super::{NODE, OK, Stage, end_of, id, name, task};
use crate::sql::batch::{Batches, Unfold, unfold_with};
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::ops::claim::Take;
use crate::sql::ops::claim_read::Load;
use crate::sql::ops::create::Create;
use crate::sql::ops::finish::Finish;
use crate::sql::ops::finish_batches::FinishBatches;
use crate::sql::ops::read::Get;
use crate::sql::tx::Tx;
use crate::*;
use peerwork_core::*;
use uuid::Uuid;

const RUN: RunId = RunId(Uuid::from_u128(900));

impl Stage {
    /// Takes six tasks, and reads what was taken.
    pub(super) async fn claim(&mut self, claim: Claim) {
        let take = Take::new(claim);
        let claimed = if self.dialect.is_at_once() {
            let claimed = self.write("claim", take.at_once(usize::MAX)).await;
            claimed.map(|claimed| claimed.len())
        } else if self.dialect.writes_alone() {
            let claimed = self.write("claim", take.by_range()).await;
            claimed.map(|claimed| claimed.len())
        } else {
            return self.claim_in_turn(take).await;
        };
        assert_eq!(claimed, Some(6));
    }

    async fn claim_in_turn(&mut self, take: Take) {
        let taken = self.write("claim", take).await;
        let taken = taken.expect("the settings are those");
        assert_eq!(taken.len(), 6);
        self.read("read what was claimed", Load { taken }).await;
    }
}

/// 91 and 92 end as parts of a batch, 93 gets a row of its own before it does.
pub(super) async fn in_a_batch(stage: &mut Stage) {
    if !stage.dialect.is_at_once() {
        return;
    }
    let ids = [91, 92, 93].map(id);
    let bobs = ids.map(|id| NewTask {
        user: name("bob"),
        ..task(id)
    });
    let create = Create::new(bobs.to_vec(), None);
    stage.write("create what is kept in a batch", create).await;
    let lane = LaneId::new(&name("maths"), &name("bob"));
    let claim = Claim {
        node: NODE,
        run: RUN,
        grants: vec![Grant { lane, tasks: 3 }],
        kinds: vec![KindKey::new(&name("plain"))],
        reaches: Vec::new(),
        version: 0,
    };
    let taken = stage.write("claim a batch", Take::new(claim).at_once(3));
    let taken = taken.await.expect("the settings are those");
    assert_eq!(
        taken.iter().filter(|(_, is_in_batch)| *is_in_batch).count(),
        3
    );
    let known = Batches::new(None);
    let members = taken.iter();
    let members = members.map(|(claimed, _)| (claimed.id, claimed.task.ready_at));
    known.add(RUN, members);

    let ends = [ids[0], ids[1]].map(|id| end_of(id, RUN, OK));
    let finish = FinishBatches::of(&ends.each_ref(), &known).expect("they are in a batch");
    let there = stage.write("finish in a batch", finish).await;
    assert!(there.contains(&RUN));
    let read = Get { ids: ids.to_vec() };
    let records = stage.read("get from a batch", read).await;
    let statuses = ids.map(|id| records[&id].task.status);
    assert_eq!(
        statuses,
        [Status::Finished, Status::Finished, Status::Running]
    );
    let unfold = Unfold::Of(vec![RUN]);
    stage.write("unfold a batch", unfold).await;
    let end = end_of(ids[2], RUN, OK);
    let end = Finish::of(vec![&end]);
    assert_eq!(stage.write("finish what was unfolded", end).await.len(), 1);
    let none = stage.write("look for a batch", Find(ids.to_vec())).await;
    assert_eq!(none, 0);
}

struct Find(Vec<TaskId>);

impl Operation for Find {
    const NAME: &'static str = "unfold batches";
    type Answer = usize;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<usize, Fault> {
        unfold_with(tx, &self.0).await
    }
}
