//! One life of a few tasks that takes every hot operation once.
//!
//! Ids, the sizes of batches and their order are fixed, so the text of the statements is. The clock is the database's
//! own, because an injected one would be sent as a parameter that production does not send.

mod claims;

use super::recorder::Recorder;
use crate::sql::SqlStore;
use crate::sql::dialect::{Dialect, Sql};
use crate::sql::engine::Operation;
use crate::sql::fault::Fault;
use crate::sql::link::Lease;
use crate::sql::ops::claim_within::TakeWithin;
use crate::sql::ops::commit::{Fence, ReadStanding, Standing, pass};
use crate::sql::ops::config::{ReadConfig, ReadFull, SetPolicy, SetScope, Settle};
use crate::sql::ops::create::Create;
use crate::sql::ops::end::EndRuns;
use crate::sql::ops::explain::Explain;
use crate::sql::ops::finish::Finish;
use crate::sql::ops::glance::Look;
use crate::sql::ops::lanes::{Heads, Lanes, RunningElsewhere};
use crate::sql::ops::list::List;
use crate::sql::ops::nodes::RenewLease;
use crate::sql::ops::offers::Offers;
use crate::sql::ops::operations::{Conclude, Concluded};
use crate::sql::ops::queue::{Dequeue, Enqueue, Pop, ReadQueue};
use crate::sql::ops::read::{Get, HeldRuns, Verify};
use crate::sql::ops::save::{SaveRuns, TrySuspect};
use crate::sql::ops::steer::Steer;
use crate::sql::ops::upkeep::{Promote, Prune, Sweep, Wake};
use crate::sql::tx::Tx;
use crate::*;
use peerwork_core::*;
use std::sync::Arc;
use uuid::Uuid;

/// An operation by what it stands for, with its statements in order.
pub(super) struct Act {
    pub title: &'static str,
    pub statements: Vec<Sql>,
}

/// Plays operations on one connection and keeps what was sent.
struct Stage {
    lease: Lease,
    dialect: Arc<Dialect>,
    acts: Vec<Act>,
}

impl Stage {
    /// As the engine's `write`, without other tries: nobody else is here.
    async fn write<O: Operation>(&mut self, title: &'static str, operation: O) -> O::Answer {
        let own = self.lease.are_own();
        let mut link = Recorder::new(self.lease.link(), self.dialect.clone());
        let mut tx = Tx::new(&mut link, self.dialect.clone(), O::NAME);
        let alone = operation.is_one_statement(&self.dialect);
        if !alone {
            tx.begin(own).await.expect(title);
        }
        let answer = operation.run(&mut tx).await.expect(title);
        if !alone {
            tx.commit().await.expect(title);
        }
        let statements = link.seen;
        self.acts.push(Act { title, statements });
        answer
    }

    /// As the engine's `read`.
    async fn read<O: Operation>(&mut self, title: &'static str, operation: O) -> O::Answer {
        let mut link = Recorder::new(self.lease.link(), self.dialect.clone());
        let mut tx = Tx::new(&mut link, self.dialect.clone(), O::NAME);
        let answer = operation.run(&mut tx).await.expect(title);
        let statements = link.seen;
        self.acts.push(Act { title, statements });
        answer
    }

    /// Lets time pass, for one table's rows.
    async fn aside(&mut self, text: &str) {
        let done = self.lease.link().run(text.to_owned()).await;
        done.expect("the tables are as the script knows them");
    }

    async fn end(&mut self, title: &'static str, end: End) -> Status {
        match self.write(title, EndRuns { ends: vec![end] }).await[0] {
            Ended::Recorded(status) => status,
            Ended::Already(_) | Ended::Lost => panic!("{title}: it was lost"),
        }
    }

    async fn steer(&mut self, title: &'static str, id: TaskId, wish: Wish) -> Steered {
        self.steer_under(None, title, id, wish).await
    }

    async fn steer_under(
        &mut self,
        operation: Option<OperationId>,
        title: &'static str,
        id: TaskId,
        wish: Wish,
    ) -> Steered {
        let steer = Steer {
            ids: vec![id],
            filter: Filter::scope(None),
            wish,
            operation,
        };
        self.write(title, steer).await[0]
    }
}

