//! What a node claims, saves and ends.

use crate::{NewTask, Options, Progress};
use peerwork_core::{
    BATCH_MAX, Event, Grant, KindKey, LaneId, Name, NodeId, Rank, Reach, Rules, RunId, Status,
    Task, TaskId, Timestamp,
};
use std::collections::{BTreeMap, HashMap};

/// A claim by `node` of as many tasks as granted, all under one fresh run id.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who claims.
    pub node: NodeId,
    /// Fresh and random.
    pub run: RunId,
    /// From which lanes how many. Grants of one claim are for one sort of work.
    pub grants: Vec<Grant>,
    /// From where on to look in those lanes; in a lane without a range from its beginning. Those of one lane are in order and do not
    /// overlap. It makes a claim faster where dead entries are in the way: what is in none of the ranges need not be found. A store may look
    /// at more of the ranks from the first range to the last one, and at no others.
    pub reaches: Vec<Reach>,
    /// The kinds that the node can run; nothing else is claimed.
    pub kinds: Vec<KindKey>,
    /// The version of what is set on which this was decided: under another one nothing is claimed. See
    /// [`Config`](crate::Config).
    pub version: u64,
}

impl Claim {
    /// Leaves one grant for each lane, for one that is read twice in a statement would give a task twice; and sorts the ranges by
    /// lane, as [`reaches_of`](Self::reaches_of) needs them.
    pub(crate) fn sort(&mut self) {
        let mut places = HashMap::with_capacity(self.grants.len());
        let mut grants: Vec<Grant> = Vec::with_capacity(self.grants.len());
        for grant in self.grants.drain(..).filter(|grant| grant.tasks > 0) {
            let place = *places.entry(grant.lane).or_insert(grants.len());
            match grants.get_mut(place) {
                Some(known) => known.tasks = known.tasks.saturating_add(grant.tasks).min(BATCH_MAX),
                None => grants.push(Grant {
                    tasks: grant.tasks.min(BATCH_MAX),
                    ..grant
                }),
            }
        }
        self.grants = grants;
        self.reaches.sort_by_key(|reach| reach.lane);
    }

    /// Whether it was decided on this version of what is set.
    pub(crate) fn is_of(&self, version: i64) -> bool {
        u64::try_from(version).is_ok_and(|version| version == self.version)
    }

    /// The ranges of a lane, in order; all of it, if none is given.
    pub(crate) fn reaches_of(&self, lane: LaneId) -> Vec<Reach> {
        reaches_of(&self.reaches, lane)
    }
}

/// A claim by `node` of tasks in the transaction that creates them, all under one fresh run id.
#[derive(Clone, Debug)]
pub struct ClaimNew {
    /// Who claims.
    pub node: NodeId,
    /// Fresh and random.
    pub run: RunId,
    /// The kinds that the node can run.
    pub kinds: Vec<KindKey>,
    /// From where on to look in the tasks' lanes for others that are before them, as [`Claim::reaches`].
    pub reaches: Vec<Reach>,
    /// The version of what is set on which this was decided, as [`Claim::version`].
    pub version: u64,
}

impl ClaimNew {
    /// Ranges in which others are looked for: a statement names each of them, with all kinds.
    const BEFORE_MAX: usize = 8;

    /// Whether it can run all of them that are claimable.
    pub(crate) fn can_run(&self, tasks: &[NewTask]) -> bool {
        let mut claimable = tasks.iter().filter(|task| task.rank().is_some());
        claimable.all(|task| self.kinds.contains(&KindKey::new(&task.kind)))
    }

