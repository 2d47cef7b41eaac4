//! Every call may be repeated: each operation that writes loses its connection at each of its statements, before it and
//! after it, and is called again as its caller would. What the tables hold then is what one undisturbed call leaves.
//!
//! Enumerated, not random. A call is all or nothing, and an error after which it was carried out says that it may have been.
//! The ids are fixed and the clock stands still, so that whole tables can be compared. *Not here:* the end of a whole process at a
//! statement (`peerwork-faults`).

use crate::sql::{Tables, TextRow};
use crate::{Backend, ERR, FAIL, KIND, OK, TestClock, WAIT, book_of, limited, name, task};
use futures_util::future::BoxFuture;
use peerwork_core::*;
use peerwork_store::*;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

const NODE: NodeId = NodeId(Uuid::from_u128(900));
const OTHER: NodeId = NodeId(Uuid::from_u128(901));
const RUN: RunId = RunId(Uuid::from_u128(800));
const OPERATION: OperationId = OperationId(Uuid::from_u128(700));

/// No operation has as many statements, in however small tables.
const STATEMENTS_MAX: usize = 200;

fn id(n: u128) -> TaskId {
    TaskId(Uuid::from_u128(n))
}

/// What is done, with its answer as text.
type Act = for<'s> fn(&'s dyn Store) -> BoxFuture<'s, Result<String>>;
/// What is there before.
type Setup = for<'s> fn(&'s dyn Store, &'s TestClock) -> BoxFuture<'s, Result<()>>;

struct Case {
    name: &'static str,
    setup: Setup,
    act: Act,
    /// What the answer of a call tells that was carried out before, where it is another one.
    again: &'static str,
}

/// When which statement fails.
#[derive(Default)]
struct Plan {
    seen: AtomicUsize,
    at: Mutex<Option<(usize, Fate)>>,
}

impl Plan {
    fn arm(&self, at: usize, fate: Fate) {
        self.seen.store(0, Ordering::SeqCst);
        *self.at.lock().expect("no panic under the lock") = Some((at, fate));
    }

    fn fate(&self) -> Fate {
        let n = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let mut at = self.at.lock().expect("no panic under the lock");
        match *at {
            Some((k, fate)) if k == n => {
                *at = None;
                fate
            }
            _ => Fate::Pass,
        }
    }

    /// Whether the fault has happened. It does not any more.
    fn disarm(&self) -> bool {
        self.at
            .lock()
            .expect("no panic under the lock")
            .take()
            .is_none()
    }
}

/// A store that fails as planned, and one beside it that does not.
struct Stage {
    tables: Tables,
    shape: Vec<(String, String)>,
    clock: TestClock,
    sound: SqlStore,
    faulty: SqlStore,
    plan: Arc<Plan>,
}

type Dump = Vec<(String, Vec<TextRow>)>;

impl Stage {
    async fn open(backend: Backend) -> Self {
        let time = Arc::new(AtomicI64::new(0));
        let clock = TestClock::over(time.clone());
        let tables = Tables::fresh(backend, time).await;
        let sound = tables.store();
        sound.migrate().await.expect("migrate");
        let plan = Arc::new(Plan::default());
        let planned = plan.clone();
        let faulty = tables.faulty_store(Failpoints::new(move |_| planned.fate()));
        let shape = tables.shape().await;
        Self {
            tables,
            shape,
            clock,
            sound,
            faulty,
            plan,
        }
    }

    async fn set(&self, case: &Case) -> Dump {
        self.tables.empty(&self.shape).await;
        self.clock.reset();
        let set = (case.setup)(&self.sound, &self.clock).await;
        set.unwrap_or_else(|error| panic!("{}: setup: {error}", case.name));
        self.dump().await
    }

    async fn dump(&self) -> Dump {
        self.tables.dump(&self.shape).await
    }
}

/// Runs every case with every fault.
pub async fn every_operation(backend: Backend) {
    let stage = Stage::open(backend).await;
    let (mut faults, mut wrong) = (0, Vec::new());
    for case in CASES {
        faults += enumerate(&stage, case, &mut wrong).await;
    }
    assert!(wrong.is_empty(), "the answers of repetitions: {wrong:#?}");
    println!("{} operations, {faults} faults", CASES.len());
    stage.tables.remove().await;
}

