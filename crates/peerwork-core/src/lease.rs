//! The lease of a node: its own beats and fence, and the watch a peer must keep before it declares a death.
//!
//! Two machines that a shell (or a test) drives with its own clock. Invariants: a node believes in itself only
//! until ttl - margin after it *first sent* the beat that was acknowledged last; a peer buries a node only after
//! having read the same beat for that node's whole ttl, with no gap in its own reading. Neither compares two
//! machines' clocks.
//!
//! Who watches whom: the living nodes form a ring in the order of their ids, which are random, and each watches the
//! [`Watch::NEIGHBOURS`] that follow it. So a look costs the same in a cluster of ten and of a thousand.
//!
//! *Not here:* the guarded writes themselves (`peerwork-store`) and the thread that sends them (`peerwork`).

use crate::{Mono, NodeId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The times of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseTimes {
    /// From one beat to the next, in milliseconds.
    pub beat_ms: u64,
    /// From a beat to the end of the lease, in milliseconds.
    pub ttl_ms: u64,
    /// How long before the end of its lease a node stops its own runs, in milliseconds.
    pub margin_ms: u64,
}

impl Default for LeaseTimes {
    /// A beat every 3 s, a ttl of 15 s, a margin of 2 s.
    fn default() -> Self {
        Self {
            beat_ms: 3_000,
            ttl_ms: 15_000,
            margin_ms: 2_000,
        }
    }
}

impl LeaseTimes {
    /// The smallest ttl: below it an ordinary pause of a machine or a database costs the lease.
    pub const TTL_MS_MIN: u64 = 3_000;

    /// Checks that a lease with these times can be kept.
    ///
    /// # Errors
    /// A text that says which time is wrong and what it must be.
    pub fn check(self) -> Result<Self, String> {
        if self.ttl_ms < Self::TTL_MS_MIN {
            return Err(format!(
                "lease ttl is {} ms; use {} ms or more",
                self.ttl_ms,
                Self::TTL_MS_MIN
            ));
        }
        if self.beat_ms == 0 || self.margin_ms.saturating_add(2 * self.beat_ms) > self.ttl_ms {
            return Err(format!(
                "lease beat is {} ms and margin {} ms; two beats and the margin must fit in the ttl of {} ms",
                self.beat_ms, self.margin_ms, self.ttl_ms
            ));
        }
        Ok(self)
    }

    /// Whether a runtime that last ran anything at `ticked` is wedged: its node must not be kept alive by the beat, which
    /// has a thread of its own.
    pub fn is_wedged(self, ticked: Mono, now: Mono) -> bool {
        now.since(ticked) >= Duration::from_millis(self.ttl_ms)
    }
}

/// One beat to write: set the node's sequence to `seq`, if the row is alive and at `acked` or later but before `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pulse {
    /// The number of this beat.
    pub seq: u64,
    /// The newest beat that is known to be in the database.
    pub acked: u64,
}

/// What the database answered to a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatAnswer {
    /// The row was written.
    Renewed,
    /// No row matched, and this is the row.
    Row {
        /// Its sequence.
        seq: u64,
        /// False once a peer declared the node dead.
        alive: bool,
    },
    /// No row matched, and there is none.
    Missing,
}

/// What an answer means for the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The lease is renewed.
    Alive,
    /// A peer declared this incarnation dead: drop every run and start as a new node.
    Dead,
    /// The database has lost acknowledged history, the node's row with it or only its newest beats: every run must be
    /// verified by its run id.
    HistoryLost {
        /// Whether the node still has a row, and goes on as what it is.
        has_row: bool,
    },
}

/// A node's own view of its lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Beat {
    times: LeaseTimes,
    acked: u64,
    next: u64,
    /// The beat in flight and when it was first sent: a lost answer does not lengthen the lease.
    sent: Option<(u64, Mono)>,
    /// When the acknowledged beat was first sent.
    acked_sent: Mono,
    due: Mono,
}

impl Beat {
    /// The lease of a node whose row was written with sequence 0 by a statement sent at `registered`.
    pub fn new(times: LeaseTimes, registered: Mono) -> Self {
        Self {
            times,
            acked: 0,
            next: 1,
            sent: None,
            acked_sent: registered,
            due: registered.plus_ms(times.beat_ms),
        }
    }