/// The fence as an operation of its own.
struct Pass(Fence);

impl Operation for Pass {
    const NAME: &'static str = "pass the fence";
    type Answer = bool;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        pass(tx, self.0).await
    }
}

pub(super) const NODE: NodeId = NodeId(Uuid::from_u128(900));
pub(super) const RUN: RunId = RunId(Uuid::from_u128(800));

pub(super) fn name(text: &str) -> Name {
    Name::new("test", text).expect("tests hand in names that are names")
}

fn id(n: u128) -> TaskId {
    TaskId(Uuid::from_u128(n))
}

pub(super) fn task(id: TaskId) -> NewTask {
    NewTask {
        id,
        kind: name("plain"),
        user: name("ann"),
        group: name("maths"),
        priority: 0,
        start: true,
        due: None,
        input: b"input".to_vec(),
        options: Options::default(),
        parent: None,
    }
}

pub(super) fn card(id: NodeId) -> NodeCard {
    NodeCard {
        id,
        label: "a node".to_owned(),
        ttl_ms: 15_000,
        slots: 4,
        kinds: vec![KindKey::new(&name("plain"))],
    }
}

pub(super) fn end_of(id: TaskId, run: RunId, event: Event) -> End {
    End {
        id,
        run,
        event,
        rules: Rules::default(),
        output: matches!(event, Event::Ok { .. }).then(|| b"output".to_vec()),
        error: matches!(event, Event::Err { .. }).then(|| "it broke".to_owned()),
        awaited_children: u32::from(matches!(event, Event::Wait { .. })),
    }
}

/// Plays everything on an empty `store`, and tells what was sent.
pub(super) async fn play(store: &SqlStore) -> Vec<Act> {
    store.register(card(NODE)).await.expect("register");
    let rules = vec![(name("plain"), Rules::default())];
    store.publish_kinds(rules).await.expect("publish kinds");
    let lease = store.engine.connections.lease().await.expect("lease");
    let mut stage = Stage {
        lease,
        dialect: store.engine.dialect.clone(),
        acts: Vec::new(),
    };
    claims::in_a_batch(&mut stage).await;
    run_and_end(&mut stage).await;
    look(&mut stage).await;
    keep_up(&mut stage).await;
    limit(&mut stage).await;
    name_tasks(&mut stage).await;
    stage.lease.sound();
    stage.acts
}

pub(super) const OK: Event = Event::Ok { forget: false };
pub(super) const ERR: Event = Event::Err {
    permanent: false,
    retry_after_ms: None,
    jitter: u32::MAX,
    forget: false,
};