async fn enumerate(stage: &Stage, case: &Case, wrong: &mut Vec<String>) -> usize {
    let before = stage.set(case).await;
    let told = (case.act)(&stage.sound).await;
    let told = told.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let after = stage.dump().await;
    assert_ne!(before, after, "{}: it writes", case.name);
    let mut faults = 0;
    for k in 1..=STATEMENTS_MAX {
        for fate in [Fate::LostBefore, Fate::LostAfter] {
            let at = format!("{}, {fate:?} at statement {k}", case.name);
            assert_eq!(stage.set(case).await, before, "{at}: the same beginning");
            stage.plan.arm(k, fate);
            let first = (case.act)(&stage.faulty).await;
            if !stage.plan.disarm() {
                assert!(k > 1, "{at}: it has a statement");
                return faults;
            }
            faults += 1;
            stage.tables.wait_for_locks().await;
            let between = stage.dump().await;
            let carried_out = between == after;
            assert!(
                carried_out || between == before,
                "{at}: torn\n{before:?}\n{between:?}\n{after:?}"
            );
            match first {
                // A claim may get less than is there, and nothing where it was not carried out.
                Ok(first) if !carried_out => {
                    assert!(
                        case.name.starts_with("claim") && first == "[]",
                        "{at}: {first}"
                    )
                }
                Ok(first) => assert_eq!(first, told, "{at}: read back"),
                Err(error) => {
                    assert!(error.is_transient(), "{at}: {error:?}");
                    assert!(error.is_ambiguous() || !carried_out, "{at}: {error:?}");
                }
            }
            let again = (case.act)(&stage.sound).await;
            let again = again.unwrap_or_else(|error| panic!("{at}: again: {error}"));
            let expected = if carried_out && !case.again.is_empty() {
                case.again
            } else {
                &told
            };
            if again != expected {
                wrong.push(format!("{at}: {again} instead of {expected}"));
            }
            assert_eq!(stage.dump().await, after, "{at}: after the repetition");
        }
    }
    panic!("{}: more than {STATEMENTS_MAX} statements", case.name);
}

/// Breaks a migration off at each of its statements.
pub async fn migrations(backend: Backend) {
    let stage = Stage::open(backend).await;
    for k in 1..=STATEMENTS_MAX {
        for fate in [Fate::LostBefore, Fate::LostAfter] {
            stage.tables.drop_all(&stage.shape).await;
            stage.plan.arm(k, fate);
            let first = stage.faulty.migrate().await;
            if !stage.plan.disarm() {
                assert!(k > 1);
                stage.tables.remove().await;
                return;
            }
            if let Err(error) = first {
                assert!(error.is_transient(), "{fate:?} at {k}: {error:?}");
            }
            let second = stage.sound.migrate().await;
            second.unwrap_or_else(|error| panic!("{fate:?} at {k}: {error:?}"));
            stage.sound.check_schema().await.expect("it is current");
            assert_eq!(stage.tables.shape().await, stage.shape, "{fate:?} at {k}");
        }
    }
    panic!("a migration of more than {STATEMENTS_MAX} statements");
}

fn new(n: u128) -> NewTask {
    NewTask {
        id: id(n),
        ..task()
    }
}

fn card(id: NodeId) -> NodeCard {
    NodeCard {
        id,
        label: "a node".to_owned(),
        ttl_ms: 15_000,
        slots: 4,
        kinds: Vec::new(),
    }
}

/// Tasks of a group of which one may run.
async fn limited_to_one(store: &dyn Store) -> Result<()> {
    queued(store).await?;
    let limit = vec![SettingChange::MaxRunning(Some(1))];
    store.set(Scope::Group(name("maths")), limit).await?;
    Ok(())
}

fn claim_of(work: Work, tasks: usize) -> Claim {
    let lane = LaneId::new(&name("maths"), &name("ann")).of(work);
    Claim {
        node: NODE,
        run: RUN,
        grants: vec![Grant { lane, tasks }],
        kinds: vec![KindKey::new(&name(KIND))],
        reaches: Vec::new(),
        version: 0,
    }
}

