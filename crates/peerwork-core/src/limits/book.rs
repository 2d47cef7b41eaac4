//! What a node knows of limits and gates, and what follows for its next claim.
//!
//! Invariants: nothing is granted through a gate that is closed. What is limited in the cluster is claimed with its [`Bounds`] only,
//! which the store checks against the database; what is limited nowhere is claimed without. A limit that was found full is not
//! asked again before something is heard, something under it ends here, or its bucket holds a start again.

use super::{Gate, Scope, ScopeKey, Setting};
use crate::{Grant, KindKey, LaneId, LaneView, Name, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Whose task something is, as far as settings ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The group it was claimed in.
    pub group: Name,
    /// Its user.
    pub user: Name,
    /// Its kind.
    pub kind: KindKey,
}

/// A limit that a claim is made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Of what.
    pub key: ScopeKey,
    /// Whether there is a limit in the cluster; otherwise only on this node.
    pub is_shared: bool,
    /// How many more tasks this node may run under it.
    pub here: Option<u32>,
}

/// The limits of one claim: what it takes of a lane and of a kind counts under all that are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Each limit once.
    pub bounds: Vec<Bound>,
    /// The limits of each granted lane.
    pub lanes: BTreeMap<LaneId, Vec<ScopeKey>>,
    /// The limit of each kind that has one.
    pub kinds: BTreeMap<KindKey, ScopeKey>,
}

impl Bounds {
    /// The limits under which a task of this lane and kind counts.
    pub fn keys(&self, lane: LaneId, kind: KindKey) -> Vec<ScopeKey> {
        let of_lane = self.lanes.get(&lane).into_iter().flatten();
        of_lane.chain(self.kinds.get(&kind)).copied().collect()
    }
}

/// The settings as they were read last, and which limits are full.
#[derive(Clone, Debug, Default)]
pub struct LimitBook {
    version: u64,
    settings: HashMap<ScopeKey, Setting>,
    everything: Option<ScopeKey>,
    groups: HashMap<Name, ScopeKey>,
    users: HashMap<Name, ScopeKey>,
    lanes: HashMap<LaneId, ScopeKey>,
    kinds: HashMap<KindKey, ScopeKey>,
    /// Limits without room, until something is heard or until a time.
    full: BTreeMap<ScopeKey, Option<Timestamp>>,
    /// Those of them of which something was heard since.
    doubted: BTreeSet<ScopeKey>,
}

impl LimitBook {
    /// Limits that are asked about at once.
    pub const DOUBTED_MAX: usize = 500;

    /// Takes in all settings of `version`.
    pub fn load(&mut self, version: u64, settings: impl IntoIterator<Item = (Scope, Setting)>) {
        *self = Self {
            version,
            ..Self::default()
        };
        // What only weighs is a policy's matter, and costs no claim anything.
        let binds = |(_, setting): &(Scope, Setting)| setting.binds();
        for (scope, setting) in settings.into_iter().filter(binds) {
            let key = scope.key();
            self.settings.insert(key, setting);
            match scope {
                Scope::Everything => self.everything = Some(key),
                Scope::Group(group) => drop(self.groups.insert(group, key)),
                Scope::User(user) => drop(self.users.insert(user, key)),
                Scope::UserIn { group, user } => {
                    self.lanes.insert(LaneId::new(&group, &user), key);
                }
                Scope::Kind(kind) => drop(self.kinds.insert(KindKey::new(&kind), key)),
            }
        }
    }

    /// The version of the settings.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether nothing is set: everything goes as if there were no limits.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Room may have come back anywhere.
    pub fn heard(&mut self) {
        let full = self.full.iter().filter(|(_, until)| until.is_none());
        self.doubted.extend(full.map(|(key, _)| *key));
    }

    /// The limits that were full, and perhaps are not any more: to be asked about all at once, at most
    /// [`DOUBTED_MAX`](Self::DOUBTED_MAX), before any is tried.
    pub fn doubted(&self) -> Vec<ScopeKey> {
        self.doubted
            .iter()
            .copied()
            .take(Self::DOUBTED_MAX)
            .collect()
    }

    /// Of the limits that were asked about these are full still.
    pub fn resolve(&mut self, asked: &[ScopeKey], full: &[ScopeKey]) {
        for key in asked {
            self.doubted.remove(key);
            if !full.contains(key) {
                self.full.remove(key);
            }
        }
    }

