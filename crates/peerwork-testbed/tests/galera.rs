//! A Galera cluster takes writes everywhere, and goes on without one of its nodes.

use peerwork_testbed::{Galera, Options};

#[test]
fn a_cluster_takes_writes_everywhere_and_goes_on_without_a_node() {
    let mut cluster = Galera::start(&Options::default()).unwrap();
    assert_eq!(cluster.running(), 3);
    assert_eq!(cluster.urls().len(), 3);
    cluster.create_database("shared").unwrap();
    cluster
        .node(0)
        .query("create table shared.t (n int primary key)")
        .unwrap();
    for n in 0..3 {
        let insert = format!("insert into shared.t values ({n})");
        cluster.node(n).query(&insert).unwrap();
    }
    // Reads wait for what others have committed.
    let rows = "set wsrep_sync_wait = 15; select count(*) from shared.t";
    for n in 0..3 {
        assert_eq!(cluster.node(n).query(rows).unwrap(), "3", "node {n}");
    }

    cluster.kill(0).unwrap();
    cluster.until_synced(1).unwrap();
    cluster.until_synced(2).unwrap();
    cluster
        .node(2)
        .query("insert into shared.t values (3)")
        .unwrap();
    assert!(cluster.node(0).query("select 1").is_err());

    // The first one too joins again, and does not begin a cluster of its own.
    cluster.restart(0).unwrap();
    assert_eq!(cluster.running(), 3);
    assert_eq!(cluster.node(0).query(rows).unwrap(), "4");
    for n in 0..3 {
        cluster.until_synced(n).unwrap();
    }
}
