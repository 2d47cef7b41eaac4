//! What is set, as this node knows it: read anew when its version changes, asked at every claim. And the gates that ask runs to stop.
//!
//! *Not here:* what follows from it, which is pure ([`LimitBook`]), and who changes it (`client/settings.rs`).

use super::Core;
use super::core::Held;
use crate::Reason;
use peerwork_core::{
    Bound, Bounds, Grant, KindKey, LaneView, LimitBook, Mono, Name, SETTLE_MS, Scope, ScopeKey,
    Timestamp, Whose, Work, within_slots,
};
use peerwork_store::{Claimed, Glance, Hint, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// How much longer than it takes whoever has changed a setting may take to settle it, in milliseconds, before a node does it.
const SETTLES_LATE_MS: u64 = 1_000;

/// What the node knows of all that is set.
#[derive(Default)]
pub(crate) struct Limits {
    book: Mutex<LimitBook>,
    /// Held while it is read: what was read later must not be overwritten by what was read before.
    loading: tokio::sync::Mutex<()>,
    /// The database's time, and when it was that.
    seen: Mutex<Option<(Timestamp, Mono)>>,
    /// What was set just before it was read.
    unsettled: Mutex<Vec<(Scope, Timestamp)>>,
    /// Whether a gate has asked some run to stop.
    has_asked: AtomicBool,
    /// Whether this node may run more tasks of a kind: there may be some in lanes that seemed empty.
    has_room: AtomicBool,
    /// How many runs have ended here under limits since the others were told, less those that were claimed here instead.
    untold: AtomicUsize,
}

/// Whose a run is: the names, of which settings may ask.
pub(crate) struct Names {
    group: Name,
    user: Name,
    kind: Name,
}

impl Names {
    /// Of a task that is claimed to be run; a cleanup is nobody's.
    pub fn of(claimed: &Claimed) -> Option<Self> {
        (claimed.task.status.work() == Work::Run).then(|| Self {
            group: claimed.group.clone(),
            user: claimed.user.clone(),
            kind: claimed.kind.clone(),
        })
    }

    fn whose(&self) -> Whose {
        Whose {
            group: self.group.clone(),
            user: self.user.clone(),
            kind: KindKey::new(&self.kind),
        }
    }
}

/// What may be claimed now.
pub(super) struct Offer<'a> {
    /// The lanes that are open.
    pub lanes: Cow<'a, [LaneView]>,
    /// The kinds that are open.
    pub kinds: Vec<KindKey>,
    /// The version of the settings that say so.
    pub version: u64,
    here: BTreeMap<ScopeKey, u32>,
}

/// A claim to make: grants, with the limits that they are under.
///
/// It carries the version of the [`Offer`], whatever was read since: what was refused then is not refused by later settings.
pub(super) struct Part {
    pub grants: Vec<Grant>,
    pub bounds: Option<Bounds>,
}

impl Limits {
    /// Whether something has been heard of limits that were full, and not been asked about.
    pub fn is_in_doubt(&self) -> bool {
        !self.book().doubted().is_empty()
    }

    pub fn book(&self) -> MutexGuard<'_, LimitBook> {
        self.book.lock().expect("no panic under the lock")
    }

    /// The version of what is set.
    pub fn version(&self) -> u64 {
        self.book().version()
    }

    /// Room may have come back anywhere.
    pub fn heard(&self) {
        self.book().heard();
    }

    /// Whether there is room for tasks that were passed over.
    pub fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Relaxed)
    }

    /// The same, since this was last asked.
    pub fn take_has_room(&self) -> bool {
        self.has_room.swap(false, Ordering::Relaxed)
    }

    /// What a claim of `got` tasks has found.
    pub fn found_full(&self, full: Vec<(ScopeKey, Option<Timestamp>)>, got: usize) {
        self.book().found_full(full);
        let less = |untold: usize| Some(untold.saturating_sub(got));
        let _ = self
            .untold
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Takes note of the database's time.
    pub fn saw(&self, now: Timestamp, at: Mono) {
        *self.seen.lock().expect("no panic under the lock") = Some((now, at));
    }

    /// The database's time, as far as it is known: never ahead of it, while its clock is not set back.
    pub fn time(&self, at: Mono) -> Timestamp {
        let seen = *self.seen.lock().expect("no panic under the lock");
        let Some((now, since)) = seen else {
            return Timestamp(0);
        };
        Timestamp(now.0.saturating_add(at.since(since).as_micros() as i64))
    }

    /// When a gate or a bucket opens by itself.
    pub fn opens_at(&self, at: Mono) -> Option<Mono> {
        let book = self.book();
        if book.is_empty() {
            return None;
        }
        let now = self.time(at);
        let opens_at = book.opens_at(now)?;
        // A moment late: it is the database's time that counts.
        Some(at.plus_ms(opens_at.ms_since(now) + 1))
    }
}

