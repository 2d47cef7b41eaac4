//! What happens in the demo, in order. Each step waits for its effect, within a limit.

use super::board::Observer;
use super::check::{Snapshot, Truth, check_product};
use super::cluster::Cluster;
use super::digest::sums_path;
use super::faults::{self, Taken};
use super::screen::Screen;
use super::stage::{Stage, shown};
use super::summary::Summary;
use super::work::{Job, Product, Work};
use anyhow::{Context, Result, ensure};
use peerwork::{Client, Database, State, TaskId, TaskRecord};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one task may take to obey.
const OBEY_LIMIT: Duration = Duration::from_secs(40);

/// Between two steps, so that a person can follow.
const BREATH: Duration = Duration::from_millis(1_200);

/// The digest that is paused, moved and resumed.
const PAUSED: usize = 0;
/// The digest that is deleted.
const DELETED: usize = 1;
/// The group that the paused task is moved to.
const OTHER_GROUP: &str = "express";

/// Plays the demo to its end.
///
/// Dropping the future stops in the middle: the nodes are still in `cluster`.
pub(crate) async fn play(
    stage: &Stage,
    before: &Snapshot,
    cluster: &mut Cluster,
    screen: &Arc<Screen>,
    nodes: usize,
) -> Result<Summary> {
    let files = before.files();
    let settings = crate::connect::settings_of(Some(&stage.prefix), stage.schema.as_deref());
    let database = Database::connect_with(&stage.url, settings).await?;
    let client = Client::connect(database).await?;
    screen.event(&format!(
        "on {}; starting {nodes} node processes",
        stage.database()
    ));
    let labels = cluster.start(stage, nodes).await?;
    screen.event(&format!("{} are ready", labels.join(", ")));

    let observer = Observer::start(client.clone(), screen.clone());
    let mut work = Work::begin(&client, stage, &files, 2 * nodes).await?;
    name_all(screen, &work);
    screen.event(&format!(
        "created {} digests over the {} files below {}, and a matrix product",
        work.digests.len(),
        files.len(),
        shown(&stage.input)
    ));

    breathe().await;
    let pause_ms = pause_move_resume(screen, &work.digests[PAUSED]).await?;
    breathe().await;
    let delete_ms = delete(screen, &work.digests[DELETED]).await?;
    breathe().await;

    // Before each fault there is fresh work, so that it hits something, however slow this machine is.
    more(screen, &client, stage, &mut work, nodes - 1).await?;
    let fresh = cluster.start(stage, 1).await?;
    screen.event(&format!("{} joins", fresh.join(", ")));
    breathe().await;
    let hand_over = faults::hand_over(&client, cluster, &observer, &work).await?;
    screen.event(&format!(
        "{} drained: {}",
        hand_over.label,
        went_on(&hand_over)
    ));
    breathe().await;

    work.add_product(&client, stage).await?;
    screen.event("created another matrix product");
    more(screen, &client, stage, &mut work, nodes - 1).await?;
    breathe().await;
    let rescue = faults::rescue(&client, cluster, &observer, &work).await?;
    screen.event(&format!(
        "{} killed by SIGKILL: {}",
        rescue.label,
        went_on(&rescue)
    ));

    all_over(&observer, &work).await?;
    screen.event("all work is over; computing everything again, by other means");
    let summary = check(stage, before, &client, &work).await?;
    cluster.drain().await?;
    observer.end().await;
    Ok(Summary {
        pause_ms,
        delete_ms,
        hand_over,
        rescue,
        took: screen.elapsed(),
        ..summary
    })
}

async fn breathe() {
    tokio::time::sleep(BREATH).await;
}

async fn more(
    screen: &Screen,
    client: &Client,
    stage: &Stage,
    work: &mut Work,
    digests: usize,
) -> Result<()> {
    work.add(client, stage, digests).await?;
    name_all(screen, work);
    screen.event(&format!("created {digests} more digests"));
    Ok(())
}

fn name_all(screen: &Screen, work: &Work) {
    for job in &work.digests {
        screen.name(job.id(), job.title());
    }
    for product in &work.products {
        screen.name(product.id(), product.title());
    }
}

fn went_on(taken: &Taken) -> String {
    format!(
        "its {} tasks run elsewhere after {} ms",
        taken.tasks, taken.took_ms
    )
}

