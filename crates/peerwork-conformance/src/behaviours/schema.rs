//! The schema and the clock under it.

use crate::*;
use peerwork_store::*;

/// Starting again on a database with tasks changes nothing.
pub async fn migrating_again_keeps_everything(f: &Fixture) {
    let id = f.create(task()).await;
    f.store.check_schema().await.expect("check schema");
    f.store.migrate().await.expect("migrate");
    f.store.migrate().await.expect("migrate");
    f.store.check_schema().await.expect("check schema");
    assert_eq!(f.payload(id, Payload::Input).await, Some(b"input".to_vec()));
}

/// Many processes may start at once.
pub async fn ga_42_many_may_migrate_at_once(f: &Fixture) {
    let all = (0..8).map(|_| f.store.migrate());
    for migrated in futures_util::future::join_all(all).await {
        migrated.expect("migrate");
    }
    f.store.check_schema().await.expect("check schema");
}

/// Time is the database's alone, to the microsecond.
pub async fn ga_53_all_times_are_the_stores(f: &Fixture) {
    assert_eq!(f.store.now().await.expect("now"), f.clock.now());
    let node = f.node().await;
    f.clock.pass_ms(86_400_000);
    assert_eq!(f.store.now().await.expect("now"), f.clock.now());
    let held = f.running(task()).await;
    let record = f.record(held.id).await;
    assert_eq!(
        (record.created_at, record.started_at),
        (f.clock.now(), Some(f.clock.now()))
    );
    assert_eq!(f.glance(node).await.now, f.clock.now());
}
