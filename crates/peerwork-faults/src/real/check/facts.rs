//! The evidence, sorted by what the checks ask of it. All times are of the audit's clock.

use super::{Evidence, held};
use crate::real::audit::{Change, Op, Table};
use crate::real::history::{Answer, FaultSort, Forgery, How, Want, What, Why};
use crate::real::ledger::Effect;
use crate::real::work::Manner;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// A clock of the audit may be this coarse.
pub const TOLERANCE_US: u64 = 20_000;

/// One run of a task, by its process.
#[derive(Clone, Debug)]
pub struct RunFacts {
    pub process: String,
    pub began_us: u64,
    pub attempt: u32,
    pub from: Option<u64>,
    pub ended: Option<(u64, How)>,
    pub told: Option<Why>,
    /// Whether its end was to be committed with its own transaction, before the handler returns.
    pub finishing: bool,
    /// The newest checkpoint that was acknowledged.
    pub saved: Option<u64>,
    pub cleanup: bool,
}

/// A wish of somebody.
#[derive(Clone, Debug)]
pub struct Ask {
    pub want: Want,
    pub asked_us: u64,
    /// When it was answered; none while it may still be carried out.
    pub answered_us: Option<u64>,
    pub answer: Option<Answer>,
}

impl Ask {
    /// Whether it may have been carried out at this time.
    pub fn covers(&self, at_us: u64) -> bool {
        let from = self.asked_us.saturating_sub(TOLERANCE_US);
        from <= at_us
            && self
                .answered_us
                .is_none_or(|until| at_us <= until + TOLERANCE_US)
    }
}

/// A fault, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Fault {
    pub sort: FaultSort,
    pub node: Option<String>,
    pub from_us: u64,
    pub until_us: Option<u64>,
}

impl Fault {
    /// Whether this process suffered from it at this time.
    pub fn hits(&self, process: &str, at_us: u64) -> bool {
        self.node.as_deref() == Some(process)
            && self.from_us <= at_us
            && self.until_us.is_none_or(|until| at_us <= until)
    }
}

/// A life of a node's row.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    pub label: String,
    /// Sequence number and time of the end of its life in the database: declared dead or retired.
    pub ended: Option<(i64, u64)>,
}

/// Everything, sorted.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    pub ttl_us: u64,
    pub gap_us: u64,
    pub runs: HashMap<(Uuid, Uuid), RunFacts>,
    pub runs_of: HashMap<Uuid, Vec<Uuid>>,
    pub kinds: HashMap<Uuid, String>,
    pub asks: HashMap<Uuid, Vec<Ask>>,
    /// How often each effect was made.
    pub effects: HashMap<(Uuid, u64), u64>,
    pub faults: Vec<Fault>,
    pub nodes: HashMap<Uuid, NodeFacts>,
    pub node_changes: Vec<&'a Change>,
    pub tasks: BTreeMap<Uuid, Vec<&'a Change>>,
    /// What the nodes said.
    pub said: Vec<(String, String)>,
    pub stalls: u64,
    /// Runs that a draining node could not end.
    pub abandoned: u64,
    pub forged: Vec<(Uuid, Uuid, Forgery, bool)>,
    /// The processes to which the answer to a commit was lost, and when.
    pub swallowed: Vec<(String, u64)>,
    pub stuck: Vec<Uuid>,
    /// How often each effect is in the user's table.
    pub ledger: HashMap<Effect, u64>,
    /// The steps that were acknowledged to tasks that write it.
    pub ledgered: Vec<Effect>,
    pub rested: bool,
    /// From when on no fault came any more.
    pub peace_us: Option<u64>,
    /// Tasks that something was set for at some time: how soon they are claimed says nothing of nodes.
    pub restrained: HashSet<Uuid>,
    /// When each process was last heard of.
    pub last_heard_us: HashMap<String, u64>,
}

impl<'a> Facts<'a> {
    pub fn gather(evidence: &'a Evidence) -> Self {
        let mut facts = Facts {
            ttl_us: evidence.ttl_us,
            gap_us: evidence.gap_us,
            restrained: held::restrained(&evidence.audit),
            ..Facts::default()
        };
        for history in &evidence.histories {
            let mut questions: HashMap<u64, (Uuid, usize)> = HashMap::new();
            for entry in &history.entries {
                let at_us = entry.at_us + evidence.boot_to_day_us;
                facts.last_heard_us.insert(history.name.clone(), at_us);
                facts.note(&history.name, at_us, &entry.what, &mut questions);
            }
        }
        for effect in &evidence.ledger {
            *facts.ledger.entry(*effect).or_default() += 1;
        }
        for change in &evidence.audit {
            match change.table {
                Table::Node => facts.note_node(change),
                Table::Task | Table::Setting => {}
                _ => facts.tasks.entry(change.id).or_default().push(change),
            }
        }
        facts
    }

