//! Nodes: leases, beats whose answers are lost, deaths, and ends.

use crate::*;
use peerwork_core::*;
use peerwork_store::*;

/// The row of a node that is there.
async fn row(f: &Fixture, node: NodeId) -> NodeRow {
    let nodes = f.store.nodes().await.expect("nodes");
    nodes
        .into_iter()
        .find(|row| row.id == node)
        .expect("the node is there")
}

async fn beat(f: &Fixture, node: NodeId, seq: u64, acked: u64) -> BeatAnswer {
    f.store
        .beat(node, Pulse { seq, acked }, 15_000)
        .await
        .expect("beat")
}

/// A node registers with beat 0 and a lease of one ttl.
pub async fn a_node_registers_with_a_lease(f: &Fixture) {
    let id = fresh_node();
    let card = NodeCard {
        id,
        label: "host 1".to_owned(),
        ttl_ms: 3_000,
        slots: 7,
        kinds: Vec::new(),
    };
    f.store.register(card).await.expect("register");
    let wanted = NodeRow {
        id,
        label: "host 1".to_owned(),
        started_at: f.clock.now(),
        seq: 0,
        ttl_ms: 3_000,
        lease_until: f.clock.now().plus_ms(3_000),
        alive: true,
        slots: 7,
        held: 0,
    };
    assert_eq!(f.store.nodes().await.expect("nodes"), [wanted]);
}

/// A registration whose answer was lost may be repeated, at any later time.
pub async fn ga_45_registering_again_changes_nothing(f: &Fixture) {
    let node = f.node().await;
    assert_eq!(beat(f, node, 1, 0).await, BeatAnswer::Renewed);
    let before = row(f, node).await;
    f.clock.pass_ms(100);
    let again = || NodeCard {
        id: node,
        label: "other".to_owned(),
        ttl_ms: 99_000,
        slots: 99,
        kinds: Vec::new(),
    };
    f.store.register(again()).await.expect("register");
    assert_eq!(row(f, node).await, before);
    assert!(f.store.declare_dead(node, 1).await.expect("declare dead"));
    f.store.register(again()).await.expect("register");
    assert!(!row(f, node).await.alive, "nobody comes back from the dead");
}

/// A beat renews the lease from now on.
pub async fn a_beat_renews_the_lease(f: &Fixture) {
    let node = f.node().await;
    f.clock.pass_ms(3_000);
    assert_eq!(
        f.store
            .beat(node, Pulse { seq: 1, acked: 0 }, 20_000)
            .await
            .expect("beat"),
        BeatAnswer::Renewed
    );
    let row = row(f, node).await;
    assert_eq!((row.seq, row.ttl_ms), (1, 20_000));
    assert_eq!(row.lease_until, f.clock.now().plus_ms(20_000));
}

/// A beat may be sent again when its answer was lost: the row then tells that it had worked.
pub async fn ga_45_a_beat_that_is_repeated_finds_its_number(f: &Fixture) {
    let node = f.node().await;
    assert_eq!(beat(f, node, 1, 0).await, BeatAnswer::Renewed);
    let before = row(f, node).await;
    f.clock.pass_ms(100);
    assert_eq!(
        beat(f, node, 1, 0).await,
        BeatAnswer::Row {
            seq: 1,
            alive: true
        }
    );
    assert_eq!(
        row(f, node).await,
        before,
        "a lost answer does not lengthen the lease"
    );
    assert_eq!(
        beat(f, node, 5, 0).await,
        BeatAnswer::Renewed,
        "beats may be lost in between"
    );
    assert_eq!(
        beat(f, node, 4, 1).await,
        BeatAnswer::Row {
            seq: 5,
            alive: true
        },
        "one arrives late"
    );
}

/// A database that lost acknowledged beats is found out, not repaired.
pub async fn a_beat_that_was_acknowledged_and_is_not_there_is_told(f: &Fixture) {
    let node = f.node().await;
    assert_eq!(
        beat(f, node, 9, 8).await,
        BeatAnswer::Row {
            seq: 0,
            alive: true
        }
    );
    assert_eq!(row(f, node).await.seq, 0);
    assert_eq!(beat(f, fresh_node(), 1, 0).await, BeatAnswer::Missing);
}

/// A zombie's heartbeat keeps nothing alive.
pub async fn ga_03_a_dead_nodes_beat_does_not_revive_it(f: &Fixture) {
    let held = f.running(task()).await;
    f.bury(held.node).await;
    let before = row(f, held.node).await;
    assert_eq!(
        beat(f, held.node, 1, 0).await,
        BeatAnswer::Row {
            seq: 0,
            alive: false
        }
    );
    assert_eq!(row(f, held.node).await, before);
    assert_eq!(f.sweep().await, [(held.id, Status::Resuming)]);
    assert_eq!(
        beat(f, held.node, 2, 0).await,
        BeatAnswer::Row {
            seq: 0,
            alive: false
        }
    );
}

