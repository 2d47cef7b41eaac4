//! Wake-ups within a process, and to and from other processes. They change latency only.

use crate::Env;
use peerwork_core::{KindKey, LaneId, LaneView, Spacing, Timestamp, Work};
use peerwork_store::{Hint, NewTask, Store};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::Notify;

/// Between two hints that this process sends to others, in milliseconds, on average: twenty a second.
const SEND_GAP_MS: u64 = 50;
/// Hints that it sends at once after a quiet time: whoever creates a task, another one and a pause waits for none of them.
const SEND_BURST: u64 = 4;

const READY: u8 = 1;
const WISH: u8 = 2;
const CHANGE: u8 = 4;

/// Passes hints on to everyone in this process who asked for them.
#[derive(Default)]
pub(crate) struct Hub {
    ears: Mutex<Vec<Weak<Ear>>>,
    outgoing: Arc<Ear>,
    /// Between two hints to others on average, in milliseconds.
    gap_ms: Arc<AtomicU64>,
}

/// What is known of the tasks that became claimable since somebody listened last.
#[derive(Default)]
pub(crate) struct News {
    /// Some did, and nobody says where.
    pub anywhere: bool,
    /// Created in this process: lanes, and for each kind in it the number of its tasks.
    pub lanes: BTreeMap<(LaneId, KindKey), (LaneView, usize)>,
}

impl News {
    /// Lanes that are told apart; of more, whoever listens learns by looking.
    const LANES_MAX: usize = 64;

    fn add(&mut self, task: &NewTask) {
        let Some(rank) = task.rank() else {
            return;
        };
        let lane = task.lane();
        let key = (lane, KindKey::new(&task.kind));
        let (view, count) = self.lanes.entry(key).or_insert_with(|| {
            let view = LaneView {
                lane,
                group: task.group.clone(),
                user: task.user.clone(),
                work: Work::Run,
                rank,
                since: Timestamp(0),
            };
            (view, 0)
        });
        view.rank = view.rank.min(rank);
        *count += 1;
        self.bound();
    }

    fn and(&mut self, other: &Self) {
        self.anywhere |= other.anywhere;
        for (key, (view, count)) in &other.lanes {
            let (known, tasks) = self.lanes.entry(*key).or_insert_with(|| (view.clone(), 0));
            known.rank = known.rank.min(view.rank);
            *tasks += count;
        }
        self.bound();
    }

    fn bound(&mut self) {
        if self.lanes.len() > Self::LANES_MAX {
            self.lanes.clear();
            self.anywhere = true;
        }
    }
}

impl<'a> FromIterator<&'a NewTask> for News {
    fn from_iter<I: IntoIterator<Item = &'a NewTask>>(tasks: I) -> Self {
        let mut news = Self::default();
        tasks.into_iter().for_each(|task| news.add(task));
        news
    }
}

/// One who listens. Hints that come while nobody waits are remembered, not counted.
#[derive(Default)]
pub(crate) struct Ear {
    wants: u8,
    heard: AtomicU8,
    news: Mutex<News>,
    notify: Notify,
}

impl Ear {
    fn tell(&self, flags: u8) {
        if self.wants & flags != 0 {
            self.heard.fetch_or(self.wants & flags, Ordering::AcqRel);
            self.notify.notify_one();
        }
    }

    /// What has become claimable since the last call, for one who listens for that.
    pub fn news(&self) -> News {
        std::mem::take(&mut self.news.lock().expect("no panic under the lock"))
    }

    /// Whether something was told that nobody has [heard](Self::hear) yet.
    pub fn is_told(&self) -> bool {
        self.heard.load(Ordering::Acquire) != 0
    }

    /// The next hint, or the ones that came since the last call.
    ///
    /// Cancel safe.
    pub async fn hear(&self) -> Hint {
        loop {
            let flags = self.heard.swap(0, Ordering::AcqRel);
            if flags != 0 {
                return Hint {
                    ready: flags & READY != 0,
                    wish: flags & WISH != 0,
                    change: flags & CHANGE != 0,
                };
            }
            self.notify.notified().await;
        }
    }
}

fn flags(hint: Hint) -> u8 {
    (u8::from(hint.ready) * READY) | (u8::from(hint.wish) * WISH) | (u8::from(hint.change) * CHANGE)
}

impl Hub {
    /// A hub that sends its process's hints to others through `store`, as long as it lives.
    pub fn start(store: Arc<dyn Store>, env: &Env) -> Arc<Self> {
        let outgoing = Arc::new(Ear {
            wants: READY | WISH | CHANGE,
            ..Ear::default()
        });
        let hub = Arc::new(Self {
            ears: Mutex::default(),
            outgoing: outgoing.clone(),
            gap_ms: Arc::new(AtomicU64::new(SEND_GAP_MS)),
        });
        let gap_ms = hub.gap_ms.clone();
        let alive = Arc::downgrade(&hub);
        let (env, contained) = (env.clone(), env.clone());
        tokio::spawn(contained.contain(async move {
            let mut sent = Spacing::new(SEND_BURST, SEND_GAP_MS);
            loop {
                // Before it listens, so that what is told meanwhile goes as one hint.
                env.sleep_until(sent.free_at()).await;
                let hint = outgoing.hear().await;
                if alive.strong_count() == 0 {
                    return;
                }
                sent.done(env.now(), gap_ms.load(Ordering::Relaxed));
                if let Err(error) = store.hint(hint).await {
                    tracing::debug!(%error, "hint not sent; others will look by themselves");
                }
            }
        }));
        hub
    }

    /// Listens for those of `hint` that are set.
    pub fn listen(&self, hint: Hint) -> Arc<Ear> {
        let ear = Arc::new(Ear {
            wants: flags(hint),
            ..Ear::default()
        });
        let mut ears = self.ears.lock().expect("no panic under the lock");
        ears.retain(|ear| ear.strong_count() > 0);
        ears.push(Arc::downgrade(&ear));
        ear
    }

    /// Leaves at least so many milliseconds between two hints to others, on average.
    pub fn space_out(&self, gap_ms: u64) {
        let gap_ms = gap_ms.max(SEND_GAP_MS);
        self.gap_ms.store(gap_ms, Ordering::Relaxed);
    }

    /// Tells everyone in this process and in others.
    pub fn tell(&self, hint: Hint) {
        self.tell_here(hint);
        self.outgoing.tell(flags(hint));
    }

    /// Tells everyone in other processes.
    pub fn tell_others(&self, hint: Hint) {
        self.outgoing.tell(flags(hint));
    }

    /// Tells everyone in this process.
    pub fn tell_here(&self, hint: Hint) {
        let anywhere = News {
            anywhere: true,
            ..News::default()
        };
        self.tell_ears(flags(hint), &anywhere);
    }

    /// Tells everyone that tasks were created in this process: here also where they are.
    pub fn tell_news(&self, news: &News) {
        if news.anywhere || !news.lanes.is_empty() {
            self.tell_ears(READY, news);
            self.outgoing.tell(READY);
        }
    }

    fn tell_ears(&self, flags: u8, news: &News) {
        let ears = self.ears.lock().expect("no panic under the lock");
        for ear in ears.iter().filter_map(Weak::upgrade) {
            if ear.wants & flags & READY != 0 {
                // Before it wakes.
                ear.news.lock().expect("no panic under the lock").and(news);
            }
            ear.tell(flags);
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // The sender looks up, finds the hub gone, and ends.
        self.outgoing.tell(CHANGE);
    }
}
