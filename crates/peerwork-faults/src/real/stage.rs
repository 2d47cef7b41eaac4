//! Where a run takes place: a database of its own, and a folder of histories.
//!
//! A database that may move (a cluster, a server with a replica) is behind one address, which is told where to lead.

use super::args::{DatabaseArg, Extra};
use super::history::FaultSort;
use super::network::{Network, address};
use crate::proxy::{Condition, Proxy};
use anyhow::{Context, Result, bail};
use peerwork_testbed::{
    Faketime, Galera, MariaDb, Options, PgBouncer, Postgres, Replica, Server, Tmpfs,
};
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
    /// The same without a pooler.
    direct_url: String,
    /// Where each member of a cluster is reached.
    members: Vec<String>,
    /// The address that stays, in front of a database that moves.
    front: Option<Arc<Proxy>>,
    backend: Arc<Mutex<Backend>>,
    /// The small disk that the database is on. After `backend`: it goes when nobody is on it.
    disk: Option<Arc<Tmpfs>>,
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
    /// A server and the pooler in front of it.
    Pooled(Box<Server>, Box<Server>),
    /// With the node that the address leads to.
    Cluster(Box<Galera>, usize),
}

/// What the tables' names begin with.
const PREFIX: &str = "faults_";
/// What wrong clocks are wrong by, in seconds.
const WRONG_BY: [i64; 2] = [3_600, -3_600];
const GALERA_NODES: usize = 3;
/// Enough for a run of minutes, and soon filled.
const DISK_BYTES: u64 = 512 << 20;
/// Names of databases, in URLs.
const NAME: &str = "faults";
/// A pooler hands out another connection for each transaction: statements cannot stay prepared on one.
const UNPREPARED: &str = "statement-cache-capacity=0";

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
        if has(Extra::Pooler) && (database != DatabaseArg::Postgres || has(Extra::Replica)) {
            bail!("only a PostgreSQL server without a replica has a pooler here");
        }
        let disk = match database {
            // One member of a cluster that has no room leaves it, which is another fault.
            DatabaseArg::Galera => None,
            // The replica is on another disk.
            _ if has(Extra::Replica) => None,
            _ => small_disk()?.map(Arc::new),
        };
        let place = disk.as_deref().map_or(folder.path(), Tmpfs::path);
        let path = place.join("tasks.db");
        let options = options(disk.as_deref(), database);
        let around = Around {
            replica: has(Extra::Replica),
            pooler: has(Extra::Pooler),
        };
        // Servers are started by calls that block.
        let started =
            tokio::task::spawn_blocking(move || start(database, &around, &options, &path));
        let (mut url, backend) = started.await.context("start a database")??;
        let members = match &backend {
            Backend::Cluster(cluster, _) => (0..GALERA_NODES)
                .map(|n| format!("mysql://root@127.0.0.1:{}/{NAME}", cluster.node(n).port()))
                .collect(),
            _ => Vec::new(),
        };
        let behind = match &backend {
            Backend::Pooled(server, _) => Some(url_of(server.port())),
            _ => None,
        };
        let is_behind = matches!(backend, Backend::Pair(..) | Backend::Cluster(..));
        let front = match address(&url).filter(|_| is_behind) {
            Some(upstream) => Some(Arc::new(network.proxy(upstream).await?)),
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
            direct_url: behind.unwrap_or_else(|| url.clone()),
            url,
            members,
            front,
            backend: Arc::new(Mutex::new(backend)),
            disk,
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

    /// Whether its database is on a disk that can be filled.
    pub fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// Faults that the plan would have if somebody were allowed to bring them about.
    pub fn not_thrown(&self) -> Vec<FaultSort> {
        let could_have_one = self.database != DatabaseArg::Galera && !self.has(Extra::Replica);
        match could_have_one && !self.has_disk() {
            true => vec![FaultSort::DiskFull],
            false => Vec::new(),
        }
    }

    /// Where the database is reached, wherever it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the controller reaches it to look at it: past a pooler, with statements that stay prepared.
    pub fn direct_url(&self) -> &str {
        &self.direct_url
    }

    /// Where node process number `n` reaches it, before its own network.
    pub fn url_of(&self, n: u64) -> String {
        let at = usize::try_from(n).unwrap_or_default() % GALERA_NODES;
        let own = self
            .members
            .get(at)
            .filter(|_| self.has(Extra::EveryWriter));
        own.unwrap_or(&self.url).clone()
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

    /// Leaves no room on the database's disk.
    ///
    /// # Errors
    /// If it cannot be filled.
    pub async fn fill_disk(&self) -> Result<()> {
        self.on_disk(Tmpfs::fill).await
    }

    /// Makes room again.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn empty_disk(&self) -> Result<()> {
        self.on_disk(Tmpfs::empty).await
    }

    async fn on_disk(&self, act: fn(&Tmpfs) -> Result<(), peerwork_testbed::Error>) -> Result<()> {
        let Some(disk) = self.disk.clone() else {
            return Ok(());
        };
        let acting = tokio::task::spawn_blocking(move || act(&disk));
        Ok(acting.await.context("act on the disk")??)
    }

    /// Whether the database answers; a file always does.
    ///
    /// # Errors
    /// If nobody can tell.
    pub async fn answers(&self) -> Result<bool> {
        self.answer(|backend| match backend {
            Backend::Server(server) | Backend::Pair(server, _) | Backend::Pooled(server, _) => {
                Ok(server.query("select 1").is_ok())
            }
            Backend::File | Backend::Cluster(..) => Ok(true),
        })
        .await
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
            Backend::Server(server) | Backend::Pooled(server, _) => Ok(server.stop()?),
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
            Backend::Server(server) | Backend::Pooled(server, _) => Ok(server.restart()?),
            Backend::File | Backend::Pair(..) | Backend::Cluster(..) => Ok(()),
        })
        .await
    }

    /// The database, for a call that outlives this one.
    pub fn handle(&self) -> Handle {
        Handle {
            backend: self.backend.clone(),
            front: self.front.clone(),
        }
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
pub struct Handle {
    backend: Arc<Mutex<Backend>>,
    front: Option<Arc<Proxy>>,
}

impl Handle {
    /// Kills the server as a crash does, and has it back as soon as possible: the same one, or in a cluster the next, once
    /// those that are left agree that they are the cluster.
    ///
    /// # Errors
    /// If it does not come back.
    pub async fn kill(self) -> Result<()> {
        let moved = self.act(|backend| match backend {
            Backend::File => Ok(None),
            Backend::Server(server) | Backend::Pair(server, _) => {
                server.kill()?;
                server.restart()?;
                Ok(None)
            }
            Backend::Pooled(server, pooler) => {
                pooler.kill()?;
                server.kill()?;
                server.restart()?;
                pooler.restart()?;
                Ok(None)
            }
            Backend::Cluster(cluster, writer) => {
                cluster.kill(*writer)?;
                *writer = (*writer + 1) % GALERA_NODES;
                cluster.until_synced(*writer)?;
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
    pub async fn rejoin(self) -> Result<()> {
        self.act(|backend| {
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

    /// Does something to it, on a thread that may block.
    async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Backend) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let backend = self.backend.clone();
        let acting = tokio::task::spawn_blocking(move || {
            act(&mut backend.lock().expect("no panic under the lock"))
        });
        acting.await.context("act on the database")?
    }
}

/// A small disk, or none where nobody is allowed to mount one: then the run says that it was never full.
fn small_disk() -> Result<Option<Tmpfs>> {
    match Tmpfs::mount(DISK_BYTES) {
        Ok(disk) => Ok(Some(disk)),
        Err(error) if error.is_not_permitted() => {
            eprintln!("no disk will be full: {error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A server's, on its own disk if it has one: with little room for logs, which are reserved in advance.
fn options(disk: Option<&Tmpfs>, database: DatabaseArg) -> Options {
    let Some(disk) = disk else {
        return Options::default();
    };
    let settings: &[(&str, &str)] = match database {
        DatabaseArg::Postgres => &[("max_wal_size", "64MB"), ("min_wal_size", "32MB")],
        DatabaseArg::Mysql => &[("innodb-log-file-size", "32M")],
        DatabaseArg::Sqlite | DatabaseArg::Galera => &[],
    };
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Options {
        data_dir: Some(disk.path().join("server")),
        settings: settings.iter().map(owned).collect(),
        ..Options::default()
    }
}

/// What is around a server.
struct Around {
    replica: bool,
    pooler: bool,
}

fn start(
    database: DatabaseArg,
    around: &Around,
    options: &Options,
    path: &Path,
) -> Result<(String, Backend)> {
    Ok(match database {
        DatabaseArg::Sqlite => (format!("sqlite:{}?mode=rwc", path.display()), Backend::File),
        DatabaseArg::Postgres => start_postgres(around, options)?,
        DatabaseArg::Mysql => {
            let server = MariaDb::start(options)?;
            (
                server.create_database(NAME)?,
                Backend::Server(Box::new(server)),
            )
        }
        DatabaseArg::Galera => {
            let cluster = Galera::start(options)?;
            (
                cluster.create_database(NAME)?,
                Backend::Cluster(Box::new(cluster), 0),
            )
        }
    })
}

/// Of PostgreSQL, or what takes itself for one, at this port.
fn url_of(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{NAME}")
}

fn start_postgres(around: &Around, options: &Options) -> Result<(String, Backend)> {
    let server = Postgres::start(options)?;
    let url = server.create_database(NAME)?;
    if around.replica {
        let replica = Box::new(Replica::of(&server, options)?);
        return Ok((url, Backend::Pair(Box::new(server), Some(replica))));
    }
    if around.pooler {
        let pooler = PgBouncer::start(&server, &[])?;
        let url = format!("{}?{UNPREPARED}", url_of(pooler.port()));
        return Ok((url, Backend::Pooled(Box::new(server), Box::new(pooler))));
    }
    Ok((url, Backend::Server(Box::new(server))))
}
