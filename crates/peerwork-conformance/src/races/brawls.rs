//! Everybody does everything at once: nodes that claim, save, end, die and come back as zombies, people who wish one
//! thing after the other, and upkeep from several sides. The verdict is in `verdict`.

use super::history::{Entry, Ticks, What, When};
use super::{race, verdict};
use crate::behaviours::steer::kinds;
use crate::*;
use peerwork_core::*;
use peerwork_store::*;
use std::sync::Arc;
use tokio::task::yield_now;

const TASKS: usize = 40;
const USERS: [&str; 2] = ["ann", "bob"];
const GROUPS: [&str; 2] = ["maths", "physics"];

/// A store on which three nodes, two people and an upkeeper are at work for some time keeps every invariant.
pub async fn whatever_happens_at_once_every_invariant_holds(f: &Fixture) {
    for seed in 1..=2 {
        f.store.publish_kinds(kinds()).await.expect("publish kinds");
        let ids = create_all(f, seed).await;
        f.note_changes().await;
        let ticks = Ticks::default();
        let history = race(f, 6, |n, store| {
            let racer = Racer {
                dice: Dice::new(seed * 100 + n as u64),
                ticks: ticks.clone(),
                clock: f.clock.clone(),
                store,
                ids: ids.clone(),
                history: Vec::new(),
            };
            async move {
                match n {
                    0..3 => racer.works().await,
                    3..5 => racer.wishes().await,
                    _ => racer.keeps_up().await,
                }
            }
        });
        let history: Vec<_> = history.await.into_iter().flatten().collect();
        let records = f.store.get(ids.clone()).await.expect("get");
        let records: Vec<_> = records
            .into_iter()
            .map(|record| record.expect("I5: nothing is lost"))
            .collect();
        let mut checkpoints = Vec::new();
        for id in &ids {
            checkpoints.push(f.payload(*id, Payload::Checkpoint).await);
        }
        let mut changes = f.changes().await;
        changes.retain(|(id, _)| ids.contains(id));
        verdict::judge(&records, &checkpoints, &history, &changes);
        everything_can_be_brought_to_its_end(f, &ids).await;
    }
}

async fn create_all(f: &Fixture, seed: u64) -> Vec<TaskId> {
    let mut dice = Dice::new(seed);
    let mut batch: Vec<NewTask> = Vec::new();
    for i in 0..TASKS {
        let kinds = kinds();
        let parent = (i % 4 == 3).then(|| batch[dice.below(i)].id);
        batch.push(NewTask {
            kind: kinds[dice.below(kinds.len())].0.clone(),
            user: name(USERS[dice.below(2)]),
            group: name(GROUPS[dice.below(2)]),
            priority: i16::try_from(dice.below(3)).expect("small"),
            start: dice.below(5) > 0,
            due: (dice.below(4) == 0).then(|| f.clock.now().plus_ms(dice.below(300) as u64)),
            parent,
            ..task()
        });
    }
    let ids = batch.iter().map(|task| task.id).collect();
    f.store.create(batch).await.expect("create");
    ids
}

/// I20: once it is quiet, nodes that work and people who delete bring everything to its end.
async fn everything_can_be_brought_to_its_end(f: &Fixture, ids: &[TaskId]) {
    for node in f
        .store
        .nodes()
        .await
        .expect("nodes")
        .iter()
        .filter(|node| node.alive)
    {
        assert!(
            f.store
                .declare_dead(node.id, node.seq)
                .await
                .expect("declare dead")
        );
    }
    f.sweep().await;
    let node = f.node().await;
    work_off(f, node).await;
    let over = |status| {
        use Status::*;
        matches!(
            status,
            Created | Paused | Waiting | CleanupFailed | Finished | Failed | Deleted
        )
    };
    for record in f
        .store
        .get(ids.to_vec())
        .await
        .expect("get")
        .iter()
        .flatten()
    {
        assert!(over(record.task.status), "I20: stuck: {record:?}");
    }
    f.store
        .steer(ids.to_vec(), Filter::default(), Wish::Delete)
        .await
        .expect("delete");
    work_off(f, node).await;
    for record in f
        .store
        .get(ids.to_vec())
        .await
        .expect("get")
        .iter()
        .flatten()
    {
        assert_eq!(record.task.status, Status::Deleted, "I13: {record:?}");
    }
    assert!(
        f.store.retire(node).await.expect("retire"),
        "nothing is held"
    );
}

