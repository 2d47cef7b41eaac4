//! Where a run takes place: a database of its own, and a folder of histories.
//!
//! A database that may move (a cluster, a server with a replica) is behind one address, which is told where to lead.

use super::args::{DatabaseArg, Extra};
use super::network::{Network, address};
use crate::proxy::{Condition, Proxy};
use anyhow::{Context, Result, bail};
use peerwork_testbed::{Faketime, Galera, MariaDb, Options, Postgres, Replica, Server};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The database and the folder of one run.
#[derive(Debug)]
pub struct Stage {
    database: DatabaseArg,
    extras: Vec<Extra>,
    url: String,
    /// The address that stays, in front of a database that moves.
    front: Option<Proxy>,
    backend: Arc<Mutex<Backend>>,
    clocks: Vec<Faketime>,
    program: PathBuf,
    folder: TempDir,
}

/// What is behind it.
#[derive(Debug)]
enum Backend {
    File,
    Server(Box<Server>),
    Pair(Box<Server>, Option<Box<Replica>>),
    /// With the node that the address leads to.
    Cluster(Box<Galera>, usize),
}

/// What the tables' names begin with.
const PREFIX: &str = "faults_";
/// What wrong clocks are wrong by, in seconds.
const WRONG_BY: [i64; 2] = [3_600, -3_600];
const GALERA_NODES: usize = 3;

impl Stage {
    /// Makes the folder and starts the database.
    ///
    /// # Errors
    /// If the database cannot be started, or does not go with `extras`.
    pub async fn set(database: DatabaseArg, extras: &[Extra], network: &Network) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("peerwork-faults-")
            .tempdir();
        let folder = folder.context("make a folder for histories")?;
        let has = |extra| extras.contains(&extra);
        if has(Extra::Replica) && database != DatabaseArg::Postgres {
            bail!("only PostgreSQL has a replica here; use --database postgres");
        }
        if has(Extra::EveryWriter) && database != DatabaseArg::Galera {
            bail!("only a cluster has several writers; use --database galera");
        }
        let path = folder.path().join("tasks.db");
        let has_replica = has(Extra::Replica);
        // Servers are started by calls that block.
        let started = tokio::task::spawn_blocking(move || start(database, has_replica, &path));
        let (mut url, backend) = started.await.context("start a database")??;
        let is_behind = matches!(backend, Backend::Pair(..) | Backend::Cluster(..));
        let front = match address(&url).filter(|_| is_behind) {
            Some(upstream) => Some(network.proxy(upstream).await?),
            None => None,
        };
        if let Some(front) = &front {
            url = front.url(&url);
        }
        let clocks = match has(Extra::WrongClocks) {
            true => WRONG_BY
                .map(Faketime::new)
                .into_iter()
                .collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        Ok(Self {
            database,
            extras: extras.to_vec(),
            url,
            front,
            backend: Arc::new(Mutex::new(backend)),
            clocks,
            program: std::env::current_exe().context("find the own program")?,
            folder,
        })
    }

    /// Which database it is.
    pub fn database(&self) -> DatabaseArg {
        self.database
    }

    /// What comes on top.
    pub fn has(&self, extra: Extra) -> bool {
        self.extras.contains(&extra)
    }

    /// Where the database is reached, wherever it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where node process number `n` reaches it, before its own network.
    pub fn url_of(&self, n: u64) -> String {
        let backend = self.backend.lock().expect("no panic under the lock");
        match &*backend {
            Backend::Cluster(cluster, _) if self.has(Extra::EveryWriter) => {
                let at = usize::try_from(n).unwrap_or_default() % GALERA_NODES;
                format!("mysql://root@127.0.0.1:{}/faults", cluster.node(at).port())
            }
            _ => self.url.clone(),
        }
    }

    /// The environment of node process number `n`: two in three have a wrong clock, if clocks are wrong.
    pub fn env_of(&self, n: u64) -> Vec<(String, String)> {
        let at = usize::try_from(n).unwrap_or_default() % (WRONG_BY.len() + 1);
        self.clocks.get(at).map(Faketime::env).unwrap_or_default()
    }

    /// What the tables' names begin with.
    pub fn prefix(&self) -> &str {
        PREFIX
    }

    /// This program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where histories are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes the database away from everybody.
    ///
    /// # Errors
    /// If it does not go.
    pub async fn stop(&self) -> Result<()> {
        if let Some(front) = &self.front {
            front.set(Condition::Refuse);
            return Ok(());
        }
        self.act(|backend| match backend {
            Backend::Server(server) => Ok(server.stop()?),
            Backend::File | Backend::Pair(..) | Backend::Cluster(..) => Ok(()),
        })
        .await
    }

