//! The simulated cluster: nodes with slots, which claim as a policy grants.

use super::ideal::Ideal;
use super::outcome::{Outcome, UserOutcome, jain};
use super::queue::Queue;
use super::{Arrival, Trace};
use crate::policy::{Guarded, LaneView, Lanes, Misgrant, Needs, Policy, Running, Weights};
use crate::{Dice, Grant, LaneId, Name, Rank, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// A cluster to try policies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Slots of all nodes together.
    pub slots: usize,
    /// Nodes, among which the slots are divided evenly.
    pub nodes: usize,
    /// How long a node uses what a look showed it, in milliseconds. 0: it always sees everything.
    pub snapshot_age_ms: u64,
    /// The same seed gives the same outcome.
    pub seed: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            slots: 16,
            nodes: 1,
            snapshot_age_ms: crate::LaneBook::AGE_MS,
            seed: 1,
        }
    }
}

impl Cluster {
    /// Nodes at most.
    const NODES_MAX: usize = 1_000;

    /// Plays the trace through. The policy is [guarded](Guarded); what it does wrong is counted in the outcome.
    ///
    /// Takes time in proportion to the tasks and to the lanes that have work at a time. A cluster without slots or nodes has one.
    pub fn run(&self, trace: &Trace, weights: &Weights, policy: Arc<dyn Policy>) -> Outcome {
        let policy = Guarded::new(policy);
        let mut play = Play::new(self, trace, weights, &policy);
        play.all(trace.until_us.unwrap_or(u64::MAX));
        play.outcome(trace)
    }

    fn nodes(&self) -> Vec<Node> {
        let count = self.nodes.clamp(1, Self::NODES_MAX);
        let slots = self.slots.max(count);
        let node = |n| Node {
            free: slots / count + usize::from(n < slots % count),
            has_news: false,
            looked_at: None,
            views: Vec::new(),
            running: Running::default(),
        };
        (0..count).map(node).collect()
    }
}

struct Node {
    free: usize,
    /// Something ended here, or came anywhere.
    has_news: bool,
    /// When it last looked; what it saw, less what it has claimed since.
    looked_at: Option<u64>,
    views: Vec<LaneView>,
    running: Running,
}

struct Task {
    user: usize,
    lane: LaneId,
    wait_us: Option<u64>,
}

struct User {
    name: Name,
    running: usize,
    /// Since when so many have been running.
    since_us: u64,
    got_us: u64,
    work_us: u64,
}

struct Play<'a> {
    arrivals: &'a [Arrival],
    weights: &'a Weights,
    policy: &'a Guarded,
    needs: Needs,
    age_us: u64,
    slots: usize,
    dice: Dice,
    nodes: Vec<Node>,
    queue: Queue<'a>,
    running: Running,
    tasks: Vec<Task>,
    users: Vec<User>,
    ideal: Ideal,
    /// When which task ends on which node.
    ends: BinaryHeap<Reverse<(u64, usize, usize)>>,
    next: usize,
    now_us: u64,
    present: usize,
    used_us: u128,
    usable_us: u128,
    mistakes: Vec<Misgrant>,
    mistaken: usize,
}

