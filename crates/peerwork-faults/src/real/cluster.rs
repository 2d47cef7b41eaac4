//! The node processes of a run: as many as it wants, each replaced when it goes.

use super::children::{NODE, Process};
use super::history::{FaultSort, Journal, What};
use super::network::{Network, Wire};
use super::node::READY;
use super::poison::{SPINNING, WEDGE, WEDGED};
use super::stage::Stage;
use crate::proxy::Condition;
use anyhow::Result;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a node that a task blocks for ever is left alone.
const SPIN: Duration = Duration::from_secs(2);
/// How long a node may take to drain: longer than its own deadline for it.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
const NOW: Duration = Duration::from_millis(1);

/// The nodes of a run.
#[derive(Debug)]
pub struct Cluster<'a> {
    stage: &'a Stage,
    network: &'a Network,
    journal: Journal,
    seed: u64,
    wanted: usize,
    /// Of each.
    slots: usize,
    started: u64,
    /// Nodes that a task blocked for ever.
    spun: u64,
    nodes: BTreeMap<String, Node>,
}

#[derive(Debug)]
struct Node {
    process: Process,
    wire: Wire,
    /// It has said that it claims.
    is_up: bool,
    /// Frozen: nothing else is done to it.
    frozen: bool,
    /// Blocked by a task: nothing else is done to it either.
    wedged_until: Option<Instant>,
    /// Cut off, late, or the like: no second such fault comes on top.
    troubled: Option<FaultSort>,
    /// Told to drain, and when it is killed if it does not.
    leaves_by: Option<Instant>,
    /// Killed then, because a task blocks it.
    spins_until: Option<Instant>,
}

impl Node {
    fn is_wedged(&self) -> bool {
        self.wedged_until.is_some_and(|at| at > Instant::now())
    }
}

