//! Carries a plan of faults out.

use super::args::DatabaseArg;
use super::audit;
use super::bait::{Bait, Taken};
use super::cluster::Cluster;
use super::faults::{Act, Planned};
use super::history::{FaultSort, Journal, What};
use super::node::LEASE;
use super::poison;
use super::stage::Stage;
use crate::proxy::Condition;
use anyhow::Result;
use peerwork::Client;
use rand::Rng;
use rand::rngs::StdRng;
use sqlx::{AnyConnection, AssertSqlSafe};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

const TICK: Duration = Duration::from_millis(20);
/// Tasks of one storm of reports, and the reports of each.
const STORM: (usize, u64) = (24, 150);

/// After an outage: a node that died meanwhile is found after its ttl, at the next look of a peer.
const RECOVERY: Duration = Duration::from_millis(LEASE.ttl_ms + 1_500);
/// The kind that wedges its node.
const WEDGES: &str = "wedges";
/// Answers to commits that one fault loses, if they can be had in its time.
const ENOUGH_ANSWERS: u64 = 16;

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
    Swallow(Losing),
    Restart,
    Unlock(AnyConnection),
    Storm(JoinHandle<()>),
    /// The database was killed, and will be back.
    Back(JoinHandle<Result<()>>),
    /// The members of a cluster come back behind everybody's back.
    Rejoin(JoinHandle<Result<()>>),
    Promote,
    EmptyDisk,
    /// Nothing: it keeps others away.
    Rest,
    /// All its tasks are created.
    Reports(JoinHandle<()>),
}

/// A node that loses answers.
struct Losing {
    node: String,
    /// When the next one is to be lost.
    next: Instant,
    /// How many it had lost before, and how long it goes on at most to lose enough of them.
    before: u64,
    limit: Instant,
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
    pub async fn rage(mut self, mut plan: Vec<Planned>, cluster: &mut Cluster<'_>) -> Result<()> {
        let began = Instant::now();
        let (to_end, mut taken) = mpsc::unbounded_channel();
        loop {
            while let Ok(one) = taken.try_recv() {
                end_node(one, cluster).await?;
            }
            while self.baits.try_join_next().is_some() {}
            self.end_what_is_over(cluster).await?;
            self.swallow(cluster);
            let due = |planned: &Planned| began + planned.at <= Instant::now();
            let next = plan
                .iter()
                .take_while(|planned| due(planned))
                .position(|planned| self.may(planned.act));
            if let Some(next) = next {
                let planned = plan.remove(next);
                self.act(planned.act, cluster, &to_end).await?;
            }
            if plan.is_empty() && self.lasting.is_empty() && self.baits.is_empty() {
                // A bait may have been taken in this very moment.
                while let Ok(one) = taken.try_recv() {
                    end_node(one, cluster).await?;
                }
                return Ok(());
            }
            cluster.tend().await?;
            tokio::time::sleep(TICK).await;
        }
    }

    /// One thing at a time is done to the database, and after an outage nodes get the time to notice deaths; a wedged node
    /// is to be noticed, too.
    fn may(&self, act: Act) -> bool {
        let is_busy = self.lasting.iter().any(|lasting| match lasting.end {
            End::Restart
            | End::Swallow(_)
            | End::Unlock(_)
            | End::Storm(_)
            | End::Back(_)
            | End::Rejoin(_)
            | End::Promote
            | End::EmptyDisk
            | End::Rest => true,
            End::Thaw(_) | End::Relieve(_) | End::Reports(_) => false,
        });
        let is_alone = match act {
            Act::Fault(sort, _) => {
                sort.hits_database()
                    || matches!(
                        sort,
                        FaultSort::SwallowCommits
                            | FaultSort::ConnectionsKilled
                            | FaultSort::PoolExhausted
                    )
            }
            Act::Poison(kind) => kind == WEDGES,
            Act::KillAt(_) => false,
        };
        !(is_busy && is_alone)
    }

    /// Nothing is done to the database for so long.
    fn rest(&mut self, time: Duration) {
        self.lasting.push(Lasting {
            until: Instant::now() + time,
            end: End::Rest,
        });
    }

    fn swallow(&mut self, cluster: &Cluster<'_>) {
        const AGAIN: Duration = Duration::from_millis(120);
        for lasting in &mut self.lasting {
            let now = Instant::now();
            let End::Swallow(losing) = &mut lasting.end else {
                continue;
            };
            if losing.next <= now {
                cluster.swallow(&losing.node);
                losing.next = now + AGAIN;
            }
            // On a slow machine it takes longer until claims and ends are among what is lost.
            let lost = cluster
                .swallowed(&losing.node)
                .saturating_sub(losing.before);
            if lost < ENOUGH_ANSWERS && now < losing.limit {
                lasting.until = lasting.until.max(now + AGAIN);
            }
        }
    }

