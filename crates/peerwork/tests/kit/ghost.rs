//! A node that is only a row and an id: what a frozen process does when it wakes, a test does through it.

use super::{Place, Puppet};
use peerwork::{Grant, Handler, LaneView, NodeId, Rules, RunId, TaskId};
use peerwork_core::{Event, KindKey, LaneLook, Name, Work};
use peerwork_store::{Claim, Claimed, End, Ended, NodeCard, Save, Saved, Store};
use std::sync::Arc;
use uuid::Uuid;

/// Never beats. Its lease is the shortest there is, but nobody declares it dead before a test does, or its ttl has
/// passed twice.
pub struct Ghost {
    /// As the database knows it.
    pub id: NodeId,
    store: Arc<dyn Store>,
}

impl Ghost {
    /// Registers a node with a lease of `ttl_ms`.
    pub async fn with_ttl(place: &Place, ttl_ms: u64) -> Self {
        Self::register(place.store(), ttl_ms).await
    }

    /// Registers a node whose lease outlasts the test.
    pub async fn appear(place: &Place) -> Self {
        Self::appear_with(place.store()).await
    }

    /// The same over this store.
    pub async fn appear_with(store: Arc<dyn Store>) -> Self {
        Self::register(store, super::STEADY.ttl_ms).await
    }

    async fn register(store: Arc<dyn Store>, ttl_ms: u64) -> Self {
        let card = NodeCard {
            id: NodeId(Uuid::now_v7()),
            label: "ghost".to_owned(),
            ttl_ms,
            slots: 1,
            kinds: puppets(),
        };
        store.register(card.clone()).await.expect("register");
        Self { id: card.id, store }
    }

    /// The lanes in which puppets wait for this sort of work.
    pub async fn lanes(&self, work: Work) -> Vec<LaneView> {
        let mut lanes = self
            .store
            .lanes(puppets(), LaneLook::first(100))
            .await
            .expect("lanes");
        lanes.retain(|lane| lane.work == work);
        lanes
    }

    /// Claims up to `count` puppets from each of `lanes`, in one claim, in the name of `node`.
    pub async fn claim_from(&self, node: NodeId, lanes: &[LaneView], count: usize) -> Vec<Claimed> {
        let grant = |lane: &LaneView| Grant {
            lane: lane.lane,
            tasks: count,
        };
        let claim = Claim {
            node,
            run: RunId(Uuid::now_v7()),
            grants: lanes.iter().map(grant).collect(),
            kinds: puppets(),
            reaches: Vec::new(),
            version: 0,
        };
        self.store.claim(claim).await.expect("claim").tasks
    }

    /// The same from all lanes that there are, in the name of another node.
    pub async fn claim_as(&self, node: NodeId, work: Work, count: usize) -> Vec<Claimed> {
        let lanes = self.lanes(work).await;
        self.claim_from(node, &lanes, count).await
    }

    /// The same in its own name.
    pub async fn claim(&self, work: Work, count: usize) -> Vec<Claimed> {
        self.claim_as(self.id, work, count).await
    }

    /// Claims the only task there is.
    pub async fn claim_one(&self) -> Claimed {
        let mut claimed = self.claim(Work::Run, 1).await;
        assert_eq!(claimed.len(), 1, "one task is there to be claimed");
        claimed.remove(0)
    }

    /// Saves a puppet's checkpoint.
    pub async fn save(&self, held: &Claimed, n: i64) -> Saved {
        let save = Save {
            id: held.id,
            run: held.run,
            checkpoint: Some(n.to_string().into_bytes()),
            progress: None,
        };
        self.store.save(vec![save]).await.expect("save")[0]
    }

    /// Ends a run.
    pub async fn end(&self, held: &Claimed, event: Event) -> Ended {
        self.end_run(held.id, held.run, event).await
    }

    /// Ends a run that it knows by its ids.
    pub async fn end_run(&self, id: TaskId, run: RunId, event: Event) -> Ended {
        let end = End {
            id,
            run,
            event,
            rules: Rules::default(),
            output: matches!(event, Event::Ok { .. }).then(|| b"666".to_vec()),
            error: matches!(event, Event::Err { .. }).then(|| "said by a ghost".to_owned()),
            awaited_children: 0,
        };
        self.store.end(vec![end]).await.expect("end")[0]
    }

    /// Is declared dead, and its tasks are taken back.
    pub async fn die(&self) {
        bury(&*self.store, self.id).await;
        sweep(&*self.store).await;
    }
}

fn puppets() -> Vec<KindKey> {
    let kind = Name::new("kind", Puppet::KIND).expect("it is a name");
    vec![KindKey::new(&kind)]
}

/// Declares a node dead, whatever it does meanwhile.
pub async fn bury(store: &dyn Store, node: NodeId) {
    loop {
        let nodes = store.nodes().await.expect("nodes");
        let row = nodes.iter().find(|row| row.id == node);
        match row.filter(|row| row.alive) {
            Some(row) if !store.declare_dead(node, row.seq).await.expect("declare") => {}
            Some(_) | None => return,
        }
    }
}

/// Takes all tasks of dead nodes back.
pub async fn sweep(store: &dyn Store) {
    while store.sweep(1_000).await.expect("sweep").more {}
}
