//! How much a claim may still take under each limit.

use super::{Rate, ScopeKey, Setting};
use crate::Timestamp;
use std::collections::BTreeMap;

/// What is left under some limits, counted down as tasks are taken.
///
/// Invariant: what was [taken](Rooms::take) under a limit never exceeds what was left under it when it was [added](Rooms::add).
#[derive(Clone, Debug)]
pub struct Rooms {
    now: Timestamp,
    rooms: BTreeMap<ScopeKey, Room>,
}

#[derive(Clone, Debug)]
struct Room {
    /// Under [`Setting::max_running`].
    running: Option<u32>,
    rate: Option<Bucket>,
    /// On the node that claims.
    here: Option<u32>,
    taken: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    full_at: Timestamp,
    left: u32,
}

impl Rooms {
    /// No limits, at `now` by the database's clock.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            rooms: BTreeMap::new(),
        }
    }

    /// A limit: `running` tasks count under it already, its bucket is full again at `full_at`, and the node that claims may run
    /// `here` more.
    pub fn add(
        &mut self,
        key: ScopeKey,
        setting: &Setting,
        running: u64,
        full_at: Timestamp,
        here: Option<u32>,
    ) {
        let left = |max: u32| u64::from(max).saturating_sub(running);
        let rate = setting.rate_at(self.now).map(|rate| Bucket {
            rate,
            full_at,
            left: rate.room(full_at, self.now),
        });
        let room = Room {
            running: setting
                .max_running
                .map(|max| u32::try_from(left(max)).unwrap_or(u32::MAX)),
            rate,
            here,
            taken: 0,
        };
        self.rooms.insert(key, room);
    }

    /// How many tasks may be taken that count under all of `keys`; those that were not added limit nothing.
    pub fn left(&self, keys: &[ScopeKey]) -> usize {
        let rooms = keys.iter().filter_map(|key| self.rooms.get(key));
        rooms
            .map(Room::left)
            .min()
            .map_or(usize::MAX, |left| left as usize)
    }

    /// Takes `tasks` under all of `keys`.
    pub fn take(&mut self, keys: &[ScopeKey], tasks: usize) {
        for key in keys {
            if let Some(room) = self.rooms.get_mut(key) {
                let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
                room.taken = room.taken.saturating_add(tasks);
            }
        }
    }

    /// The limits under which nothing is left in the cluster, each with the time at which its bucket holds a start again; none where it
    /// is a matter of what runs.
    pub fn full(&self) -> Vec<(ScopeKey, Option<Timestamp>)> {
        let full = |(key, room): (&ScopeKey, &Room)| {
            if room.running.is_some_and(|left| left <= room.taken) {
                return Some((*key, None));
            }
            let bucket = room.rate.filter(|bucket| bucket.left <= room.taken)?;
            let full_at = bucket.rate.take(bucket.full_at, self.now, room.taken);
            Some((*key, Some(bucket.rate.next_at(full_at, self.now))))
        };
        self.rooms.iter().filter_map(full).collect()
    }

    /// The buckets from which something was taken, each with the time at which it is full again.
    pub fn buckets(&self) -> Vec<(ScopeKey, Timestamp)> {
        let taken = |(key, room): (&ScopeKey, &Room)| {
            let bucket = room.rate.filter(|_| room.taken > 0)?;
            Some((*key, bucket.rate.take(bucket.full_at, self.now, room.taken)))
        };
        self.rooms.iter().filter_map(taken).collect()
    }
}

impl Room {
    fn left(&self) -> u32 {
        let bucket = self.rate.map(|bucket| bucket.left);
        let least = [self.running, bucket, self.here]
            .into_iter()
            .flatten()
            .min();
        least.unwrap_or(u32::MAX).saturating_sub(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_780_000_000_000_000);
    const NEVER: Timestamp = Timestamp(i64::MIN);
    const A: ScopeKey = ScopeKey(1);
    const B: ScopeKey = ScopeKey(2);

    fn limit(max: u32) -> Setting {
        Setting {
            max_running: Some(max),
            ..Setting::default()
        }
    }

    #[test]
    fn a_grant_is_cut_to_the_smallest_room() {
        let mut rooms = Rooms::new(NOW);
        rooms.add(A, &limit(10), 3, NEVER, None);
        rooms.add(B, &limit(4), 0, NEVER, Some(3));
        assert_eq!((rooms.left(&[A]), rooms.left(&[A, B])), (7, 3));
        assert_eq!(rooms.left(&[]), usize::MAX);
        rooms.take(&[A, B], 3);
        assert_eq!((rooms.left(&[A]), rooms.left(&[B])), (4, 0));
        assert_eq!(rooms.full(), [], "only this node has no room left");
        rooms.take(&[A], 4);
        assert_eq!(rooms.full(), [(A, None)]);
        assert_eq!(rooms.buckets(), []);
    }

    #[test]
    fn more_than_a_lowered_limit_leaves_no_room() {
        let mut rooms = Rooms::new(NOW);
        rooms.add(A, &limit(2), 9, NEVER, None);
        assert_eq!(rooms.left(&[A]), 0);
        assert_eq!(rooms.full(), [(A, None)]);
    }

    #[test]
    fn an_empty_bucket_tells_when_it_holds_a_start_again() {
        let starts = Rate {
            per_1000_s: 10_000,
            burst: 2,
        };
        let setting = Setting {
            starts: Some(starts),
            ..Setting::default()
        };
        let mut rooms = Rooms::new(NOW);
        rooms.add(A, &setting, 0, NEVER, None);
        assert_eq!(rooms.left(&[A]), 2);
        rooms.take(&[A], 2);
        assert_eq!(rooms.full(), [(A, Some(NOW.plus_ms(100)))]);
        assert_eq!(rooms.buckets(), [(A, NOW.plus_ms(200))]);
    }
}