/// 1 ends well, 2 fails, 3 is told to pause, 4 waits for its child 5, 6 goes on.
async fn run_and_end(stage: &mut Stage) {
    let tasks = vec![task(id(1))];
    stage.write("create one", Create::new(tasks, None)).await;
    let tasks = vec![task(id(2)), task(id(3)), task(id(4))];
    stage.write("create three", Create::new(tasks, None)).await;
    let child = NewTask {
        parent: Some(id(4)),
        ..task(id(5))
    };
    let tasks = vec![child, task(id(6))];
    stage
        .write("create a child", Create::new(tasks, None))
        .await;

    let kinds = vec![KindKey::new(&name("plain"))];
    let look = |by_rank| Lanes {
        kinds: kinds.clone(),
        look: LaneLook {
            by_rank,
            ..LaneLook::first(10)
        },
    };
    let lanes = stage.read("lanes", look(false)).await;
    assert_eq!(lanes.len(), 1);
    let by_rank = stage.read("lanes by rank", look(true)).await;
    assert_eq!(by_rank[..1], lanes);
    let reach = |rank: Rank, until| Reach {
        lane: lanes[0].lane,
        rank,
        since: lanes[0].since,
        until,
    };
    let rank = lanes[0].rank;
    let below = reach(Rank(rank.0 - 7), rank);
    let reaches = vec![below, reach(rank, Rank(i32::MAX))];
    let heads = Heads {
        kinds: kinds.clone(),
        reaches: reaches.clone(),
    };
    let heads = stage.read("heads", heads).await;
    assert_eq!(heads, lanes);
    let nobodys = LaneId::new(&name("maths"), &name("nobody"));
    let claim = Claim {
        node: NODE,
        run: RUN,
        grants: [(lanes[0].lane, 6), (nobodys, 2)]
            .map(|(lane, tasks)| Grant { lane, tasks })
            .to_vec(),
        kinds,
        reaches,
        version: 0,
    };
    stage.claim(claim).await;
    let elsewhere = RunningElsewhere {
        node: NodeId(Uuid::nil()),
    };
    let elsewhere = stage.read("running elsewhere", elsewhere).await;
    assert_eq!(elsewhere.len(), 1);

    let save = Save {
        id: id(6),
        run: RUN,
        checkpoint: Some(b"half".to_vec()),
        progress: Some(Progress { done: 1, total: 2 }),
    };
    let saves = vec![save];
    let saved = stage.write("save", SaveRuns { saves }).await;
    assert_eq!(saved, [Saved::Kept(Status::Running)]);
    let fence = Fence {
        id: id(1),
        run: RUN,
        commits: 0,
    };
    let passed = stage.write("commit: the fence", Pass(fence)).await;
    assert!(passed);
    let standing = ReadStanding {
        id: id(1),
        run: RUN,
    };
    let standing = stage.write("commit: read back", standing).await;
    assert_eq!(standing, Standing::Holds { commits: 1 });

    let ok = end_of(id(1), RUN, OK);
    if stage.dialect.finishes_unread() {
        let finish = Finish::of(vec![&ok]);
        assert!(stage.write("finish", finish).await.contains(&id(1)));
    } else {
        assert_eq!(stage.end("end: ok", ok).await, Status::Finished);
    }
    let standing = ReadStanding {
        id: id(1),
        run: RUN,
    };
    let standing = stage.write("commit: read back, finished", standing).await;
    assert_eq!(standing, Standing::Finished);
    let error = end_of(id(2), RUN, ERR);
    stage.end("end: error, to be tried again", error).await;
    let wait = end_of(id(4), RUN, Event::Wait { until: None });
    assert_eq!(stage.end("end: wait", wait).await, Status::Waiting);
    let child = end_of(id(5), RUN, OK);
    stage.end("end: ok, of a child", child).await;

    let again = vec![end_of(id(1), RUN, OK)];
    let again = stage.write("end: repeated", EndRuns { ends: again });
    assert_eq!(again.await, [Ended::Already(Status::Finished)]);

    let paused = stage.steer("steer: pause a running task", id(3), Wish::Pause);
    assert_eq!(paused.await, Steered::Changed(Status::Pausing));
    let (task, run) = (id(3), RUN);
    let suspect = TrySuspect { id: task, run };
    assert!(stage.write("try a suspect", suspect).await);
    let operation = OperationId(Uuid::from_u128(700));
    let (one, wish) = (Some(operation), Wish::Pause);
    let title = "steer: once";
    let once = stage.steer_under(one, title, id(3), wish.clone());
    assert_eq!(once.await, Steered::Unchanged(Status::Pausing));
    let tally = Tally::default();
    let conclude = Conclude {
        operation,
        wish: wish.clone(),
        tally,
    };
    stage.write("conclude an operation", conclude).await;
    let concluded = Concluded { operation, wish };
    let concluded = stage.read("read an operation", concluded).await;
    assert_eq!(concluded, Some(tally));
}

