//! Eager starts: tasks that this process creates while its node has free slots and knows of nothing else to do are claimed in the
//! transaction that creates them. That saves a commit and a wake-up between a create and its handler's first line.
//!
//! Nobody of whom this node has heard is passed over by it: the claimer has to be at rest, and to know of no work. The policy is asked as for
//! any claim. What is under a limit, of a queue that keeps the order elsewhere, or behind others in its lane (which the transaction looks at,
//! from where the node has claimed up to) waits in line as ever.

use super::Core;
use super::claimer::begin_held;
use crate::hub::{Ear, News};
use peerwork_core::{Grant, KindKey, LaneBook, LaneId, LaneView, Timestamp, Work};
use peerwork_store::{ClaimNew, Created, Error, ErrorKind, NewTask, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;

/// What the claimer knows of the lanes, while it rests and knows of nothing to do; and where it hears of work.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Option<(LaneBook, Arc<Ear>)>>);

impl Idle {
    fn left(&self) -> MutexGuard<'_, Option<(LaneBook, Arc<Ear>)>> {
        self.0.lock().expect("no panic under the lock")
    }

    /// The claimer rests. What it knows is left here if that is nothing to do.
    pub fn begin(&self, book: &mut LaneBook, ear: &Arc<Ear>) {
        if book.is_idle() {
            *self.left() = Some((std::mem::take(book), ear.clone()));
        }
    }

    /// The claimer goes on with what it knows.
    pub fn end(&self, book: &mut LaneBook) {
        if let Some((left, _)) = self.left().take() {
            *book = left;
        }
    }

    /// Whether there is nothing to do, and nothing was heard that the claimer has not woken up to yet.
    fn is_idle(&self) -> bool {
        self.left().as_ref().is_some_and(|(_, ear)| !ear.is_told())
    }
}

/// Tasks that are to be started as they are created: their credits are taken, and a drain waits for them.
pub(crate) struct EagerStart {
    claim: ClaimNew,
    tasks: usize,
}

/// Of each lane what is known of it, and how many tasks are about to be created there.
type NewTasks = BTreeMap<LaneId, (LaneView, usize)>;

fn by_lane(news: &News, now: Timestamp) -> NewTasks {
    let mut lanes = NewTasks::new();
    for ((lane, _), (view, tasks)) in &news.lanes {
        let (known, count) = lanes.entry(*lane).or_insert_with(|| (view.clone(), 0));
        (known.rank, known.since) = (known.rank.min(view.rank), now);
        *count += tasks;
    }
    lanes
}

/// What was decided, and on what.
struct Decided {
    grants: Vec<Grant>,
    kinds: Vec<KindKey>,
    version: u64,
}

impl Core {
    /// Whether tasks that are about to be created, of which this is the news, may start at once.
    pub(crate) fn starts_eagerly(&self, news: &News) -> Option<EagerStart> {
        let (env, node) = (&self.client.env, self.lease.node());
        let may_claim = !self.draining.is_cancelled() && !self.lease.is_fenced(node, env.now());
        if news.anywhere || !may_claim || !self.idle.is_idle() || self.limits.has_room() {
            return None;
        }
        let lanes = by_lane(news, self.limits.time(env.now()));
        let tasks = lanes.values().map(|(_, tasks)| tasks).sum();
        let Decided {
            grants,
            kinds,
            version,
        } = self.grants_all_of(news, &lanes)?;
        let reaches = {
            let left = self.idle.left();
            let (book, _) = left.as_ref()?;
            let reaches = book.reaches(&grants, &BTreeMap::new());
            // While the claimer cannot wake: it counts what is free when it does.
            self.slots(Work::Run).take(tasks).then_some(reaches)?
        };
        let run = env.new_run_id();
        self.claims(run);
        // Only now: a drain that began before has not seen this claim, and would not wait for it.
        if self.draining.is_cancelled() {
            self.puts_back(tasks);
            self.claim_is_over(run);
            return None;
        }
        let claim = ClaimNew {
            node,
            run,
            kinds,
            reaches,
            version,
        };
        Some(EagerStart { claim, tasks })
    }

    /// What the policy grants, if that is all of the new tasks, and none of them is under a limit.
    fn grants_all_of(&self, news: &News, lanes: &NewTasks) -> Option<Decided> {
        let free = self.free_slots(Work::Run);
        let tasks: usize = lanes.values().map(|(_, tasks)| tasks).sum();
        let decides = self.externals.of(Work::Run).is_none() && self.chooser_is_informed();
        if tasks == 0 || tasks > free || !decides || self.limits.is_in_doubt() {
            return None;
        }
        let views: Vec<_> = lanes.values().map(|(view, _)| view.clone()).collect();
        let offer = self.offer(Work::Run, &views);
        let mut kinds = news.lanes.keys().map(|(_, kind)| kind);
        let grants = self.grants(Work::Run, &offer.lanes, free);
        let is_granted = |(lane, (_, tasks)): (&LaneId, &(LaneView, usize))| {
            let mut grants = grants.iter();
            grants.any(|grant| grant.lane == *lane && grant.tasks >= *tasks)
        };
        if !kinds.all(|kind| offer.kinds.contains(kind)) || !lanes.iter().all(is_granted) {
            return None;
        }
        let parts = self.parts(Work::Run, &offer, grants.clone());
        let is_limited = parts.iter().any(|part| part.bounds.is_some());
        (!is_limited).then_some(Decided {
            grants,
            kinds: offer.kinds,
            version: offer.version,
        })
    }

    /// Creates the tasks and starts them.
    ///
    /// Cancel safe: it goes on to its end.
    pub(crate) async fn create_and_start(
        self: Arc<Self>,
        tasks: Vec<NewTask>,
        news: News,
        start: EagerStart,
    ) -> Result<Vec<Created>> {
        let (answer, answered) = oneshot::channel();
        let core = self.clone();
        self.spawn_duty("eager start", async move {
            // Whoever has asked may have gone.
            drop(answer.send(core.start_eagerly(tasks, &news, start).await));
        });
        let gone = |_| {
            let why = "create tasks: the node has ended in the middle; they may have been created";
            Error::new(ErrorKind::Ambiguous, why)
        };
        answered.await.map_err(gone)?
    }

    async fn start_eagerly(
        self: &Arc<Self>,
        tasks: Vec<NewTask>,
        news: &News,
        start: EagerStart,
    ) -> Result<Vec<Created>> {
        let ClaimNew { node, run, .. } = start.claim;
        let answer = self
            .store
            .create_and_claim(tasks, start.claim.clone())
            .await;
        let (created, claimed) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // Perhaps it was carried out: the upkeep finds what this node holds without knowing, and gives it back.
                self.puts_back(start.tasks);
                self.claim_is_over(run);
                return Err(error);
            }
        };
        let others = start.tasks - claimed.len();
        self.puts_back(others);
        if others > 0 {
            // They are in line, also where they were before.
            self.client.hub.tell_news(news);
        }
        if claimed.is_empty() {
            self.claim_is_over(run);
        } else {
            begin_held(self, Work::Run, node, run, claimed, true);
        }
        Ok(created)
    }

    /// So many of the credits that were taken are not needed.
    fn puts_back(&self, tasks: usize) {
        if tasks > 0 {
            self.slots(Work::Run).put_back(tasks);
            self.credited.notify_one();
        }
    }
}
