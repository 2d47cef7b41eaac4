//! A trace on real nodes: its tasks are handed in when they come, run as long as it says, and tell when they did; and the same
//! trace simulated.
//!
//! What waits at the trace's beginning is there before the nodes are. Its time begins when all nodes are up and, if enough waits, all
//! slots are taken. Nodes share a process, and one clock.

use crate::handlers::Countdown;
use crate::options::Options;
use crate::place::Place;
use crate::target::Target;
use anyhow::{Context, ensure};
use peerwork::policy::{Policies, Weights};
use peerwork::simulate::{Arrival, Cluster, Mix, Outcome, Ran, Trace, Workload};
use peerwork::{Draft, Handler, Node, Run, TaskError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Not all slots are taken after this time: something is wrong.
const STARTS_IN: Duration = Duration::from_secs(60);

/// The trace's and the simulation's.
const SEED: u64 = 1;

/// What is played.
#[derive(Clone)]
pub struct Play {
    pub trace: Trace,
    pub weights: Weights,
    /// Of all nodes together.
    pub slots: usize,
    pub nodes: usize,
    /// How long a task takes on average.
    pub length: Duration,
    time: Duration,
    /// Tasks are handed in by a client apart from the nodes; otherwise by the nodes' own in turn, as services do.
    is_apart: bool,
}

/// What came of it.
pub struct Played {
    pub outcome: Outcome,
    /// When which task came, really.
    pub trace: Trace,
    /// When it ran, in the order of the trace's tasks.
    pub ran: Vec<Option<Ran>>,
}

impl Play {
    /// A workload of the options' sizes, with the heavy user's tasks in so many groups.
    pub fn of(workload: Workload, groups: usize, options: &Options) -> Self {
        let mix = Mix {
            slots: options.slots(),
            groups,
            tasks: options.tasks(),
            length_ms: options.length_ms(),
            seed: SEED,
            ..Mix::default()
        };
        Self::until(workload.trace(&mix), options, workload.weights())
    }

    /// As much of a trace as comes within the options' time.
    pub fn until(trace: Trace, options: &Options, weights: Weights) -> Self {
        let time = options.time();
        let until_us = micros(time);
        let arrivals = trace.arrivals().iter();
        let in_time = arrivals.filter(|arrival| arrival.at_us < until_us);
        let mut trace = Trace::new(in_time.cloned().collect());
        trace.until_us = Some(until_us);
        Self {
            trace,
            weights,
            slots: options.slots(),
            nodes: options.nodes(),
            length: Duration::from_millis(options.length_ms()),
            time,
            is_apart: options.from_process,
        }
    }

    /// What it is, for a report.
    pub fn settings(&self, policy: &str) -> String {
        format!(
            "policy={policy} slots={} nodes={} length_ms={} seconds={} tasks={} handed_in_by={}",
            self.slots,
            self.nodes,
            self.length.as_millis(),
            self.time.as_secs(),
            self.trace.arrivals().len(),
            match self.is_apart {
                true => "a_client_apart",
                false => "the_nodes",
            }
        )
    }

    /// Plays it on a database, under a policy that is chosen there.
    pub async fn on(&self, target: &Target, policy: &str) -> anyhow::Result<Played> {
        let place = Place::new(target).await?;
        place.client.choose_policy(Some(policy)).await?;
        self.weigh(&place).await?;
        let waiting = self.waiting();
        let drafts = self.trace.arrivals()[..waiting].iter().enumerate();
        let drafts = drafts.map(|(n, arrival)| draft(n, arrival));
        place.client.create_many(drafts).await?;
        place.analyze().await?;
        let score = Score::of(self);
        let nodes = self.start(&place, &score).await?;
        if waiting >= self.slots {
            let all = tokio::time::timeout(STARTS_IN, score.all_slots.over()).await;
            all.context("the slots were not all taken in time")?;
        }
        let zero = Instant::now();
        let mut trace = self.hand_in(&place, &nodes, zero).await?;
        let end = Instant::now();
        trace.until_us = Some(micros(end - zero));
        let ran = score.ran(zero, end);
        for node in nodes {
            node.drain().await;
        }
        place.remove().await?;
        let again = score.again.load(Ordering::Acquire);
        ensure!(again == 0, "{again} tasks were started twice");
        let begun = ran[..waiting].iter().flatten().count();
        ensure!(
            waiting == 0 || begun < waiting,
            "all {waiting} tasks that waited were run: ask for more with --tasks"
        );
        let outcome = Outcome::observed(&trace, &self.weights, self.slots, &ran);
        Ok(Played {
            outcome,
            trace,
            ran,
        })
    }

    /// What the simulation makes of it: with nodes that see everything at once, or as late as a look may be.
    pub fn simulated(&self, policy: &str) -> anyhow::Result<Played> {
        let defaults = Cluster::default();
        let cluster = Cluster {
            slots: self.slots,
            nodes: self.nodes,
            snapshot_age_ms: match self.is_apart {
                true => defaults.snapshot_age_ms,
                false => 0,
            },
            seed: SEED,
        };
        let policy = Policies::default().find(policy)?;
        let outcome = cluster.run(&self.trace, &self.weights, policy);
        let until_us = micros(self.time);
        let tasks = self.trace.arrivals().iter().zip(&outcome.waits);
        let ran = tasks.map(|(arrival, (_, wait_us))| {
            let from_us = arrival.at_us + wait_us;
            let ran = Ran {
                from_us,
                to_us: Some(from_us + arrival.length_us),
            };
            (from_us < until_us).then_some(ran)
        });
        Ok(Played {
            ran: ran.collect(),
            outcome,
            trace: self.trace.clone(),
        })
    }

    /// How many tasks there are from the beginning.
    fn waiting(&self) -> usize {
        self.trace
            .arrivals()
            .partition_point(|arrival| arrival.at_us == 0)
    }

    /// Sets the weights as a service would.
    async fn weigh(&self, place: &Place) -> anyhow::Result<()> {
        let arrivals = self.trace.arrivals().iter();
        let users: BTreeSet<_> = arrivals.clone().map(|arrival| &arrival.user).collect();
        let groups: BTreeSet<_> = arrivals.map(|arrival| &arrival.group).collect();
        for user in users {
            let weight = self.weights.user(user);
            if weight != 1 {
                place.client.user(user.as_str()).weight(weight).await?;
            }
        }
        for group in groups {
            if let Some(weight) = self.weights.group(group) {
                place.client.group(group.as_str()).weight(weight).await?;
            }
        }
        Ok(())
    }

    async fn start(&self, place: &Place, score: &Arc<Score>) -> anyhow::Result<Vec<Node>> {
        let mut nodes = Vec::new();
        for n in 0..self.nodes {
            let slots = self.slots / self.nodes + usize::from(n < self.slots % self.nodes);
            ensure!(slots > 0, "{} slots for {} nodes", self.slots, self.nodes);
            let node = Node::builder(&place.database)
                .register(Lasting(score.clone()))
                .slots(slots);
            nodes.push(node.start().await?);
        }
        Ok(nodes)
    }

    /// Hands in what comes, whether or not what came before is there yet, and tells when it came.
    async fn hand_in(&self, place: &Place, nodes: &[Node], zero: Instant) -> anyhow::Result<Trace> {
        let clients: Vec<_> = match self.is_apart {
            true => vec![place.client.clone()],
            false => nodes.iter().map(Node::client).collect(),
        };
        let mut arrivals = self.trace.arrivals().to_vec();
        let mut creates = JoinSet::new();
        for n in self.waiting()..arrivals.len() {
            let at = zero + Duration::from_micros(arrivals[n].at_us);
            tokio::time::sleep_until(at.into()).await;
            arrivals[n].at_us = micros(zero.elapsed());
            let (client, draft) = (clients[n % clients.len()].clone(), draft(n, &arrivals[n]));
            creates.spawn(async move { client.create(draft).await.map(|_| ()) });
            while let Some(created) = creates.try_join_next() {
                created??;
            }
        }
        tokio::time::sleep_until((zero + self.time).into()).await;
        while let Some(created) = creates.join_next().await {
            created??;
        }
        Ok(Trace::new(arrivals))
    }
}

fn draft(n: usize, arrival: &Arrival) -> Draft<Lasting> {
    Lasting::task(n as u64)
        .user(arrival.user.as_str())
        .group(arrival.group.as_str())
        .priority(arrival.priority)
}

/// Takes as long as the trace says of it: its input is its number there.
struct Lasting(Arc<Score>);

/// When tasks started and ended.
struct Score {
    began: Instant,
    lengths: Vec<Duration>,
    /// In microseconds since it began; 0 for not yet.
    from_us: Vec<AtomicU64>,
    to_us: Vec<AtomicU64>,
    /// Starts of tasks that had been started.
    again: AtomicUsize,
    all_slots: Arc<Countdown>,
}

impl Score {
    fn of(play: &Play) -> Arc<Self> {
        let arrivals = play.trace.arrivals();
        let zeros = || (0..arrivals.len()).map(|_| AtomicU64::new(0)).collect();
        let lengths = arrivals.iter().map(|arrival| arrival.length_us);
        Arc::new(Self {
            began: Instant::now(),
            lengths: lengths.map(Duration::from_micros).collect(),
            from_us: zeros(),
            to_us: zeros(),
            again: AtomicUsize::new(0),
            all_slots: Countdown::from(play.slots),
        })
    }

    fn now_us(&self) -> u64 {
        micros(self.began.elapsed()).max(1)
    }

    /// By the time since `zero`, as far as it is before `end`.
    fn ran(&self, zero: Instant, end: Instant) -> Vec<Option<Ran>> {
        let zero_us = micros(zero - self.began);
        let end_us = micros(end - self.began);
        let at_us = |at: &AtomicU64| match at.load(Ordering::Acquire) {
            0 => None,
            at => (at < end_us).then(|| at.saturating_sub(zero_us)),
        };
        let tasks = self.from_us.iter().zip(&self.to_us);
        let ran = tasks.map(|(from, to)| {
            Some(Ran {
                from_us: at_us(from)?,
                to_us: at_us(to),
            })
        });
        ran.collect()
    }
}

impl Handler for Lasting {
    const KIND: &'static str = "lasting";
    type Input = u64;
    type Checkpoint = ();
    type Output = ();

    async fn run(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        let score = &self.0;
        let n = usize::try_from(*run.input())?;
        if score.from_us[n].swap(score.now_us(), Ordering::AcqRel) != 0 {
            score.again.fetch_add(1, Ordering::AcqRel);
        }
        score.all_slots.count();
        tokio::time::sleep(score.lengths[n]).await;
        score.to_us[n].store(score.now_us(), Ordering::Release);
        Ok(())
    }
}

pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