impl<'a> Cluster<'a> {
    /// Starts `wanted` nodes of so many `slots` each, and waits until they claim.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start(
        stage: &'a Stage,
        network: &'a Network,
        journal: Journal,
        (wanted, slots): (usize, usize),
        seed: u64,
    ) -> Result<Self> {
        let mut cluster = Self {
            stage,
            network,
            journal,
            seed,
            wanted,
            slots,
            started: 0,
            spun: 0,
            nodes: BTreeMap::new(),
        };
        cluster.fill().await?;
        for node in cluster.nodes.values_mut() {
            anyhow::ensure!(
                node.process.says(READY).await?,
                "{} ended before it claimed; see its log in {}",
                node.process.label,
                stage.folder().display()
            );
            node.is_up = true;
        }
        Ok(cluster)
    }

    /// Starts nodes until there are as many as wanted, besides those that leave.
    async fn fill(&mut self) -> Result<()> {
        let stays = |node: &&Node| node.leaves_by.is_none();
        while self.nodes.values().filter(stays).count() < self.wanted {
            self.started += 1;
            let label = format!("{NODE}{}", self.started);
            let seed = self.seed.wrapping_add(self.started);
            let wire = self.network.wire(&self.stage.url_of(self.started)).await?;
            let env = self.stage.env_of(self.started);
            let slots = [("--slots", self.slots.to_string())];
            let process =
                Process::spawn(self.stage, "node", &label, wire.url(), seed, &slots, env)?;
            let node = Node {
                process,
                wire,
                is_up: false,
                frozen: false,
                wedged_until: None,
                troubled: None,
                leaves_by: None,
                spins_until: None,
            };
            self.nodes.insert(label, node);
        }
        Ok(())
    }

    /// Looks after the nodes: replaces what has ended, ends what cannot.
    ///
    /// # Errors
    /// If a process cannot be started or ended.
    pub async fn tend(&mut self) -> Result<()> {
        let mut gone = Vec::new();
        for (label, node) in &mut self.nodes {
            for _ in 0..node.wire.newly_swallowed() {
                self.journal.write(What::Swallowed {
                    node: label.clone(),
                });
            }
            while let Ok(Some(line)) = tokio::time::timeout(NOW, node.process.next_line()).await {
                match line.as_str() {
                    SPINNING => {
                        node.spins_until.get_or_insert(Instant::now() + SPIN);
                    }
                    WEDGED => node.wedged_until = Some(Instant::now() + WEDGE),
                    READY => node.is_up = true,
                    _ => {}
                }
            }
            if let Some(status) = node.process.ended()? {
                // One that drains may die of a task before it is done.
                if node.leaves_by.is_none() || !status.success() {
                    self.journal.write(What::Fault {
                        sort: FaultSort::Crash,
                        node: Some(label.clone()),
                    });
                }
                gone.push(label.clone());
            }
        }
        for label in gone {
            self.nodes.remove(&label);
        }
        let is_over = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        let spins: Vec<_> = self
            .nodes
            .values()
            .filter(|node| !node.frozen && node.leaves_by.is_none() && is_over(node.spins_until))
            // A wedge that nobody gets to notice would have shown nothing.
            .filter(|node| !node.is_wedged())
            .map(|node| node.process.label.clone())
            .collect();
        for label in spins {
            self.spun += 1;
            if self.spun.is_multiple_of(2) {
                // Its operator drains it: the task is abandoned.
                self.drain(&label).await?;
                continue;
            }
            // It is its task that ends it: we only do what a watchdog would.
            self.note(FaultSort::Crash, &label);
            self.kill(&label).await?;
        }
        let overdue = |node: &&Node| is_over(node.leaves_by);
        let overdue: Vec<_> = self
            .nodes
            .values()
            .filter(|node| !node.frozen)
            .filter(overdue)
            .map(|node| node.process.label.clone())
            .collect();
        for label in overdue {
            self.kill(&label).await?;
        }
        self.fill().await
    }

    /// The nodes that nothing is being done to.
    pub fn free(&self) -> Vec<String> {
        let free = |node: &&Node| !node.frozen && node.leaves_by.is_none() && !node.is_wedged();
        let nodes = self.nodes.values().filter(free);
        nodes.map(|node| node.process.label.clone()).collect()
    }

    /// Those of them whose connections are well.
    pub fn well(&self) -> Vec<String> {
        let well = |label: &String| self.nodes[label].troubled.is_none();
        self.free().into_iter().filter(well).collect()
    }

    /// Those of them that claim.
    pub fn up(&self) -> Vec<String> {
        let is_up = |label: &String| self.nodes[label].is_up;
        self.free().into_iter().filter(is_up).collect()
    }

    /// Has the service around a node use up the pool that the two share; it says so itself.
    pub fn exhaust(&self, label: &str) {
        if let Some(node) = self.nodes.get(label) {
            node.process.signal(Signal::USR1);
        }
    }

    /// Kills a node, if it runs, and starts another.
    ///
    /// # Errors
    /// If the process does not go, or the other does not start.
    pub async fn kill(&mut self, label: &str) -> Result<bool> {
        let Some(mut node) = self.nodes.remove(label) else {
            return Ok(false);
        };
        self.note(FaultSort::Kill, label);
        node.process.kill().await?;
        self.fill().await?;
        Ok(true)
    }

    /// Has a node drain, and starts another at once.
    ///
    /// # Errors
    /// If the other does not start.
    pub async fn drain(&mut self, label: &str) -> Result<()> {
        if let Some(node) = self.nodes.get_mut(label) {
            node.leaves_by = Some(Instant::now() + DRAIN_LIMIT);
            node.process.signal(Signal::TERM);
            self.note(FaultSort::Drain, label);
        }
        self.fill().await
    }

    /// Stops a node in the middle of whatever it does.
    pub fn freeze(&mut self, label: &str) {
        if let Some(node) = self.nodes.get_mut(label) {
            node.frozen = true;
            node.process.signal(Signal::STOP);
            self.note(FaultSort::Freeze, label);
        }
    }

    /// Lets it go on as if nothing had happened.
    pub fn thaw(&mut self, label: &str) {
        if let Some(node) = self.nodes.get_mut(label) {
            node.frozen = false;
            node.process.signal(Signal::CONT);
            self.journal.write(What::Healed {
                sort: FaultSort::Freeze,
                node: Some(label.to_owned()),
            });
        }
    }

    /// Has a node's connections suffer. False: they do already.
    pub fn trouble(&mut self, label: &str, sort: FaultSort, condition: Condition) -> bool {
        let node = self.nodes.get_mut(label);
        let Some(node) = node.filter(|node| node.troubled.is_none()) else {
            return false;
        };
        node.troubled = Some(sort);
        node.wire.set(condition);
        self.note(sort, label);
        true
    }

    /// Loses the answer to the node's next commit.
    pub fn swallow(&self, label: &str) {
        if let Some(node) = self.nodes.get(label) {
            node.wire.swallow();
        }
    }

    /// How many answers to its commits a node has lost.
    pub fn swallowed(&self, label: &str) -> u64 {
        self.nodes
            .get(label)
            .map_or(0, |node| node.wire.swallowed())
    }

    /// Ends the suffering, with or without what has been on its way all the time.
    pub fn relieve(&mut self, label: &str, forget: bool) {
        let Some(node) = self.nodes.get_mut(label) else {
            return;
        };
        let Some(sort) = node.troubled.take() else {
            return;
        };
        node.wire.relieve(forget);
        self.journal.write(What::Healed {
            sort,
            node: Some(label.to_owned()),
        });
    }

    fn note(&self, sort: FaultSort, label: &str) {
        self.journal.write(What::Fault {
            sort,
            node: Some(label.to_owned()),
        });
    }

    /// Replaces every node by a healthy one.
    ///
    /// # Errors
    /// As [`drain`](Self::drain).
    pub async fn renew(&mut self) -> Result<()> {
        for label in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.thaw_if_frozen(&label);
            self.relieve(&label, true);
            self.drain(&label).await?;
        }
        self.tend().await
    }

    fn thaw_if_frozen(&mut self, label: &str) {
        if self.nodes.get(label).is_some_and(|node| node.frozen) {
            self.thaw(label);
        }
    }

    /// Drains all of them, and waits for their ends.
    ///
    /// # Errors
    /// If one does not go.
    pub async fn end(&mut self) -> Result<()> {
        self.wanted = 0;
        for label in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.drain(&label).await?;
        }
        for (_, mut node) in std::mem::take(&mut self.nodes) {
            if node.process.wait(DRAIN_LIMIT).await?.is_none() {
                node.process.kill().await?;
            }
        }
        Ok(())
    }
}
