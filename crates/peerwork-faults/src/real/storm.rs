//! Carries a plan of faults out.

use super::audit;
use super::cluster::Cluster;
use super::faults::{Act, Planned};
use super::history::{Answer, FaultSort, Journal, Want, What};
use super::stage::Stage;
use super::work::Input;
use crate::proxy::Condition;
use anyhow::Result;
use peerwork::{Client, Draft, Status, TaskHandle, Untyped};
use rand::Rng;
use rand::rngs::StdRng;
use sqlx::{AnyConnection, AssertSqlSafe};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

const TICK: Duration = Duration::from_millis(20);
/// How long a bait is given to come to the status in which its node is killed.
const BAIT_LIMIT: Duration = Duration::from_secs(25);
const BAIT_LOOK: Duration = Duration::from_millis(40);

/// The faults of a run, while they last.
pub struct Storm<'a> {
    stage: &'a Stage,
    journal: Journal,
    client: Client,
    random: StdRng,
    lasting: Vec<Lasting>,
    baits: JoinSet<()>,
}

/// A fault that ends by itself.
struct Lasting {
    until: Instant,
    end: End,
}

enum End {
    Thaw(String),
    Relieve(String),
    /// The answers to this node's commits are lost, one each time.
    Swallow(String, Instant),
    Restart,
    Unlock(AnyConnection),
    Storm(JoinHandle<()>),
    Rejoin(JoinHandle<Result<()>>),
    Promote,
}

impl<'a> Storm<'a> {
    /// A storm over a run.
    pub fn new(stage: &'a Stage, journal: Journal, client: Client, random: StdRng) -> Self {
        Self {
            stage,
            journal,
            client,
            random,
            lasting: Vec::new(),
            baits: JoinSet::new(),
        }
    }

    /// Does everything that is planned, and ends what lasts.
    ///
    /// # Errors
    /// If something cannot be done.
    pub async fn rage(mut self, plan: Vec<Planned>, cluster: &mut Cluster<'_>) -> Result<()> {
        let began = Instant::now();
        let mut plan = plan.into_iter().peekable();
        let (to_kill, mut kills) = mpsc::unbounded_channel();
        loop {
            while let Ok(label) = kills.try_recv() {
                let label: String = label;
                cluster.kill(&label).await?;
            }
            while self.baits.try_join_next().is_some() {}
            self.end_what_is_over(cluster).await?;
            self.swallow(cluster);
            let due = |planned: &Planned| began + planned.at <= Instant::now();
            if let Some(planned) = plan.next_if(|planned| due(planned) && self.may(planned.act)) {
                self.act(planned.act, cluster, &to_kill).await?;
            }
            if plan.peek().is_none() && self.lasting.is_empty() && self.baits.is_empty() {
                // A bait may have been taken in this very moment.
                while let Ok(label) = kills.try_recv() {
                    cluster.kill(&label).await?;
                }
                return Ok(());
            }
            cluster.tend().await?;
            tokio::time::sleep(TICK).await;
        }
    }

    /// One thing at a time is done to the database: what is under way, ends first.
    fn may(&self, act: Act) -> bool {
        let is_busy = self.lasting.iter().any(|lasting| {
            matches!(
                lasting.end,
                End::Restart
                    | End::Swallow(..)
                    | End::Unlock(_)
                    | End::Storm(_)
                    | End::Rejoin(_)
                    | End::Promote
            )
        });
        let is_databases = matches!(
            act,
            Act::Fault(
                FaultSort::DatabaseStopped
                    | FaultSort::DatabaseLocked
                    | FaultSort::DatabaseKilled
                    | FaultSort::Failover
                    | FaultSort::SwallowCommits
                    | FaultSort::ConnectionsKilled,
                _
            )
        );
        !(is_busy && is_databases)
    }

    fn swallow(&mut self, cluster: &Cluster<'_>) {
        const AGAIN: Duration = Duration::from_millis(120);
        for lasting in &mut self.lasting {
            if let End::Swallow(node, next) = &mut lasting.end
                && *next <= Instant::now()
            {
                cluster.swallow(node);
                *next = Instant::now() + AGAIN;
            }
        }
    }

    async fn act(
        &mut self,
        act: Act,
        cluster: &mut Cluster<'_>,
        to_kill: &mpsc::UnboundedSender<String>,
    ) -> Result<()> {
        match act {
            Act::Fault(sort, lasts) => self.fault(sort, lasts, cluster).await?,
            Act::KillAt(status) => {
                let task = Bait::new(&self.client, &self.journal, self.random.random());
                self.baits.spawn(task.lure(status, to_kill.clone()));
            }
            Act::Poison(kind) => {
                let poison = Bait::new(&self.client, &self.journal, self.random.random());
                self.baits.spawn(async move {
                    poison.create(kind, false).await;
                });
            }
        }
        Ok(())
    }