/// A death is declared by one compare-and-set on what the peer had seen.
pub async fn a_death_is_declared_only_of_the_beat_that_was_seen(f: &Fixture) {
    let node = f.node().await;
    let declare = async |seq| f.store.declare_dead(node, seq).await.expect("declare dead");
    beat(f, node, 3, 0).await;
    assert!(!declare(0).await && !declare(2).await && !declare(4).await);
    assert!(row(f, node).await.alive);
    assert!(declare(3).await);
    assert!(!declare(3).await, "somebody else was first");
    assert!(!row(f, node).await.alive);
    assert!(
        !f.store
            .declare_dead(fresh_node(), 0)
            .await
            .expect("declare dead")
    );
}

/// Operations of users say nothing about a node.
pub async fn ga_13_a_users_operation_does_not_extend_a_lease(f: &Fixture) {
    let held = f.running(task()).await;
    let before = row(f, held.node).await;
    f.clock.pass_ms(20_000);
    f.save(held.save(b"half")).await;
    for wish in super::steer::wishes() {
        f.steer(held.id, wish).await;
    }
    f.end(&held, OK).await;
    f.create(task()).await;
    f.claim(held.node, Work::Run, 1).await;
    let after = NodeRow {
        held: before.held,
        ..row(f, held.node).await
    };
    assert_eq!(after, before);
}

/// The row goes when the node holds nothing more.
pub async fn a_node_retires_when_it_holds_nothing(f: &Fixture) {
    let held = f.running(task()).await;
    let retire = async || f.store.retire(held.node).await.expect("retire");
    assert!(!retire().await);
    assert_eq!(row(f, held.node).await.held, 1);
    f.must(held.id, Wish::Pause).await;
    assert!(!retire().await, "a run that was told to stop is still held");
    f.end(&held, Event::Stopped).await;
    assert!(retire().await);
    assert_eq!(f.store.nodes().await.expect("nodes"), []);
    assert!(retire().await, "it may be asked again");
    assert_eq!(f.save(held.save(b"late")).await, Saved::Lost);
}

/// A dead node's row stays for a day, for people, and for itself should it wake.
pub async fn a_dead_node_is_remembered_for_a_day(f: &Fixture) {
    let (dead, alive) = (f.node().await, f.node().await);
    f.bury(dead).await;
    f.clock.pass_ms(TOMBSTONE_MS - 1);
    f.store.prune(BATCH_MAX).await.expect("prune");
    assert_eq!(f.store.nodes().await.expect("nodes").len(), 2);
    f.clock.pass_ms(1);
    f.store.prune(BATCH_MAX).await.expect("prune");
    assert!(row(f, alive).await.alive);
    assert_eq!(f.store.nodes().await.expect("nodes").len(), 1);
    assert_eq!(beat(f, dead, 1, 0).await, BeatAnswer::Missing);
}

/// A glance tells a node everything that concerns it, and nothing of others' runs.
pub async fn a_glance_shows_what_concerns_a_node(f: &Fixture) {
    let node = f.node().await;
    f.store
        .create((0..4).map(|_| task()).collect())
        .await
        .expect("create");
    let claimed = f.claim(node, Work::Run, 4).await;
    let [a, b, c, d] = [0, 1, 2, 3].map(|i: usize| Held {
        id: claimed[i].id,
        run: claimed[i].run,
        node,
    });
    let other = f.running(task()).await;
    f.must(other.id, Wish::Pause).await;
    f.must(a.id, Wish::Pause).await;
    f.must(b.id, Wish::Delete).await;
    f.must(c.id, Wish::Pause).await;
    f.must(c.id, Wish::Resume).await;
    f.must(d.id, Wish::Pause).await;
    f.end(&d, Event::Stopped).await;
    let glance = f.glance(node).await;
    let mut wishes = glance.wishes;
    wishes.sort_by_key(|wish| wish.id);
    let wished = |held: Held, status| Wished {
        id: held.id,
        run: held.run,
        status,
    };
    assert_eq!(
        wishes,
        [wished(a, Status::Pausing), wished(b, Status::DeletingRun)]
    );
    assert_eq!((glance.now, glance.held), (f.clock.now(), Some(3)));
    assert!(!glance.ready && !glance.dead);
    assert_eq!(f.glance(fresh_node()).await.held, Some(0));
}

