//! Nodes as the database knows them, and the one periodic look at everything that concerns a node.

use peerwork_core::{KindKey, Name, NodeId, Rules, RunId, Status, TaskId, Timestamp};

/// A node that registers.
#[derive(Clone, Debug)]
pub struct NodeCard {
    /// Fresh and random at every start.
    pub id: NodeId,
    /// For people: host and process, or what the operator chose.
    pub label: String,
    /// From a beat to the end of the lease, in milliseconds.
    pub ttl_ms: u64,
    /// The slots for runs, for people.
    pub slots: u32,
    /// Its kinds, for people: see [`Store::explain`](crate::Store::explain).
    pub kinds: Vec<KindKey>,
}

/// A node's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// For people.
    pub label: String,
    /// When it registered.
    pub started_at: Timestamp,
    /// Its last beat.
    pub seq: u64,
    /// From a beat to the end of the lease, in milliseconds.
    pub ttl_ms: u64,
    /// Until when its lease runs.
    pub lease_until: Timestamp,
    /// False once it was declared dead.
    pub alive: bool,
    /// The slots for runs.
    pub slots: u32,
    /// Tasks that it holds.
    pub held: u64,
}

/// A kind that some node has had, with its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindRow {
    /// Its name.
    pub kind: Name,
    /// Its key on the claim path.
    pub key: KindKey,
    /// The rules of the node that published them last.
    pub rules: Rules,
}

/// Somebody wants a held task to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wished {
    /// The task.
    pub id: TaskId,
    /// The run that holds it.
    pub run: RunId,
    /// [`Status::Pausing`] or [`Status::DeletingRun`].
    pub status: Status,
}

/// How much a glance takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// All of it.
    Full,
    /// All but what may have to walk over dead entries: how much the node holds, and whether anything is claimable.
    Brief,
}

/// Everything that concerns one node, in one statement.
#[derive(Clone, Debug, Default)]
pub struct Glance {
    /// The database's time.
    pub now: Timestamp,
    /// What is wished for its runs.
    pub wishes: Vec<Wished>,
    /// How many tasks it holds by the database; none after a [brief](Depth::Brief) look.
    pub held: Option<u64>,
    /// The nodes that follow it in the ring of those that are not declared dead, in the order of their ids and from the
    /// last to the first, nearest first: (id, beat, ttl in ms, end of lease).
    pub peers: Vec<(NodeId, u64, u64, Timestamp)>,
    /// Whether anything is claimable; no after a [brief](Depth::Brief) look.
    pub ready: bool,
    /// Whether any node was declared dead that may still hold tasks.
    pub dead: bool,
    /// Whether any child is over whose parent has not been looked at since: see [`Store::wake`](crate::Store::wake).
    pub inbox: bool,
    /// When the next sleeping task is due.
    pub next_wake: Option<Timestamp>,
    /// The version of what is set: see [`Config`](crate::Config).
    pub version: u64,
}