async fn look(stage: &mut Stage) {
    let glance = stage
        .read(
            "glance",
            Look {
                depth: Depth::Full,
                node: NODE,
                width: 16,
            },
        )
        .await;
    assert_eq!((glance.held, glance.wishes.len()), (Some(2), 1));
    let beat = RenewLease {
        node: NODE,
        pulse: Pulse { seq: 1, acked: 0 },
        ttl_ms: 15_000,
    };
    let beat = stage.write("beat", beat).await;
    assert_eq!(beat, BeatAnswer::Renewed);
    let ids = vec![id(1), id(2)];
    assert_eq!(stage.read("get", Get { ids }).await.len(), 2);
    let list = |states| List {
        filter: Filter {
            user: Some(name("ann")),
            states,
            ..Filter::default()
        },
        after: None,
        limit: 2,
    };
    let page = stage.read("list by user", list(Vec::new())).await;
    let next = List {
        after: page.next,
        ..list(Vec::new())
    };
    assert!(next.after.is_some());
    stage.read("list by user: the next page", next).await;
    let states = vec![State::Running];
    let page = stage.read("list by user and state", list(states)).await;
    assert_eq!(page.tasks.len(), 1);
    let all = List {
        filter: Filter::default(),
        after: None,
        limit: 2,
    };
    stage.read("list all", all).await;
    let (node, limit) = (NODE, 10);
    let told = stage.read("explain: waits for children", Explain { id: id(4) });
    let children = told.await.expect("it is there").children;
    assert_eq!(
        children.map(|children| (children.over, children.of)),
        Some((1, 1))
    );
    let told = stage.read("explain: held", Explain { id: id(3) }).await;
    assert_eq!(told.expect("it is there").nodes[0].id, NODE);
    let held = stage.read("what a node holds", HeldRuns { node, limit });
    let runs = held.await;
    assert_eq!(runs.len(), 2);
    stage.read("verify", Verify { runs }).await;
}

async fn keep_up(stage: &mut Stage) {
    let limit = 100;
    let woken = stage.write("wake", Wake { limit }).await;
    assert_eq!(woken, 1);
    stage
        .aside("update peerwork_parked set wake_at = 1, due_at = 1")
        .await;
    let promoted = stage.write("promote", Promote { limit }).await;
    assert_eq!(promoted.tasks, 1);
    stage.aside("update peerwork_node set alive = 0").await;
    let swept = stage.write("sweep", Sweep { limit }).await;
    assert_eq!(swept.tasks.len(), 2);

    let again = stage.steer("steer: run a final task again", id(1), Wish::Rerun);
    assert!(matches!(again.await, Steered::Changed(_)));
    let gone = stage.steer("steer: delete a queued task", id(1), Wish::ForceDelete);
    assert!(matches!(gone.await, Steered::Changed(_)));
    stage
        .aside("update peerwork_done set finished_at = 1")
        .await;
    stage.write("prune", Prune { limit }).await;
}

/// One of two is claimed under limits, and moved while it runs.
async fn limit(stage: &mut Stage) {
    stage.aside("update peerwork_node set alive = 1").await;
    let tasks = vec![task(id(7)), task(id(8))];
    stage
        .write("create two more", Create::new(tasks, None))
        .await;
    let starts = Rate::per_second(10.0, 5).expect("a rate");
    let group = Scope::Group(name("maths"));
    let lane = Scope::UserIn {
        group: name("maths"),
        user: name("ann"),
    };
    let kind = Scope::Kind(name("plain"));
    let mut version = 0;
    for (title, scope) in [
        ("set a group's limit", group.clone()),
        ("set a user's limit in a group", lane.clone()),
        ("set a kind's limit", kind.clone()),
    ] {
        let changes = vec![
            SettingChange::MaxRunning(Some(1)),
            SettingChange::Starts(Some(starts)),
        ];
        let set = SetScope { scope, changes };
        version = stage.write(title, set).await.version;
    }
    let config = stage.read("read what is set", ReadConfig).await;
    assert_eq!((config.version, config.settings.len()), (version, 3));
    let bound = |key| Bound {
        key,
        is_shared: true,
        here: None,
    };
    let lane_id = LaneId::new(&name("maths"), &name("ann"));
    let key = KindKey::new(&name("plain"));
    let bounds = Bounds {
        bounds: [group.key(), lane.key(), kind.key()].map(bound).to_vec(),
        lanes: [(lane_id, vec![group.key(), lane.key()])].into(),
        kinds: [(key, kind.key())].into(),
    };
    let claim = Claim {
        node: NODE,
        run: RUN,
        grants: vec![Grant {
            lane: lane_id,
            tasks: 2,
        }],
        reaches: Vec::new(),
        kinds: vec![key],
        version,
    };
    let take = TakeWithin::new(claim, bounds);
    let taken = stage.write("claim within limits", take).await;
    let taken = taken.expect("it was decided on what is set").ids();
    assert_eq!(taken.len(), 1);
    let keys = vec![group.key(), lane.key(), kind.key()];
    let full = stage.read("look at limits", ReadFull { keys }).await;
    assert_eq!(full.len(), 3);
    let waits = id(if taken[0] == id(7) { 8 } else { 7 });
    let told = stage.read("explain: in line", Explain { id: waits }).await;
    let told = told.expect("it is there");
    let running: Vec<_> = told.scopes.iter().map(|scope| scope.running).collect();
    assert_eq!((running, told.nodes.len()), (vec![1, 1, 1], 1));
    let wish = Wish::MoveTo(name("physics"));
    let moved = stage
        .steer("steer: move a running task", taken[0], wish)
        .await;
    assert_eq!(moved, Steered::Changed(Status::Running));
    stage
        .write(
            "settle",
            Settle {
                scope: group.clone(),
            },
        )
        .await;
    let changes = vec![SettingChange::MaxRunning(Some(2))];
    let set = SetScope {
        scope: group.clone(),
        changes,
    };
    stage.write("change a group's limit", set).await;
    let changes = vec![SettingChange::Clear];
    let set = SetScope {
        scope: group,
        changes,
    };
    stage.write("clear what is set", set).await;
    let policy = Some("fair".to_owned());
    stage.write("set the policy", SetPolicy { policy }).await;
}

