//! The store under test and the reference, side by side: the same calls at the same time, and equal answers.
//!
//! Made equal before they are compared: the order among lanes, nodes and swept tasks, which nobody promises; and
//! the answers that are hints (`more` of a sweep, `dead` and `inbox` of a glance), which may only err on the safe side.

use super::operation::{Ending, Narrow, Op, Pick, Seed};
use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use proptest::sample::Index;
use std::fmt::Debug;
use uuid::Uuid;

/// Both, with what the sequence so far has made.
pub struct Duel<'a> {
    f: &'a Fixture,
    oracle: MemoryStore,
    tasks: Vec<TaskId>,
    nodes: Vec<NodeId>,
    runs: Vec<(TaskId, RunId)>,
    ids: u128,
}

/// Calls both stores and returns their answers.
macro_rules! both {
    ($duel:expr, $call:ident($($argument:expr),*)) => {{
        let ours = $duel.f.store.$call($($argument.clone()),*).await.expect(stringify!($call));
        let theirs = $duel.oracle.$call($($argument.clone()),*).await.expect("the reference");
        (ours, theirs)
    }};
}

fn same(what: &str, (ours, theirs): (impl Debug, impl Debug)) {
    assert_eq!(
        format!("{ours:?}"),
        format!("{theirs:?}"),
        "{what}: ours is not the reference's"
    );
}

impl<'a> Duel<'a> {
    pub async fn new(f: &'a Fixture) -> Self {
        let clock = f.clock.clone();
        let oracle = MemoryStore::with_clock(move || clock.now());
        let mut duel = Self {
            f,
            oracle,
            tasks: vec![],
            nodes: vec![],
            runs: vec![],
            ids: 0,
        };
        duel.step(Op::Register).await;
        duel
    }

    /// Carries out one operation on both, and compares what is then there.
    pub async fn step(&mut self, op: Op) {
        match op {
            Op::Create(seeds) => {
                let tasks: Vec<_> = seeds
                    .into_iter()
                    .map(|seed| self.task(None, seed))
                    .collect();
                same("create", both!(self, create(tasks)));
            }
            Op::CreateAgain(seeds) => {
                let tasks: Vec<_> = seeds
                    .into_iter()
                    .map(|(id, seed)| self.task(Some(id), seed))
                    .collect();
                same("create again", both!(self, create(tasks)));
            }
            Op::CreateAndClaim { node, kinds, seeds } => {
                let tasks: Vec<_> = seeds
                    .into_iter()
                    .map(|seed| self.task(None, seed))
                    .collect();
                self.create_and_claim(node, kinds, tasks).await;
            }
            Op::Steer(picks, narrow, wish) => {
                let ids: Vec<_> = picks
                    .into_iter()
                    .filter_map(|pick| self.pick(pick))
                    .collect();
                let filter = self.filter(narrow);
                same("steer", both!(self, steer(ids, filter, wish)));
            }
            Op::Claim {
                node,
                work,
                tasks,
                kinds,
            } => self.claim(node, work, tasks, kinds).await,
            Op::Save(saves) => {
                let mut batch = Vec::new();
                for (run, checkpoint, progress) in saves {
                    let Some((id, run)) = self.run(run).await else {
                        continue;
                    };
                    batch.push(Save {
                        id,
                        run,
                        checkpoint,
                        progress,
                    });
                }
                same("save", both!(self, save(batch)));
            }
            Op::End(ends) => {
                let mut batch = Vec::new();
                for (run, ending) in ends {
                    let Some((id, run)) = self.run(run).await else {
                        continue;
                    };
                    batch.push(self.end(id, run, ending));
                }
                same("end", both!(self, end(batch)));
            }
            Op::Promote => same("promote", both!(self, promote(BATCH_MAX))),
            Op::Wake => same("wake", both!(self, wake(BATCH_MAX))),
            Op::Sweep => {
                let (mut ours, mut theirs) = both!(self, sweep(BATCH_MAX));
                ours.tasks.sort_unstable();
                theirs.tasks.sort_unstable();
                same("sweep", (ours.tasks, theirs.tasks));
            }
            Op::Prune => same("prune", both!(self, prune(BATCH_MAX))),
            Op::Register => {
                let id = NodeId(self.fresh());
                self.nodes.push(id);
                self.register(id, 4).await;
            }
            Op::RegisterAgain(node) => self.register(self.node(node), 5).await,
            Op::Beat {
                node,
                seq,
                acked,
                ttl_ms,
            } => {
                let node = self.node(node);
                let last = self.last_beat(node).await;
                let pulse = Pulse {
                    seq: last + seq,
                    acked: (last + acked).saturating_sub(1),
                };
                same("beat", both!(self, beat(node, pulse, ttl_ms)));
            }
            Op::DeclareDead(node, right) => {
                let node = self.node(node);
                let seq = self.last_beat(node).await + u64::from(!right);
                same("declare dead", both!(self, declare_dead(node, seq)));
            }
            Op::Retire(node) => {
                let node = self.node(node);
                same("retire", both!(self, retire(node)));
            }
            Op::Publish(kind, rules) => same(
                "publish kinds",
                both!(self, publish_kinds(vec![(kind.clone(), rules.clone())])),
            ),
            Op::Pass(ms) => self.f.clock.pass_ms(ms),
            Op::SetBack(ms) => self.f.clock.set_back_ms(ms),
            Op::Look(narrow, page) => self.look(narrow, page).await,
        }
        self.look_at_rows().await;
    }