/// Promotes, wakes, claims and finishes until nothing is left to do.
async fn work_off(f: &Fixture, node: NodeId) {
    let keys: Vec<_> = kinds().iter().map(|(kind, _)| KindKey::new(kind)).collect();
    let mut idle = 0;
    while idle < 2 {
        f.clock.pass_ms(1_000_000);
        f.promote().await;
        f.wake().await;
        let lanes = f
            .store
            .lanes(keys.clone(), LaneLook::first(BATCH_MAX))
            .await
            .expect("lanes");
        idle = if lanes.is_empty() { idle + 1 } else { 0 };
        for work in [Work::Run, Work::Cleanup] {
            let mine = lanes.iter().filter(|lane| lane.work == work);
            let grants = mine
                .map(|lane| Grant {
                    lane: lane.lane,
                    tasks: BATCH_MAX,
                })
                .collect();
            let claim = Claim {
                node,
                run: fresh_run(),
                grants,
                kinds: keys.clone(),
                reaches: Vec::new(),
                version: 0,
            };
            let claimed = f.store.claim(claim).await.expect("claim").tasks;
            let ends = claimed
                .iter()
                .map(|c| {
                    Held {
                        id: c.id,
                        run: c.run,
                        node,
                    }
                    .end(OK)
                })
                .collect();
            f.store.end(ends).await.expect("end");
        }
    }
}

struct Racer {
    dice: Dice,
    ticks: Ticks,
    clock: TestClock,
    store: Arc<dyn Store>,
    ids: Vec<TaskId>,
    history: Vec<Entry>,
}

impl Racer {
    /// A node: and when it is declared dead, the next one, with the runs of the last as zombies.
    async fn works(mut self) -> Vec<Entry> {
        let mut node = self.register().await;
        let (mut held, mut zombies) = (Vec::new(), Vec::new());
        for _ in 0..40 {
            if self.dice.below(12) == 0 {
                assert!(
                    self.store
                        .declare_dead(node, 0)
                        .await
                        .expect("declare dead")
                );
                node = self.register().await;
                zombies.append(&mut held);
            }
            yield_now().await;
            held.extend(self.claims(node).await);
            let (now, later): (Vec<_>, Vec<_>) =
                held.into_iter().partition(|_| self.dice.below(3) > 0);
            held = later;
            let mut writing = now.clone();
            if let Some(zombie) = zombies.pop() {
                writing.push(zombie);
            }
            self.saves(&writing).await;
            self.ends(&writing).await;
        }
        self.history
    }

    async fn register(&self) -> NodeId {
        let id = fresh_node();
        let card = NodeCard {
            id,
            label: String::new(),
            ttl_ms: 15_000,
            slots: 4,
            kinds: Vec::new(),
        };
        self.store.register(card).await.expect("register");
        id
    }

    async fn claims(&mut self, node: NodeId) -> Vec<Held> {
        let work = if self.dice.below(3) == 0 {
            Work::Cleanup
        } else {
            Work::Run
        };
        let mut grants = Vec::new();
        for (user, group) in USERS
            .iter()
            .zip(GROUPS)
            .chain(USERS.iter().rev().zip(GROUPS))
        {
            let lane = LaneId::new(&name(group), &name(user)).of(work);
            grants.push(Grant {
                lane,
                tasks: 1 + self.dice.below(2),
            });
        }
        let kinds = kinds().iter().map(|(kind, _)| KindKey::new(kind)).collect();
        let claim = Claim {
            node,
            run: fresh_run(),
            grants,
            kinds,
            reaches: Vec::new(),
            version: 0,
        };
        let asked = self.ticks.tick();
        let claimed = self.store.claim(claim).await.expect("claim").tasks;
        let when = When {
            asked,
            told: self.ticks.tick(),
        };
        for c in &claimed {
            let what = What::Claimed(c.run, c.task.attempt, c.task.status);
            self.history.push(Entry {
                when,
                id: c.id,
                what,
            });
        }
        claimed
            .into_iter()
            .map(|c| Held {
                id: c.id,
                run: c.run,
                node,
            })
            .collect()
    }