/// It says nothing of the two, and of everything else what a full one says.
pub async fn a_brief_glance_leaves_out_what_is_held_and_what_is_claimable(f: &Fixture) {
    let node = f.node().await;
    let (dead, other) = (f.node().await, f.node().await);
    let ids = [f.create(task()).await, f.create(task()).await];
    f.take(node, ids[0]).await;
    f.take(dead, ids[1]).await;
    f.must(ids[0], Wish::Pause).await;
    f.create(task()).await;
    f.create(NewTask {
        due: Some(f.clock.now()),
        ..task()
    })
    .await;
    f.bury(dead).await;
    let full = f.glance(node).await;
    assert_eq!((full.held, full.ready, full.dead), (Some(1), true, true));
    assert_eq!((full.wishes.len(), full.peers.len()), (1, 1));
    assert_eq!((full.peers[0].0, full.next_wake.is_some()), (other, true));
    let brief = f.store.glance(node, 2, Depth::Brief).await.expect("glance");
    let expected = Glance {
        held: None,
        ready: false,
        ..full
    };
    assert_eq!(format!("{brief:?}"), format!("{expected:?}"));
}

/// A glance shows the leases of those that are not dead, whatever their age.
pub async fn a_glance_shows_the_peers_that_are_not_dead(f: &Fixture) {
    let nodes = [f.node().await, f.node().await, f.node().await];
    f.bury(nodes[1]).await;
    f.clock.pass_ms(60_000);
    beat(f, nodes[2], 4, 0).await;
    let glance = f.glance(nodes[0]).await;
    let wanted = [(nodes[2], 4, 15_000, f.clock.now().plus_ms(15_000))];
    assert_eq!(glance.peers, wanted);
}

/// A glance shows no more peers than were asked for: those that follow in the ring of ids, nearest first.
pub async fn a_glance_shows_the_peers_that_follow(f: &Fixture) {
    let mut nodes = Vec::new();
    for _ in 0..5 {
        nodes.push(f.node().await);
    }
    nodes.sort_unstable();
    for at in 0..nodes.len() {
        for width in 0..=nodes.len() {
            let glance = f
                .store
                .glance(nodes[at], width, Depth::Full)
                .await
                .expect("glance");
            let shown: Vec<_> = glance.peers.into_iter().map(|(node, ..)| node).collect();
            let ring = nodes
                .iter()
                .cycle()
                .skip(at + 1)
                .take(width.min(nodes.len() - 1));
            assert_eq!(shown, ring.copied().collect::<Vec<_>>());
        }
    }
    // One that is declared dead is no part of it any more, and still sees the others.
    f.bury(nodes[1]).await;
    let seen = async |node| {
        f.store
            .glance(node, 1, Depth::Full)
            .await
            .expect("glance")
            .peers[0]
            .0
    };
    assert_eq!(seen(nodes[0]).await, nodes[2]);
    assert_eq!(seen(nodes[1]).await, nodes[2]);
    assert_eq!(seen(nodes[4]).await, nodes[0]);
}

/// A cleanup that is running counts as held, and is not asked to stop.
pub async fn a_cleanup_is_held_like_a_run(f: &Fixture) {
    let id = f.create(task()).await;
    f.must(id, Wish::Delete).await;
    let node = f.node().await;
    let held = f.take(node, id).await;
    let glance = f.glance(node).await;
    assert_eq!((glance.held, glance.wishes), (Some(1), vec![]));
    assert!(!f.store.retire(node).await.expect("retire"));
    assert_eq!(
        f.save(held.save(b"cleaned half")).await,
        Saved::Kept(Status::Cleaning)
    );
    f.end(&held, Event::Stopped).await;
    let claimed = f.claim(node, Work::Cleanup, 1).await;
    assert_eq!(
        claimed[0].checkpoint.as_deref(),
        Some(&b"cleaned half"[..]),
        "a cleanup goes on too"
    );
}

/// A claim whose answer was lost is found again by what the node holds.
pub async fn ga_45_a_claim_whose_answer_was_lost_is_found_again(f: &Fixture) {
    f.store
        .create((0..3).map(|_| task()).collect())
        .await
        .expect("create");
    let other = f
        .running(NewTask {
            user: name("bob"),
            ..task()
        })
        .await;
    let node = f.node().await;
    let mut runs: Vec<_> = f
        .claim(node, Work::Run, 3)
        .await
        .iter()
        .map(|c| (c.id, c.run))
        .collect();
    runs.sort_unstable();
    let held = async |node, limit| {
        let mut held = f.store.held(node, limit).await.expect("held");
        held.sort_unstable();
        held
    };
    assert_eq!(held(node, 10).await, runs);
    assert_eq!(held(other.node, 10).await, [(other.id, other.run)]);
    assert_eq!(
        (
            held(node, 2).await.len(),
            held(fresh_node(), 10).await.len()
        ),
        (2, 0)
    );
    let first = Held {
        id: runs[0].0,
        run: runs[0].1,
        node,
    };
    f.end(&first, OK).await;
    assert_eq!(held(node, 10).await, runs[1..]);
}