    async fn fault(
        &mut self,
        sort: FaultSort,
        lasts: Duration,
        cluster: &mut Cluster<'_>,
    ) -> Result<()> {
        let free = match sort {
            FaultSort::Partition
            | FaultSort::HalfOpen
            | FaultSort::Latency
            | FaultSort::SwallowCommits => cluster.well(),
            _ => cluster.free(),
        };
        let node = match free.len() {
            0 => return Ok(()),
            count => free[self.random.random_range(0..count)].clone(),
        };
        let end = match sort {
            FaultSort::Kill => {
                cluster.kill(&node).await?;
                return Ok(());
            }
            FaultSort::Drain => return cluster.drain(&node).await,
            FaultSort::Freeze => {
                cluster.freeze(&node);
                End::Thaw(node)
            }
            FaultSort::DatabaseStopped | FaultSort::DatabaseLocked => self.stop_database().await?,
            FaultSort::DatabaseKilled => {
                self.begins(sort);
                self.stage.kill().await?;
                self.ends(sort);
                // The members of a cluster come back behind everybody's back.
                End::Rejoin(tokio::spawn(Stage::rejoin(self.stage.handle())))
            }
            FaultSort::ConnectionsKilled => {
                self.begins(sort);
                End::Storm(tokio::spawn(end_connections(
                    self.stage.url().to_owned(),
                    lasts,
                )))
            }
            FaultSort::Partition
            | FaultSort::HalfOpen
            | FaultSort::Latency
            | FaultSort::SwallowCommits => {
                let condition = match sort {
                    FaultSort::Partition => Condition::BlackHole,
                    FaultSort::HalfOpen => Condition::HalfOpen,
                    FaultSort::Latency => Condition::Latency {
                        ms: 60,
                        jitter_ms: 120,
                    },
                    _ => Condition::Pass,
                };
                if !cluster.trouble(&node, sort, condition) {
                    return Ok(());
                }
                match sort {
                    FaultSort::SwallowCommits => End::Swallow(node, Instant::now()),
                    _ => End::Relieve(node),
                }
            }
            FaultSort::Failover => {
                self.stage.cut_replica_off().await?;
                End::Promote
            }
            FaultSort::Crash => return Ok(()),
        };
        self.lasting.push(Lasting {
            until: Instant::now() + lasts,
            end,
        });
        Ok(())
    }

    /// The database is away. A file cannot be: there, somebody holds the one lock on writing.
    async fn stop_database(&mut self) -> Result<End> {
        if audit::Dialect::of_url(self.stage.url())? != audit::Dialect::Sqlite {
            self.begins(FaultSort::DatabaseStopped);
            self.stage.stop().await?;
            return Ok(End::Restart);
        }
        let mut connection = audit::connect(self.stage.url()).await?;
        execute(&mut connection, "pragma busy_timeout = 30000").await?;
        execute(&mut connection, "begin immediate").await?;
        self.begins(FaultSort::DatabaseLocked);
        Ok(End::Unlock(connection))
    }

    async fn end_what_is_over(&mut self, cluster: &mut Cluster<'_>) -> Result<()> {
        let now = Instant::now();
        let (over, lasting): (Vec<_>, _) = std::mem::take(&mut self.lasting)
            .into_iter()
            .partition(|lasting| lasting.until <= now);
        self.lasting = lasting;
        for over in over {
            match over.end {
                End::Thaw(node) => cluster.thaw(&node),
                End::Relieve(node) | End::Swallow(node, _) => {
                    cluster.relieve(&node, self.random.random());
                }
                End::Restart => {
                    self.stage.restart().await?;
                    self.ends(FaultSort::DatabaseStopped);
                }
                End::Unlock(mut connection) => {
                    execute(&mut connection, "rollback").await?;
                    self.ends(FaultSort::DatabaseLocked);
                }
                End::Rejoin(rejoined) if rejoined.is_finished() => rejoined.await??,
                End::Rejoin(rejoined) => self.lasting.push(Lasting {
                    until: now + TICK,
                    end: End::Rejoin(rejoined),
                }),
                End::Promote => {
                    self.begins(FaultSort::Failover);
                    self.stage.fail_over().await?;
                    self.ends(FaultSort::Failover);
                }
                End::Storm(storm) => {
                    // It may have lost its own connection, too.
                    let _ = storm.await;
                    self.ends(FaultSort::ConnectionsKilled);
                }
            }
        }
        Ok(())
    }

    fn begins(&self, sort: FaultSort) {
        self.journal.write(What::Fault { sort, node: None });
    }

    fn ends(&self, sort: FaultSort) {
        self.journal.write(What::Healed { sort, node: None });
    }
}

async fn execute(connection: &mut AnyConnection, statement: &str) -> Result<u64> {
    let statement = AssertSqlSafe(statement.to_owned());
    let done = sqlx::raw_sql(statement).execute(connection).await?;
    Ok(done.rows_affected())
}