fn end_of(n: u128, event: Event) -> End {
    End {
        id: id(n),
        run: RUN,
        event,
        rules: Rules::default(),
        output: matches!(event, Event::Ok { .. }).then(|| b"output".to_vec()),
        error: matches!(event, Event::Err { .. }).then(|| "it broke".to_owned()),
        awaited_children: u32::from(matches!(event, Event::Wait { .. })),
    }
}

async fn steer(store: &dyn Store, n: u128, wish: Wish) -> Result<String> {
    let steered = store.steer(vec![id(n)], Filter::scope(None), wish).await?;
    Ok(format!("{:?}", steered[0]))
}

async fn end(store: &dyn Store, n: u128, event: Event) -> Result<String> {
    Ok(format!("{:?}", store.end(vec![end_of(n, event)]).await?[0]))
}

/// Two nodes, a kind with a cleanup, three tasks: the second is a child of the first.
async fn queued(store: &dyn Store) -> Result<()> {
    store.register(card(NODE)).await?;
    store.register(card(OTHER)).await?;
    store
        .publish_kinds(vec![(name(KIND), Rules::default())])
        .await?;
    let child = NewTask {
        parent: Some(id(1)),
        ..new(2)
    };
    store.create(vec![new(1), child, new(3)]).await?;
    Ok(())
}

/// The same, and the first node runs all three.
async fn running(store: &dyn Store) -> Result<()> {
    queued(store).await?;
    assert_eq!(store.claim(claim_of(Work::Run, 3)).await?.tasks.len(), 3);
    Ok(())
}

macro_rules! cases {
    ($($name:literal: $setup:expr => $act:expr $(, again $again:literal)?;)+) => {
        &[$(Case {
            name: $name,
            setup: {
                #[allow(unused_variables)]
                fn setup<'s>(
                    store: &'s dyn Store,
                    clock: &'s TestClock,
                ) -> BoxFuture<'s, Result<()>> {
                    Box::pin(async move {
                        let setup: fn(&'s dyn Store, &'s TestClock) -> BoxFuture<'s, Result<()>> = $setup;
                        setup(store, clock).await
                    })
                }
                setup
            },
            act: |store| Box::pin(async move {
                let act: fn(&dyn Store) -> BoxFuture<'_, Result<String>> = $act;
                act(store).await
            }),
            again: concat!("", $($again)?),
        }),+]
    };
}