    /// Brings it back.
    ///
    /// # Errors
    /// If it does not come.
    pub async fn restart(&self) -> Result<()> {
        if let Some(front) = &self.front {
            front.set(Condition::Pass);
            return Ok(());
        }
        self.act(|backend| match backend {
            Backend::Server(server) => Ok(server.restart()?),
            Backend::File | Backend::Pair(..) | Backend::Cluster(..) => Ok(()),
        })
        .await
    }

    /// Kills the server as a crash does, and has it back as soon as possible: the same one, or in a cluster the next.
    ///
    /// # Errors
    /// If it does not come back.
    pub async fn kill(&self) -> Result<()> {
        let moved = self.answer(|backend| match backend {
            Backend::File => Ok(None),
            Backend::Server(server) | Backend::Pair(server, _) => {
                server.kill()?;
                server.restart()?;
                Ok(None)
            }
            Backend::Cluster(cluster, writer) => {
                cluster.kill(*writer)?;
                *writer = (*writer + 1) % GALERA_NODES;
                Ok(Some(cluster.node(*writer).port()))
            }
        });
        if let (Some(port), Some(front)) = (moved.await?, &self.front) {
            front.set_upstream(SocketAddr::from(([127, 0, 0, 1], port)));
            front.reset_all();
        }
        Ok(())
    }

    /// Brings the killed members of a cluster back.
    ///
    /// # Errors
    /// If one does not come.
    pub async fn rejoin(backend: Handle) -> Result<()> {
        backend
            .act(|backend| {
                if let Backend::Cluster(cluster, _) = backend {
                    for n in 0..GALERA_NODES {
                        if cluster.node(n).pid().is_none() {
                            cluster.restart(n)?;
                        }
                    }
                }
                Ok(())
            })
            .await
    }

    /// The database, for a call that outlives this one.
    pub fn handle(&self) -> Handle {
        Handle(self.backend.clone())
    }

    /// From now on nothing arrives at the replica.
    ///
    /// # Errors
    /// If it cannot be told.
    pub async fn cut_replica_off(&self) -> Result<()> {
        self.act(|backend| match backend {
            Backend::Pair(_, Some(replica)) => Ok(replica.cut_off()?),
            _ => Ok(()),
        })
        .await
    }

    /// Kills the server, and puts its replica in its place, which lacks what was committed last.
    ///
    /// # Errors
    /// If it cannot take its place.
    pub async fn fail_over(&self) -> Result<()> {
        let moved = self.answer(|backend| {
            let Backend::Pair(server, replica) = backend else {
                return Ok(None);
            };
            let Some(replica) = replica.take() else {
                return Ok(None);
            };
            server.kill()?;
            **server = replica.promote()?;
            Ok(Some(server.port()))
        });
        if let (Some(port), Some(front)) = (moved.await?, &self.front) {
            front.set_upstream(SocketAddr::from(([127, 0, 0, 1], port)));
            front.reset_all();
        }
        Ok(())
    }

    async fn act(
        &self,
        act: impl FnOnce(&mut Backend) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.handle().act(act).await
    }

    async fn answer<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Backend) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.handle().act(act).await
    }

    /// Leaves the histories where they are, and says where that is.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// The database of a stage.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Mutex<Backend>>);

impl Handle {
    /// Does something to it, on a thread that may block.
    async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Backend) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let backend = self.0.clone();
        let acting = tokio::task::spawn_blocking(move || {
            act(&mut backend.lock().expect("no panic under the lock"))
        });
        acting.await.context("act on the database")?
    }
}

fn start(database: DatabaseArg, has_replica: bool, path: &Path) -> Result<(String, Backend)> {
    const NAME: &str = "faults";
    let options = Options::default();
    Ok(match database {
        DatabaseArg::Sqlite => (format!("sqlite:{}?mode=rwc", path.display()), Backend::File),
        DatabaseArg::Postgres => {
            let server = Postgres::start(&options)?;
            let url = server.create_database(NAME)?;
            match has_replica {
                true => {
                    let replica = Box::new(Replica::of(&server, &options)?);
                    (url, Backend::Pair(Box::new(server), Some(replica)))
                }
                false => (url, Backend::Server(Box::new(server))),
            }
        }
        DatabaseArg::Mysql => {
            let server = MariaDb::start(&options)?;
            (
                server.create_database(NAME)?,
                Backend::Server(Box::new(server)),
            )
        }
        DatabaseArg::Galera => {
            let cluster = Galera::start(&options)?;
            (
                cluster.create_database(NAME)?,
                Backend::Cluster(Box::new(cluster), 0),
            )
        }
    })
}