impl<'a> Play<'a> {
    fn new(cluster: &Cluster, trace: &'a Trace, weights: &'a Weights, policy: &'a Guarded) -> Self {
        let arrivals = trace.arrivals();
        let mut indices: BTreeMap<&Name, usize> = BTreeMap::new();
        let mut users: Vec<User> = Vec::new();
        let mut lanes: BTreeMap<(usize, &Name), LaneId> = BTreeMap::new();
        let mut tasks = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let user = *indices.entry(&arrival.user).or_insert_with(|| {
                users.push(User {
                    name: arrival.user.clone(),
                    running: 0,
                    since_us: 0,
                    got_us: 0,
                    work_us: 0,
                });
                users.len() - 1
            });
            users[user].work_us = users[user].work_us.saturating_add(arrival.length_us);
            let lane = lanes.entry((user, &arrival.group));
            let lane = *lane.or_insert_with(|| LaneId::new(&arrival.group, &arrival.user));
            tasks.push(Task {
                user,
                lane,
                wait_us: None,
            });
        }
        let needs = policy.needs();
        let nodes = cluster.nodes();
        let slots = nodes.iter().map(|node| node.free).sum();
        let weigh = users.iter().map(|user| weights.user(&user.name));
        Self {
            arrivals,
            weights,
            policy,
            needs,
            age_us: cluster.snapshot_age_ms.saturating_mul(1_000),
            slots,
            dice: Dice::new(cluster.seed),
            nodes,
            queue: Queue::new(arrivals, needs.heads_by_rank),
            running: Running::default(),
            ideal: Ideal::new(slots, weigh),
            tasks,
            users,
            ends: BinaryHeap::new(),
            next: 0,
            now_us: 0,
            present: 0,
            used_us: 0,
            usable_us: 0,
            mistakes: Vec::new(),
            mistaken: 0,
        }
    }

    /// Everything that happens before `until_us`.
    fn all(&mut self, until_us: u64) {
        loop {
            let arrival = self.arrivals.get(self.next).map(|arrival| arrival.at_us);
            let end = self.ends.peek().map(|Reverse((at, ..))| *at);
            let at = match (arrival, end) {
                (Some(arrival), Some(end)) => arrival.min(end),
                (Some(at), None) | (None, Some(at)) => at,
                (None, None) => break,
            };
            if at >= until_us {
                self.advance(until_us);
                break;
            }
            self.advance(at);
            self.end_all();
            self.arrive_all();
            self.claim_all();
            self.ideal.settle(at);
        }
        for user in 0..self.users.len() {
            self.count(user);
        }
    }

    fn advance(&mut self, at_us: u64) {
        let time = u128::from(at_us - self.now_us);
        self.used_us += time * self.running.total() as u128;
        self.usable_us += time * self.present.min(self.slots) as u128;
        self.now_us = at_us;
    }

    fn end_all(&mut self) {
        while let Some(Reverse((at, node, task))) = self.ends.peek().copied() {
            if at > self.now_us {
                return;
            }
            self.ends.pop();
            let Task { user, lane, .. } = self.tasks[task];
            self.count(user);
            self.users[user].running -= 1;
            self.running.end(lane, 1);
            self.ideal.ended(user);
            self.present -= 1;
            let node = &mut self.nodes[node];
            node.free += 1;
            node.has_news = true;
            node.running.end(lane, 1);
        }
    }

    fn arrive_all(&mut self) {
        let from = self.next;
        while let Some(arrival) = self.arrivals.get(self.next) {
            if arrival.at_us > self.now_us {
                break;
            }
            let Task { user, lane, .. } = self.tasks[self.next];
            self.queue.push(self.next, lane);
            self.ideal.came(user);
            self.present += 1;
            self.next += 1;
        }
        if self.next > from {
            for node in &mut self.nodes {
                node.has_news = true;
            }
        }
    }

    /// Nodes with free slots claim, whoever is first.
    fn claim_all(&mut self) {
        let count = self.nodes.len();
        let first = self.dice.below(count);
        for node in (first..count).chain(0..first) {
            if std::mem::take(&mut self.nodes[node].has_news) && self.nodes[node].free > 0 {
                self.claim(node);
            }
        }
    }

    fn claim(&mut self, node: usize) {
        while self.nodes[node].free > 0 {
            if self.age_us > 0 && !self.look(node) {
                return;
            }
            let grants = self.grants(node);
            // A stale view that gives nothing is forgotten, and the next one asked.
            let mut goes_on = self.age_us > 0 && !grants.is_empty();
            for (grant, only) in grants {
                let taken = self.queue.take(grant.lane, only, grant.tasks);
                goes_on |= !taken.is_empty();
                for task in &taken {
                    self.start(*task, node);
                }
                if self.age_us > 0 {
                    self.note(node, grant, only, &taken);
                }
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Looks if it is time to, and says whether the node knows of work.
    fn look(&mut self, node: usize) -> bool {
        let node = &mut self.nodes[node];
        let now = self.now_us;
        let is_stale = node.looked_at.is_none_or(|at| now - at >= self.age_us);
        let is_empty = node.views.is_empty() && node.looked_at != Some(now);
        if is_stale || is_empty {
            node.views = self.queue.shown().to_vec();
            if self.needs.running {
                node.running = self.running.clone();
            }
            node.looked_at = Some(now);
        }
        !node.views.is_empty()
    }

    /// What the policy grants a node, each with the rank that it means.
    fn grants(&mut self, node: usize) -> Vec<(Grant, Option<Rank>)> {
        let node = &self.nodes[node];
        let (views, running) = match self.age_us {
            0 => (self.queue.shown(), &self.running),
            _ => (&node.views[..], &node.running),
        };
        let now = Timestamp(i64::try_from(self.now_us).unwrap_or(i64::MAX));
        let lanes = Lanes::new(views).at(now).dice(self.dice.roll());
        let lanes = match self.needs.running {
            true => lanes.running(running).weights(self.weights),
            false => lanes,
        };
        let (grants, mut wrong) = self.policy.grant(&lanes, node.free);
        let with_rank = |grant: Grant| {
            if !self.needs.heads_by_rank {
                return (grant, None);
            }
            let heads = views.iter().filter(|view| view.lane == grant.lane);
            let (rank, mistake) = self.policy.rank_of(&heads.collect::<Vec<_>>());
            wrong.extend(mistake);
            (grant, rank)
        };
        let grants = grants.into_iter().map(with_rank).collect();
        self.mistaken += wrong.len();
        for mistake in wrong {
            if self.mistakes.len() < Outcome::MISTAKES_KEPT_MAX {
                self.mistakes.push(mistake);
            }
        }
        grants
    }

    fn start(&mut self, task: usize, node: usize) {
        let arrival = &self.arrivals[task];
        let Task { user, lane, .. } = self.tasks[task];
        self.count(user);
        self.users[user].running += 1;
        self.tasks[task].wait_us = Some(self.now_us - arrival.at_us);
        self.running.add(lane, &arrival.group, &arrival.user, 1);
        // It takes some time: at a standstill nothing would ever come next.
        let end = self.now_us.saturating_add(arrival.length_us.max(1));
        self.ends.push(Reverse((end, node, task)));
        let node = &mut self.nodes[node];
        node.free -= 1;
        if self.age_us > 0 && self.needs.running {
            node.running.add(lane, &arrival.group, &arrival.user, 1);
        }
    }

    /// A node counts down what it was shown, as the real one does.
    fn note(&mut self, node: usize, grant: Grant, only: Option<Rank>, taken: &[usize]) {
        let last = taken.last().copied();
        let last = last.map(|task| (self.queue.rank(task), self.queue.since(task)));
        let is_empty = taken.len() < grant.tasks;
        let by_rank = self.needs.heads_by_rank;
        self.nodes[node].views.retain_mut(|view| {
            if view.lane != grant.lane || only.is_some_and(|rank| rank != view.rank) {
                return true;
            }
            let Some((rank, since)) = last.filter(|_| !is_empty) else {
                return !is_empty;
            };
            if by_rank && view.rank != rank {
                // In the lane's own order all that is more urgent is gone.
                return view.rank > rank;
            }
            (view.rank, view.since) = (rank, since);
            true
        });
    }

    fn count(&mut self, user: usize) {
        let user = &mut self.users[user];
        user.got_us += user.running as u64 * (self.now_us - user.since_us);
        user.since_us = self.now_us;
    }

    fn outcome(self, trace: &Trace) -> Outcome {
        let end_us = self.now_us;
        let entitled = self.ideal.entitled_us(end_us);
        let user = |(user, fair_us): (User, f64)| UserOutcome {
            weight: self.weights.user(&user.name),
            user: user.name,
            work_us: user.work_us,
            got_us: user.got_us as f64,
            fair_us,
        };
        let users: Vec<_> = self.users.into_iter().zip(entitled).map(user).collect();
        let tasks = self.tasks.iter().zip(trace.arrivals());
        let came = tasks.filter(|(_, arrival)| arrival.at_us < end_us || trace.until_us.is_none());
        let waits = came.map(|(task, arrival)| {
            let so_far = end_us.saturating_sub(arrival.at_us);
            (task.user, task.wait_us.unwrap_or(so_far))
        });
        Outcome {
            policy: self.policy.name().to_owned(),
            jain: jain(users.iter().filter_map(UserOutcome::ratio)),
            utilisation: match self.usable_us {
                0 => 1.0,
                usable => self.used_us as f64 / usable as f64,
            },
            end_us,
            waits: waits.collect(),
            users,
            mistakes: self.mistakes,
            mistaken: self.mistaken,
        }
    }
}
