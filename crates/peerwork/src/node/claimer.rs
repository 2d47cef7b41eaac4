//! The claimer: turns free credits into claimed tasks, by lanes that the policy grants.
//!
//! Wakes when a credit comes back or something may be claimable; asks nothing while there is no credit. What it does next is
//! decided by the [`LaneBook`].

use super::limits::Part;
use super::line::{self, ClaimedTasks, Upcoming};
use super::{Core, runner};
use crate::Reason;
use crate::hub::Ear;
use crate::run::Control;
use peerwork_core::crowd::Restraint;
use peerwork_core::lane_book::Step;
use peerwork_core::{
    BATCH_MAX, KindKey, LaneBook, LaneId, LaneView, Mono, NodeId, Rank, RunId, Work, blame,
};
use peerwork_store::{Claim, ClaimAnswer, Claimed, Hint};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long the claimer waits after an error.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) async fn run(core: Arc<Core>) {
    let ear = core.client.hub.listen(Hint {
        ready: true,
        ..Hint::default()
    });
    let mut claimer = Claimer {
        book: LaneBook::default(),
        restraint: Restraint::default(),
        kinds: Vec::new(),
        look: None,
        core,
        ear,
    };
    claimer.book.heard();
    let draining = claimer.core.draining.clone();
    loop {
        let rest = claimer.claim_all().await;
        if let Rest::Until(_) = rest {
            claimer.core.idle.begin(&mut claimer.book, &claimer.ear);
        }
        tokio::select! {
            biased;
            () = draining.cancelled() => return,
            () = claimer.wake(rest) => {}
        }
        claimer.core.idle.end(&mut claimer.book);
    }
}

/// Until when the claimer rests, unless it is woken.
enum Rest {
    Until(Option<Mono>),
    AfterError,
}

type Looked = peerwork_store::Result<Vec<LaneView>>;

pub(super) struct Claimer {
    pub(super) core: Arc<Core>,
    ear: Arc<Ear>,
    pub(super) book: LaneBook,
    restraint: Restraint,
    /// The kinds that were open last, if anything is set.
    kinds: Vec<KindKey>,
    /// The look at all lanes that goes on beside the claims.
    look: Option<JoinHandle<Looked>>,
}

