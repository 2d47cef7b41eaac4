//! Bytes: late, held, lost, refused. In front of a server that sends back what it hears.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peerwork_faults::proxy::{Condition, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long nothing may be heard before we believe that nothing is sent.
const SILENCE: Duration = Duration::from_millis(150);
/// A hang, not a slow machine.
const LIMIT: Duration = Duration::from_secs(20);

/// What a server has heard on all its connections together.
struct Echo {
    addr: SocketAddr,
    heard: watch::Receiver<Vec<u8>>,
    _task: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (hear, heard) = watch::channel(Vec::new());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let hear = hear.clone();
                clients.spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(n @ 1..) = client.read(&mut buffer).await {
                        hear.send_modify(|all| all.extend_from_slice(&buffer[..n]));
                        if client.write_all(&buffer[..n]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self {
            addr,
            heard,
            _task: task,
        }
    }

    async fn has_heard(&mut self, expected: &[u8]) {
        let heard = self.heard.wait_for(|heard| heard == expected);
        timeout(LIMIT, heard)
            .await
            .expect("it never arrived")
            .unwrap();
    }
}

async fn proxied() -> (Echo, Proxy) {
    let echo = Echo::start().await;
    let proxy = Proxy::start(echo.addr).await.unwrap();
    (echo, proxy)
}

async fn hear(client: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    timeout(LIMIT, client.read_exact(&mut heard))
        .await
        .expect("it never came back")
        .unwrap();
    assert_eq!(heard, expected);
}

async fn hears_nothing(client: &mut TcpStream) {
    let mut byte = [0];
    // fault: silence has no signal
    let heard = timeout(SILENCE, client.read(&mut byte)).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn is_reset(client: &mut TcpStream) {
    let heard = timeout(LIMIT, client.read(&mut [0; 64])).await.unwrap();
    assert_eq!(heard.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn connected(proxy: &Proxy, n: usize) {
    let there = async {
        while proxy.connections() != n {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, there).await.expect("connections stay");
}

#[tokio::test]
async fn what_passes_comes_back_and_ends_are_passed_on() {
    let (_echo, proxy) = proxied().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    hear(&mut client, b"hello").await;
    connected(&proxy, 1).await;
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    connected(&proxy, 0).await;
}

#[tokio::test]
async fn latency_delays_both_ways_and_keeps_the_order() {
    let (_echo, proxy) = proxied().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.set(Condition::Latency {
        ms: 40,
        jitter_ms: 30,
    });
    let sent = Instant::now();
    let text: Vec<u8> = (0..=255).collect();
    for byte in &text {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    hear(&mut client, &text).await;
    assert!(sent.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn a_black_hole_holds_everything_until_it_is_healed() {
    let (mut echo, proxy) = proxied().await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    old.write_all(b"1").await.unwrap();
    hear(&mut old, b"1").await;

    proxy.set(Condition::BlackHole);
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    old.write_all(b"2").await.unwrap();
    new.write_all(b"2").await.unwrap();
    hears_nothing(&mut old).await;
    hears_nothing(&mut new).await;
    assert_eq!(*echo.heard.borrow(), b"1");

    proxy.set(Condition::Pass);
    hear(&mut old, b"2").await;
    hear(&mut new, b"2").await;
    echo.has_heard(b"122").await;
}

#[tokio::test]
async fn what_a_lost_client_sent_arrives_when_a_black_hole_is_healed() {
    let (mut echo, proxy) = proxied().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    client.write_all(b"1").await.unwrap();
    hear(&mut client, b"1").await;
    proxy.set(Condition::BlackHole);
    client.write_all(b"late").await.unwrap();
    drop(client);
    proxy.set(Condition::Pass);
    echo.has_heard(b"1late").await;
    connected(&proxy, 0).await;
}

#[tokio::test]
async fn what_was_held_is_lost_when_connections_are_reset_before_they_heal() {
    let (mut echo, proxy) = proxied().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    client.write_all(b"1").await.unwrap();
    hear(&mut client, b"1").await;
    proxy.set(Condition::BlackHole);
    client.write_all(b"lost").await.unwrap();
    hears_nothing(&mut client).await;
    proxy.reset_all();
    is_reset(&mut client).await;
    proxy.set(Condition::Pass);
    let mut next = TcpStream::connect(proxy.addr()).await.unwrap();
    next.write_all(b"2").await.unwrap();
    echo.has_heard(b"12").await;
}

#[tokio::test]
async fn a_half_open_connection_is_heard_and_not_answered() {
    let (mut echo, proxy) = proxied().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    proxy.set(Condition::HalfOpen);
    client.write_all(b"anybody?").await.unwrap();
    echo.has_heard(b"anybody?").await;
    hears_nothing(&mut client).await;
    proxy.set(Condition::Pass);
    hear(&mut client, b"anybody?").await;
}

#[tokio::test]
async fn who_is_refused_is_closed_at_once_and_old_connections_are_reset() {
    let (_echo, proxy) = proxied().await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    old.write_all(b"1").await.unwrap();
    hear(&mut old, b"1").await;
    proxy.set(Condition::Refuse);
    is_reset(&mut old).await;
    let heard = match TcpStream::connect(proxy.addr()).await {
        Ok(mut new) => timeout(LIMIT, new.read(&mut [0])).await.unwrap(),
        Err(error) => Err(error),
    };
    assert!(!matches!(heard, Ok(1..)), "{heard:?}");
    connected(&proxy, 0).await;

    proxy.set(Condition::Pass);
    let mut next = TcpStream::connect(proxy.addr()).await.unwrap();
    next.write_all(b"2").await.unwrap();
    hear(&mut next, b"2").await;
}

#[tokio::test]
async fn new_connections_follow_the_upstream() {
    let (mut first, proxy) = proxied().await;
    let mut second = Echo::start().await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    old.write_all(b"1").await.unwrap();
    first.has_heard(b"1").await;
    proxy.set_upstream(second.addr);
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    new.write_all(b"2").await.unwrap();
    second.has_heard(b"2").await;
    old.write_all(b"3").await.unwrap();
    first.has_heard(b"13").await;
}

#[tokio::test]
async fn an_unreachable_server_resets_its_clients() {
    let (echo, proxy) = proxied().await;
    drop(echo);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let heard = timeout(LIMIT, client.read(&mut [0])).await.unwrap();
    assert!(!matches!(heard, Ok(1..)), "{heard:?}");
    connected(&proxy, 0).await;
}

#[tokio::test]
async fn everything_ends_with_the_proxy() {
    let (_echo, proxy) = proxied().await;
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    client.write_all(b"1").await.unwrap();
    hear(&mut client, b"1").await;
    let addr = proxy.addr();
    drop(proxy);
    let heard = timeout(LIMIT, client.read(&mut [0])).await.unwrap();
    assert!(!matches!(heard, Ok(1..)), "{heard:?}");
    assert!(TcpStream::connect(addr).await.is_err());
}