const CASES: &[Case] = cases! {
    "create": |_, _| Box::pin(async { Ok(()) }) => |store| Box::pin(async {
        let later = NewTask { due: Some(Timestamp(TestClock::far())), ..new(2) };
        let held = NewTask { start: false, ..new(3) };
        let created = store.create(vec![new(1), later, held]).await?;
        Ok(format!("{created:?}"))
    }), again "[Existed, Existed, Existed]";
    "create and claim": |store, _| Box::pin(queued(store)) => |store| Box::pin(async {
        let later = NewTask { due: Some(Timestamp(TestClock::far())), ..new(5) };
        let claim = ClaimNew {
            node: NODE,
            run: RUN,
            kinds: vec![KindKey::new(&name(KIND))],
            reaches: Vec::new(),
            version: 0,
        };
        let bobs = NewTask { user: name("bob"), ..new(4) };
        let (created, claimed) = store.create_and_claim(vec![bobs, later], claim).await?;
        Ok(format!("{created:?}, of which {} claimed", claimed.len()))
    }), again "[Existed, Existed], of which 0 claimed";
    "pause a queued task": |store, _| Box::pin(queued(store)) =>
        |store| Box::pin(steer(store, 1, Wish::Pause)), again "Unchanged(Paused)";
    "pause a running task": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(steer(store, 1, Wish::Pause)), again "Unchanged(Pausing)";
    "resume": |store, _| Box::pin(async {
        queued(store).await?;
        steer(store, 1, Wish::Pause).await?;
        Ok(())
    }) => |store| Box::pin(steer(store, 1, Wish::Resume)), again "Unchanged(Queued)";
    "run": |store, _| Box::pin(async {
        store.create(vec![NewTask { start: false, ..new(1) }]).await?;
        Ok(())
    }) => |store| Box::pin(steer(store, 1, Wish::Run)), again "Unchanged(Queued)";
    "delete": |store, _| Box::pin(queued(store)) =>
        |store| Box::pin(steer(store, 1, Wish::Delete)), again "Unchanged(CleanupQueued)";
    "delete a running task": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(steer(store, 1, Wish::Delete)), again "Unchanged(DeletingRun)";
    "force a deletion": |store, _| Box::pin(async {
        queued(store).await?;
        steer(store, 2, Wish::Delete).await?;
        Ok(())
    }) => |store| Box::pin(steer(store, 2, Wish::ForceDelete)), again "Unchanged(Deleted)";
    "rerun": |store, _| Box::pin(async {
        running(store).await?;
        end(store, 1, FAIL).await?;
        Ok(())
    }) => |store| Box::pin(steer(store, 1, Wish::Rerun)), again "Refused(Queued, NotOver)";
    "move": |store, _| Box::pin(queued(store)) =>
        |store| Box::pin(steer(store, 1, Wish::MoveTo(name("arts")))), again "Unchanged(Queued)";
    "set a priority": |store, _| Box::pin(queued(store)) =>
        |store| Box::pin(steer(store, 1, Wish::Priority(-3))), again "Unchanged(Queued)";
    // Its caller does not repeat it: it looks what it holds, and gives back what it does not know.
    "claim": |store, _| Box::pin(queued(store)) => |store| Box::pin(async {
        let held = store.held(NODE, BATCH_MAX).await?;
        let mut claimed: Vec<_> = if held.is_empty() {
            let claimed = store.claim(claim_of(Work::Run, 2)).await?.tasks;
            claimed.iter().map(|task| (task.id, task.run)).collect()
        } else {
            held
        };
        claimed.sort_unstable();
        Ok(format!("{claimed:?}"))
    });
    "claim within limits": |store, _| Box::pin(limited_to_one(store)) => |store| Box::pin(async {
        let mut held = store.held(NODE, BATCH_MAX).await?;
        if held.is_empty() {
            let (book, lanes) = (book_of(store.config().await?), [("maths", "ann")]);
            let (claim, bounds) = limited(&book, NODE, &lanes, 2, &[KIND], Timestamp(0));
            let claim = Claim { run: RUN, ..claim };
            let within = store.claim_within(claim, bounds).await?;
            held = within.tasks.iter().map(|task| (task.id, task.run)).collect();
        }
        Ok(format!("{held:?}"))
    });
    "claim named tasks": |store, _| Box::pin(limited_to_one(store)) => |store| Box::pin(async {
        let mut held = store.held(NODE, BATCH_MAX).await?;
        if held.is_empty() {
            let (book, lanes) = (book_of(store.config().await?), [("maths", "ann")]);
            let (claim, bounds) = limited(&book, NODE, &lanes, 2, &[KIND], Timestamp(0));
            let lane = claim.grants[0].lane;
            let these = ClaimThese {
                node: NODE,
                run: RUN,
                tasks: vec![(id(2), lane), (id(1), lane)],
                kinds: claim.kinds,
                version: claim.version,
            };
            let within = store.claim_these(these, bounds).await?;
            held = within.tasks.iter().map(|task| (task.id, task.run)).collect();
        }
        Ok(format!("{held:?}"))
    });
    "save": |store, _| Box::pin(running(store)) => |store| Box::pin(async {
        let save = Save {
            id: id(1),
            run: RUN,
            checkpoint: Some(b"half".to_vec()),
            progress: Some(Progress { done: 1, total: 2 }),
        };
        Ok(format!("{:?}", store.save(vec![save]).await?))
    });
    "finish": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(end(store, 1, OK)), again "Already(Finished)";
    "finish a child": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(end(store, 2, OK)), again "Already(Finished)";
    "finish, and forget": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(end(store, 1, Event::Ok { forget: true })), again "Already(Deleted)";
    "finish a task that is being deleted": |store, _| Box::pin(async {
        running(store).await?;
        steer(store, 1, Wish::Delete).await?;
        Ok(())
    }) => |store| Box::pin(end(store, 1, OK)), again "Already(CleanupQueued)";
    "fail, to be tried again": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(end(store, 1, ERR)), again "Already(Scheduled)";
    "fail for good": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(end(store, 1, FAIL)), again "Already(Failed)";
    "wait": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(end(store, 1, WAIT)), again "Already(Waiting)";
    "hand over": |store, _| Box::pin(running(store)) =>
        |store| Box::pin(end(store, 1, Event::Stopped)), again "Already(Resuming)";
    "be paused": |store, _| Box::pin(async {
        running(store).await?;
        steer(store, 1, Wish::Pause).await?;
        Ok(())
    }) => |store| Box::pin(end(store, 1, Event::Stopped)), again "Already(Paused)";
    "end a cleanup": |store, _| Box::pin(async {
        queued(store).await?;
        steer(store, 1, Wish::Delete).await?;
        store.claim(claim_of(Work::Cleanup, 1)).await?;
        Ok(())
    }) => |store| Box::pin(end(store, 1, OK)), again "Already(Deleted)";
    "steer once": |store, _| Box::pin(queued(store)) => |store| Box::pin(async {
        let steered = store.steer_once(OPERATION, vec![id(1)], Filter::scope(None), Wish::Pause);
        Ok(format!("{:?}", steered.await?))
    });
    "rerun once": |store, _| Box::pin(async {
        running(store).await?;
        end(store, 1, OK).await?;
        Ok(())
    }) => |store| Box::pin(async {
        let steered = store.steer_once(OPERATION, vec![id(1)], Filter::scope(None), Wish::Rerun);
        Ok(format!("{:?}", steered.await?))
    });
    "conclude an operation": |store, _| Box::pin(queued(store)) => |store| Box::pin(async {
        store.conclude(OPERATION, Wish::Pause, Tally::default()).await?;
        Ok(String::new())
    });
    "try a suspect": |store, _| Box::pin(running(store)) => |store| Box::pin(async {
        Ok(store.try_suspect(id(1), RUN).await?.to_string())
    });
    "publish kinds": |_, _| Box::pin(async { Ok(()) }) => |store| Box::pin(async {
        store.publish_kinds(vec![(name(KIND), Rules::default())]).await?;
        Ok(String::new())
    });
    "register": |_, _| Box::pin(async { Ok(()) }) => |store| Box::pin(async {
        store.register(card(NODE)).await?;
        Ok(String::new())
    });
    // What the lease makes of this answer: acknowledged, as of its first sending.
    "beat": |store, clock| Box::pin(async {
        queued(store).await?;
        clock.pass_ms(1_000);
        Ok(())
    }) => |store| Box::pin(async {
        let pulse = Pulse { seq: 1, acked: 0 };
        Ok(format!("{:?}", store.beat(NODE, pulse, 15_000).await?))
    }), again "Row { seq: 1, alive: true }";
    "retire": |store, _| Box::pin(queued(store)) => |store| Box::pin(async {
        Ok(format!("{:?}", store.retire(NODE).await?))
    });
    "declare dead": |store, _| Box::pin(running(store)) => |store| Box::pin(async {
        Ok(store.declare_dead(NODE, 0).await?.to_string())
    }), again "false";
    "promote": |store, clock| Box::pin(async {
        running(store).await?;
        end(store, 1, ERR).await?;
        clock.pass_ms(3_600_000);
        Ok(())
    }) => |store| Box::pin(async {
        Ok(store.promote(BATCH_MAX).await?.tasks.to_string())
    }), again "0";
    "wake": |store, _| Box::pin(async {
        running(store).await?;
        end(store, 1, WAIT).await?;
        end(store, 2, OK).await?;
        Ok(())
    }) => |store| Box::pin(async {
        Ok(store.wake(BATCH_MAX).await?.to_string())
    }), again "0";
    "sweep": |store, _| Box::pin(async {
        running(store).await?;
        steer(store, 3, Wish::Pause).await?;
        assert!(store.declare_dead(NODE, 0).await?);
        Ok(())
    }) => |store| Box::pin(async {
        Ok(store.sweep(BATCH_MAX).await?.tasks.len().to_string())
    }), again "0";
    "prune": |store, clock| Box::pin(async {
        running(store).await?;
        end(store, 1, Event::Ok { forget: true }).await?;
        assert!(store.declare_dead(OTHER, 0).await?);
        clock.pass_ms(2 * 86_400_000);
        Ok(())
    }) => |store| Box::pin(async {
        Ok(store.prune(BATCH_MAX).await?.to_string())
    }), again "0";
};