/// What is claimable is told to a queue, and two are claimed that it names.
async fn name_tasks(stage: &mut Stage) {
    let tasks = vec![task(id(9)), task(id(10))];
    stage
        .write("create what is named", Create::new(tasks, None))
        .await;
    let offers = |sought| Offers { sought, limit: 10 };
    let first = offers(Sought::After(None));
    let first = stage.read("offers: the first page", first).await;
    let after = Some(first[0].spot());
    let next = offers(Sought::After(after));
    let next = stage.read("offers: the next page", next).await;
    assert_eq!(next, first[1..]);
    let kind = KindKey::new(&name("plain"));
    let sought = Sought::First {
        lanes: vec![first[0].lane, LaneId(Uuid::from_u128(1))],
        kinds: vec![kind],
    };
    let of_lanes = stage.read("offers: the first of lanes", offers(sought));
    assert!(of_lanes.await.iter().any(|offer| offer.task == id(9)));
    let sought = Sought::These(vec![id(10), id(9)]);
    let named = stage.read("offers: by ids", offers(sought)).await;
    assert_eq!(named.len(), 2);

    let enqueue = Enqueue::new(named.clone());
    stage.write("queue: put", enqueue).await;
    let pop = Pop {
        lanes: vec![named[0].lane],
        kinds: vec![kind],
        limit: 1,
    };
    let popped = stage.write("queue: take the next", pop).await;
    assert_eq!(popped, [id(9)]);
    for after in [None, Some(id(9))] {
        let limit = 10;
        let known = stage.read("queue: read", ReadQueue { after, limit }).await;
        assert_eq!(known, [id(10)]);
    }
    let ids = vec![id(10)];
    stage.write("queue: take out", Dequeue { ids }).await;

    let version = stage.read("read what is set", ReadConfig).await.version;
    let these = ClaimThese {
        node: NODE,
        run: RUN,
        tasks: named.iter().map(|offer| (offer.task, offer.lane)).collect(),
        kinds: vec![kind],
        version,
    };
    let take = TakeWithin::these(&these, Bounds::default());
    let taken = stage.write("claim named tasks", take).await;
    let taken = taken.expect("it was decided on what is set").ids();
    assert_eq!(taken, [id(10), id(9)]);
    create_and_claim(stage, version).await;
}

/// Two are claimed as they are created, of which the claim remembers a part of the lane.
async fn create_and_claim(stage: &mut Stage, version: u64) {
    let of = |user, task| NewTask {
        user: name(user),
        ..task
    };
    let tasks = vec![of("bob", task(id(11))), of("eve", task(id(12)))];
    let claim = ClaimNew {
        node: NODE,
        run: RUN,
        kinds: vec![KindKey::new(&name("plain"))],
        reaches: vec![Frontier::default().at(tasks[1].lane(), Rank::new(Status::Queued, 0))],
        version,
    };
    let create = Create::new(tasks, Some(claim));
    let (new, claimed) = stage.write("create and claim", create).await;
    assert_eq!((new.len(), claimed.len()), (2, 2));
}
