//! One node of the demo: a process of its own with the demo's handlers, which obeys lines on its stdin.
//!
//! It ends when its stdin does: whatever becomes of the demo, no node outlives it.

use super::digest::Digest;
use super::matrix::{Dot, Matrix};
use crate::args::{Connection, DemoNodeArgs};
use crate::connect;
use crate::exit::{Exit, Trouble};
use crate::signals::interrupted;
use peerwork::{DrainReport, LeaseTimes, Node};
use serde::{Deserialize, Serialize};
use std::io::BufRead;
use tokio::sync::mpsc;

/// Few, so that the work is spread over the nodes, and enough for two thirds of the nodes to hold all of it.
pub(crate) const SLOTS: usize = 5;

/// The tightest lease there is: nobody likes to wait in a demo.
const LEASE: LeaseTimes = LeaseTimes {
    beat_ms: 500,
    ttl_ms: 3_000,
    margin_ms: 500,
};

/// What the demo says to a node.
pub(crate) const DRAIN: &str = "drain";

/// What a node says to the demo, one JSON object a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// It claims tasks.
    Ready,
    /// It has handed everything over, and ends.
    Drained { handed_over: u64, abandoned: u64 },
}

/// Runs the node until it is drained.
pub(crate) async fn run_node(args: DemoNodeArgs, connection: &Connection) -> Result<Exit, Trouble> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .init();
    let url = connection.database_url.as_deref().unwrap_or_default();
    let database = connect::open(url, connect::settings(connection)).await?;
    let node = Node::builder(database)
        .register(Digest)
        .register(Matrix)
        .register(Dot)
        .label(args.label)
        .slots(SLOTS)
        .lease(LEASE)
        .start()
        .await
        .map_err(|error| Trouble::opening(&error))?;
    say(&Said::Ready);
    let mut orders = orders();
    tokio::select! {
        order = orders.recv() => match order.as_deref() {
            Some(DRAIN) => {}
            // The demo is gone, or speaks another language: end at once, as a crash does.
            Some(_) | None => std::process::exit(1),
        },
        // Whoever stops a node by hand means it well.
        () = interrupted() => {}
    }
    let DrainReport {
        handed_over,
        abandoned,
        ..
    } = node.drain().await;
    say(&Said::Drained {
        handed_over,
        abandoned,
    });
    Ok(if abandoned == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn say(said: &Said) {
    println!(
        "{}",
        serde_json::to_string(said).expect("our own types are JSON")
    );
}

/// The lines of stdin. A thread of its own, because a read that blocks cannot be given up.
fn orders() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
        // Also while it drains: nobody waits for its report any more.
        drop(sender);
        std::process::exit(1);
    });
    receiver
}