/// Waits for one task, within the limit.
async fn obeyed(
    what: &str,
    wait: impl Future<Output = peerwork::Result<TaskRecord>>,
) -> Result<TaskRecord> {
    let waited = tokio::time::timeout(OBEY_LIMIT, wait).await;
    let waited = waited.with_context(|| format!("waited {} s: {what}", OBEY_LIMIT.as_secs()))?;
    waited.with_context(|| what.to_owned())
}

/// Waits until a digest has saved its first checkpoint: from then on its file is there.
async fn under_way(job: &Job) -> Result<TaskRecord> {
    let saved = async {
        let mut watch = job.task.watch();
        loop {
            let record = watch.next().await?;
            if record.progress.is_some_and(|progress| progress.done > 0)
                || record.state().is_final()
            {
                return Ok(record);
            }
        }
    };
    obeyed(&format!("{} gets under way", job.title()), saved).await
}

async fn pause_move_resume(screen: &Screen, job: &Job) -> Result<u64> {
    let name = job.title();
    under_way(job).await?;
    let asked = Instant::now();
    job.task.pause().await?;
    let paused = obeyed(&format!("{name} pauses"), job.task.until(State::Paused)).await?;
    let pause_ms = millis(asked);
    let at = paused
        .progress
        .context("a paused digest without progress")?;
    screen.event(&format!(
        "{name} paused after {pause_ms} ms, at file {} of {}",
        at.done, at.total
    ));
    breathe().await;
    job.task.move_to(OTHER_GROUP).await?;
    let moved = job.task.get().await?;
    ensure!(
        moved.group.as_str() == OTHER_GROUP,
        "{name} is in group {} after its move",
        moved.group
    );
    ensure!(
        moved.state() == State::Paused,
        "{name} is {} after its move",
        moved.state()
    );
    screen.event(&format!(
        "{name} moved from {} to {OTHER_GROUP}",
        paused.group
    ));
    breathe().await;
    job.task.resume().await?;
    obeyed(&format!("{name} goes on"), job.task.until(State::Running)).await?;
    screen.event(&format!("{name} resumed"));
    Ok(pause_ms)
}

async fn delete(screen: &Screen, job: &Job) -> Result<u64> {
    let name = job.title();
    under_way(job).await?;
    let file = sums_path(&job.input.sums, job.id());
    ensure!(file.exists(), "{name} has written no file");
    let asked = Instant::now();
    job.task.delete().await?;
    obeyed(&format!("{name} goes"), job.task.until(State::Deleted)).await?;
    let delete_ms = millis(asked);
    ensure!(
        !file.exists(),
        "{name} is deleted, but its file is still there"
    );
    screen.event(&format!(
        "{name} deleted after {delete_ms} ms; its cleanup has removed its file"
    ));
    Ok(delete_ms)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Waits until everything has finished or failed, but the one that was deleted. That takes as long as the work does.
async fn all_over(observer: &Observer, work: &Work) -> Result<()> {
    let digests = work.digests.iter().enumerate();
    let digests = digests.filter(|(n, _)| *n != DELETED);
    let mut ids: Vec<_> = digests.map(|(_, job)| job.id()).collect();
    ids.extend(work.products.iter().map(Product::id));
    observer
        .until_within(super::DEMO_LIMIT, "all work is over", |board| {
            let is_over =
                |id: &TaskId| board.task(*id).is_some_and(|task| task.status().is_final());
            ids.iter().all(is_over).then_some(())
        })
        .await
}

/// Every result against the truth. What did not finish and was not deleted on request is lost.
async fn check(stage: &Stage, before: &Snapshot, client: &Client, work: &Work) -> Result<Summary> {
    let truth = Truth::find(&stage.input, before)?;
    let mut summary = Summary {
        files_changed: truth.changed,
        ..Summary::default()
    };
    for (n, job) in work.digests.iter().enumerate() {
        let record = job.task.get().await?;
        match (n, record.state()) {
            (DELETED, State::Deleted) => summary.deleted += 1,
            (_, State::Finished) => {
                let output = job.task.result().await?;
                summary.files += truth.check(job.id(), &job.input, &output)?;
                summary.digests += 1;
            }
            _ => summary.lose(job.title(), &record),
        }
    }
    for product in &work.products {
        let record = product.task.get().await?;
        if record.state() == State::Finished {
            summary.cells += check_product(&product.factors, &product.task.result().await?)?;
            summary.products += 1;
        } else {
            summary.lose(product.title(), &record);
        }
        let cells = client.tasks().parent(product.id()).all().await?;
        for cell in cells.iter().filter(|cell| cell.state() != State::Finished) {
            summary.lose(format!("a cell of {}", product.title()), cell);
        }
    }
    Ok(summary)
}
