//! The client: create, steer, read and await tasks. It runs nothing.

mod handle;
mod settings;
mod tasks;
mod watch;

pub use handle::TaskHandle;
pub use settings::Adjustment;
pub use tasks::Tasks;
pub use watch::TaskWatch;

use crate::batch::Batcher;
use crate::hub::{Hub, News};
use crate::node::Core;
use crate::{Database, Draft, Env, Error, Result, TaskKind, Untyped};
use futures_util::{StreamExt, TryStreamExt};
use peerwork_core::explain::{Explanation, explain};
use peerwork_core::{BATCH_BYTES_MAX, BATCH_MAX, Name, OperationId, TaskId, Timestamp};
use peerwork_store::{
    Created, Filter, Hint, KindRow, NewTask, NodeRow, Steered, Store, TaskRecord, Wish,
};
use std::sync::{Arc, OnceLock, Weak};
use watch::Watcher;

/// What happens to the schema when a client connects or a node starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Migrate {
    /// It is brought to this version's, once, by whoever is first.
    #[default]
    Auto,
    /// It is only checked: an operator runs the SQL (`peerwork migrate sql` prints it).
    Never,
}

/// Batches of one list that are under way at a time: while the database writes one, the next is on its way.
const CREATES_IN_FLIGHT: usize = 2;

/// A list cut into batches that one call takes. A task that is larger than a batch goes alone.
fn batches(tasks: Vec<NewTask>) -> impl Iterator<Item = Vec<NewTask>> {
    let mut tasks = tasks.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = tasks.next()?;
        let mut bytes = first.input.len();
        let mut batch = Vec::with_capacity(BATCH_MAX.min(1 + tasks.len()));
        batch.push(first);
        while batch.len() < BATCH_MAX {
            let fits = |task: &NewTask| bytes + task.input.len() <= BATCH_BYTES_MAX;
            let Some(task) = tasks.next_if(fits) else {
                break;
            };
            bytes += task.input.len();
            batch.push(task);
        }
        Some(batch)
    })
}

/// Creates tasks, and tells nodes of them.
pub(crate) struct Creator {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    /// The node of which this is the client, if it is one's.
    node: OnceLock<Weak<Core>>,
}

impl Creator {
    /// A node may start what is created here.
    pub fn may_start_on(&self, node: &Arc<Core>) {
        // A client has one node at most.
        let _ = self.node.set(Arc::downgrade(node));
    }

    async fn create(&self, tasks: Vec<NewTask>) -> peerwork_store::Result<Vec<Created>> {
        let news: News = tasks.iter().collect();
        if let Some(node) = self.node.get().and_then(Weak::upgrade)
            && let Some(start) = node.starts_eagerly(&news)
        {
            return node.create_and_start(tasks, news, start).await;
        }
        let created = self.store.create(tasks).await?;
        self.hub.tell_news(&news);
        Ok(created)
    }
}

/// Creates, steers and reads tasks. Cheap to clone. Runs nothing, and may create kinds that only other nodes know.
///
/// Dropping the future of any call abandons its answer, never a transaction: what was asked may still happen.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    user: Option<Name>,
}

pub(crate) struct Inner {
    /// For transactions of the caller's.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres", feature = "mysql")),
        expect(dead_code)
    )]
    pub database: Database,
    pub store: Arc<dyn Store>,
    pub env: Env,
    pub hub: Arc<Hub>,
    pub creator: Arc<Creator>,
    creates: Batcher<NewTask, Created>,
    watcher: Watcher,
}

impl Inner {
    pub fn new(database: Database, store: Arc<dyn Store>, env: Env, hub: Arc<Hub>) -> Arc<Self> {
        let creator = Arc::new(Creator {
            store: store.clone(),
            hub: hub.clone(),
            node: OnceLock::new(),
        });
        let creates = Batcher::start(&env, |task: &NewTask| task.input.len(), {
            let creator = creator.clone();
            move |tasks| {
                let creator = creator.clone();
                async move { creator.create(tasks).await }
            }
        });
        let watcher = Watcher::new(store.clone(), hub.clone(), env.clone());
        Arc::new(Self {
            database,
            store,
            env,
            hub,
            creator,
            creates,
            watcher,
        })
    }
}

impl Client {
    /// A client on the caller's pool; one connection suffices for every call. Brings the schema up to date.
    ///
    /// # Errors
    /// [`is_transient`](Error::is_transient) if the database cannot be reached, [`is_schema`](Error::is_schema) if
    /// its schema is newer than this version.
    pub async fn connect(database: impl Into<Database>) -> Result<Self> {
        Self::connect_with(database, Migrate::Auto).await
    }

    /// The same with a choice about the schema.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); with [`Migrate::Never`] also [`is_schema`](Error::is_schema) if the schema is
    /// missing or older.
    pub async fn connect_with(database: impl Into<Database>, migrate: Migrate) -> Result<Self> {
        let database = database.into();
        let store = database.store()?;
        prepare(&*store, migrate).await?;
        let env = Env::system();
        let hub = Hub::start(store.clone(), &env);
        Ok(Self::over(Inner::new(database, store, env, hub)))
    }