impl Claimer {
    /// Waits for whatever may lead to a claim.
    ///
    /// Cancel safe.
    async fn wake(&mut self, rest: Rest) {
        let env = self.core.client.env.clone();
        let until = match rest {
            Rest::AfterError => return tokio::time::sleep(AGAIN).await,
            Rest::Until(until) => until,
        };
        let time = async {
            match until {
                Some(at) => env.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let looked = tokio::select! {
            biased;
            looked = end_of(&mut self.look) => looked,
            () = self.core.credited.notified() => return,
            _ready = self.ear.hear() => return,
            () = time => return,
        };
        // Its error was told by itself, and the next look comes in time.
        let _ = self.looked(looked);
    }

    /// Claims until nothing is claimable or no credit is left.
    async fn claim_all(&mut self) -> Rest {
        match self.try_claim_all().await {
            Ok(until) => {
                let now = self.core.client.env.now();
                self.core.has_claimed_all(now);
                let opens_at = self.core.limits.opens_at(now);
                let gives_up_at = self.core.externals.gives_up_at(now);
                Rest::Until([until, opens_at, gives_up_at].into_iter().flatten().min())
            }
            Err(error) => {
                tracing::warn!(%error, "cannot claim; trying again");
                self.core.tell_of_room();
                Rest::AfterError
            }
        }
    }

    async fn try_claim_all(&mut self) -> peerwork_store::Result<Option<Mono>> {
        let env = self.core.client.env.clone();
        let (mut asked, mut claimed) = (false, false);
        self.book.wake();
        let until = loop {
            self.hear();
            if self.look.as_ref().is_some_and(JoinHandle::is_finished) {
                // Where every claim leaves credits and brings something, it never comes to a rest.
                let looked = end_of(&mut self.look).await;
                let _ = self.looked(looked);
            }
            let credits = [Work::Cleanup, Work::Run].map(|work| (work, self.credit(work)));
            let wanted = credits.into_iter().filter(|(_, free)| *free > 0);
            let wanted: Vec<Work> = wanted.map(|(work, _)| work).collect();
            if self.core.draining.is_cancelled() {
                return Ok(None);
            }
            let now = env.now();
            let needs = self.core.chooser.needs();
            self.book.tell_ranks(needs.heads_by_rank);
            match self.book.next(&wanted, now, self.restraint.until()) {
                Step::Rest(until) => break until,
                Step::Look => {
                    asked = true;
                    let look = self.book.looking(now);
                    let keys = self.core.registry.keys();
                    let looked = self.core.store.lanes(keys, look).await;
                    self.looked(looked)?;
                }
                Step::LookBeside => {
                    let look = self.book.looking(now);
                    let (store, keys) = (self.core.store.clone(), self.core.registry.keys());
                    let look = async move { store.lanes(keys, look).await };
                    self.look = Some(self.core.spawn(look));
                }
                Step::Heads => {
                    asked = true;
                    let keys = self.core.registry.keys();
                    let heads = self.core.store.heads(keys, self.book.known()).await?;
                    self.book.saw_heads(heads, now, env.now());
                }
                Step::Claim(work) => {
                    let free = if work == Work::Run {
                        credits[1].1
                    } else {
                        credits[0].1
                    };
                    match self.claim(work, free).await? {
                        Got::Tasks => claimed = true,
                        Got::Nothing => asked = true,
                        Got::MayNot => break None,
                    }
                }
            }
        };
        if asked {
            self.core.followed(&mut self.restraint, claimed);
        }
        Ok(until)
    }

    fn credit(&self, work: Work) -> usize {
        // What a queue has the order of is decided as late as can be: none of it is read ahead.
        let credit = match self.core.externals.of(work) {
            Some(_) => self.core.free_slots(work),
            None => self.core.credit(work),
        };
        credit.min(BATCH_MAX)
    }

    /// Takes in what was told since the last time.
    fn hear(&mut self) {
        let (news, now) = (self.ear.news(), self.core.client.env.now());
        if news.anywhere {
            self.book.heard();
            self.core.limits.heard();
        }
        let kinds = self.core.open_kinds();
        let has_room = self.core.limits.take_has_room();
        if has_room || kinds.iter().any(|kind| !self.kinds.contains(kind)) {
            // Tasks of it were passed over in lanes that seemed empty.
            self.book.heard();
        }
        self.kinds = kinds;
        let came_at = self.core.limits.time(now);
        for ((_, kind), (mut view, tasks)) in news.lanes {
            if self.core.registry.has(kind) {
                view.since = came_at;
                self.book.heard_of(view, tasks, now);
            }
        }
    }

    fn looked(&mut self, looked: Looked) -> peerwork_store::Result<()> {
        let now = self.core.client.env.now();
        match looked {
            Ok(lanes) => {
                self.book.looked(lanes, now);
                Ok(())
            }
            Err(error) => {
                self.book.look_failed(now);
                Err(error)
            }
        }
    }

    async fn claim(&mut self, work: Work, free: usize) -> peerwork_store::Result<Got> {
        if let Some(got) = self.claim_next(work, free).await? {
            return Ok(got);
        }
        let core = self.core.clone();
        core.ask_about_limits().await?;
        if work == Work::Run {
            core.ask_what_runs().await?;
        }
        let offer = core.offer(work, self.book.lanes(work));
        let grants = core.grants(work, &offer.lanes, free);
        let ranks = core.ranks(&offer.lanes, &grants);
        let parts = core.parts(work, &offer, grants);
        let (kinds, version) = (offer.kinds, offer.version);
        if parts.iter().all(|part| part.grants.is_empty()) {
            self.book.declined(work);
            return Ok(Got::Nothing);
        }
        let mut all = Got::Nothing;
        for part in parts {
            match self
                .take(work, part, &ranks, kinds.clone(), version)
                .await?
            {
                Got::Tasks => all = Got::Tasks,
                Got::Nothing => {}
                Got::MayNot => return Ok(Got::MayNot),
            }
        }
        Ok(all)
    }

    async fn take(
        &mut self,
        work: Work,
        part: Part,
        ranks: &BTreeMap<LaneId, Rank>,
        kinds: Vec<KindKey>,
        version: u64,
    ) -> peerwork_store::Result<Got> {
        let core = &self.core;
        let Part { mut grants, bounds } = part;
        let node = core.lease.node();
        if core.lease.is_fenced(node, core.client.env.now()) {
            return Ok(Got::MayNot);
        }
        let run = core.client.env.new_run_id();
        let claim = Claim {
            node,
            run,
            reaches: self.book.reaches(&grants, ranks),
            grants: grants.clone(),
            kinds,
            version,
        };
        let now = core.limits.time(core.client.env.now());
        core.claims(run);
        // Only now: a drain that began before has not seen this claim, and would not wait for it.
        if core.draining.is_cancelled() {
            core.claim_is_over(run);
            return Ok(Got::MayNot);
        }
        let answer = match &bounds {
            Some(bounds) => core.store.claim_within(claim, bounds.clone()).await,
            None => core.store.claim(claim).await,
        };
        let ClaimAnswer {
            tasks: claimed,
            full,
            unseen,
            is_stale,
        } = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // Perhaps it was carried out: the upkeep finds what this node holds without knowing, and gives it back.
                core.claim_is_over(run);
                self.book.claim_failed();
                return Err(error);
            }
        };
        if is_stale {
            core.claim_is_over(run);
            core.load_config().await?;
            self.book.heard();
            return Ok(Got::Nothing);
        }
        if let Some(bounds) = &bounds {
            core.limits.found_full(full, claimed.len());
            grants = core.as_far_as_free(bounds, grants, &claimed);
            grants.retain(|grant| !unseen.contains(&grant.lane));
        }
        let tasks = claimed
            .iter()
            .map(|task| (task.lane, task.rank, task.task.ready_at));
        self.book.claimed(work, &grants, ranks, tasks, now);
        Ok(begin(core, work, node, run, claimed, bounds.is_some()))
    }
}