    /// A run of this node has ended.
    pub fn ended(&mut self, whose: &Whose) {
        if self.full.is_empty() {
            return;
        }
        for key in self.keys_of_run(whose) {
            if self.full.get(&key) == Some(&None) {
                self.full.remove(&key);
            }
        }
    }

    /// A claim has found these limits full.
    pub fn found_full(&mut self, full: Vec<(ScopeKey, Option<Timestamp>)>) {
        self.full.extend(full);
    }

    /// Whether nothing of a lane may be claimed at `now`, whatever its kind. `here`: see [`room_here`](Self::room_here).
    pub fn refuses(&self, lane: &LaneView, here: &BTreeMap<ScopeKey, u32>, now: Timestamp) -> bool {
        self.keys_of_lane(lane)
            .any(|key| self.is_shut(key, here, now))
    }

    /// Those of `kinds` of which something may be claimed at `now`.
    pub fn open_kinds(
        &self,
        kinds: Vec<KindKey>,
        here: &BTreeMap<ScopeKey, u32>,
        now: Timestamp,
    ) -> Vec<KindKey> {
        let is_open = |kind: &KindKey| {
            let key = self.kinds.get(kind);
            !key.is_some_and(|key| self.is_shut(*key, here, now))
        };
        kinds.into_iter().filter(is_open).collect()
    }

    /// How many more tasks may run under each limit of this node, while it runs `runs`.
    pub fn room_here<'a>(&self, runs: impl Iterator<Item = &'a Whose>) -> BTreeMap<ScopeKey, u32> {
        let limited = self.settings.iter();
        let mut room: BTreeMap<_, _> = limited
            .filter_map(|(key, setting)| Some((*key, setting.max_running_per_node?)))
            .collect();
        if room.is_empty() {
            return room;
        }
        for whose in runs {
            for key in self.keys_of_run(whose) {
                if let Some(left) = room.get_mut(&key) {
                    *left = left.saturating_sub(1);
                }
            }
        }
        room
    }

    /// Whether anything is limited on each node.
    pub fn has_limits_per_node(&self) -> bool {
        let mut settings = self.settings.values();
        settings.any(|setting| setting.max_running_per_node.is_some())
    }

    /// Whether a run counts under a limit of the cluster.
    pub fn is_limited(&self, whose: &Whose) -> bool {
        let mut keys = self.keys_of_run(whose);
        keys.any(|key| self.settings[&key].max_running.is_some())
    }

    /// Whether the kind of a run is limited on each node.
    pub fn is_limited_here(&self, whose: &Whose) -> bool {
        let setting = self.kinds.get(&whose.kind).map(|key| &self.settings[key]);
        setting.is_some_and(|setting| setting.max_running_per_node.is_some())
    }

    /// Divides grants into those without a limit and those with the limits that they are under. While a kind among `kinds` has a limit,
    /// every lane may hold tasks of it.
    pub fn divide(
        &self,
        grants: Vec<Grant>,
        lanes: &[LaneView],
        kinds: &[KindKey],
        here: &BTreeMap<ScopeKey, u32>,
        now: Timestamp,
    ) -> (Vec<Grant>, Vec<Grant>, Bounds) {
        let bound = |key: ScopeKey| {
            let bound = Bound {
                key,
                is_shared: self.settings[&key].is_shared(now),
                here: here.get(&key).copied(),
            };
            (bound.is_shared || bound.here.is_some()).then_some(bound)
        };
        let mut bounds = Bounds::default();
        let mut all: BTreeMap<ScopeKey, Bound> = BTreeMap::new();
        for kind in kinds {
            if let Some(bound) = self.kinds.get(kind).and_then(|key| bound(*key)) {
                bounds.kinds.insert(*kind, bound.key);
                all.insert(bound.key, bound);
            }
        }
        let views: HashMap<LaneId, &LaneView> =
            lanes.iter().map(|view| (view.lane, view)).collect();
        let (mut free, mut bounded) = (Vec::new(), Vec::new());
        for grant in grants {
            let keys = views.get(&grant.lane).map(|view| self.keys_of_lane(view));
            let limits: Vec<Bound> = keys.into_iter().flatten().filter_map(bound).collect();
            if limits.is_empty() && bounds.kinds.is_empty() {
                free.push(grant);
                continue;
            }
            let keys = limits.iter().map(|bound| bound.key).collect();
            bounds.lanes.insert(grant.lane, keys);
            all.extend(limits.into_iter().map(|bound| (bound.key, bound)));
            bounded.push(grant);
        }
        bounds.bounds = all.into_values().collect();
        (free, bounded, bounds)
    }

    /// Which of the granted lanes a claim has left because of a limit, and not because they were empty.
    pub fn is_full(&self, bounds: &Bounds, lane: LaneId, now: Timestamp) -> bool {
        let of_lane = bounds.lanes.get(&lane).into_iter().flatten();
        let mut keys = of_lane.chain(bounds.kinds.values());
        keys.any(|key| self.is_without_room(*key, now))
    }

    /// When something that is shut now opens by itself.
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let full = self.full.values().copied().flatten();
        let gates = self
            .settings
            .values()
            .filter_map(|setting| setting.closed(now)?.until);
        full.chain(gates).filter(|at| *at > now).min()
    }

    /// The closed gate that asks a run to stop.
    pub fn pauses(&self, whose: &Whose, now: Timestamp) -> Option<&Gate> {
        let keys = self.keys_of_run(whose);
        let mut gates = keys.filter_map(|key| self.settings.get(&key)?.closed(now));
        gates.find(|gate| gate.pauses)
    }

    /// Whether any gate asks runs to stop.
    pub fn has_pauses(&self, now: Timestamp) -> bool {
        let mut settings = self.settings.values();
        settings.any(|setting| setting.closed(now).is_some_and(|gate| gate.pauses))
    }

    fn is_shut(&self, key: ScopeKey, here: &BTreeMap<ScopeKey, u32>, now: Timestamp) -> bool {
        self.is_without_room(key, now)
            || here.get(&key) == Some(&0)
            || self.settings[&key].closed(now).is_some()
    }

    fn is_without_room(&self, key: ScopeKey, now: Timestamp) -> bool {
        match self.full.get(&key) {
            Some(None) => true,
            Some(Some(until)) => now < *until,
            None => false,
        }
    }

    fn keys_of_lane(&self, lane: &LaneView) -> impl Iterator<Item = ScopeKey> {
        self.keys(&lane.group, &lane.user, lane.lane)
    }

    fn keys_of_run(&self, whose: &Whose) -> impl Iterator<Item = ScopeKey> + use<> {
        let lane = match self.lanes.is_empty() {
            true => LaneId::default(),
            false => LaneId::new(&whose.group, &whose.user),
        };
        let keys: BTreeSet<_> = self.keys(&whose.group, &whose.user, lane).collect();
        keys.into_iter().chain(self.kinds.get(&whose.kind).copied())
    }

    fn keys(
        &self,
        group: &Name,
        user: &Name,
        lane: LaneId,
    ) -> impl Iterator<Item = ScopeKey> + use<> {
        let keys = [
            self.everything,
            self.groups.get(group).copied(),
            self.users.get(user).copied(),
            self.lanes.get(&lane).copied(),
        ];
        keys.into_iter().flatten()
    }
}