    fn fresh(&mut self) -> Uuid {
        self.ids += 1;
        // Spread over all bytes and without order, so that ids are ordered by what they are, not by when they came.
        Uuid::from_u128(
            self.ids
                .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        )
    }

    fn task(&mut self, id: Option<Index>, seed: Seed) -> NewTask {
        let parent = seed.parent.and_then(|pick| self.pick(pick));
        let id = id.and_then(|pick| self.pick(pick)).unwrap_or_else(|| {
            let id = TaskId(self.fresh());
            self.tasks.push(id);
            id
        });
        NewTask {
            id,
            kind: seed.kind,
            user: seed.user,
            group: seed.group,
            priority: seed.priority,
            start: seed.start,
            due: seed.due_ms.map(|ms| self.at(ms)),
            input: seed.input,
            options: seed.options,
            parent,
        }
    }

    fn end(&self, id: TaskId, run: RunId, ending: Ending) -> End {
        let event = match ending.event {
            Event::Wait { .. } => Event::Wait {
                until: ending.until_ms.map(|ms| self.at(ms)),
            },
            other => other,
        };
        let Ending {
            rules,
            output,
            error,
            awaited_children,
            ..
        } = ending;
        End {
            id,
            run,
            event,
            rules,
            output,
            error,
            awaited_children,
        }
    }

    fn at(&self, ms: i64) -> Timestamp {
        Timestamp(self.f.clock.now().0 + ms * 1_000)
    }

    fn pick(&self, pick: Index) -> Option<TaskId> {
        (!self.tasks.is_empty()).then(|| *pick.get(&self.tasks))
    }

    fn node(&self, pick: Index) -> NodeId {
        *pick.get(&self.nodes)
    }

    /// The node that is meant; any, if none is alive.
    async fn claimer(&self, pick: Pick) -> NodeId {
        let rows = self.oracle.nodes().await.expect("the reference");
        let alive: Vec<_> = rows
            .iter()
            .filter(|row| row.alive)
            .map(|row| row.id)
            .collect();
        let from = if pick.live && !alive.is_empty() {
            &alive
        } else {
            &self.nodes
        };
        *pick.index.get(from)
    }

    /// The run that is meant, if there is any.
    async fn run(&self, pick: Pick) -> Option<(TaskId, RunId)> {
        let verified = self
            .oracle
            .verify(self.runs.clone())
            .await
            .expect("the reference");
        let live = self
            .runs
            .iter()
            .zip(verified)
            .filter(|(_, status)| status.is_some())
            .map(|(run, _)| *run);
        let from: Vec<_> = if pick.live {
            live.collect()
        } else {
            self.runs.clone()
        };
        (!from.is_empty()).then(|| *pick.index.get(&from))
    }

    fn filter(&self, narrow: Narrow) -> Filter {
        let parent = narrow.parent.and_then(|pick| self.pick(pick));
        Filter {
            user: narrow.user,
            group: narrow.group,
            kinds: narrow.kinds,
            states: narrow.states,
            parent,
        }
    }

    async fn last_beat(&self, node: NodeId) -> u64 {
        let nodes = self.oracle.nodes().await.expect("the reference");
        nodes
            .iter()
            .find(|row| row.id == node)
            .map_or(0, |row| row.seq)
    }

    async fn register(&mut self, id: NodeId, slots: u32) {
        let card = NodeCard {
            id,
            label: format!("node {slots}"),
            ttl_ms: 15_000,
            slots,
            kinds: behaviours::steer::kinds()
                .iter()
                .take(slots as usize % 5)
                .map(|(kind, _)| KindKey::new(kind))
                .collect(),
        };
        same("register", both!(self, register(card)));
    }

    async fn claim(&mut self, node: Pick, work: Work, tasks: usize, kinds: Vec<Name>) {
        let kinds: Vec<_> = kinds.iter().map(KindKey::new).collect();
        let lanes = self
            .oracle
            .lanes(kinds.clone(), LaneLook::first(BATCH_MAX))
            .await
            .expect("the reference");
        let lanes = lanes.into_iter().filter(|lane| lane.work == work);
        let grants = lanes
            .map(|lane| Grant {
                lane: lane.lane,
                tasks,
            })
            .collect();
        let claim = Claim {
            node: self.claimer(node).await,
            run: RunId(self.fresh()),
            grants,
            kinds,
            reaches: Vec::new(),
            version: 0,
        };
        let (ours, theirs) = both!(self, claim(claim));
        same("a claim's settings", (ours.is_stale, theirs.is_stale));
        let (mut ours, mut theirs) = (ours.tasks, theirs.tasks);
        // Lane by lane; the order within a lane is a promise, and a stable sort keeps it.
        ours.sort_by_key(|claimed| claimed.lane);
        theirs.sort_by_key(|claimed| claimed.lane);
        self.runs
            .extend(theirs.iter().map(|claimed| (claimed.id, claimed.run)));
        same("claim", (ours, theirs));
    }

