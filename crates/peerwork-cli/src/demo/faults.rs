//! Two nodes stop: one is drained, as at a deployment, the other is killed, as by a crash. Both hold tasks at that
//! moment, which is made sure of, and what becomes of these tasks is measured by the database's clock.

use super::board::{Board, Observer};
use super::cluster::Cluster;
use super::digest::Digest;
use super::work::Work;
use anyhow::{Context, Result, ensure};
use peerwork::{Client, Handler, NodeId, TaskRecord, Timestamp};
use std::collections::HashMap;

/// How much work a task must have before it to count as held "while" a node stops: far more than a look takes.
const REMAINING_MS: u64 = 2_000;

/// What a stopped node's tasks went through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    pub label: String,
    pub tasks: usize,
    /// From the order or the kill until the last of them ran elsewhere.
    pub took_ms: u64,
}

/// Drains the node that holds most.
pub(crate) async fn hand_over(
    client: &Client,
    cluster: &mut Cluster,
    observer: &Observer,
    work: &Work,
) -> Result<Taken> {
    let (label, id) = busiest(cluster, observer, work, "a node to drain holds tasks").await?;
    let node = cluster.take(&label)?;
    let ordered = client.now().await?;
    let before = held_by(client, id).await?;
    let drained = node.drain().await?;
    ensure!(
        drained.handed_over > 0,
        "{label} was drained, and handed nothing over"
    );
    ensure!(
        drained.abandoned == 0,
        "{label} abandoned {} tasks",
        drained.abandoned
    );
    let moved = elsewhere(
        observer,
        &before,
        id,
        "every task of the drained node runs elsewhere",
    )
    .await?;
    ensure!(!moved.is_empty(), "no task of {label} ran elsewhere");
    Ok(taken(label, &moved, ordered))
}

/// Kills the node that holds most.
pub(crate) async fn rescue(
    client: &Client,
    cluster: &mut Cluster,
    observer: &Observer,
    work: &Work,
) -> Result<Taken> {
    let (label, id) = busiest(cluster, observer, work, "a node to kill holds tasks").await?;
    let node = cluster.take(&label)?;
    let killed = client.now().await?;
    node.kill().await?;
    // It is dead: what it holds now, it holds until somebody takes it.
    let held = held_by(client, id).await?;
    ensure!(!held.is_empty(), "{label} held nothing when it was killed");
    let moved = elsewhere(
        observer,
        &held,
        id,
        "every task of the killed node runs elsewhere",
    )
    .await?;
    ensure!(
        moved.len() == held.len(),
        "of {} tasks of {label} only {} ran elsewhere",
        held.len(),
        moved.len()
    );
    Ok(taken(label, &moved, killed))
}

fn taken(label: String, moved: &[TaskRecord], since: Timestamp) -> Taken {
    let started = moved.iter().filter_map(|task| task.started_at);
    Taken {
        label,
        tasks: moved.len(),
        took_ms: started.map(|at| at.ms_since(since)).max().unwrap_or(0),
    }
}

/// The running node with most digests that have some way to go, once there is one.
async fn busiest(
    cluster: &Cluster,
    observer: &Observer,
    work: &Work,
    what: &str,
) -> Result<(String, NodeId)> {
    let pace: HashMap<_, _> = work
        .digests
        .iter()
        .map(|job| (job.id(), job.input.pace_ms))
        .collect();
    observer
        .until(what, |board| {
            let mut counts: HashMap<NodeId, (usize, u64)> = HashMap::new();
            for task in board
                .of_kind(Digest::KIND)
                .filter(|task| task.status().is_held())
            {
                let (Some(node), Some(pace)) = (task.node, pace.get(&task.id)) else {
                    continue;
                };
                if board.label_of(task).is_none_or(|label| !cluster.has(label)) {
                    continue;
                }
                let remaining = remaining_ms(task, *pace);
                let (count, longest) = counts.entry(node).or_default();
                *count += 1;
                *longest = remaining.max(*longest);
            }
            let ready = counts
                .into_iter()
                .filter(|(_, (_, longest))| *longest >= REMAINING_MS);
            let (node, _) = ready.max_by_key(|(node, counts)| (*counts, *node))?;
            Some((label(board, node)?, node))
        })
        .await
}

fn label(board: &Board, id: NodeId) -> Option<String> {
    let node = board.nodes.iter().find(|node| node.id == id)?;
    Some(node.label.clone())
}

/// At least so much work is before the task: the file that it is at may be over.
fn remaining_ms(task: &TaskRecord, pace_ms: u64) -> u64 {
    let files = task
        .progress
        .map_or(0, |progress| progress.total.saturating_sub(progress.done));
    files.saturating_sub(1) * pace_ms
}

async fn held_by(client: &Client, node: NodeId) -> Result<Vec<TaskRecord>> {
    let mut tasks = client
        .tasks()
        .all()
        .await
        .context("look at what a node holds")?;
    tasks.retain(|task| task.node == Some(node) && task.status().is_held());
    Ok(tasks)
}

/// Waits until none of `tasks` is with `node` any more, and returns those that have run on another one since.
async fn elsewhere(
    observer: &Observer,
    tasks: &[TaskRecord],
    node: NodeId,
    what: &str,
) -> Result<Vec<TaskRecord>> {
    observer
        .until(what, |board| {
            let now = tasks.iter().map(|task| board.task(task.id));
            let now: Vec<_> = now.flatten().collect();
            let is_settled = |task: &TaskRecord| {
                // Its first checkpoint there clears the crash: it does not merely belong to another node.
                let is_begun = task.status().is_held() && task.task.crashes == 0;
                let runs_elsewhere = is_begun && task.node != Some(node);
                runs_elsewhere || task.status().is_final() || waits_elsewhere(task)
            };
            if !now.iter().all(|task| is_settled(task)) {
                return None;
            }
            // What ended on the node itself before it stopped has not moved.
            let elsewhere = now.into_iter().filter(|task| task.node != Some(node));
            Some(elsewhere.cloned().collect())
        })
        .await
}

/// A matrix that waits for its cells is with nobody.
fn waits_elsewhere(task: &TaskRecord) -> bool {
    task.state() == peerwork::State::Waiting
}