    fn note(
        &mut self,
        process: &str,
        at_us: u64,
        what: &What,
        questions: &mut HashMap<u64, (Uuid, usize)>,
    ) {
        match what {
            What::Began {
                task,
                run,
                kind,
                attempt,
                from,
                cleanup,
            } => {
                self.kinds.insert(*task, kind.clone());
                self.runs_of.entry(*task).or_default().push(*run);
                let facts = RunFacts {
                    process: process.to_owned(),
                    began_us: at_us,
                    attempt: *attempt,
                    from: *from,
                    ended: None,
                    told: None,
                    finishing: false,
                    saved: None,
                    cleanup: *cleanup,
                };
                self.runs.insert((*task, *run), facts);
            }
            What::Saved { task, run, step } => {
                if self.manner(*task) == Some(Manner::Ledger)
                    && self
                        .runs
                        .get(&(*task, *run))
                        .is_some_and(|run| !run.cleanup)
                {
                    self.ledgered.push(Effect {
                        task: *task,
                        step: *step,
                    });
                }
                if let Some(facts) = self.runs.get_mut(&(*task, *run)) {
                    facts.saved = facts.saved.max(Some(*step));
                }
            }
            What::Told { task, run, why } => {
                if let Some(facts) = self.runs.get_mut(&(*task, *run)) {
                    facts.told = Some(*why);
                }
            }
            What::Ended { task, run, how, .. } => {
                if let Some(facts) = self.runs.get_mut(&(*task, *run)) {
                    facts.ended = Some((at_us, *how));
                }
            }
            What::Finishing { task, run } => {
                if let Some(facts) = self.runs.get_mut(&(*task, *run)) {
                    facts.finishing = true;
                }
            }
            What::Effect { task, step, .. } => {
                *self.effects.entry((*task, *step)).or_default() += 1;
            }
            What::Said { text } => self.said.push((process.to_owned(), text.clone())),
            What::Stalled { .. } => self.stalls += 1,
            What::Asked {
                ask,
                task,
                wish,
                kind,
            } => {
                if let Some(kind) = kind {
                    self.kinds.insert(*task, kind.clone());
                }
                let asks = self.asks.entry(*task).or_default();
                questions.insert(*ask, (*task, asks.len()));
                asks.push(Ask {
                    want: *wish,
                    asked_us: at_us,
                    answered_us: None,
                    answer: None,
                });
            }
            What::Answered { ask, answer } => {
                let asked = questions
                    .get(ask)
                    .and_then(|(task, at)| self.asks.get_mut(task)?.get_mut(*at));
                if let Some(asked) = asked {
                    // What nobody knows the answer of may still be under way.
                    if !matches!(answer, Answer::Unknown(_)) {
                        asked.answered_us = Some(at_us);
                    }
                    asked.answer = Some(answer.clone());
                }
            }
            What::Forged {
                task,
                run,
                what,
                accepted,
            } => self.forged.push((*task, *run, *what, *accepted)),
            What::Fault { sort, node } => self.faults.push(Fault {
                sort: *sort,
                node: node.clone(),
                from_us: at_us,
                until_us: None,
            }),
            What::Healed { sort, node } => {
                let open = self.faults.iter_mut().rev().find(|fault| {
                    fault.sort == *sort && fault.node == *node && fault.until_us.is_none()
                });
                if let Some(open) = open {
                    open.until_us = Some(at_us);
                }
            }
            What::Swallowed { node } => self.swallowed.push((node.clone(), at_us)),
            What::Rest { stuck } => {
                self.stuck.extend(stuck);
                self.rested = true;
            }
            What::Drained { abandoned, .. } => self.abandoned += abandoned,
            What::Up { .. }
            | What::Saving { .. }
            | What::Forging { .. }
            | What::Setting { .. }
            | What::Set { .. } => {}
            What::Peace => self.peace_us = Some(at_us),
        }
    }

    fn note_node(&mut self, change: &'a Change) {
        self.node_changes.push(change);
        let node = self.nodes.entry(change.id).or_default();
        match change.op {
            Op::Insert => node.label = change.data.clone().unwrap_or_default(),
            Op::Update if change.status == 1 => {}
            Op::Update | Op::Delete => {
                node.ended.get_or_insert((change.seq, change.at_us));
            }
        }
    }

    /// The manner of a task's kind.
    pub fn manner(&self, task: Uuid) -> Option<crate::real::work::Manner> {
        crate::real::work::manner(self.kinds.get(&task)?)
    }

    /// Whether somebody may have had such a wish carried out at this time. Wishes for all tasks have the nil id.
    pub fn was_asked(&self, task: Uuid, wants: &[Want], at_us: u64) -> bool {
        let of = |id: Uuid| self.asks.get(&id).into_iter().flatten();
        of(task)
            .chain(of(Uuid::nil()))
            .any(|ask| wants.contains(&ask.want) && ask.covers(at_us))
    }

    /// Whether the node's row had ended its life before this change.
    pub fn was_ended(&self, node: Uuid, before_seq: i64) -> bool {
        let ended = self.nodes.get(&node).and_then(|node| node.ended);
        ended.is_some_and(|(seq, _)| seq < before_seq) || !self.nodes.contains_key(&node)
    }

    /// When the process that had a run went, if it did so after the run began.
    pub fn process_end_us(&self, run: &RunFacts) -> Option<u64> {
        let ends = |fault: &&Fault| {
            matches!(fault.sort, FaultSort::Kill | FaultSort::Crash)
                && fault.node.as_deref() == Some(&run.process)
                && fault.from_us >= run.began_us
        };
        self.faults
            .iter()
            .filter(ends)
            .map(|fault| fault.from_us)
            .min()
    }
}
