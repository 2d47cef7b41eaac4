//! The node: claims tasks and runs them, as one of many equal peers.
//!
//! | file | duty |
//! | --- | --- |
//! | `beat` | renews the lease, from a thread of its own |
//! | `claimer` | turns free credits into claimed tasks |
//! | `eager` | starts tasks in the transaction that creates them, while nothing else is to do |
//! | `line` | slots, and who waits for one |
//! | `runner` | runs in a slot, one after the other: handler, end |
//! | `upkeep` | the periodic look: wishes, deaths, rescues, due tasks |
//! | `trial` | suspects of its predecessors' deaths, one at a time |
//! | `fence` | drops the runs when the lease is over |
//! | `pulse` | shows that the runtime runs, and notices when it did not |
//! | `drain` | hands everything over |
//! | `limits` | what is limited and gated, as the node knows it |
//! | `chooser` | the policy that is in force, and what it is shown |
//! | `external` | queues that keep the order elsewhere |
//! | `named` | claims of what such queues name |
//! | `reconcile` | tells such queues what they do not know |

mod beat;
mod chooser;
mod claimer;
mod core;
mod drain;
mod eager;
mod external;
mod fence;
mod lease;
mod limits;
mod line;
mod named;
mod pulse;
mod reconcile;
mod registry;
mod runner;
mod trial;
mod upkeep;

pub(crate) use core::Core;
pub use drain::DrainReport;

use crate::batch::Batcher;
use crate::client::{Client, Inner, Migrate, prepare};
use crate::hub::Hub;
use crate::queue::{ExternalQueue, QueueTimes};
use crate::{Database, Env, Error, Handler, Result, TaskError};
use chooser::Chooser;
use core::Count;
use external::Externals;
use lease::Lease;
use line::Slots;
use peerwork_core::policy::Policies;
use peerwork_core::{Credits, Fifo, LeaseTimes, NodeId, Policy, Rules, TaskId, Work};
use peerwork_store::{Hint, NodeCard, Store};
use registry::Registry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections of a node besides the beat's: one claims, one writes ends, one saves, one looks.
const CONNECTIONS: u32 = 4;

/// A running node. Any number of them may live in one process.
///
/// Stop it with [`drain`](Self::drain). Dropping it without is like a crash: its handlers are dropped at once, and its
/// peers take the tasks over when its lease has expired.
pub struct Node {
    core: Arc<Core>,
    drain_deadline: Duration,
    /// Drains when it is cancelled.
    shutdown: Option<CancellationToken>,
}

impl Node {
    /// A node on `database`: register handlers, then start it.
    pub fn builder(database: impl Into<Database>) -> NodeBuilder {
        NodeBuilder::new(database.into())
    }

    /// A client that shares this node's wake-ups. What it creates while the node has free slots and knows of nothing else to do starts
    /// in the transaction that creates it, if the [policy](NodeBuilder::policy) grants it: sooner by a commit and a wake-up.
    pub fn client(&self) -> Client {
        self.core.client()
    }

    /// The current incarnation: another one after the node was declared dead.
    pub fn id(&self) -> NodeId {
        self.core.lease.node()
    }

    /// The tasks that it holds now.
    pub fn holds(&self) -> Vec<TaskId> {
        self.core
            .runs
            .lock()
            .expect("no panic under the lock")
            .keys()
            .copied()
            .collect()
    }

    /// Hands everything over: stops claiming, tells all runs to stop, waits until their ends are recorded, wakes the peers.
    ///
    /// Handlers that have not stopped at the drain deadline are dropped, and their tasks given back from their last
    /// checkpoint. Handlers that cannot be dropped, because their code does not yield, are abandoned: they are taken
    /// over when the lease has expired.
    ///
    /// Not cancel safe: dropping the future leaves the node draining.
    pub async fn drain(self) -> DrainReport {
        drain::run(&self.core, self.drain_deadline).await
    }

    /// Waits until the token given to [`NodeBuilder::drain_on`] is cancelled, then drains.
    pub async fn drained(self) -> DrainReport {
        if let Some(shutdown) = &self.shutdown {
            shutdown.cancelled().await;
        }
        self.drain().await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.core.fall();
    }
}

/// What a node is made of.
#[must_use = "a node does nothing until it is started"]
pub struct NodeBuilder {
    database: Database,
    registry: Registry,
    policy: Arc<dyn Policy>,
    policies: Policies,
    queues: Vec<(Work, Arc<dyn ExternalQueue>)>,
    queue_times: QueueTimes,
    env: Env,
    label: Option<String>,
    slots: usize,
    cleanup_slots: usize,
    lease: LeaseTimes,
    migrate: Migrate,
    drain_deadline: Duration,
    shutdown: Option<CancellationToken>,
}

