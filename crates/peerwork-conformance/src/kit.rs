//! What behaviours are written with: names, tasks, events, and short ways to the usual calls.

use crate::Fixture;
use peerwork_core::*;
use peerwork_store::*;
use uuid::Uuid;

/// The kind of [`task`].
pub const KIND: &str = "plain";

/// `text` as a name.
pub fn name(text: &str) -> Name {
    Name::new("test", text).expect("tests hand in names that are names")
}

/// A task of ann's in the group maths, started at once, with an id of its own.
pub fn task() -> NewTask {
    NewTask {
        id: fresh_task(),
        kind: name(KIND),
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

/// An id that no task has.
pub fn fresh_task() -> TaskId {
    TaskId(Uuid::now_v7())
}

/// An id that no run has.
pub fn fresh_run() -> RunId {
    RunId(Uuid::now_v7())
}

/// An id that no node has.
pub fn fresh_node() -> NodeId {
    NodeId(Uuid::now_v7())
}

/// A handler returned `Ok`.
pub const OK: Event = Event::Ok { forget: false };

/// A handler returned an error that may pass.
pub const ERR: Event = Event::Err {
    permanent: false,
    retry_after_ms: None,
    jitter: u32::MAX,
    forget: false,
};

/// A handler returned an error that will not pass.
pub const FAIL: Event = Event::Err {
    permanent: true,
    retry_after_ms: None,
    jitter: 0,
    forget: false,
};

/// A handler left its slot until something happens.
pub const WAIT: Event = Event::Wait { until: None };

/// A task that a run holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The task.
    pub id: TaskId,
    /// The run.
    pub run: RunId,
    /// Its node.
    pub node: NodeId,
}

impl Held {
    /// The end of this run by `event`, with an output where it is a success and a text where it is an error.
    pub fn end(&self, event: Event) -> End {
        End {
            id: self.id,
            run: self.run,
            event,
            rules: Rules::default(),
            output: matches!(event, Event::Ok { .. }).then(|| b"output".to_vec()),
            error: matches!(event, Event::Err { .. }).then(|| "it broke".to_owned()),
            awaited_children: 0,
        }
    }

    /// Saves `checkpoint` and nothing else.
    pub fn save(&self, checkpoint: &[u8]) -> Save {
        Save {
            id: self.id,
            run: self.run,
            checkpoint: Some(checkpoint.to_vec()),
            progress: None,
        }
    }
}

/// What a node knows that has read all that is set.
pub async fn limit_book(store: &dyn Store) -> LimitBook {
    book_of(store.config().await.expect("config"))
}

/// What a node knows that has read this.
pub fn book_of(config: Config) -> LimitBook {
    let mut book = LimitBook::default();
    let settings = config
        .settings
        .into_iter()
        .map(|row| (row.scope, row.setting));
    book.load(config.version, settings);
    book
}

/// What a node claims that knows `book` and runs nothing yet: from each lane of (group, user) so many tasks.
pub fn limited(
    book: &LimitBook,
    node: NodeId,
    lanes: &[(&str, &str)],
    tasks: usize,
    kinds: &[&str],
    now: Timestamp,
) -> (Claim, Bounds) {
    let view = |(group, user): &(&str, &str)| LaneView {
        lane: LaneId::new(&name(group), &name(user)),
        group: name(group),
        user: name(user),
        work: Work::Run,
        rank: Rank(0),
        since: now,
    };
    let views: Vec<_> = lanes.iter().map(view).collect();
    let grant = |view: &LaneView| Grant {
        lane: view.lane,
        tasks,
    };
    let grants = views.iter().map(grant).collect();
    let kinds: Vec<_> = kinds.iter().map(|kind| KindKey::new(&name(kind))).collect();
    let here = book.room_here(std::iter::empty());
    let (free, grants, bounds) = book.divide(grants, &views, &kinds, &here, now);
    assert_eq!(free, [], "all of it is under some limit");
    let claim = Claim {
        node,
        run: fresh_run(),
        grants,
        reaches: Vec::new(),
        kinds,
        version: book.version(),
    };
    (claim, bounds)
}

impl Fixture {
    /// Creates a task that is not there.
    pub async fn create(&self, task: NewTask) -> TaskId {
        let id = task.id;
        let created = self.store.create(vec![task]).await.expect("create");
        assert_eq!(created, [Created::New]);
        id
    }

    /// Registers a node that has [`KIND`].
    pub async fn node(&self) -> NodeId {
        let id = fresh_node();
        let card = NodeCard {
            id,
            label: "a node".to_owned(),
            ttl_ms: 15_000,
            slots: 4,
            kinds: vec![KindKey::new(&name(KIND))],
        };
        self.store.register(card).await.expect("register");
        id
    }

    /// What concerns a node, with a neighbour or two.
    pub async fn glance(&self, node: NodeId) -> Glance {
        self.store
            .glance(node, 2, Depth::Full)
            .await
            .expect("glance")
    }

    /// Publishes the rules of [`KIND`].
    pub async fn publish(&self, rules: Rules) {
        self.store
            .publish_kinds(vec![(name(KIND), rules)])
            .await
            .expect("publish kinds");
    }

    /// What is known of a task that is there.
    pub async fn record(&self, id: TaskId) -> TaskRecord {
        self.find(id).await.expect("the task is there")
    }

    /// What is known of a task, if it is there.
    pub async fn find(&self, id: TaskId) -> Option<TaskRecord> {
        let mut found = self.store.get(vec![id]).await.expect("get");
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    /// The status of a task that is there.
    pub async fn status(&self, id: TaskId) -> Status {
        self.record(id).await.task.status
    }

    /// Asks for a change of any user's task.
    pub async fn steer(&self, id: TaskId, wish: Wish) -> Steered {
        self.steer_as(None, id, wish).await
    }

    /// Asks for a change as one user.
    pub async fn steer_as(&self, user: Option<&str>, id: TaskId, wish: Wish) -> Steered {
        let scope = Filter::scope(user.map(name));
        let mut steered = self
            .store
            .steer(vec![id], scope, wish)
            .await
            .expect("steer");
        assert_eq!(steered.len(), 1);
        steered.remove(0)
    }

    /// Asks for a change that must be made, and returns the status that it leads to.
    pub async fn must(&self, id: TaskId, wish: Wish) -> Status {
        match self.steer(id, wish.clone()).await {
            Steered::Changed(status) => status,
            other => panic!("{wish:?} was not carried out: {other:?}"),
        }
    }

    /// Claims up to `n` tasks of [`KIND`] from ann's lane in maths.
    pub async fn claim(&self, node: NodeId, work: Work, n: usize) -> Vec<Claimed> {
        let lane = LaneId::new(&name("maths"), &name("ann")).of(work);
        self.claim_from(node, &[Grant { lane, tasks: n }], &[KIND])
            .await
    }

    /// Claims as granted, in a run of its own.
    pub async fn claim_from(&self, node: NodeId, grants: &[Grant], kinds: &[&str]) -> Vec<Claimed> {
        self.claim_within(node, grants, kinds, &[]).await
    }

    /// Claims as granted from these ranges, in a run of its own.
    pub async fn claim_within(
        &self,
        node: NodeId,
        grants: &[Grant],
        kinds: &[&str],
        reaches: &[Reach],
    ) -> Vec<Claimed> {
        let kinds = kinds.iter().map(|kind| KindKey::new(&name(kind))).collect();
        let claim = Claim {
            node,
            run: fresh_run(),
            grants: grants.to_vec(),
            kinds,
            reaches: reaches.to_vec(),
            version: 0,
        };
        self.store.claim(claim).await.expect("claim").tasks
    }

    /// Changes what is set for a scope, and waits until that is in force.
    pub async fn set(&self, scope: Scope, changes: impl IntoIterator<Item = SettingChange>) -> u64 {
        let changes = changes.into_iter().collect();
        let applied = self.store.set(scope.clone(), changes).await.expect("set");
        self.clock.pass_ms(applied.settles_in_ms);
        self.store.settle(scope).await.expect("settle");
        applied.version
    }

    /// What a node knows that has read all that is set.
    pub async fn limit_book(&self) -> LimitBook {
        limit_book(&*self.store).await
    }

    /// Claims tasks of [`KIND`] from each of these lanes of (group, user), as a node does that knows what is set. They must be
    /// under some limit.
    pub async fn claim_limited(
        &self,
        node: NodeId,
        lanes: &[(&str, &str)],
        tasks: usize,
    ) -> ClaimAnswer {
        let book = self.limit_book().await;
        let (claim, bounds) = limited(&book, node, lanes, tasks, &[KIND], self.clock.now());
        let within = self.store.claim_within(claim, bounds).await;
        within.expect("claim within limits")
    }

    /// Claims this very task, which must be the first of its lane.
    pub async fn take(&self, node: NodeId, id: TaskId) -> Held {
        let record = self.record(id).await;
        let lane = LaneId::new(&record.group, &record.user).of(record.task.status.work());
        let claimed = self
            .claim_from(node, &[Grant { lane, tasks: 1 }], &[record.kind.as_str()])
            .await;
        assert_eq!(
            claimed.iter().map(|c| c.id).collect::<Vec<_>>(),
            [id],
            "the first of its lane"
        );
        Held {
            id,
            run: claimed[0].run,
            node,
        }
    }

    /// Creates a task and claims it for a node of its own.
    pub async fn running(&self, task: NewTask) -> Held {
        let node = self.node().await;
        let id = self.create(task).await;
        self.take(node, id).await
    }

    /// Ends a run as [`Held::end`] says.
    pub async fn end(&self, held: &Held, event: Event) -> Ended {
        self.end_with(held.end(event)).await
    }

    /// Ends a run.
    pub async fn end_with(&self, end: End) -> Ended {
        let mut ended = self.store.end(vec![end]).await.expect("end");
        assert_eq!(ended.len(), 1);
        ended.remove(0)
    }

    /// Saves for a run.
    pub async fn save(&self, save: Save) -> Saved {
        let mut saved = self.store.save(vec![save]).await.expect("save");
        assert_eq!(saved.len(), 1);
        saved.remove(0)
    }

    /// A payload of a task.
    pub async fn payload(&self, id: TaskId, which: Payload) -> Option<Vec<u8>> {
        self.store.payload(id, which).await.expect("payload")
    }

    /// Declares a node dead that has not beaten yet.
    pub async fn bury(&self, node: NodeId) {
        assert!(
            self.store
                .declare_dead(node, 0)
                .await
                .expect("declare dead")
        );
    }

    /// Sweeps as much as one batch takes, and returns it by id.
    pub async fn sweep(&self) -> Vec<(TaskId, Status)> {
        let mut swept = self.store.sweep(BATCH_MAX).await.expect("sweep").tasks;
        swept.sort_unstable();
        swept
    }

    /// Promotes as much as one batch takes.
    pub async fn promote(&self) -> usize {
        self.store.promote(BATCH_MAX).await.expect("promote").tasks
    }

    /// Wakes as many as one batch takes.
    pub async fn wake(&self) -> usize {
        self.store.wake(BATCH_MAX).await.expect("wake")
    }

    /// The whole list of what `filter` means, newest first, page by page.
    pub async fn list(&self, filter: Filter, page: usize) -> Vec<TaskId> {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let found = self
                .store
                .list(filter.clone(), after, page)
                .await
                .expect("list");
            assert!(found.tasks.len() <= page, "a page is bounded");
            ids.extend(found.tasks.iter().map(|task| task.id));
            after = found.next;
            if after.is_none() {
                return ids;
            }
        }
    }
}