    /// Where tasks would be that are before one of these. None: in more ranges than are looked at.
    pub(crate) fn before(&self, tasks: &[NewTask]) -> Option<Vec<Reach>> {
        let mut known = self.reaches.clone();
        known.sort_by_key(|reach| reach.lane);
        let mut lasts: BTreeMap<LaneId, Rank> = BTreeMap::new();
        for task in tasks {
            if let Some(rank) = task.rank() {
                let last = lasts.entry(task.lane()).or_insert(rank);
                *last = rank.max(*last);
            }
        }
        let before = |(lane, last): (LaneId, Rank)| {
            let until = Rank(last.0.saturating_add(1));
            let mut reaches = reaches_of(&known, lane);
            reaches.retain(|reach| reach.rank < until);
            reaches.into_iter().map(move |reach| Reach {
                until: reach.until.min(until),
                ..reach
            })
        };
        let before: Vec<_> = lasts.into_iter().flat_map(before).collect();
        (before.len() <= Self::BEFORE_MAX).then_some(before)
    }
}

/// The ranges of a lane, in order; all of it, if none is given. They are sorted by lane.
fn reaches_of(reaches: &[Reach], lane: LaneId) -> Vec<Reach> {
    let first = reaches.partition_point(|reach| reach.lane < lane);
    let from_first = reaches[first..].iter();
    let mut reaches: Vec<_> = from_first
        .take_while(|reach| reach.lane == lane)
        .copied()
        .collect();
    if reaches.is_empty() {
        reaches.push(Reach::all_of(lane));
    }
    reaches
}

/// What runs of one user in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningIn {
    /// The lane.
    pub lane: LaneId,
    /// Its group.
    pub group: Name,
    /// Its user.
    pub user: Name,
    /// How many tasks.
    pub tasks: usize,
}

/// A claimed task with what its handler needs.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its id.
    pub id: TaskId,
    /// The run that holds it now.
    pub run: RunId,
    /// Its type.
    pub kind: Name,
    /// Whose it is.
    pub user: Name,
    /// The group it is in.
    pub group: Name,
    /// The lane it was claimed from.
    pub lane: LaneId,
    /// The rank that it had there; a guess, where the answer to the claim was lost and read back.
    pub rank: Rank,
    /// What becomes of its record.
    pub options: Options,
    /// The task that waits for it.
    pub parent: Option<TaskId>,
    /// Its facts, as written by the claim.
    pub task: Task,
    /// When it was created.
    pub created_at: Timestamp,
    /// What it was created with.
    pub input: Vec<u8>,
    /// What an earlier run saved last.
    pub checkpoint: Option<Vec<u8>>,
}

/// A checkpoint or a progress to save.
#[derive(Clone, Debug)]
pub struct Save {
    /// The task ..
    pub id: TaskId,
    /// .. while this run holds it.
    pub run: RunId,
    /// The new checkpoint; none: the old one stays.
    pub checkpoint: Option<Vec<u8>>,
    /// The new progress; none: the old one stays.
    pub progress: Option<Progress>,
}

/// The answer to a [`Save`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is durable. The status tells whether somebody wants the run to stop.
    Kept(Status),
    /// The run does not hold the task any more: nothing was written.
    Lost,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct End {
    /// The task ..
    pub id: TaskId,
    /// .. while this run holds it.
    pub run: RunId,
    /// One of [`Event::Ok`], [`Event::Err`], [`Event::Stopped`], [`Event::Wait`], [`Event::Deadline`].
    pub event: Event,
    /// The kind's rules, as its handler states them.
    pub rules: Rules,
    /// What the handler returned.
    pub output: Option<Vec<u8>>,
    /// Why it failed.
    pub error: Option<String>,
    /// With [`Event::Wait`]: woken once so many of its children are over.
    pub awaited_children: u32,
}

/// The answer to an [`End`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is recorded; the task is in this status now.
    Recorded(Status),
    /// This run had ended before; the task is in this status now, and nothing was written. That is what a repetition is
    /// told after the first answer was lost.
    Already(Status),
    /// The run did not hold the task any more: nothing was written.
    Lost,
}

/// What a promotion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promoted {
    /// Tasks that became claimable.
    pub tasks: usize,
    /// Whether more were due than one batch takes.
    pub more: bool,
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The tasks that were taken back from dead nodes, with what became of them.
    pub tasks: Vec<(TaskId, Status)>,
    /// Whether there may be more than one batch takes.
    pub more: bool,
}