    /// A client whose time, ids and randomness come from `env`: for simulations.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_in(database: impl Into<Database>, env: Env) -> Result<Self> {
        let database = database.into();
        let store = database.store()?;
        prepare(&*store, Migrate::Auto).await?;
        let hub = Hub::start(store.clone(), &env);
        Ok(Self::over(Inner::new(database, store, env, hub)))
    }

    /// A fresh id, for a [`Draft::id`] that makes creating repeatable.
    pub fn new_task_id(&self) -> TaskId {
        self.inner.env.new_task_id()
    }

    pub(crate) fn over(inner: Arc<Inner>) -> Self {
        Self { inner, user: None }
    }

    /// This client, with every operation limited to the tasks of `user`: those of others are not found, and what it
    /// creates is the user's.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) if `user` is no name.
    pub fn of_user(&self, user: &str) -> Result<Self> {
        Ok(Self {
            inner: self.inner.clone(),
            user: Some(Name::new("user", user)?),
        })
    }

    /// Creates a task. Concurrent calls share commits. With a [node's own client](crate::Node::client) its handler may be running before this
    /// returns.
    ///
    /// A task whose draft names an id that exists already is left as it is, and its handle is returned.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) for a name or an input that cannot be stored. After an
    /// [ambiguous](Error::is_ambiguous) error the call may be repeated if the draft names its id.
    pub async fn create<H: TaskKind>(&self, draft: Draft<H>) -> Result<TaskHandle<H>> {
        let task = self.resolve(draft).await?;
        let id = task.id;
        self.created(self.inner.creates.submit(task).await?, id)
            .await?;
        Ok(self.handle(id))
    }

    /// Creates many tasks of one kind, in batches; each batch is created whole or not at all. They are in line in the order
    /// of the list, but for the two batches of a thousand that are under way at a time.
    ///
    /// # Errors
    /// As [`create`](Self::create). Every draft is checked before the first is created.
    pub async fn create_many<H: TaskKind>(
        &self,
        drafts: impl IntoIterator<Item = Draft<H>>,
    ) -> Result<Vec<TaskHandle<H>>> {
        let mut tasks = Vec::new();
        for draft in drafts {
            tasks.push(self.resolve(draft).await?);
        }
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        self.create_resolved(tasks).await?;
        Ok(ids.into_iter().map(|id| self.handle(id)).collect())
    }

    /// Creates a task in the caller's own transaction on `connection`: it exists if and only if the caller commits. One
    /// statement on PostgreSQL, two elsewhere; no reads.
    ///
    /// The client's tables must be in the database of `connection`. Nodes see the task within a second of the commit; call
    /// [`wake_nodes`](Self::wake_nodes) after it to have them look at once.
    ///
    /// Not cancel safe: a statement may be in flight; roll the transaction back.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) for a name or an input that cannot be stored, for a connection to another sort of
    /// database, and for [`Draft::start_in`], which needs the database's clock. After any other error the transaction
    /// may be unusable: roll it back.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub async fn create_in<H: TaskKind, C: crate::Transactional>(
        &self,
        connection: &mut C,
        draft: Draft<H>,
    ) -> Result<TaskHandle<H>> {
        let task = self.resolve_here(draft)?;
        let id = task.id;
        self.inner.database.create_in(connection, task).await?;
        Ok(self.handle(id))
    }

    /// Has the nodes of this process and, where the database carries hints, of others look for work now. Needed only after a
    /// transaction with [`create_in`](Self::create_in) has been committed, and only for speed.
    pub fn wake_nodes(&self) {
        self.inner.hub.tell(Hint {
            ready: true,
            ..Hint::default()
        });
    }

    pub(crate) async fn create_resolved(&self, tasks: Vec<NewTask>) -> Result<()> {
        let create = |batch: Vec<NewTask>| async move {
            let ids: Vec<_> = batch.iter().map(|task| task.id).collect();
            let answers = self.inner.creator.create(batch).await?;
            Ok::<_, Error>(answers.into_iter().zip(ids))
        };
        let batches = futures_util::stream::iter(batches(tasks));
        let mut created = batches.map(create).buffered(CREATES_IN_FLIGHT);
        while let Some(answers) = created.try_next().await? {
            for (answer, id) in answers {
                self.created(answer, id).await?;
            }
        }
        Ok(())
    }

    /// An id that existed must be the caller's own.
    async fn created(&self, answer: Created, id: TaskId) -> Result<()> {
        if answer == Created::Existed && self.user.is_some() {
            self.record(id).await?;
        }
        Ok(())
    }

    pub(crate) async fn resolve<H: TaskKind>(&self, draft: Draft<H>) -> Result<NewTask> {
        let now = if draft.needs_now() {
            Some(self.inner.store.now().await?)
        } else {
            None
        };
        self.scoped(draft)
            .resolve(|| self.inner.env.new_task_id(), now)
    }

    /// The same without asking the database: for a transaction that is open.
    #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
    pub(crate) fn resolve_here<H: TaskKind>(&self, draft: Draft<H>) -> Result<NewTask> {
        self.scoped(draft)
            .resolve(|| self.inner.env.new_task_id(), None)
    }

    /// The draft as the client's user's, if it has one.
    fn scoped<H: TaskKind>(&self, draft: Draft<H>) -> Draft<H> {
        match &self.user {
            Some(user) => draft.user(user.as_str()),
            None => draft,
        }
    }

    /// A handle to the task with this id. Nothing is asked of the database yet.
    pub fn task(&self, id: TaskId) -> TaskHandle {
        self.handle(id)
    }

    /// A typed handle to the task with this id.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found), or [`is_wrong_kind`](Error::is_wrong_kind) if it is of another kind.
    pub async fn task_of<H: TaskKind>(&self, id: TaskId) -> Result<TaskHandle<H>> {
        let record = self.record(id).await?;
        match H::NAME {
            Some(kind) if record.kind != *kind => {
                Err(Error::wrong_kind(id, record.kind.as_str(), kind))
            }
            _ => Ok(self.handle(id)),
        }
    }

    pub(crate) fn handle<H: TaskKind>(&self, id: TaskId) -> TaskHandle<H> {
        TaskHandle::new(self.clone(), id)
    }

    /// All tasks (of the client's user), to be narrowed down, then listed or steered.
    pub fn tasks(&self) -> Tasks {
        Tasks::new(self.clone())
    }

    /// All nodes, the dead of the last day included.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>> {
        Ok(self.inner.store.nodes().await?)
    }

    /// The kinds that nodes have had, with their rules.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn kinds(&self) -> Result<Vec<KindRow>> {
        Ok(self.inner.store.kinds().await?)
    }

    /// Checks that some node has, or has had, the kind: a producer may do so before it creates a task of a kind that
    /// it does not know itself.
    ///
    /// # Errors
    /// [`is_unknown_kind`](Error::is_unknown_kind).
    pub async fn check_kind(&self, kind: &str) -> Result<()> {
        let known = self.kinds().await?;
        if known.iter().any(|row| row.kind == *kind) {
            Ok(())
        } else {
            Err(Error::unknown_kind(kind))
        }
    }

    /// The time by the database's clock, the only one that times of tasks are in.
    ///
    /// # Errors
    /// If the database cannot be asked.
    pub async fn now(&self) -> Result<Timestamp> {
        Ok(self.inner.store.now().await?)
    }

    /// Why a task is not running: everything that keeps it from it, the most binding first, and when it starts at the earliest where that
    /// can be computed. Its text is one sentence. A task that runs or is over is explained, too; a deleted one for a day.
    ///
    /// A client that is limited to one user's tasks does not learn who has closed a gate, unless it was that user.
    ///
    /// Some ten short statements; for people, not for loops.
    ///
    /// # Errors
    /// [`is_not_found`](Error::is_not_found) if there is no such task or it is another user's.
    pub async fn explain(&self, id: TaskId) -> Result<Explanation> {
        let facts = self.inner.store.explain(id).await?;
        let facts = match (facts, &self.user) {
            (Some(facts), None) => facts,
            (Some(facts), Some(user)) if facts.user == *user => facts.for_eyes_of(user),
            (Some(_) | None, _) => return Err(Error::not_found(id)),
        };
        Ok(explain(&facts))
    }

    pub(crate) fn scope(&self) -> Filter {
        Filter::scope(self.user.clone())
    }

    pub(crate) async fn record(&self, id: TaskId) -> Result<TaskRecord> {
        let found = self.inner.store.get(vec![id]).await?.pop().flatten();
        found
            .filter(|record| self.scope().matches(record))
            .ok_or_else(|| Error::not_found(id))
    }

    /// Applies a wish to tasks named by their ids, and wakes whoever it concerns.
    pub(crate) async fn steer(
        &self,
        ids: Vec<TaskId>,
        filter: Filter,
        wish: Wish,
        operation: Option<OperationId>,
    ) -> Result<Vec<Steered>> {
        let store = &self.inner.store;
        let steered = match operation {
            Some(operation) => store.steer_once(operation, ids, filter, wish).await?,
            None => store.steer(ids, filter, wish).await?,
        };
        if steered.iter().any(|one| matches!(one, Steered::Changed(_))) {
            self.inner.hub.tell(Hint::ALL);
        }
        Ok(steered)
    }
}

/// Brings the schema up to date, or checks it.
pub(crate) async fn prepare(store: &dyn Store, migrate: Migrate) -> Result<()> {
    if migrate == Migrate::Auto {
        store.migrate().await?;
    }
    // Also after a migration: it leaves a schema alone that is newer than it knows.
    Ok(store.check_schema().await?)
}

impl Client {
    /// An untyped handle of a typed one's task, for callers who keep tasks of several kinds together.
    pub(crate) fn untyped(&self, id: TaskId) -> TaskHandle<Untyped> {
        self.handle(id)
    }
}
