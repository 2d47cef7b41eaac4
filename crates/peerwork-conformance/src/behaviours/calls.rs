//! What holds for every call: one connection is enough, and whoever stops waiting for an answer breaks nothing.

use crate::*;
use futures_util::FutureExt;
use futures_util::future::join_all;
use peerwork_core::*;
use peerwork_store::*;

/// The suite's stores have a pool of one connection; here all calls want it at once.
pub async fn ga_18_every_call_works_with_one_connection(f: &Fixture) {
    let node = f.node().await;
    let held = f.running(task()).await;
    let rounds = (0..4).map(|_| async {
        let store = &f.store;
        store.check_schema().await.expect("check schema");
        store.now().await.expect("now");
        let new = task();
        let id = new.id;
        store.create(vec![new]).await.expect("create");
        store
            .steer(vec![id], Filter::default(), Wish::Pause)
            .await
            .expect("steer");
        store.get(vec![id]).await.expect("get");
        store.list(Filter::default(), None, 3).await.expect("list");
        store.payload(id, Payload::Input).await.expect("payload");
        store.outputs(vec![id]).await.expect("outputs");
        store.failures(id).await.expect("failures");
        store
            .publish_kinds(vec![(name(KIND), Rules::default())])
            .await
            .expect("publish kinds");
        store.kinds().await.expect("kinds");
        store
            .beat(node, Pulse { seq: 1, acked: 0 }, 3_000)
            .await
            .expect("beat");
        store.retire(fresh_node()).await.expect("retire");
        store
            .declare_dead(fresh_node(), 0)
            .await
            .expect("declare dead");
        store.nodes().await.expect("nodes");
        store.glance(node, 1, Depth::Full).await.expect("glance");
        store
            .lanes(vec![KindKey::new(&name(KIND))], LaneLook::first(5))
            .await
            .expect("lanes");
        f.claim(node, Work::Run, 1).await;
        store.save(vec![held.save(b"half")]).await.expect("save");
        store.held(node, 5).await.expect("held");
        store
            .verify(vec![(held.id, held.run)])
            .await
            .expect("verify");
        store.end(vec![held.end(OK)]).await.expect("end");
        store.promote(5).await.expect("promote");
        store.wake(5).await.expect("wake");
        store.sweep(5).await.expect("sweep");
        store.prune(5).await.expect("prune");
        store.hint(Hint::ALL).await.expect("hint");
    });
    join_all(rounds).await;
}

/// A create whose caller went away has happened for all of its tasks, or for none; and the next call is served.
pub async fn a_create_that_nobody_waits_for_is_whole(f: &Fixture) {
    for _ in 0..10 {
        let batch: Vec<_> = (0..3).map(|_| task()).collect();
        drop(f.store.create(batch.clone()).now_or_never());
        let again = f.store.create(batch.clone()).await.expect("create");
        assert!(
            again == [Created::New; 3] || again == [Created::Existed; 3],
            "{again:?}"
        );
        let found = f
            .store
            .get(batch.iter().map(|task| task.id).collect())
            .await
            .expect("get");
        assert!(found.iter().all(Option::is_some));
    }
}

/// A claim whose caller went away leaves nothing half claimed: the node finds its tasks, or others do.
pub async fn a_claim_that_nobody_waits_for_is_whole(f: &Fixture) {
    let lane = LaneId::new(&name("maths"), &name("ann"));
    for _ in 0..10 {
        f.store
            .create((0..3).map(|_| task()).collect())
            .await
            .expect("create");
        let node = f.node().await;
        let kinds = vec![KindKey::new(&name(KIND))];
        let run = fresh_run();
        let claim = Claim {
            node,
            run,
            grants: vec![Grant { lane, tasks: 3 }],
            kinds,
            reaches: Vec::new(),
            version: 0,
        };
        drop(f.store.claim(claim).now_or_never());
        let mine = f.claim(node, Work::Run, 3).await;
        let held = f.store.held(node, 10).await.expect("held");
        assert_eq!(held.len(), 3);
        assert!(
            mine.is_empty() || mine.len() == 3,
            "a part was claimed: {mine:?}"
        );
        let ends = held
            .iter()
            .map(|(id, run)| {
                Held {
                    id: *id,
                    run: *run,
                    node,
                }
                .end(OK)
            })
            .collect();
        let ended = f.store.end(ends).await.expect("end");
        assert_eq!(ended, [Ended::Recorded(Status::Finished); 3]);
    }
}

/// The same for what a run writes: the checkpoint and the status of one report are there together or not at all.
pub async fn an_end_that_nobody_waits_for_is_whole(f: &Fixture) {
    for _ in 0..10 {
        let held = f.running(task()).await;
        drop(f.store.save(vec![held.save(b"half")]).now_or_never());
        drop(f.store.end(vec![held.end(OK)]).now_or_never());
        let ended = f.end(&held, FAIL).await;
        let output = f.payload(held.id, Payload::Output).await;
        let record = f.record(held.id).await;
        let told = (
            ended,
            record.task.status,
            output.is_some(),
            record.error.is_some(),
        );
        let finished = (
            Ended::Already(Status::Finished),
            Status::Finished,
            true,
            false,
        );
        let failed = (Ended::Recorded(Status::Failed), Status::Failed, false, true);
        assert!(told == finished || told == failed, "{told:?}");
    }
}
