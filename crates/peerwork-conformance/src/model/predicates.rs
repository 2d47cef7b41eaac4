//! Random rows in random statuses: what SQL finds is compared with what the pure rules say of each row.

use super::operation::{any_kind, any_rules};
use crate::population::{GONE, LIVES, Plan, populate};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Populations of a run, on each database.
const CASES: u32 = 6;

/// Rows of a population at most.
const ROWS_MAX: usize = 200;

/// Time that goes by once all are there, in milliseconds: about the half of what sleeps is due then.
const PASS_MS: u64 = 100;

pub fn compare(backend: Backend) {
    let rules = vec((any_kind(), any_rules()), 0..4);
    let values = (vec(any_plan(), 0..ROWS_MAX), rules, vec(any_kind(), 0..5));
    super::check(backend, CASES, &values, async |f, (plans, rules, kinds)| {
        let nodes = [f.node().await, f.node().await, f.node().await];
        let all = populate(f, &plans, &nodes).await;
        f.store.publish_kinds(rules).await.expect("publish kinds");
        f.clock.pass_ms(PASS_MS);
        let ids: Vec<_> = all.iter().map(|one| one.id).collect();
        lanes_are_the_first_that_may_be_claimed(f, &ids, &kinds).await;
        what_is_due_is_promoted(f, &ids).await;
        what_the_dead_hold_is_swept(f, &ids, nodes[0]).await;
        lanes_are_the_first_that_may_be_claimed(f, &ids, &kinds).await;
        what_may_be_claimed_is_claimed(f, &ids, nodes[1], &kinds).await;
    });
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let lives: Vec<_> = LIVES.into_iter().chain([GONE]).collect();
    let user = prop::sample::select(&["ann", "bob", "eve"][..]);
    let wake_ms = prop_oneof![1 => Just(PASS_MS), 8 => 0..2 * PASS_MS];
    (
        prop::sample::select(lives),
        any_kind(),
        user,
        -2i16..3,
        wake_ms,
        0usize..3,
    )
        .prop_map(|(life, kind, user, priority, wake_ms, node)| Plan {
            life,
            kind,
            user: name(user),
            priority,
            wake_ms,
            node,
        })
}

async fn records(f: &Fixture, ids: &[TaskId]) -> Vec<TaskRecord> {
    f.store
        .get(ids.to_vec())
        .await
        .expect("get")
        .into_iter()
        .flatten()
        .collect()
}

/// The lanes of what `decide` lets a node claim, each in its order.
fn claimable(
    f: &Fixture,
    records: &[TaskRecord],
    kinds: &[Name],
) -> BTreeMap<LaneId, Vec<(Rank, Timestamp, TaskId)>> {
    let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records.iter().filter(|record| kinds.contains(&record.kind)) {
        let task = &record.task;
        if let Ok(Transition::To(to)) = decide(task, &Rules::default(), Event::Claim, f.clock.now())
        {
            let lane = LaneId::new(&record.group, &record.user).of(to.status.work());
            let rank = Rank::new(task.status, record.priority);
            lanes
                .entry(lane)
                .or_default()
                .push((rank, task.ready_at, record.id));
        }
    }
    lanes.values_mut().for_each(|lane| lane.sort_unstable());
    lanes
}

async fn lanes_are_the_first_that_may_be_claimed(f: &Fixture, ids: &[TaskId], kinds: &[Name]) {
    let records = records(f, ids).await;
    let keys = kinds.iter().map(KindKey::new).collect();
    let mut found = f
        .store
        .lanes(keys, LaneLook::first(BATCH_MAX))
        .await
        .expect("lanes");
    found.sort_by_key(|lane| lane.lane);
    let found: Vec<_> = found
        .into_iter()
        .map(|lane| (lane.lane, lane.rank, lane.since))
        .collect();
    let wanted = claimable(f, &records, kinds);
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|(lane, first)| (lane, first[0].0, first[0].1))
        .collect();
    assert_eq!(found, wanted, "lanes");
}

async fn what_is_due_is_promoted(f: &Fixture, ids: &[TaskId]) {
    let before = records(f, ids).await;
    let promoted = f.promote().await;
    let mut due = 0;
    for (before, after) in before.iter().zip(records(f, ids).await) {
        let task = match decide(&before.task, &Rules::default(), Event::Due, f.clock.now()) {
            Ok(Transition::To(to)) => to,
            _ => before.task,
        };
        due += usize::from(task != before.task);
        assert_eq!(after.task, task, "promote: {before:?}");
    }
    assert_eq!(promoted, due);
}

async fn what_the_dead_hold_is_swept(f: &Fixture, ids: &[TaskId], dead: NodeId) {
    f.bury(dead).await;
    let published = f.store.kinds().await.expect("kinds");
    let before = records(f, ids).await;
    let swept = f.sweep().await;
    let mut wanted = Vec::new();
    for (before, after) in before.iter().zip(records(f, ids).await) {
        let rules = published
            .iter()
            .find(|row| row.kind == before.kind)
            .map(|row| row.rules.clone());
        let orphan = before.node == Some(dead);
        let decided = decide(
            &before.task,
            &rules.unwrap_or_default(),
            Event::DeadOwner { on_trial: false },
            f.clock.now(),
        );
        let task = match decided {
            Ok(Transition::To(to)) if orphan => {
                wanted.push((before.id, to.status));
                to
            }
            _ => before.task,
        };
        assert_eq!(after.task, task, "sweep: {before:?}");
    }
    wanted.sort_unstable();
    assert_eq!(swept, wanted);
}

async fn what_may_be_claimed_is_claimed(f: &Fixture, ids: &[TaskId], node: NodeId, kinds: &[Name]) {
    let before = records(f, ids).await;
    let wanted = claimable(f, &before, kinds);
    let kinds: Vec<_> = kinds.iter().map(Name::as_str).collect();
    let mut claimed = Vec::new();
    for work in [Work::Run, Work::Cleanup] {
        // Lanes in which there is nothing are granted too: the other sort of work may not be taken for it.
        let lane = |record: &TaskRecord| LaneId::new(&record.group, &record.user).of(work);
        let mut lanes: Vec<_> = before.iter().map(lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let grants: Vec<_> = lanes
            .into_iter()
            .map(|lane| Grant {
                lane,
                tasks: BATCH_MAX,
            })
            .collect();
        claimed.extend(f.claim_from(node, &grants, &kinds).await);
    }
    for claimed in &claimed {
        let before = before
            .iter()
            .find(|record| record.id == claimed.id)
            .expect("one of these");
        let to = decide(&before.task, &Rules::default(), Event::Claim, f.clock.now());
        assert_eq!(to, Ok(Transition::To(claimed.task)), "claim: {before:?}");
        assert_eq!(f.record(claimed.id).await.task, claimed.task);
    }
    claimed.sort_by_key(|claimed| claimed.lane);
    let claimed: Vec<_> = claimed.into_iter().map(|claimed| claimed.id).collect();
    let wanted: Vec<_> = wanted
        .into_values()
        .flatten()
        .map(|(_, _, id)| id)
        .collect();
    assert_eq!(claimed, wanted);
}