impl NodeBuilder {
    fn new(database: Database) -> Self {
        Self {
            database,
            registry: Registry::default(),
            policy: Arc::new(Fifo),
            policies: Policies::default(),
            queues: Vec::new(),
            queue_times: QueueTimes::default(),
            env: Env::system(),
            label: None,
            slots: 16,
            cleanup_slots: 4,
            lease: LeaseTimes::default(),
            migrate: Migrate::Auto,
            drain_deadline: Duration::from_secs(30),
            shutdown: None,
        }
    }

    /// Registers a handler. Two handlers of one kind are an error at the start.
    pub fn register<H: Handler>(mut self, handler: H) -> Self {
        let (rules, handler) = (handler.rules(), Arc::new(handler));
        self.registry.add::<H>(rules, move || Ok(handler.clone()));
        self
    }

    /// Registers a kind whose handler is made anew for each run. A factory that fails or panics fails the attempt.
    pub fn register_with<H: Handler>(
        mut self,
        rules: Rules,
        factory: impl Fn() -> Result<H, TaskError> + Send + Sync + 'static,
    ) -> Self {
        self.registry
            .add::<H>(rules, move || factory().map(Arc::new));
        self
    }

    /// Tasks run at once; by default 16.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Cleanups run at once; by default 4.
    pub fn cleanup_slots(mut self, slots: usize) -> Self {
        self.cleanup_slots = slots;
        self
    }

    /// What people see of this node; by default the host's name and the process's id.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The times of the lease; by default a beat every 3 s, a ttl of 15 s, a margin of 2 s. A peer takes the tasks of a
    /// crashed node over after ttl + one beat + 1 s at the latest.
    pub fn lease(mut self, times: LeaseTimes) -> Self {
        self.lease = times;
        self
    }