    /// When the next beat is to be sent.
    pub fn due(&self) -> Mono {
        self.due
    }

    /// When the node must have stopped all its runs, unless a beat is acknowledged before.
    pub fn fence_at(&self) -> Mono {
        self.acked_sent
            .plus_ms(self.times.ttl_ms - self.times.margin_ms)
    }

    /// True once the node may not believe in itself any more.
    pub fn is_fenced(&self, now: Mono) -> bool {
        now >= self.fence_at()
    }

    /// The beat to send at `now`. An unanswered beat is sent again under its own number and time.
    pub fn send(&mut self, now: Mono) -> Pulse {
        let (seq, _) = *self.sent.get_or_insert((self.next, now));
        self.due = now.plus_ms(self.times.beat_ms);
        Pulse {
            seq,
            acked: self.acked,
        }
    }

    /// When the beat that was acknowledged last was first sent.
    pub fn acked_sent(&self) -> Mono {
        self.acked_sent
    }

    /// Nothing is known of the beat in flight (error, lost answer): it is sent again a third of a beat later.
    pub fn failed(&mut self, now: Mono) {
        self.due = now.plus_ms((self.times.beat_ms / 3).max(1));
    }

    /// Takes the database's answer to the beat in flight.
    pub fn answered(&mut self, answer: BeatAnswer) -> Heard {
        let Some((seq, first_sent)) = self.sent else {
            return Heard::Alive;
        };
        match answer {
            BeatAnswer::Row { alive: false, .. } => Heard::Dead,
            BeatAnswer::Missing => Heard::HistoryLost { has_row: false },
            BeatAnswer::Row { seq: found, .. } if found < self.acked => {
                // The next beat, with a number that was never sent, starts from what is there. Nothing is renewed yet.
                self.acked = found;
                self.next = seq + 1;
                self.sent = None;
                Heard::HistoryLost { has_row: true }
            }
            // It had been written before; only its answer was lost.
            BeatAnswer::Renewed | BeatAnswer::Row { .. } => {
                self.acked = seq;
                self.next = seq + 1;
                self.acked_sent = first_sent;
                self.sent = None;
                Heard::Alive
            }
        }
    }
}

/// What a node has read of its peers, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Watch {
    seen: BTreeMap<NodeId, Seen>,
    last_read: Option<Mono>,
    /// Those of the last reading whose lease was over.
    silent: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Seen {
    seq: u64,
    since: Mono,
}

impl Watch {
    /// How many living peers a node watches. A node that dies is missed in time as long as one of the sixteen before it
    /// in the ring lives; up to seventeen nodes watch each other, all of them.
    pub const NEIGHBOURS: usize = 16;

    /// How many of the peers that follow the watcher it has to read next: those that are silent vouch for nobody, so it
    /// looks past them. Where all of a node's watchers die with it, the next one thus takes over once their leases are over.
    pub fn width(&self) -> usize {
        Self::NEIGHBOURS + self.silent
    }