impl Core {
    /// Reads what is set.
    pub(super) async fn load_config(&self) -> Result<()> {
        let _turn = self.limits.loading.lock().await;
        let now = self.store.now().await?;
        self.limits.saw(now, self.client.env.now());
        let config = self.store.config().await?;
        self.chooser.load(&config);
        let unsettled = config.settings.iter();
        let unsettled = unsettled.filter_map(|row| Some((row.scope.clone(), row.unsettled?)));
        *self
            .limits
            .unsettled
            .lock()
            .expect("no panic under the lock") = unsettled.collect();
        let settings = config.settings.into_iter();
        let settings = settings.map(|row| (row.scope, row.setting));
        self.limits.book().load(config.version, settings);
        tracing::debug!(version = config.version, "read what is set");
        Ok(())
    }

    /// Asks which limits are full still, of those of which something was heard: one look, however many lanes wait under them.
    pub(super) async fn ask_about_limits(&self) -> Result<()> {
        loop {
            let asked = self.limits.book().doubted();
            if asked.is_empty() {
                return Ok(());
            }
            let full = self.store.full(asked.clone()).await?;
            self.limits.book().resolve(&asked, &full);
        }
    }

    /// What may be claimed of these lanes.
    pub(super) fn offer<'a>(&self, work: Work, lanes: &'a [LaneView]) -> Offer<'a> {
        let (book, kinds) = (self.limits.book(), self.registry.keys());
        let everything = || Offer {
            lanes: Cow::Borrowed(lanes),
            kinds: kinds.clone(),
            version: book.version(),
            here: BTreeMap::new(),
        };
        if work == Work::Cleanup || book.is_empty() {
            return everything();
        }
        let now = self.limits.time(self.client.env.now());
        let here = {
            let runs = self.runs.lock().expect("no panic under the lock");
            let whose: Vec<Whose> = match book.has_limits_per_node() {
                true => runs.values().filter_map(Held::whose).collect(),
                false => Vec::new(),
            };
            book.room_here(whose.iter())
        };
        let kinds = book.open_kinds(kinds, &here, now);
        let is_open = |lane: &&LaneView| !book.refuses(lane, &here, now);
        let lanes: Vec<_> = match kinds.is_empty() {
            true => Vec::new(),
            false => lanes.iter().filter(is_open).cloned().collect(),
        };
        let lanes = Cow::Owned(lanes);
        Offer {
            lanes,
            kinds,
            version: book.version(),
            here,
        }
    }

    /// The claims by which grants are taken: what has no limit, and what has one, of which nothing is read ahead.
    pub(super) fn parts(&self, work: Work, offer: &Offer<'_>, grants: Vec<Grant>) -> Vec<Part> {
        let book = self.limits.book();
        if work == Work::Cleanup || book.is_empty() {
            let bounds = None;
            return vec![Part { grants, bounds }];
        }
        let now = self.limits.time(self.client.env.now());
        let (mut free, mut bounded, bounds) =
            book.divide(grants, &offer.lanes, &offer.kinds, &offer.here, now);
        within_slots(&mut free, &mut bounded, self.free_slots(work));
        let free = Part {
            grants: free,
            bounds: None,
        };
        let bounded = Part {
            grants: bounded,
            bounds: Some(bounds),
        };
        let parts = [bounded, free].into_iter();
        parts.filter(|part| !part.grants.is_empty()).collect()
    }

    /// The grants of a claim as far as its lanes were not left because a limit was full.
    pub(super) fn as_far_as_free(
        &self,
        bounds: &Bounds,
        mut grants: Vec<Grant>,
        claimed: &[Claimed],
    ) -> Vec<Grant> {
        let (book, now) = (self.limits.book(), self.limits.time(self.client.env.now()));
        let is_full_here = |bound: &Bound| {
            let here = bound.here.map_or(usize::MAX, |here| here as usize);
            claimed.len() >= here
        };
        let is_full_here = bounds.bounds.iter().any(is_full_here);
        for grant in &mut grants {
            if is_full_here || book.is_full(bounds, grant.lane, now) {
                let got = claimed.iter().filter(|task| task.lane == grant.lane);
                grant.tasks = got.count().min(grant.tasks);
            }
        }
        grants
    }

    /// The kinds of which something may be claimed now; all of them, while nothing is set.
    pub(super) fn open_kinds(&self) -> Vec<KindKey> {
        let book = self.limits.book();
        if book.is_empty() {
            return Vec::new();
        }
        let now = self.limits.time(self.client.env.now());
        book.open_kinds(self.registry.keys(), &BTreeMap::new(), now)
    }

    /// A run has ended: there may be room for another one, here or elsewhere.
    pub(super) fn makes_room(&self, held: &Held) {
        let mut book = self.limits.book();
        if book.is_empty() {
            return;
        }
        let Some(whose) = held.whose() else {
            return;
        };
        book.ended(&whose);
        if book.is_limited_here(&whose) {
            self.limits.has_room.store(true, Ordering::Relaxed);
        }
        let is_limited = book.is_limited(&whose);
        drop(book);
        if is_limited {
            self.limits.untold.fetch_add(1, Ordering::Relaxed);
            if self.draining.is_cancelled() {
                self.tell_of_room();
            }
        }
    }

    /// Tells the others of room under a limit, if there may be some that this node does not use.
    pub(super) fn tell_of_room(&self) {
        if self.limits.untold.swap(0, Ordering::Relaxed) > 0 {
            self.client.hub.tell_others(Hint {
                ready: true,
                ..Hint::default()
            });
        }
    }

    /// This node has claimed all that it can. Where it has a slot left, it has used the room that came back, and nobody has to look for it.
    pub(super) fn has_claimed_all(&self, now: Mono) {
        let may_claim = !self.lease.is_fenced(self.lease.node(), now);
        match may_claim && self.credit(Work::Run) > 0 {
            true => self.limits.untold.store(0, Ordering::Relaxed),
            false => self.tell_of_room(),
        }
    }

    /// Does what a look at the settings' version leads to.
    pub async fn heed_config(&self, glance: &Glance) -> Result<()> {
        self.limits.saw(glance.now, self.client.env.now());
        // After a lost history the same version may stand for something else.
        let is_doubted = self.doubted.load(Ordering::Relaxed);
        if glance.version != self.limits.version() || is_doubted {
            self.load_config().await?;
            self.claimable_anywhere();
        }
        self.heed_gates();
        self.settle_late().await
    }

    /// Asks runs to stop whose gate is closed, and takes that back where it was opened before they did.
    fn heed_gates(&self) {
        let now = self.limits.time(self.client.env.now());
        let book = self.limits.book();
        let has_asked = self.limits.has_asked.swap(false, Ordering::Relaxed);
        if !book.has_pauses(now) && !has_asked {
            return;
        }
        let runs = self.runs.lock().expect("no panic under the lock");
        for held in runs.values() {
            let is_shut = held
                .whose()
                .is_some_and(|whose| book.pauses(&whose, now).is_some());
            match (held.control.reason(), is_shut) {
                (None, true) => held.control.tell(Reason::Gate),
                (Some(Reason::Gate), false) => held.control.withdraw(Reason::Gate),
                (Some(Reason::Gate), true) => {}
                (_, _) => continue,
            }
            self.limits.has_asked.store(true, Ordering::Relaxed);
        }
    }

    /// Settles what nobody else has settled in time: whoever has changed it is gone.
    async fn settle_late(&self) -> Result<()> {
        let now = self.limits.time(self.client.env.now());
        let late = {
            let mut unsettled = self
                .limits
                .unsettled
                .lock()
                .expect("no panic under the lock");
            let is_late = |since: Timestamp| since.plus_ms(SETTLE_MS + SETTLES_LATE_MS) <= now;
            let late: Vec<_> = unsettled
                .extract_if(.., |(_, since)| is_late(*since))
                .collect();
            late
        };
        let mut late = late.into_iter();
        while let Some((scope, since)) = late.next() {
            let settled = self.store.settle(scope.clone()).await;
            if settled.is_err() {
                let unsettled = &self.limits.unsettled;
                let mut unsettled = unsettled.lock().expect("no panic under the lock");
                unsettled.extend(std::iter::once((scope, since)).chain(late));
                return settled;
            }
        }
        Ok(())
    }
}

impl Held {
    fn whose(&self) -> Option<Whose> {
        self.names.as_ref().map(Names::whose)
    }
}
