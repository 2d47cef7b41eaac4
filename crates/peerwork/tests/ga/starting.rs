//! Many processes start at once on an empty database.

use crate::kit::{Place, Process, Puppet, Relay, STEADY, Stage};
use peerwork::{Client, Handler, Node};
use tokio::task::JoinSet;

on!([sqlite, postgres, mysql] ga_42_eight_nodes_start_on_an_empty_database_at_once);

async fn ga_42_eight_nodes_start_on_an_empty_database_at_once(place: Place) {
    const NODES: usize = 8;
    let sql = place.sql().clone();
    sql.drop_tables().await;
    let stage = Stage::new();
    // Four processes, and four nodes here that know nothing of each other.
    let processes: Vec<_> = (0..NODES / 2).map(|_| Process::start(&place)).collect();
    let mut starting = JoinSet::new();
    for _ in 0..NODES / 2 {
        let store = sql.store(1).await;
        let node = Node::builder(store).lease(STEADY);
        let node = node.register(stage.puppet("a")).register(Relay);
        starting.spawn(node.start());
    }
    let nodes: Vec<_> = starting.join_all().await;
    let nodes: Vec<_> = nodes.into_iter().map(|node| node.unwrap()).collect();
    let client = Client::connect(sql.store(1).await).await.unwrap();
    crate::kit::until(async || client.nodes().await.unwrap().len() == NODES).await;
    let versions = format!("select count(*) from {}", sql.table("migration"));
    let distinct = format!(
        "select count(distinct version) from {}",
        sql.table("migration")
    );
    let (versions, distinct) = (sql.number(&versions).await, sql.number(&distinct).await);
    assert!(versions >= 1 && versions == distinct);

    let task = client.create(Puppet::task(String::new())).await.unwrap();
    stage.next().await.finish(1).await;
    assert_eq!(task.result().await.unwrap(), 1);
    drop(processes);
    nodes
        .into_iter()
        .map(Node::drain)
        .collect::<JoinSet<_>>()
        .join_all()
        .await;
}
