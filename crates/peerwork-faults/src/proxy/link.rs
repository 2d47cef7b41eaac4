//! One connection through the proxy: two directions in one task, each with what it holds back.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::session::Session;
use super::{Condition, Connected, Shared, Weather, reset};

const READ_BYTES: usize = 64 * 1024;
/// Held back in one direction; then nothing more is read, as with a full TCP window.
const HELD_BYTES_MAX: usize = 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the client to the server.
    Up,
    Down,
}

/// The connection is to be reset on both sides.
struct Broken;

/// What is still on its way.
#[derive(Default)]
struct Held {
    pieces: VecDeque<(Instant, Piece)>,
    bytes: usize,
}

enum Piece {
    Bytes(Vec<u8>),
    End,
}

/// From accepting the client to the end of both sides.
pub(super) async fn run(
    client: TcpStream,
    _counted: Connected,
    shared: Arc<Shared>,
    mut weather: watch::Receiver<Weather>,
) {
    let resets = weather.borrow().resets;
    let is_over =
        move |weather: &Weather| weather.condition == Condition::Refuse || weather.resets != resets;
    let mut warned = weather.clone();
    let over = async move {
        // An error: the proxy was dropped, and this task is about to be.
        let _ = warned.wait_for(is_over).await;
    };
    tokio::pin!(over);

    let server = tokio::select! {
        () = &mut over => return reset(client),
        server = reach(&shared, &mut weather) => server,
    };
    let Ok(server) = server else {
        return reset(client);
    };
    let (mut client, mut server) = (client, server);
    // Small messages at once, as both sides ask of their own sockets.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let session = Mutex::new(Session::Silent);
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                carry(
                    Way::Up,
                    from_client,
                    to_server,
                    &session,
                    &shared,
                    weather.clone()
                ),
                carry(
                    Way::Down,
                    from_server,
                    to_client,
                    &session,
                    &shared,
                    weather.clone()
                ),
            )
        };
        tokio::select! {
            () = &mut over => Err(Broken),
            ended = both => ended.map(|_| ()),
        }
    };
    if ended.is_err() {
        reset(client);
        reset(server);
    }
}

/// Connects to the server, once anything gets through.
async fn reach(shared: &Shared, weather: &mut watch::Receiver<Weather>) -> io::Result<TcpStream> {
    weather
        .wait_for(|weather| weather.condition != Condition::BlackHole)
        .await
        .map_err(io::Error::other)?;
    let upstream = *shared.upstream.lock().expect("no panic under the lock");
    TcpStream::connect(upstream).await
}

async fn carry(
    way: Way,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    session: &Mutex<Session>,
    shared: &Shared,
    mut weather: watch::Receiver<Weather>,
) -> Result<(), Broken> {
    let mut held = Held::default();
    let mut has_ended = false;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let condition = weather.borrow_and_update().condition;
        let due = held.due().filter(|_| passes(condition, way));
        tokio::select! {
            changed = weather.changed() => changed.map_err(|_| Broken)?,
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                match held.pop() {
                    Some(Piece::Bytes(bytes)) => to.write_all(&bytes).await.map_err(|_| Broken)?,
                    Some(Piece::End) => return to.shutdown().await.map_err(|_| Broken),
                    None => {}
                }
            }
            read = from.read(&mut buffer), if !has_ended && held.bytes < HELD_BYTES_MAX => {
                // A reset is passed on as an end: where it matters, as in a black hole, nobody hears of either.
                let bytes = &buffer[..read.unwrap_or(0)];
                if bytes.is_empty() {
                    has_ended = true;
                    held.push(Piece::End, condition);
                    continue;
                }
                let passed = watched(way, bytes, session, shared)?;
                held.push(Piece::Bytes(bytes[..passed].to_vec()), condition);
            }
        }
    }
}

/// Shows the bytes to the session; answers how many of them go on.
fn watched(
    way: Way,
    bytes: &[u8],
    session: &Mutex<Session>,
    shared: &Shared,
) -> Result<usize, Broken> {
    let mut session = session.lock().expect("no panic under the lock");
    match way {
        Way::Up => {
            session.client_says(bytes, &shared.swallow);
            Ok(bytes.len())
        }
        Way::Down => {
            let answer = session.server_says(bytes);
            if answer.swallowed {
                shared.swallow.note_done();
                return Err(Broken);
            }
            Ok(answer.pass)
        }
    }
}

fn passes(condition: Condition, way: Way) -> bool {
    match condition {
        Condition::Pass | Condition::Latency { .. } => true,
        Condition::HalfOpen => way == Way::Up,
        Condition::BlackHole | Condition::Refuse => false,
    }
}

impl Held {
    fn push(&mut self, piece: Piece, condition: Condition) {
        let delay = match condition {
            Condition::Latency { ms, jitter_ms } => {
                Duration::from_millis(ms + rand::random_range(0..=jitter_ms))
            }
            _ => Duration::ZERO,
        };
        let last = self.pieces.back().map(|(due, _)| *due);
        // Not before what was sent earlier.
        let due = (Instant::now() + delay).max(last.unwrap_or_else(Instant::now));
        if let Piece::Bytes(bytes) = &piece {
            self.bytes += bytes.len();
        }
        self.pieces.push_back((due, piece));
    }

    fn due(&self) -> Option<Instant> {
        self.pieces.front().map(|(due, _)| *due)
    }

    fn pop(&mut self) -> Option<Piece> {
        let (_, piece) = self.pieces.pop_front()?;
        if let Piece::Bytes(bytes) = &piece {
            self.bytes -= bytes.len();
        }
        Some(piece)
    }
}
