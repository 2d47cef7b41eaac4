//! A handler that does nothing by itself: each of its runs comes on stage and does what the test says.

use peerwork::{Handler, Reason, Rules, Run, SaveError, TaskError, TaskId};
use peerwork_core::Work;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Where the runs of puppets appear, in the order in which they start. Clones are the same stage.
#[derive(Clone)]
pub struct Stage {
    entrance: mpsc::UnboundedSender<Actor>,
    actors: Arc<Mutex<mpsc::UnboundedReceiver<Actor>>>,
}

/// The handler of the kind `puppet`.
pub struct Puppet {
    entrance: mpsc::UnboundedSender<Actor>,
    on: String,
    rules: Rules,
}

/// A run, led by the test. One that the test drops waits to be told to stop, and stops.
#[derive(Debug)]
pub struct Actor {
    /// The task.
    pub id: TaskId,
    /// Its input.
    pub input: String,
    /// Its user.
    pub user: String,
    /// Its group.
    pub group: String,
    /// The node it is on, by the name that its puppet was made with.
    pub on: String,
    /// Whether it is a run or a cleanup.
    pub work: Work,
    /// The number of this attempt.
    pub attempt: u32,
    /// The failures before it.
    pub failures: u32,
    /// What an earlier run has saved.
    pub checkpoint: Option<i64>,
    /// The stop signal, as the handler sees it.
    pub token: CancellationToken,
    orders: mpsc::Sender<Order>,
}

enum Order {
    Save(i64, oneshot::Sender<Result<(), SaveError>>),
    Progress(u64, u64),
    Stopping(oneshot::Sender<Reason>),
    End(Result<i64, TaskError>),
    Panic(String),
}

impl Stage {
    /// An empty stage.
    pub fn new() -> Self {
        let (entrance, actors) = mpsc::unbounded_channel();
        Self {
            entrance,
            actors: Arc::new(Mutex::new(actors)),
        }
    }

    /// A handler for the node called `on`, whose runs come on this stage.
    pub fn puppet(&self, on: &str) -> Puppet {
        Puppet {
            entrance: self.entrance.clone(),
            on: on.to_owned(),
            rules: Rules::default(),
        }
    }

    /// The next run that starts.
    pub async fn next(&self) -> Actor {
        let mut actors = self.actors.lock().await;
        actors.recv().await.expect("this stage has an entrance")
    }

    /// The next so many.
    pub async fn take(&self, count: usize) -> Vec<Actor> {
        let mut actors = Vec::with_capacity(count);
        for _ in 0..count {
            actors.push(self.next().await);
        }
        actors
    }

    /// Whether a run has started that the test has not seen.
    pub async fn is_empty(&self) -> bool {
        self.actors.lock().await.is_empty()
    }
}

impl Puppet {
    /// The same with these rules.
    pub fn with(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    async fn act(&self, run: &mut Run<Self>, work: Work) -> Result<i64, TaskError> {
        let (orders, mut inbox) = mpsc::channel(1);
        let actor = Actor {
            id: run.id(),
            input: run.input().clone(),
            user: run.user().to_owned(),
            group: run.group().to_owned(),
            on: self.on.clone(),
            work,
            attempt: run.attempt(),
            failures: run.failures(),
            checkpoint: run.checkpoint(),
            token: run.token(),
            orders,
        };
        let _ = self.entrance.send(actor);
        let mut told = None;
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Save(n, answer) => drop(answer.send(run.save(&n).await)),
                Order::Progress(done, total) => run.progress(done, total),
                Order::Stopping(answer) => {
                    let stop = run.stopping().await;
                    let _ = answer.send(stop.reason);
                    told = Some(stop);
                }
                Order::End(result) => return result,
                Order::Panic(text) => panic!("{text}"),
            }
        }
        // Once it was told it stops, also where that is taken back meanwhile.
        match told {
            Some(stop) => Err(stop)?,
            None => Err(run.stopping().await)?,
        }
    }
}

impl Handler for Puppet {
    const KIND: &'static str = "puppet";
    type Input = String;
    type Checkpoint = i64;
    type Output = i64;

    async fn run(&self, run: &mut Run<Self>) -> Result<i64, TaskError> {
        self.act(run, Work::Run).await
    }

    async fn cleanup(&self, run: &mut Run<Self>) -> Result<(), TaskError> {
        self.act(run, Work::Cleanup).await.map(drop)
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }
}

impl Actor {
    /// Has it save `n`.
    pub async fn save(&self, n: i64) -> Result<(), SaveError> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Save(n, answer)).await;
        answered.await.expect("the run was not dropped meanwhile")
    }

    /// Has it report its progress.
    pub async fn progress(&self, done: u64, total: u64) {
        self.order(Order::Progress(done, total)).await;
    }

    /// Waits until it is told to stop; the reason.
    pub async fn told(&self) -> Reason {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Stopping(answer)).await;
        answered.await.expect("the run was not dropped meanwhile")
    }

    /// Waits until it is told to stop, and lets it.
    pub async fn stop(self) -> Reason {
        self.told().await
    }

    /// Lets it return `n`.
    pub async fn finish(self, n: i64) {
        self.order(Order::End(Ok(n))).await;
    }

    /// Lets it return `n`, if it was not dropped meanwhile.
    pub async fn try_finish(self, n: i64) {
        let _ = self.orders.send(Order::End(Ok(n))).await;
    }

    /// Lets it fail.
    pub async fn fail(self, text: &str) {
        self.fail_with(TaskError::new(text)).await;
    }

    /// Lets it fail with this error.
    pub async fn fail_with(self, error: TaskError) {
        self.order(Order::End(Err(error))).await;
    }

    /// Lets it panic.
    pub async fn panic(self, text: &str) {
        self.order(Order::Panic(text.to_owned())).await;
    }

    /// Waits until its future has ended, or was dropped.
    pub async fn ended(&self) {
        self.orders.closed().await;
    }

    async fn order(&self, order: Order) {
        let sent = self.orders.send(order).await;
        assert!(sent.is_ok(), "the run of task {} is over", self.id);
    }
}