    /// Forgets what it has read: the watcher's own beat has not been acknowledged for longer than two beats. Then the
    /// database may be readable and not writable (a full disk, a lock on writing), and a peer's silence proves
    /// nothing about that peer.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Takes one reading of the [`width`](Self::width) peers that follow and are not declared dead, made by a statement that
    /// was answered at `now` by this machine's clock: (node, sequence, ttl in ms, end of its lease), with the database's
    /// time of the reading.
    ///
    /// Returns the peers that may be declared dead, each with the sequence on which the declaration must
    /// compare. `gap_ms` is the longest time between two readings that still counts as watching: two beats.
    pub fn read(
        &mut self,
        now: Mono,
        gap_ms: u64,
        db_now: Timestamp,
        peers: &[(NodeId, u64, u64, Timestamp)],
    ) -> Vec<(NodeId, u64)> {
        let gap = self
            .last_read
            .is_none_or(|last| now.since(last) > Duration::from_millis(gap_ms));
        if gap {
            // It slept, or the database was away: whatever was seen before proves nothing.
            self.seen.clear();
        }
        self.last_read = Some(now);
        let here: BTreeSet<_> = peers.iter().map(|(node, ..)| node).collect();
        self.seen.retain(|node, _| here.contains(node));
        self.silent = 0;
        let mut dead = Vec::new();
        for &(node, seq, ttl_ms, lease_until) in peers {
            let seen = self.seen.entry(node).or_insert(Seen { seq, since: now });
            if seen.seq != seq {
                *seen = Seen { seq, since: now };
            }
            // No lease ends later than a ttl from now, unless the database's clock was set back since.
            let is_over = lease_until < db_now || lease_until > db_now.plus_ms(ttl_ms);
            self.silent += usize::from(is_over);
            if now.since(seen.since) >= Duration::from_millis(ttl_ms) && is_over {
                dead.push((node, seq));
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const TIMES: LeaseTimes = LeaseTimes {
        beat_ms: 3_000,
        ttl_ms: 15_000,
        margin_ms: 2_000,
    };

    fn ms(ms: u64) -> Mono {
        Mono(0).plus_ms(ms)
    }

    #[test]
    fn an_acknowledged_beat_renews_the_fence_from_when_it_was_sent() {
        let mut beat = Beat::new(TIMES, ms(0));
        assert_eq!(beat.fence_at(), ms(13_000));
        assert_eq!(beat.send(ms(3_000)), Pulse { seq: 1, acked: 0 });
        assert_eq!(beat.answered(BeatAnswer::Renewed), Heard::Alive);
        assert_eq!(beat.fence_at(), ms(16_000));
        assert!(!beat.is_fenced(ms(15_999)) && beat.is_fenced(ms(16_000)));
    }

    #[test]
    fn a_beat_whose_answer_was_lost_keeps_its_number_and_its_first_time() {
        let mut beat = Beat::new(TIMES, ms(0));
        beat.send(ms(3_000));
        beat.failed(ms(3_100));
        assert_eq!(beat.due(), ms(4_100));
        assert_eq!(beat.send(ms(4_100)), Pulse { seq: 1, acked: 0 });
        assert_eq!(
            beat.answered(BeatAnswer::Row {
                seq: 1,
                alive: true
            }),
            Heard::Alive
        );
        assert_eq!(
            beat.fence_at(),
            ms(16_000),
            "from the first sending, not from the repetition"
        );
        assert_eq!(beat.send(ms(6_000)).seq, 2);
    }

    #[test]
    fn a_declared_death_and_a_lost_history_are_told_apart() {
        let mut beat = Beat::new(TIMES, ms(0));
        for n in 1..=3 {
            beat.send(ms(n * 3_000));
            beat.answered(BeatAnswer::Renewed);
        }
        beat.send(ms(12_000));
        assert_eq!(
            beat.answered(BeatAnswer::Row {
                seq: 3,
                alive: false
            }),
            Heard::Dead
        );
        assert_eq!(
            beat.answered(BeatAnswer::Row {
                seq: 1,
                alive: true
            }),
            Heard::HistoryLost { has_row: true }
        );
        beat.send(ms(12_100));
        assert_eq!(
            beat.answered(BeatAnswer::Missing),
            Heard::HistoryLost { has_row: false }
        );
    }

    #[test]
    fn a_node_whose_newest_beats_were_lost_goes_on_from_what_is_there() {
        let mut beat = Beat::new(TIMES, ms(0));
        for n in 1..=3 {
            beat.send(ms(n * 3_000));
            beat.answered(BeatAnswer::Renewed);
        }
        let fence = beat.fence_at();
        beat.send(ms(12_000));
        let found = BeatAnswer::Row {
            seq: 1,
            alive: true,
        };
        assert_eq!(beat.answered(found), Heard::HistoryLost { has_row: true });
        assert_eq!(beat.fence_at(), fence, "what was lost renews nothing");
        assert_eq!(beat.send(ms(12_100)), Pulse { seq: 5, acked: 1 });
        assert_eq!(beat.answered(BeatAnswer::Renewed), Heard::Alive);
        assert_eq!(beat.fence_at(), ms(12_100 + 13_000));
    }

    #[test]
    fn a_runtime_that_does_not_tick_for_a_ttl_is_wedged() {
        assert!(!TIMES.is_wedged(ms(1_000), ms(15_999)));
        assert!(TIMES.is_wedged(ms(1_000), ms(16_000)));
    }

    #[test]
    fn a_peer_is_buried_only_after_a_whole_ttl_of_the_same_beat() {
        let peer = NodeId(Uuid::from_u128(7));
        let mut watch = Watch::default();
        let read = |watch: &mut Watch, at: u64, seq| {
            // Its lease has long expired by the database's clock: that alone proves nothing.
            watch.read(
                ms(at),
                6_000,
                Timestamp(1_000_000_000),
                &[(peer, seq, 15_000, Timestamp(0))],
            )
        };
        assert_eq!(read(&mut watch, 0, 5), []);
        for at in [3_000, 6_000, 9_000, 12_000] {
            assert_eq!(read(&mut watch, at, 5), []);
        }
        assert_eq!(read(&mut watch, 15_000, 5), [(peer, 5)]);
        assert_eq!(read(&mut watch, 16_000, 6), [], "it lives");
    }

    #[test]
    fn a_gap_in_the_watch_starts_it_anew() {
        let peer = NodeId(Uuid::from_u128(7));
        let mut watch = Watch::default();
        let mut read = |at: u64| {
            watch.read(
                ms(at),
                6_000,
                Timestamp(1),
                &[(peer, 1, 15_000, Timestamp(0))],
            )
        };
        read(0);
        read(6_000);
        assert_eq!(read(60_000), [], "the watcher itself was away");
        for at in [65_000, 70_000] {
            assert_eq!(read(at), []);
        }
        assert_eq!(read(75_000), [(peer, 1)]);
    }

    #[test]
    fn a_watcher_that_forgot_watches_for_a_whole_ttl_again() {
        let peer = NodeId(Uuid::from_u128(7));
        let mut watch = Watch::default();
        let read = |watch: &mut Watch, at: u64| {
            let peers = [(peer, 1, 15_000, Timestamp(0))];
            watch.read(ms(at), 6_000, Timestamp(1), &peers)
        };
        for at in [0, 5_000, 10_000] {
            assert_eq!(read(&mut watch, at), []);
        }
        watch.forget();
        for at in [15_000, 20_000, 25_000] {
            assert_eq!(read(&mut watch, at), []);
        }
        assert_eq!(read(&mut watch, 30_000), [(peer, 1)]);
    }

    #[test]
    fn a_watcher_looks_past_those_whose_lease_is_over() {
        let mut watch = Watch::default();
        assert_eq!(watch.width(), Watch::NEIGHBOURS);
        let peer = |n, until| (NodeId(Uuid::from_u128(n)), 1, 15_000, Timestamp(until));
        watch.read(ms(0), 6_000, Timestamp(5), &[peer(1, 4), peer(2, 9)]);
        assert_eq!(watch.width(), Watch::NEIGHBOURS + 1);
        watch.read(ms(1_000), 6_000, Timestamp(5), &[peer(2, 9)]);
        assert_eq!(watch.width(), Watch::NEIGHBOURS, "the dead one is declared");
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_dead_node_alive() {
        let peer = NodeId(Uuid::from_u128(7));
        let mut watch = Watch::default();
        let db_now = Timestamp(1_000_000_000);
        let until = db_now.plus_ms(3_600_000);
        for at in [0, 5_000, 10_000] {
            assert_eq!(
                watch.read(ms(at), 6_000, db_now, &[(peer, 1, 15_000, until)]),
                []
            );
        }
        let dead = watch.read(ms(15_000), 6_000, db_now, &[(peer, 1, 15_000, until)]);
        assert_eq!(dead, [(peer, 1)]);
    }

    #[test]
    fn an_unexpired_lease_is_never_buried() {
        let peer = NodeId(Uuid::from_u128(7));
        let mut watch = Watch::default();
        for at in 0..100 {
            let dead = watch.read(
                ms(at * 1_000),
                6_000,
                Timestamp(10),
                &[(peer, 1, 15_000, Timestamp(11))],
            );
            assert_eq!(dead, []);
        }
    }

    #[test]
    fn times_that_cannot_be_kept_are_refused_with_the_reason() {
        assert!(TIMES.check().is_ok());
        assert!(
            LeaseTimes {
                ttl_ms: 1_000,
                ..TIMES
            }
            .check()
            .unwrap_err()
            .contains("3000 ms or more")
        );
        assert!(
            LeaseTimes {
                beat_ms: 7_000,
                ..TIMES
            }
            .check()
            .unwrap_err()
            .contains("two beats")
        );
    }
}
