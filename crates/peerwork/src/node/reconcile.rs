//! Heals what a queue outside does not know, and what it knows wrongly: tells it again and again, page by page, of all that is claimable, and has
//! it forget what is not.
//!
//! Level-triggered: it looks at what is. All nodes of a cluster together go through a bounded number of tasks a second, each from a place of
//! its own on.

use super::Core;
use super::external::External;
use peerwork_core::{BATCH_MAX, KindKey, LaneId, Mono, TaskId, Work};
use peerwork_store::{Hint, Offer, Result, Sought, Spot};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// From one page to the next while there are more, in milliseconds, for each node of the cluster: 5,000 tasks a second.
const PAGE_MS: u64 = 200;

/// Goes on until the node drains.
pub(super) async fn run(core: Arc<Core>) {
    let env = core.client.env.clone();
    let times = core.externals.all().map(|(_, external)| external.times);
    let Some(offer_ms) = times.map(|times| times.offer_ms).min() else {
        return;
    };
    let ear = core.client.hub.listen(Hint {
        ready: true,
        ..Hint::default()
    });
    let mut round = Round {
        after: None,
        goes_anywhere: true,
        goes_on: false,
        known: [None, None],
        checks_from: env.now(),
    };
    loop {
        let began = env.now();
        let is_more = match round.offer(&core).await {
            Ok(is_more) => is_more,
            Err(error) => {
                tracing::warn!(%error, "cannot read what is claimable; offering it to a queue later");
                false
            }
        };
        if began >= round.checks_from {
            round.checks_from = began.plus_ms(offer_ms);
            if let Err(error) = round.check(&core).await {
                tracing::warn!(%error, "cannot check what a queue knows; doing so later");
            }
        }
        let nodes = core.crowd.load(Ordering::Relaxed).max(1);
        let soon = began.plus_ms((PAGE_MS * nodes).min(offer_ms));
        let pause = async {
            env.sleep_until(soon).await;
            if !is_more {
                tokio::select! {
                    biased;
                    _ready = ear.hear() => {}
                    () = env.sleep_until(began.plus_ms(offer_ms)) => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = core.draining.cancelled() => return,
            () = pause => {}
        }
    }
}

/// How far it has come.
struct Round {
    /// Behind this spot the next page begins.
    after: Option<Spot>,
    /// It has not gone to a place of its own yet.
    goes_anywhere: bool,
    /// It is on its way from there to the end, and begins anew at once.
    goes_on: bool,
    /// Behind these tasks the next page of what each queue knows begins: cleanups, runs.
    known: [Option<TaskId>; 2],
    checks_from: Mono,
}

impl Round {
    /// Offers the next page. Whether the one behind it is to follow soon.
    async fn offer(&mut self, core: &Core) -> Result<bool> {
        let sought = Sought::After(self.after);
        let mut offers = core.store.offers(sought, BATCH_MAX).await?;
        // Rows that could not be read are missing: only a page that is far from full is the last one.
        let is_last = offers.len() < BATCH_MAX / 2;
        self.after = offers.last().map(Offer::spot).filter(|_| !is_last);
        if !is_last && std::mem::take(&mut self.goes_anywhere) {
            // One page is read at once, whoever reads it. Of more each node goes through another part first.
            let anywhere = LaneId(core.client.env.new_run_id().0);
            self.after = Some(Spot::before(anywhere));
            self.goes_on = true;
        }
        offers.retain(|offer| core.registry.has(KindKey::new(&offer.kind)));
        let now = core.client.env.now();
        for (work, external) in core.externals.all() {
            let its = offers.extract_if(.., |offer| offer.work == work).collect();
            if !external.rests(now) {
                external.offer(core, its).await;
            }
        }
        if !is_last {
            return Ok(true);
        }
        // From its own place to the end is no whole round: what is before that is as much in need.
        let goes_on = std::mem::take(&mut self.goes_on);
        if !goes_on {
            core.externals
                .all()
                .for_each(|(_, external)| external.round_is_over());
        }
        Ok(goes_on)
    }

    /// Has each queue forget what is not claimable of the next page of what it knows.
    async fn check(&mut self, core: &Core) -> Result<()> {
        let now = core.client.env.now();
        for (work, external) in core.externals.all() {
            let after = &mut self.known[usize::from(work == Work::Run)];
            if external.rests(now) {
                continue;
            }
            let Some(known) = known(core, external, *after).await else {
                continue;
            };
            *after = known
                .iter()
                .max()
                .copied()
                .filter(|_| known.len() >= BATCH_MAX);
            if known.is_empty() {
                continue;
            }
            let there = core
                .store
                .offers(Sought::These(known.clone()), BATCH_MAX)
                .await?;
            let there: HashSet<TaskId> = there
                .into_iter()
                .filter(|offer| offer.work == work)
                .map(|offer| offer.task)
                .collect();
            let gone = known.into_iter().filter(|task| !there.contains(task));
            external.withdraw(core, gone.collect()).await;
        }
        Ok(())
    }
}

async fn known(core: &Core, external: &External, after: Option<TaskId>) -> Option<Vec<TaskId>> {
    let call = async { external.queue.known(after, BATCH_MAX).await };
    let mut known = external.ask(core, "known", call).await?;
    known.truncate(BATCH_MAX);
    Some(known)
}