/// Ends every connection but its own, again and again.
async fn end_connections(url: String, lasts: Duration) {
    const AGAIN: Duration = Duration::from_millis(250);
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        if let Ok(mut connection) = audit::connect(&url).await {
            let ended = match audit::Dialect::of_url(&url) {
                Ok(audit::Dialect::Postgres) => {
                    let all = "select pg_terminate_backend(pid) from pg_stat_activity \
                               where pid <> pg_backend_pid() and backend_type = 'client backend'";
                    execute(&mut connection, all).await.map(drop)
                }
                Ok(audit::Dialect::MySql) => end_mysql_connections(&mut connection).await,
                _ => Ok(()),
            };
            // Another round follows.
            let _ = ended;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn end_mysql_connections(connection: &mut AnyConnection) -> Result<()> {
    let list = "select cast(id as signed) from information_schema.processlist \
                where id <> connection_id() and user = 'root'";
    let ids: Vec<(i64,)> = sqlx::query_as(list).fetch_all(&mut *connection).await?;
    for (id,) in ids {
        // One that has gone by itself is fine.
        let _ = execute(connection, &format!("kill {id}")).await;
    }
    Ok(())
}

/// A task of the controller's own, which it needs in a certain status.
struct Bait {
    client: Client,
    journal: Journal,
    seed: u64,
    asks: Mutex<u64>,
}

impl Bait {
    fn new(client: &Client, journal: &Journal, seed: u64) -> Self {
        Self {
            client: client.clone(),
            journal: journal.clone(),
            seed,
            asks: Mutex::new(seed),
        }
    }

    /// Brings a task to `status`, and has the node killed that holds it then.
    async fn lure(self, status: Status, to_kill: mpsc::UnboundedSender<String>) {
        let limit = Instant::now() + BAIT_LIMIT;
        let task = self.create("bait", status == Status::Cleaning).await;
        let is_ready = match status {
            Status::Cleaning => {
                self.ask(&task, Want::Pause).await && self.ask(&task, Want::Delete).await
            }
            Status::Pausing => {
                self.comes_to(&task, Status::Running, limit).await.is_some()
                    && self.ask(&task, Want::Pause).await
            }
            _ => {
                self.comes_to(&task, Status::Running, limit).await.is_some()
                    && self.ask(&task, Want::Delete).await
            }
        };
        if !is_ready {
            return;
        }
        if let Some(label) = self.comes_to(&task, status, limit).await {
            // Whoever would hear of it has ended: so has the run.
            let _ = to_kill.send(label);
        }
    }

    async fn create(&self, kind: &str, hold: bool) -> TaskHandle {
        let id = self.client.new_task_id();
        let input = Input {
            steps: 3,
            rest_ms: 10,
            seed: self.seed,
        };
        loop {
            let ask = self.asks(id, Want::Create, Some(kind));
            let mut draft = Draft::<Untyped>::of_kind(kind, &input).id(id).priority(-9);
            if hold {
                draft = draft.hold();
            }
            match self.client.create(draft).await {
                Ok(task) => {
                    self.answered(ask, Answer::Done("created".to_owned()));
                    return task;
                }
                Err(error) => self.answered(ask, Answer::Unknown(error.to_string())),
            }
            tokio::time::sleep(BAIT_LOOK).await;
        }
    }

    /// Asks until it is answered. False: it had no effect.
    async fn ask(&self, task: &TaskHandle, wish: Want) -> bool {
        loop {
            let ask = self.asks(task.id(), wish, None);
            let answer = match wish {
                Want::Pause => task.pause().await,
                _ => task.delete().await,
            };
            match answer {
                Ok(status) => {
                    self.answered(ask, Answer::Done(status.name().to_owned()));
                    return true;
                }
                Err(error) if error.is_refused() || error.is_gone() => {
                    self.answered(ask, Answer::Refused);
                    return false;
                }
                Err(error) => self.answered(ask, Answer::Unknown(error.to_string())),
            }
            tokio::time::sleep(BAIT_LOOK).await;
        }
    }

    /// Waits until the task is in `status`; returns the label of the node that holds it.
    async fn comes_to(&self, task: &TaskHandle, status: Status, limit: Instant) -> Option<String> {
        while Instant::now() < limit {
            if let Ok(record) = task.get().await
                && record.status() == status
                && let Ok(nodes) = self.client.nodes().await
                && let Some(node) = nodes.into_iter().find(|node| Some(node.id) == record.node)
            {
                return Some(node.label);
            }
            tokio::time::sleep(BAIT_LOOK).await;
        }
        None
    }

    fn asks(&self, id: peerwork::TaskId, wish: Want, kind: Option<&str>) -> u64 {
        let mut asks = self.asks.lock().expect("no panic under the lock");
        *asks = asks.wrapping_add(1);
        self.journal.write(What::Asked {
            ask: *asks,
            task: id.0,
            wish,
            kind: kind.map(str::to_owned),
        });
        *asks
    }

    fn answered(&self, ask: u64, answer: Answer) {
        self.journal.write(What::Answered { ask, answer });
    }
}