    /// Which lanes get the next free slots, unless another policy is [chosen for all nodes](Client::choose_policy); by default first
    /// in, first out by priority. See [`crate::policy`].
    pub fn policy(mut self, policy: impl Policy + 'static) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// A policy of your own that can be [chosen for all nodes](Client::choose_policy) under this name, besides the built-in ones.
    pub fn named_policy(mut self, name: &str, policy: impl Policy + 'static) -> Self {
        self.policies.register(name, policy);
        self
    }

    /// Takes the order of this sort of work from a queue of your own instead of the [policy](Self::policy); the last one given counts.
    /// Gates and limits hold as ever. See [`crate::queue`].
    ///
    /// A queue may be of this node alone, or shared with others: an `Arc` of one is a queue too.
    pub fn queue(mut self, work: Work, queue: impl ExternalQueue) -> Self {
        self.queues.push((work, Arc::new(queue)));
        self
    }

    /// How often queues are told what there is, and how long they are waited for.
    pub fn queue_times(mut self, times: QueueTimes) -> Self {
        self.queue_times = times;
        self
    }

    /// What happens to the schema at the start.
    pub fn migrate(mut self, migrate: Migrate) -> Self {
        self.migrate = migrate;
        self
    }

    /// How long a drain waits for handlers to stop; by default 30 s.
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Lets [`Node::drained`] wait for `token`, e.g. the service's own shutdown signal.
    pub fn drain_on(mut self, token: CancellationToken) -> Self {
        self.shutdown = Some(token);
        self
    }

    /// Where time, ids and randomness come from: for simulations.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Starts the node: opens its connections, prepares the schema, publishes its kinds, registers, and claims.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) for a kind that is registered twice or is no name, for a node without kinds or
    /// slots, and for a lease or a queue's times that cannot be kept; [`is_schema`](Error::is_schema) and
    /// [`is_transient`](Error::is_transient) as for a client.
    pub async fn start(self) -> Result<Node> {
        self.registry.check()?;
        if self.registry.keys().is_empty() {
            return Err(Error::invalid(
                "this node has no kinds; register a handler, or use a Client to create tasks only",
            ));
        }
        if self.slots == 0 || self.cleanup_slots == 0 {
            return Err(Error::invalid(
                "a node needs at least one slot for runs and one for cleanups",
            ));
        }
        let times = self.lease.check().map_err(Error::invalid)?;
        let queue_times = self.queue_times.check().map_err(Error::invalid)?;
        let mut externals = Externals::default();
        for (work, queue) in self.queues {
            externals.set(work, queue, queue_times);
        }
        let store = self.database.own_store(CONNECTIONS)?;
        prepare(&*store, self.migrate).await?;
        store.publish_kinds(self.registry.rules()).await?;

        let card = NodeCard {
            id: self.env.new_node_id(),
            label: self.label.unwrap_or_else(default_label),
            ttl_ms: times.ttl_ms,
            slots: u32::try_from(self.slots).unwrap_or(u32::MAX),
            kinds: self.registry.keys(),
        };
        let sent = self.env.now();
        store.register(card.clone()).await?;

        let hub = Hub::start(store.clone(), &self.env);
        let slots = |slots| Slots::new(slots, Credits::new(slots, self.env.now()));
        let core = Arc::new(Core {
            client: Inner::new(self.database.clone(), store.clone(), self.env.clone(), hub),
            registry: self.registry,
            chooser: Chooser::new(self.policy, self.policies),
            lease: Lease::new(times, card.id, sent),
            limits: limits::Limits::default(),
            idle: eager::Idle::default(),
            externals,
            runs: Mutex::default(),
            claiming: Mutex::default(),
            run_slots: slots(self.slots),
            cleanup_slots: slots(self.cleanup_slots),
            saver: saver(&self.env, &store),
            ender: ender(&self.env, &store),
            credited: Notify::new(),
            look: Notify::new(),
            draining: CancellationToken::new(),
            ended: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            court: trial::Court::default(),
            ticked: AtomicU64::new(self.env.now().0),
            crowd: AtomicU64::new(0),
            doubted: AtomicBool::new(false),
            is_embedded: self.database.is_embedded(),
            count: Count::default(),
            #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
            committer: std::sync::OnceLock::new(),
            store,
        });
        core.load_config().await?;
        core.client.creator.may_start_on(&core);
        beat::start(core.clone(), self.database, card).map_err(|error| {
            Error::invalid(format!("cannot start the heartbeat's thread: {error}"))
        })?;
        core.spawn_duty("listen", listen(core.clone()));
        core.spawn_duty("relay", relay(core.clone()));
        core.spawn_duty("pulse", pulse::run(core.clone()));
        core.spawn_duty("fence", fence::run(core.clone()));
        core.spawn_duty("upkeep", upkeep::run(core.clone()));
        for work in [Work::Run, Work::Cleanup] {
            core.spawn_duty("line", line::keep(core.clone(), work));
        }
        core.spawn_duty("claimer", claimer::run(core.clone()));
        core.spawn_duty("reconcile", reconcile::run(core.clone()));
        Ok(Node {
            core,
            drain_deadline: self.drain_deadline,
            shutdown: self.shutdown,
        })
    }
}

fn saver(
    env: &Env,
    store: &Arc<dyn Store>,
) -> Batcher<peerwork_store::Save, peerwork_store::Saved> {
    let store = store.clone();
    Batcher::start(
        env,
        |save: &peerwork_store::Save| save.checkpoint.as_ref().map_or(0, Vec::len),
        move |saves| {
            let store = store.clone();
            async move { store.save(saves).await }
        },
    )
}

fn ender(env: &Env, store: &Arc<dyn Store>) -> Batcher<peerwork_store::End, peerwork_store::Ended> {
    let store = store.clone();
    Batcher::start(
        env,
        |end: &peerwork_store::End| end.output.as_ref().map_or(0, Vec::len),
        move |ends| {
            let store = store.clone();
            async move { store.end(ends).await }
        },
    )
}

fn default_label() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}

/// Brings the hints of other processes in.
async fn listen(core: Arc<Core>) {
    loop {
        match core.store.listen().await {
            Ok(None) => return,
            Ok(Some(mut hints)) => loop {
                tokio::select! {
                    biased;
                    () = core.ended.cancelled() => return,
                    hint = hints.next() => match hint {
                        Some(hint) => core.client.hub.tell_here(hint),
                        None => break,
                    }
                }
            },
            Err(error) => {
                tracing::warn!(%error, "cannot listen for hints; looking every second meanwhile")
            }
        }
        tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

/// Passes wishes on to the upkeep.
async fn relay(core: Arc<Core>) {
    let ear = core.client.hub.listen(Hint {
        wish: true,
        ..Hint::default()
    });
    loop {
        tokio::select! {
            biased;
            () = core.ended.cancelled() => return,
            _wish = ear.hear() => core.look.notify_one(),
        }
    }
}

impl NodeBuilder {
    /// Registers an async function as the handler of `KIND`: it has no checkpoints, and its deletion is immediate.
    ///
    /// ```no_run
    /// # use peerwork::{Node, Database, TaskError};
    /// let builder = Node::builder(Database::memory())
    ///     .handle("greet", |name: String| async move { Ok::<_, TaskError>(format!("hello {name}")) });
    /// ```
    pub fn handle<I, O, F, Fut>(mut self, kind: &str, function: F) -> Self
    where
        I: DeserializeOwned + Serialize + Send + Sync + 'static,
        O: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, TaskError>> + Send + 'static,
    {
        self.registry.add_function(kind, function);
        self
    }
}