/// Begins what was claimed, or notes that nothing was. `at_once`: the next claim has to know what runs here.
pub(super) fn begin(
    core: &Arc<Core>,
    work: Work,
    node: NodeId,
    run: RunId,
    claimed: Vec<Claimed>,
    at_once: bool,
) -> Got {
    let got = claimed.len();
    core.slots(work).credits().claimed(got);
    if claimed.is_empty() {
        core.claim_is_over(run);
        return Got::Nothing;
    }
    begin_held(core, work, node, run, claimed, at_once);
    Got::Tasks
}

/// The same of tasks for which credits were taken.
pub(super) fn begin_held(
    core: &Arc<Core>,
    work: Work,
    node: NodeId,
    run: RunId,
    claimed: Vec<Claimed>,
    at_once: bool,
) {
    if work == Work::Run {
        core.chooser.claimed(&claimed);
    }
    let claim = ClaimedTasks {
        node,
        run,
        tasks: claimed,
    };
    core.slots(work).bring(claim);
    if at_once {
        return start_all(core, work);
    }
    // Beside the next claim.
    let starter = core.clone();
    core.spawn(async move { start_all(&starter, work) });
}

/// Starts the runs of all claims that were brought.
fn start_all(core: &Arc<Core>, work: Work) {
    core.slots(work).start_all(|claim| {
        let now = Instant::now();
        for claimed in claim.tasks {
            let Some(upcoming) = hold(core, claim.node, claimed) else {
                continue;
            };
            if core.draining.is_cancelled() {
                // Whoever drains has told those that were held then.
                upcoming.control.tell(Reason::Drain);
            }
            if blame::is_suspect(upcoming.claimed.task.crashes) {
                core.spawn(Box::pin(runner::try_suspect(core.clone(), upcoming)));
            } else {
                line::start(core, work, upcoming, now);
            }
        }
        core.claim_is_over(claim.run);
    });
}

/// Takes note of a claimed task, unless its earlier run has not ended here yet: then it goes back, and comes again when that one is gone.
fn hold(core: &Arc<Core>, node: NodeId, claimed: Claimed) -> Option<Upcoming> {
    let entry = core.registry.get(&claimed.kind);
    let runs_on = entry
        .as_ref()
        .is_some_and(|entry| entry.rules.on_unreachable.runs_on(core.is_embedded));
    let control = Arc::new(Control::new(runs_on));
    if !core.hold(&claimed, control.clone()) {
        core.spawn(runner::give_back(core.clone(), entry, claimed));
        return None;
    }
    Some(Upcoming {
        claimed,
        control,
        entry,
        node,
    })
}

/// Waits until the look that goes on is over; if none does, for ever.
///
/// Cancel safe.
async fn end_of(look: &mut Option<JoinHandle<Looked>>) -> Looked {
    let Some(running) = look else {
        return std::future::pending().await;
    };
    let looked = running.await;
    *look = None;
    looked.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Ok(Vec::new()),
    })
}

/// What came of one claim.
pub(super) enum Got {
    Tasks,
    Nothing,
    /// This node may not claim now.
    MayNot,
}
