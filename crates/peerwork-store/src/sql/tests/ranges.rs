//! A range that a claim moves is walked from its one end to the other, and no further: not over all that waits in the lane.

use super::databases::TestDatabase;
use super::explain::explain;
use super::recorder::Recorder;
use super::script::{NODE, RUN, card, name, task};
use crate::sql::engine::Operation;
use crate::sql::ops::claim::Take;
use crate::sql::ops::claim_ranges::TakeByRange;
use crate::sql::tx::Tx;
use crate::*;
use peerwork_core::*;
use uuid::Uuid;

#[tokio::test]
async fn a_claim_by_range_on_sqlite_ends_at_its_last_task() {
    let fresh = TestDatabase::fresh(Database::Sqlite).await;
    let store = &fresh.store;
    store.register(card(NODE)).await.expect("register");
    let tasks = (1..=3).map(|n| task(TaskId(Uuid::from_u128(n))));
    store.create(tasks.collect()).await.expect("create");
    let kinds = vec![KindKey::new(&name("plain"))];
    let lanes = store.lanes(kinds.clone(), LaneLook::first(10)).await;
    let head = lanes.expect("lanes").pop().expect("a lane");
    let claim = Claim {
        node: NODE,
        run: RUN,
        grants: vec![Grant {
            lane: head.lane,
            tasks: 2,
        }],
        // As a node claims that remembers where the lane begins, and of one rank of it.
        reaches: vec![Reach {
            lane: head.lane,
            rank: head.rank,
            since: head.since,
            until: Rank(head.rank.0 + 1),
        }],
        kinds,
        version: 0,
    };
    let dialect = store.engine.dialect.clone();
    let mut lease = store
        .engine
        .connections
        .lease()
        .await
        .expect("a connection");
    let mut link = Recorder::new(lease.link(), dialect.clone());
    let mut tx = Tx::new(&mut link, dialect.clone(), TakeByRange::NAME);
    tx.begin(true).await.expect("begin");
    let take = Take::new(claim).by_range();
    let claimed = take.run(&mut tx).await.expect("claim");
    tx.commit().await.expect("commit");
    assert_eq!(claimed.map(|claimed| claimed.len()), Some(2));
    let mut moves = link.seen;
    moves.retain(|sql| sql.text.contains("(r.rank_no, r.ready_at, r.id) <="));
    assert_eq!(moves.len(), 2, "into one table, out of the other");
    for sql in moves {
        let plan = explain(lease.link(), &dialect, &sql).await;
        assert!(
            plan.text.contains("(rank_no,ready_at,id)<(?,?,?)"),
            "{}\n{}",
            sql.text,
            plan.text
        );
    }
    lease.sound();
    fresh.remove().await;
}