    async fn create_and_claim(&mut self, node: Pick, kinds: Vec<Name>, tasks: Vec<NewTask>) {
        let claim = ClaimNew {
            node: self.claimer(node).await,
            run: RunId(self.fresh()),
            kinds: kinds.iter().map(KindKey::new).collect(),
            reaches: Vec::new(),
            version: 0,
        };
        let (ours, theirs) = both!(self, create_and_claim(tasks, claim));
        let claimed = theirs.1.iter().map(|claimed| (claimed.id, claimed.run));
        self.runs.extend(claimed);
        same("create and claim", (ours, theirs));
    }

    /// All rows, lanes and nodes.
    async fn look_at_rows(&self) {
        let (ours, theirs) = both!(self, get(self.tasks));
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            same("get", (ours, theirs));
        }
        let kinds: Vec<_> = behaviours::steer::kinds()
            .iter()
            .map(|(kind, _)| KindKey::new(kind))
            .collect();
        let by_rank = LaneLook {
            by_rank: true,
            ..LaneLook::first(BATCH_MAX)
        };
        same("lanes by rank", both!(self, lanes(kinds, by_rank)));
        let nobody = NodeId(Uuid::nil());
        let (mut ours, theirs) = both!(self, running_elsewhere(nobody));
        ours.sort_by_key(|lane| lane.lane);
        same("running elsewhere", (ours, theirs));
        let all = LaneLook::first(BATCH_MAX);
        let (ours, theirs) = both!(self, lanes(kinds, all));
        same("lanes", (ours.clone(), theirs));
        let whole: Vec<_> = ours.iter().map(|lane| Reach::all_of(lane.lane)).collect();
        let (mut heads, _) = both!(self, heads(kinds, whole));
        heads.sort_by_key(|lane| lane.lane);
        same("heads of whole lanes", (heads, ours));
        let (mut ours, mut theirs) = both!(self, nodes());
        ours.sort_by_key(|node| node.id);
        theirs.sort_by_key(|node| node.id);
        same("nodes", (ours, theirs));
    }

    /// Lists, glances, runs and kinds.
    async fn look(&self, narrow: Narrow, page: usize) {
        let (filter, mut after) = (self.filter(narrow), None);
        loop {
            let (ours, theirs) = both!(self, list(filter, after, page));
            after = theirs.next;
            same("list", (ours, theirs));
            if after.is_none() {
                break;
            }
        }
        for node in &self.nodes {
            let (ours, theirs) = both!(self, glance(*node, 2, Depth::Full));
            self.same_glance(ours, theirs).await;
            let (mut ours, mut theirs) = both!(self, held(*node, BATCH_MAX));
            ours.sort_unstable();
            theirs.sort_unstable();
            same("held", (ours, theirs));
        }
        same("verify", both!(self, verify(self.runs)));
        let (mut ours, mut theirs) = both!(self, kinds());
        ours.sort_by_key(|kind| kind.key);
        theirs.sort_by_key(|kind| kind.key);
        same("kinds", (ours, theirs));
    }

    async fn same_glance(&self, mut ours: Glance, mut theirs: Glance) {
        for glance in [&mut ours, &mut theirs] {
            glance.wishes.sort_by_key(|wish| wish.id);
        }
        let nodes = self.oracle.nodes().await.expect("the reference");
        let must = nodes.iter().any(|node| !node.alive && node.held > 0);
        assert!(ours.dead || !must, "glance: a dead node holds tasks");
        assert!(!ours.dead || theirs.dead, "glance: nobody is dead");
        assert!(ours.inbox || !theirs.inbox, "glance: a parent can be woken");
        (ours.dead, ours.inbox) = (theirs.dead, theirs.inbox);
        same("glance", (ours, theirs));
    }

    /// Everything that can be read of every task.
    pub async fn look_into_everything(&self) {
        let every = Narrow {
            user: None,
            group: None,
            kinds: vec![],
            states: State::ALL.to_vec(),
            parent: None,
        };
        self.look(every, 7).await;
        for id in &self.tasks {
            for which in [Payload::Input, Payload::Checkpoint, Payload::Output] {
                same("payload", both!(self, payload(*id, which)));
            }
            same("failures", both!(self, failures(*id)));
            same("explain", both!(self, explain(*id)));
        }
        same("outputs", both!(self, outputs(self.tasks)));
    }
}
