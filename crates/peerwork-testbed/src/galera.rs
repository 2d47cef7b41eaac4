//! A MariaDB Galera cluster on loopback: every node has all data and takes writes, and a commit is certified by all.
//!
//! *Not here:* one endpoint in front of the nodes; that is a proxy whose upstream is changed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::account::Account;
use crate::home::Home;
use crate::mariadb;
use crate::server::{Server, wait_until};
use crate::{Database, Error, Options, Result, binaries, port};

const NODES: usize = 3;
/// Lost races for a port before we believe that something else is wrong.
const STARTS: u32 = 3;

const PACKAGE: &str = "galera-4";
/// Where distributions keep it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib64/galera/libgalera_smm.so",
];
/// Copies the data to a node that joins. The program and its package.
const COPIER: &str = "rsync";

/// A dead node is noticed within two seconds, not five: the tests' leases are short too.
const IMPATIENCE: &str = "evs.keepalive_period=PT0.5S;evs.inactive_check_period=PT0.5S;\
     evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S;evs.install_timeout=PT4S";

/// A running cluster of three nodes, stopped when dropped. Nodes are counted from 0.
#[derive(Debug)]
pub struct Galera {
    nodes: Vec<Server>,
}

/// One node's ports.
#[derive(Clone, Copy)]
struct Ports {
    client: u16,
    group: u16,
    /// Receives what a node missed, where that is little.
    missed: u16,
    /// Receives all data.
    copy: u16,
}

impl Galera {
    /// Starts the nodes one after the other and returns once all are synced: about twenty seconds. A chosen directory gets
    /// a folder for each node; a chosen port is not used.
    pub fn start(options: &Options) -> Result<Self> {
        Self::installed_library()?;
        Self::installed_copier()?;
        for _ in 1..STARTS {
            match Self::start_once(options) {
                Err(error) if error.is_port_taken() => {}
                result => return result,
            }
        }
        Self::start_once(options)
    }

    /// Each node's URL; any of them takes writes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// A node.
    pub fn node(&self, n: usize) -> &Server {
        &self.nodes[n]
    }

    /// How many nodes run.
    pub fn running(&self) -> usize {
        let runs = |node: &&Server| node.pid().is_some();
        self.nodes.iter().filter(runs).count()
    }

    /// Creates an empty database on all nodes and returns its URL on the first that runs.
    pub fn create_database(&self, name: &str) -> Result<String> {
        let first = self.nodes.iter().find(|node| node.pid().is_some());
        first
            .ok_or_else(|| Error::new("create a database: no node of the cluster runs"))?
            .create_database(name)
    }

    /// Kills a node with SIGKILL. The others go on, after the moment that they need to notice.
    pub fn kill(&mut self, n: usize) -> Result<()> {
        self.nodes[n].kill()
    }

    /// Starts a node again and returns once it is synced with those that run.
    pub fn restart(&mut self, n: usize) -> Result<()> {
        self.nodes[n].stop()?;
        if self.running() == 0 {
            return Err(Error::new(format_args!(
                "restart node {n}: no other node runs that it could join; start a new cluster"
            )));
        }
        self.nodes[n].restart()?;
        self.until_synced(n)
    }

    /// Waits until a node is synced, and counts as many members as nodes run.
    pub fn until_synced(&self, n: usize) -> Result<()> {
        let expected = format!("{} Primary Synced", self.running());
        let mut last = String::new();
        let synced = wait_until(|| {
            last = self.state(n).unwrap_or_else(|error| error.to_string());
            last == expected
        });
        match synced {
            true => Ok(()),
            false => Err(Error::new(format_args!(
                "wait until node {n} is \"{expected}\": it is \"{last}\"; see {}",
                self.nodes[n].directory().display()
            ))),
        }
    }

    /// Whether the library that makes a cluster of servers is installed; the error names the package.
    pub fn installed_library() -> Result<()> {
        library().map(drop)
    }

    /// Whether the program that copies the data to a node that joins is installed; the error names the package.
    pub fn installed_copier() -> Result<()> {
        binaries::anywhere(COPIER, COPIER).map(drop)
    }

    fn start_once(options: &Options) -> Result<Self> {
        let ports = free_ports()?;
        let mut cluster = Self {
            nodes: Vec::with_capacity(NODES),
        };
        for n in 0..NODES {
            let node = start_node(n, &ports, options)?;
            cluster.nodes.push(node);
            cluster.until_synced(n)?;
        }
        Ok(cluster)
    }

