//! The demo: real work on real node processes, some of which stop in the middle.
//!
//! | file | is |
//! | --- | --- |
//! | `script` | what happens, in order: read it first |
//! | `digest`, `matrix` | the handlers: code to learn from |
//! | `work`, `subtrees`, `tree` | who wants what done, on which files |
//! | `node`, `cluster` | a node process, from the inside and from the outside |
//! | `faults` | one node is drained, one is killed; both are measured |
//! | `check` | everything computed again by other means |
//! | `stage` | folder, database, tables |
//! | `board`, `screen`, `bars`, `summary` | what is seen, and what is shown |

mod bars;
mod board;
mod check;
mod cluster;
mod digest;
mod faults;
mod matrix;
mod node;
mod screen;
mod script;
mod stage;
mod subtrees;
mod summary;
mod tree;
mod work;

pub(crate) use node::run_node;

use crate::args::{Connection, DemoArgs};
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use crate::signals::interrupted;
use anyhow::anyhow;
use check::Snapshot;
use cluster::{Cluster, logs};
use screen::Screen;
use stage::{Stage, shown};
use std::sync::Arc;
use std::time::Duration;

/// How long the demo may take: about a minute is promised, and a debug build on a busy machine gets twice that.
const DEMO_LIMIT: Duration = Duration::from_secs(150);
/// Files of a subtree at least: fewer are digested before anybody has seen it.
const FILES_MIN: usize = 10;
/// Files in all at most: each is a checkpoint.
const FILES_MAX: usize = 20_000;

/// Runs the demo.
pub(crate) async fn run(
    args: DemoArgs,
    connection: &Connection,
    output: Output,
) -> Result<Exit, Trouble> {
    let stage = Stage::set(&args, connection)?;
    let before = snapshot(&stage)?;
    let screen = Arc::new(Screen::new(output.format));
    let mut cluster = Cluster::default();
    let played = tokio::select! {
        played = script::play(&stage, &before, &mut cluster, &screen, usize::from(args.nodes)) => played,
        () = tokio::time::sleep(DEMO_LIMIT) => Err(anyhow!("it took longer than {} s", DEMO_LIMIT.as_secs())),
        () = interrupted() => Err(anyhow!("it was interrupted")),
    };
    screen.close();
    cluster.end().await;
    match played {
        Ok(summary) => {
            summary.print(&stage, output)?;
            Ok(if summary.lost.is_empty() {
                Exit::Done
            } else {
                Exit::Failed
            })
        }
        Err(error) => {
            eprint!("{}", logs(&stage));
            Err(failed(&stage, &error))
        }
    }
}

/// The files to digest, as they are before anything begins.
fn snapshot(stage: &Stage) -> Result<Snapshot, Trouble> {
    let advice = format!("give a folder with {FILES_MIN} to {FILES_MAX} files with --input");
    let unusable = |why: String| Trouble::new(Exit::Usage, "cannot digest the input", why, advice);
    match Snapshot::take(&stage.input) {
        Ok(snapshot) => match snapshot.files().len() {
            FILES_MIN..=FILES_MAX => Ok(snapshot),
            files => Err(unusable(format!(
                "{} has {files} files",
                shown(&stage.input)
            ))),
        },
        Err(error) => Err(unusable(format!("{error:#}"))),
    }
}

fn failed(stage: &Stage, error: &anyhow::Error) -> Trouble {
    let exit = match error.downcast_ref::<peerwork::Error>() {
        Some(error) => Trouble::opening(error).exit,
        None => Exit::Failed,
    };
    let advice = match stage.is_own_database {
        true => "run it again; what the nodes logged is above, if anything",
        false => "check the database; what the nodes logged is above, if anything",
    };
    Trouble::new(
        exit,
        "the demo did not work out",
        format!("{error:#}"),
        advice,
    )
}