/// Cuts grants under limits to the `slots` that are free, since nothing of them is read ahead.
///
/// Where that leaves any of them out, the others are cut to what is left, too: as long as those were read ahead, a slot that comes
/// free would have its next task already, and what is limited would never have one.
pub fn within_slots(free: &mut Vec<Grant>, bounded: &mut Vec<Grant>, slots: usize) {
    let wanted: usize = bounded.iter().map(|grant| grant.tasks).sum();
    let left = cut(bounded, slots);
    if wanted > slots {
        cut(free, left);
    }
}

/// Cuts grants to `left` tasks, the last ones first; answers what is left then.
fn cut(grants: &mut Vec<Grant>, mut left: usize) -> usize {
    grants.retain_mut(|grant| {
        grant.tasks = grant.tasks.min(left);
        left -= grant.tasks;
        grant.tasks > 0
    });
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rank, Work};
    use uuid::Uuid;

    #[test]
    fn while_what_is_limited_waits_for_a_slot_nothing_else_is_read_ahead() {
        let grant = |n: u128, tasks| Grant {
            lane: LaneId(Uuid::from_u128(n)),
            tasks,
        };
        let tasks = |slots, limited, others| {
            let (mut free, mut bounded) = (vec![grant(1, others)], vec![grant(2, limited)]);
            within_slots(&mut free, &mut bounded, slots);
            let sum = |grants: &[Grant]| grants.iter().map(|grant| grant.tasks).sum::<usize>();
            (sum(&bounded), sum(&free))
        };
        assert_eq!(tasks(4, 2, 300), (2, 300), "it has what it wants");
        assert_eq!(tasks(0, 2, 300), (0, 0), "so that a slot comes free");
        assert_eq!(tasks(1, 2, 300), (1, 0));
    }

    #[test]
    fn a_bucket_that_holds_a_start_again_is_not_full() {
        let key = ScopeKey(7);
        let mut book = LimitBook::default();
        book.found_full(vec![(key, Some(NOW))]);
        let lane = LaneId(Uuid::from_u128(1));
        let bounds = Bounds {
            lanes: BTreeMap::from([(lane, vec![key])]),
            ..Bounds::default()
        };
        assert!(book.is_full(&bounds, lane, Timestamp(NOW.0 - 1)));
        assert!(
            !book.is_full(&bounds, lane, NOW),
            "a lane that it left is empty"
        );
    }

    #[test]
    fn a_weight_alone_leaves_the_book_empty() {
        let weighs = Setting {
            weight: Some(3),
            ..Setting::default()
        };
        let mut book = LimitBook::default();
        book.load(4, [(Scope::Group(name("maths")), weighs)]);
        assert!(book.is_empty());
        assert_eq!(book.version(), 4);
    }

    const NOW: Timestamp = Timestamp(1_780_000_000_000_000);

    fn name(text: &str) -> Name {
        Name::new("test", text).unwrap()
    }

    fn kind(text: &str) -> KindKey {
        KindKey::new(&name(text))
    }

    fn view(group: &str, user: &str) -> LaneView {
        LaneView {
            lane: LaneId::new(&name(group), &name(user)),
            group: name(group),
            user: name(user),
            work: Work::Run,
            rank: Rank(0),
            since: Timestamp(0),
        }
    }

    fn whose(group: &str, user: &str) -> Whose {
        Whose {
            group: name(group),
            user: name(user),
            kind: kind("plain"),
        }
    }

    fn group(text: &str) -> Scope {
        Scope::Group(name(text))
    }

    fn limit(max: u32) -> Setting {
        Setting {
            max_running: Some(max),
            ..Setting::default()
        }
    }

    fn gate(until: Option<Timestamp>, pauses: bool) -> Setting {
        let gate = Gate {
            reason: "why not".to_owned(),
            by: None,
            since: NOW,
            until,
            pauses,
            ramp: None,
        };
        Setting {
            gate: Some(gate),
            ..Setting::default()
        }
    }

    fn book(settings: impl IntoIterator<Item = (Scope, Setting)>) -> LimitBook {
        let mut book = LimitBook::default();
        book.load(7, settings);
        book
    }

    fn nowhere() -> BTreeMap<ScopeKey, u32> {
        BTreeMap::new()
    }

    fn grants(lanes: &[LaneView]) -> Vec<Grant> {
        let grant = |view: &LaneView| Grant {
            lane: view.lane,
            tasks: 4,
        };
        lanes.iter().map(grant).collect()
    }

    #[test]
    fn a_gate_of_each_scope_shuts_its_lanes_and_no_others() {
        let user_in = Scope::UserIn {
            group: name("g"),
            user: name("ann"),
        };
        let lanes = [view("g", "ann"), view("g", "bob"), view("h", "ann")];
        let shut = |scope| {
            let book = book([(scope, gate(None, false))]);
            lanes
                .clone()
                .map(|lane| book.refuses(&lane, &nowhere(), NOW))
        };
        assert_eq!(shut(Scope::Everything), [true; 3]);
        assert_eq!(shut(group("g")), [true, true, false]);
        assert_eq!(shut(Scope::User(name("ann"))), [true, false, true]);
        assert_eq!(shut(user_in), [true, false, false]);
        assert_eq!(shut(Scope::Kind(name("plain"))), [false; 3]);
        let book = book([(Scope::Kind(name("plain")), gate(None, false))]);
        let kinds = vec![kind("plain"), kind("other")];
        assert_eq!(book.open_kinds(kinds, &nowhere(), NOW), [kind("other")]);
    }

    #[test]
    fn a_gate_opens_at_its_time_and_tells_when() {
        let until = NOW.plus_ms(50);
        let book = book([(group("g"), gate(Some(until), true))]);
        assert!(book.refuses(&view("g", "ann"), &nowhere(), NOW));
        assert_eq!(book.opens_at(NOW), Some(until));
        assert!(book.pauses(&whose("g", "ann"), NOW).is_some());
        assert!(book.pauses(&whose("h", "ann"), NOW).is_none());
        assert!(!book.refuses(&view("g", "ann"), &nowhere(), until));
        assert_eq!(book.opens_at(until), None);
        assert!(!book.has_pauses(until));
    }

    #[test]
    fn what_is_not_limited_is_claimed_without_bounds() {
        let book = book([(group("g"), limit(5))]);
        let lanes = [view("g", "ann"), view("h", "ann")];
        let kinds = [kind("plain")];
        let (free, bounded, bounds) = book.divide(grants(&lanes), &lanes, &kinds, &nowhere(), NOW);
        assert_eq!(
            (free[0].lane, bounded[0].lane),
            (lanes[1].lane, lanes[0].lane)
        );
        assert_eq!(bounds.keys(lanes[0].lane, kinds[0]), [group("g").key()]);
        assert_eq!(bounds.bounds.len(), 1);
    }

    #[test]
    fn a_limited_kind_bounds_every_lane_while_it_has_room() {
        let scope = Scope::Kind(name("plain"));
        let mut book = book([(scope.clone(), limit(5))]);
        let lanes = [view("g", "ann")];
        let divide = |book: &LimitBook| {
            let kinds = vec![kind("plain"), kind("other")];
            let kinds = book.open_kinds(kinds, &nowhere(), NOW);
            let (free, bounded, bounds) =
                book.divide(grants(&lanes), &lanes, &kinds, &nowhere(), NOW);
            (free.len(), bounded.len(), bounds)
        };
        let (free, bounded, bounds) = divide(&book);
        assert_eq!((free, bounded), (0, 1));
        assert_eq!(bounds.keys(lanes[0].lane, kind("plain")), [scope.key()]);
        assert_eq!(bounds.keys(lanes[0].lane, kind("other")), []);
        book.found_full(vec![(scope.key(), None)]);
        let (free, bounded, _) = divide(&book);
        assert_eq!((free, bounded), (1, 0), "the other kinds go on");
    }

    #[test]
    fn a_full_limit_is_asked_again_once_there_may_be_room() {
        let mut book = book([(group("g"), limit(5)), (group("h"), limit(5))]);
        let is_shut = |book: &LimitBook, at| book.refuses(&view("g", "ann"), &nowhere(), at);
        let full = |book: &mut LimitBook, until| {
            book.found_full(vec![(group("g").key(), until), (group("h").key(), None)]);
        };
        full(&mut book, None);
        assert!(is_shut(&book, NOW));
        book.ended(&whose("h", "ann"));
        assert!(is_shut(&book, NOW), "that was another group's");
        book.ended(&whose("g", "bob"));
        assert!(!is_shut(&book, NOW));
        full(&mut book, None);
        book.heard();
        assert_eq!(book.doubted().len(), 2);
        assert!(is_shut(&book, NOW), "nobody has asked yet");
        book.resolve(&book.doubted(), &[group("h").key()]);
        assert!(!is_shut(&book, NOW));
        assert!(book.refuses(&view("h", "ann"), &nowhere(), NOW));
        assert_eq!(book.doubted(), []);
        full(&mut book, Some(NOW.plus_ms(100)));
        book.heard();
        assert!(is_shut(&book, NOW), "no news fill a bucket");
        assert_eq!(book.opens_at(NOW), Some(NOW.plus_ms(100)));
        assert!(!is_shut(&book, NOW.plus_ms(100)));
    }

    #[test]
    fn a_limit_of_the_node_counts_what_runs_here() {
        let per_node = Setting {
            max_running_per_node: Some(2),
            ..Setting::default()
        };
        let book = book([(group("g"), per_node)]);
        let runs = [whose("g", "ann"), whose("h", "ann")];
        let here = book.room_here(runs.iter());
        assert_eq!(here, BTreeMap::from([(group("g").key(), 1)]));
        let lanes = [view("g", "bob")];
        let (_, bounded, bounds) = book.divide(grants(&lanes), &lanes, &[], &here, NOW);
        assert_eq!(bounded.len(), 1);
        let bound = bounds.bounds[0];
        assert_eq!((bound.is_shared, bound.here), (false, Some(1)));
        let here = book.room_here(runs.iter().chain(&runs));
        assert!(book.refuses(&lanes[0], &here, NOW));
    }
}