    async fn saves(&mut self, held: &[Held]) {
        let held: Vec<_> = held
            .iter()
            .filter(|_| self.dice.below(2) == 0)
            .copied()
            .collect();
        let asked = self.ticks.tick();
        let save = |held: &Held| held.save(format!("{asked}").as_bytes());
        let saved = self
            .store
            .save(held.iter().map(save).collect())
            .await
            .expect("save");
        let when = When {
            asked,
            told: self.ticks.tick(),
        };
        for (held, saved) in held.iter().zip(saved) {
            let what = What::Saved(
                held.run,
                format!("{asked}").into_bytes(),
                saved != Saved::Lost,
            );
            self.history.push(Entry {
                when,
                id: held.id,
                what,
            });
        }
    }

    async fn ends(&mut self, held: &[Held]) {
        let ends = held.iter().map(|held| self.any_end(held)).collect();
        let asked = self.ticks.tick();
        let ended = self.store.end(ends).await.expect("end");
        let when = When {
            asked,
            told: self.ticks.tick(),
        };
        for (held, ended) in held.iter().zip(ended) {
            let status = match ended {
                Ended::Recorded(status) => Some(status),
                Ended::Already(_) | Ended::Lost => None,
            };
            self.history.push(Entry {
                when,
                id: held.id,
                what: What::Ended(held.run, status),
            });
        }
    }

    fn any_end(&mut self, held: &Held) -> End {
        let until = Some(self.clock.now().plus_ms(30));
        let event = match self.dice.below(8) {
            0 | 1 => OK,
            2 => Event::Ok { forget: true },
            3 | 4 => Event::Err {
                permanent: false,
                retry_after_ms: Some(10),
                jitter: 0,
                forget: false,
            },
            5 => FAIL,
            6 => Event::Wait { until },
            _ => Event::Stopped,
        };
        End {
            awaited_children: 1,
            ..held.end(event)
        }
    }

    /// A person.
    async fn wishes(mut self) -> Vec<Entry> {
        for _ in 0..90 {
            let wish = match self.dice.below(14) {
                0..3 => Wish::Pause,
                3..6 => Wish::Resume,
                6..9 => Wish::Run,
                9 => Wish::Delete,
                10 => Wish::ForceDelete,
                11 => Wish::Rerun,
                12 => Wish::MoveTo(name(GROUPS[self.dice.below(2)])),
                _ => Wish::Priority(i16::try_from(self.dice.below(3)).expect("small")),
            };
            yield_now().await;
            let some = 1 + self.dice.below(4);
            let ids: Vec<_> = (0..some)
                .map(|_| self.ids[self.dice.below(TASKS)])
                .collect();
            let asked = self.ticks.tick();
            let steered = self
                .store
                .steer(ids.clone(), Filter::scope(None), wish)
                .await
                .expect("steer");
            let when = When {
                asked,
                told: self.ticks.tick(),
            };
            for (id, steered) in ids.into_iter().zip(steered) {
                self.history.push(Entry {
                    when,
                    id,
                    what: What::Steered(steered),
                });
            }
        }
        self.history
    }

    /// Upkeep, as every node does it.
    async fn keeps_up(mut self) -> Vec<Entry> {
        for _ in 0..60 {
            yield_now().await;
            self.clock.pass_ms(10);
            self.store.promote(5).await.expect("promote");
            self.store.wake(5).await.expect("wake");
            let asked = self.ticks.tick();
            let swept = self.store.sweep(5).await.expect("sweep");
            let when = When {
                asked,
                told: self.ticks.tick(),
            };
            let entry = |(id, _)| Entry {
                when,
                id,
                what: What::Swept,
            };
            self.history.extend(swept.tasks.into_iter().map(entry));
        }
        self.history
    }
}