    /// How many members it counts, whether they are the majority, and what it is doing.
    fn state(&self, n: usize) -> Result<String> {
        let rows = self.nodes[n].query(
            "select variable_value from information_schema.global_status where variable_name in \
             ('wsrep_cluster_size', 'wsrep_cluster_status', 'wsrep_local_state_comment') \
             order by variable_name",
        )?;
        Ok(rows.lines().collect::<Vec<_>>().join(" "))
    }
}

fn start_node(n: usize, ports: &[Ports], options: &Options) -> Result<Server> {
    let account = Account::for_server("mysql")?;
    let folder = options
        .data_dir
        .as_ref()
        .map(|parent| parent.join(format!("node{n}")));
    let home = Home::open(folder.as_deref(), Database::MariaDb.ending(), account)?;
    let port = ports[n].client;
    let cluster = cluster_arguments(n, ports)?;
    let joining = |init: Option<&Path>| {
        let mut args = mariadb::arguments(&home, init, port, options);
        args.extend(cluster.iter().map(OsString::from));
        args
    };
    let is_first = n == 0;
    let init = if is_first {
        Some(mariadb::prepare(&home, account)?.init)
    } else {
        // All data come from another node.
        fs::create_dir_all(home.data()).map_err(Error::io("create a data directory"))?;
        account.map_or(Ok(()), |account| account.give(&home.data()))?;
        None
    };
    let mut args = joining(init.as_deref());
    if is_first {
        args.push("--wsrep-new-cluster".into());
    }
    let rejoining = joining(None);
    let recipe = mariadb::recipe(&home, args, account, port, options)?;
    let mut server = Server::start(recipe, home)?;
    // From now on there is a cluster to join.
    server.set_args(rejoining);
    Ok(server)
}

fn cluster_arguments(n: usize, ports: &[Ports]) -> Result<Vec<String>> {
    let members: Vec<String> = ports
        .iter()
        .map(|ports| format!("127.0.0.1:{}", ports.group))
        .collect();
    // Copying locks its giver: the last nodes come first, since clients tend to use the first.
    let givers: Vec<String> = (0..ports.len()).rev().map(name).collect();
    let Ports {
        group,
        missed,
        copy,
        ..
    } = ports[n];
    Ok(vec![
        "--wsrep-on=ON".to_owned(),
        format!("--wsrep-provider={}", library()?.display()),
        "--wsrep-cluster-name=peerwork".to_owned(),
        format!("--wsrep-cluster-address=gcomm://{}", members.join(",")),
        format!("--wsrep-node-name={}", name(n)),
        format!("--wsrep-node-address=127.0.0.1:{group}"),
        format!("--wsrep-sst-method={COPIER}"),
        format!("--wsrep-sst-receive-address=127.0.0.1:{copy}"),
        format!("--wsrep-sst-donor={},", givers.join(",")),
        format!(
            "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{group};\
             ist.recv_addr=127.0.0.1:{missed};gcache.size=32M;{IMPATIENCE}"
        ),
        "--wsrep-slave-threads=2".to_owned(),
        // What Galera asks of a server.
        "--binlog-format=ROW".to_owned(),
        "--default-storage-engine=InnoDB".to_owned(),
        "--innodb-autoinc-lock-mode=2".to_owned(),
    ])
}

fn name(n: usize) -> String {
    format!("node{n}")
}

fn free_ports() -> Result<Vec<Ports>> {
    let mut taken = Vec::new();
    let mut distinct = || -> Result<u16> {
        loop {
            let port = port::free()?;
            if !taken.contains(&port) {
                taken.push(port);
                return Ok(port);
            }
        }
    };
    (0..NODES)
        .map(|_| {
            Ok(Ports {
                client: distinct()?,
                group: distinct()?,
                missed: distinct()?,
                copy: distinct()?,
            })
        })
        .collect()
}

fn library() -> Result<PathBuf> {
    LIBRARIES
        .iter()
        .map(PathBuf::from)
        .find(|library| library.is_file())
        .ok_or_else(|| {
            Error::missing_binary(format_args!(
                "find libgalera_smm.so: not installed; `apt-get install {PACKAGE}`"
            ))
        })
}