    async fn act(
        &mut self,
        act: Act,
        cluster: &mut Cluster<'_>,
        to_end: &mpsc::UnboundedSender<Taken>,
    ) -> Result<()> {
        match act {
            Act::Fault(FaultSort::Drain, _) => {
                // One that has something to hand over.
                let task = Bait::new(&self.client, &self.journal, self.random.random());
                self.baits.spawn(task.drain(to_end.clone()));
            }
            Act::Fault(sort, lasts) => self.fault(sort, lasts, cluster).await?,
            Act::KillAt(status) => {
                let task = Bait::new(&self.client, &self.journal, self.random.random());
                self.baits.spawn(task.lure(status, to_end.clone()));
            }
            Act::Poison(kind) => {
                if kind == WEDGES {
                    self.rest(poison::WEDGE + RECOVERY);
                }
                let poison = Bait::new(&self.client, &self.journal, self.random.random());
                self.baits.spawn(async move {
                    poison.create(kind, 1, false).await;
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
            FaultSort::PoolExhausted => cluster.up(),
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
            FaultSort::Freeze => {
                cluster.freeze(&node);
                End::Thaw(node)
            }
            FaultSort::DatabaseStopped | FaultSort::DatabaseLocked => self.stop_database().await?,
            FaultSort::DatabaseKilled => {
                self.begins(sort);
                End::Back(tokio::spawn(self.stage.handle().kill()))
            }
            FaultSort::ConnectionsKilled => {
                self.begins(sort);
                End::Storm(tokio::spawn(end_connections(
                    self.stage.direct_url().to_owned(),
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
                    FaultSort::SwallowCommits => End::Swallow(Losing {
                        before: cluster.swallowed(&node),
                        next: Instant::now(),
                        limit: Instant::now() + 3 * lasts,
                        node,
                    }),
                    _ => End::Relieve(node),
                }
            }
            FaultSort::Failover => {
                self.stage.cut_replica_off().await?;
                End::Promote
            }
            FaultSort::PoolExhausted => {
                cluster.exhaust(&node);
                return Ok(());
            }
            FaultSort::DiskFull => {
                self.begins(sort);
                self.stage.fill_disk().await?;
                End::EmptyDisk
            }
            FaultSort::ReportStorm => {
                self.begins(sort);
                End::Reports(self.reports())
            }
            // What tasks and servers do, and baits.
            FaultSort::Crash
            | FaultSort::Drain
            | FaultSort::Wedge
            | FaultSort::DatabaseGaveUp
            | FaultSort::MemberRejoins => return Ok(()),
        };
        self.lasting.push(Lasting {
            until: Instant::now() + lasts,
            end,
        });
        Ok(())
    }

    /// Creates many tasks that save as fast as they can.
    fn reports(&mut self) -> JoinHandle<()> {
        let tasks: JoinSet<()> = (0..STORM.0)
            .map(|_| {
                let task = Bait::new(&self.client, &self.journal, self.random.random());
                async move {
                    task.create("storm", STORM.1, false).await;
                }
            })
            .collect();
        tokio::spawn(async {
            tasks.join_all().await;
        })
    }

    /// The database is away. A file cannot be: there, somebody holds the one lock on writing.
    async fn stop_database(&mut self) -> Result<End> {
        if audit::Dialect::of_url(self.stage.url())? != audit::Dialect::Sqlite {
            self.begins(FaultSort::DatabaseStopped);
            self.stage.stop().await?;
            return Ok(End::Restart);
        }
        let mut connection = audit::connect(self.stage.direct_url()).await?;
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
            if matches!(
                over.end,
                End::Restart | End::Unlock(_) | End::EmptyDisk | End::Promote
            ) {
                self.rest(RECOVERY);
            }
            match over.end {
                End::Rest => {}
                End::Thaw(node) => cluster.thaw(&node),
                End::Relieve(node) | End::Swallow(Losing { node, .. }) => {
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
                End::Back(back) if back.is_finished() => {
                    back.await??;
                    self.ends(FaultSort::DatabaseKilled);
                    self.rest(RECOVERY);
                    if self.stage.database() == DatabaseArg::Galera {
                        self.begins(FaultSort::MemberRejoins);
                    }
                    self.lasting.push(Lasting {
                        until: now,
                        end: End::Rejoin(tokio::spawn(self.stage.handle().rejoin())),
                    });
                }
                End::Back(back) => self.lasting.push(Lasting {
                    until: now + TICK,
                    end: End::Back(back),
                }),
                End::Rejoin(rejoined) if rejoined.is_finished() => {
                    rejoined.await??;
                    if self.stage.database() == DatabaseArg::Galera {
                        self.ends(FaultSort::MemberRejoins);
                    }
                }
                End::Rejoin(rejoined) => self.lasting.push(Lasting {
                    until: now + TICK,
                    end: End::Rejoin(rejoined),
                }),
                End::Promote => {
                    self.begins(FaultSort::Failover);
                    self.stage.fail_over().await?;
                    self.ends(FaultSort::Failover);
                }
                End::EmptyDisk => {
                    self.stage.empty_disk().await?;
                    self.ends(FaultSort::DiskFull);
                    if !self.stage.answers().await? {
                        self.begins(FaultSort::DatabaseGaveUp);
                        self.stage.restart().await?;
                        self.ends(FaultSort::DatabaseGaveUp);
                    }
                }
                End::Reports(created) if created.is_finished() => {
                    created.await?;
                    self.ends(FaultSort::ReportStorm);
                }
                // While the database is away nothing is created.
                End::Reports(created) => self.lasting.push(Lasting {
                    until: now + TICK,
                    end: End::Reports(created),
                }),
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

/// Ends the node that has taken a bait, as the bait wants it.
async fn end_node(taken: Taken, cluster: &mut Cluster<'_>) -> Result<()> {
    match taken {
        Taken::ToKill(label) => cluster.kill(&label).await.map(drop),
        Taken::ToDrain(label) => cluster.drain(&label).await,
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
