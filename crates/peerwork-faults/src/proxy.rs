//! A TCP proxy that breaks the connections between programs and their database, in the ways in which networks do.
//!
//! ```text
//! client --- listener --- link: up   --> reads, watches what is asked, holds it, sends it on --> server
//!                          down <-- sends it on, holds it, throws swallowed answers away <-------
//! ```
//!
//! Beside the bytes it understands just enough of PostgreSQL's and MariaDB's protocol to let a COMMIT through and to
//! lose its answer: the one fault that nothing but a proxy can produce at the right moment.
//!
//! Invariants: an answer is swallowed only after the server has given all of it, so what was asked has really been
//! carried out; bytes are never reordered, and never lost within a connection that goes on; everything ends when the
//! proxy is dropped.
//!
//! *Not here:* which faults happen when (the controller of a run), and encrypted connections, which are passed on but
//! cannot be understood.

mod link;
mod mysql;
mod postgres;
mod session;
mod swallow;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use swallow::Swallow;

/// How long after a failure the next connection is accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// What the network is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// As if the proxy were not there.
    #[default]
    Pass,
    /// Everything arrives later, in both directions, and in its order.
    Latency {
        /// By at least this much, one way, in milliseconds.
        ms: u64,
        /// By up to this much more, at random, in milliseconds.
        jitter_ms: u64,
    },
    /// Connections are accepted and read, and nothing is passed on either way, not even that one side has gone.
    ///
    /// As after a partition that heals in time, what was sent arrives when the condition changes: a COMMIT may be
    /// carried out long after its sender was given up. [`Proxy::reset_all`] before the change is the other ending.
    BlackHole,
    /// What clients send goes on; nothing comes back, until the condition changes.
    HalfOpen,
    /// New connections are closed at once, old ones are reset.
    Refuse,
}

/// A proxy on a loopback port, in front of one server. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    weather: watch::Sender<Weather>,
    accepting: JoinHandle<()>,
}

/// What all connections look at.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    condition: Condition,
    /// Counts the times at which everything was reset.
    resets: u64,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    swallow: Swallow,
    connections: AtomicUsize,
}

impl Proxy {
    /// Listens on a free loopback port and passes everything on to `upstream`.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            swallow: Swallow::default(),
            connections: AtomicUsize::new(0),
        });
        let (weather, seen) = watch::channel(Weather::default());
        let accepting = tokio::spawn(accept(listener, shared.clone(), seen));
        Ok(Self {
            addr,
            shared,
            weather,
            accepting,
        })
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same URL with the proxy's address in place of its host and port.
    ///
    /// Panics if `url` has no `//`: a file is behind no proxy.
    pub fn url(&self, url: &str) -> String {
        let (scheme, rest) = url
            .split_once("//")
            .expect("the URL of a server has a host");
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let user = authority.rfind('@').map_or("", |at| &authority[..=at]);
        format!("{scheme}//{user}{}{path}", self.addr)
    }

    /// Changes the network, for all present and future connections.
    pub fn set(&self, condition: Condition) {
        self.weather
            .send_modify(|weather| weather.condition = condition);
    }

    /// What the network is like now.
    pub fn condition(&self) -> Condition {
        self.weather.borrow().condition
    }

    /// Sends new connections elsewhere, as after a failover. Those that exist stay where they are;
    /// [`reset_all`](Self::reset_all) makes them come back.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        *self
            .shared
            .upstream
            .lock()
            .expect("no panic under the lock") = upstream;
    }

    /// Resets every connection, on both sides. What was on its way is lost.
    pub fn reset_all(&self) {
        self.weather.send_modify(|weather| weather.resets += 1);
    }

    /// Lets the next `n` COMMITs go to the server and, when the server has answered, throws the answer away and resets
    /// the client's connection. In addition to those still to come.
    ///
    /// A COMMIT is a statement of that name. What is committed without one, a single statement outside of a
    /// transaction, is swallowed by its text: [`swallow_next_answer_to`](Self::swallow_next_answer_to).
    pub fn swallow_commits(&self, n: u32) {
        self.shared.swallow.add_commits(n);
    }

    /// The same for the next execution of a statement whose text contains `text`, prepared before or not. The first
    /// 64 KiB of a statement are looked at.
    pub fn swallow_next_answer_to(&self, text: &str) {
        self.shared.swallow.add_text(text);
    }

    /// Swallows nothing more: takes back what [`swallow_commits`](Self::swallow_commits) and
    /// [`swallow_next_answer_to`](Self::swallow_next_answer_to) have not met yet.
    pub fn swallow_nothing(&self) {
        self.shared.swallow.clear();
    }

    /// How many answers were swallowed: each belongs to something that the server has carried out, or refused.
    pub fn swallowed(&self) -> u64 {
        self.shared.swallow.count()
    }

    /// How many clients are connected. One that left in a black hole counts until the condition changes.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It owns its connections' tasks, which end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, weather: watch::Receiver<Weather>) {
    let mut links = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = links.join_next() => continue,
        };
        let client = match accepted {
            Ok((client, _)) => client,
            // The client has gone already, or there are no file descriptors: then a moment later.
            Err(_) => {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        if weather.borrow().condition == Condition::Refuse {
            reset(client);
            continue;
        }
        links.spawn(link::run(
            client,
            Connected::new(&shared),
            shared.clone(),
            weather.clone(),
        ));
    }
}

/// Counts a connection for as long as it is there.
struct Connected(Arc<Shared>);

impl Connected {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        Self(shared.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Closes a connection with RST: the peer gets an error, not an end.
fn reset(stream: TcpStream) {
    // Fails where the peer was quicker: it is gone either way.
    let _ = stream.set_zero_linger();
}
