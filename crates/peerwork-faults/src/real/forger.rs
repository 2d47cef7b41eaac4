//! Writes in the name of runs that are known to be over, while a later run of the same task is at work: the zombie's
//! late result, on purpose and often. None may be accepted.
//!
//! It reads the nodes' histories as they grow. A run is over once a run with a higher attempt has begun. It also declares
//! nodes dead on a beat that is not their last, as a peer does that lost the race.

use super::args::{ChildArgs, URL_VAR};
use super::children;
use super::history::{Entry, Forgery, Journal, What};
use super::work::Checkpoint;
use anyhow::{Context, Result};
use peerwork::{Rules, RunId, Settings, SqlStore, TaskId};
use peerwork_core::Event;
use peerwork_store::{End, Ended, Save, Saved, Store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

const LOOK: Duration = Duration::from_millis(50);
/// Forgeries of one look.
const AT_ONCE: usize = 4;
/// A step that no task reaches: it would be seen at once.
const FORGED_STEP: u64 = 1 << 40;

/// Runs until it is killed.
///
/// # Errors
/// If the database cannot be reached at the start, or a history cannot be read.
pub fn run(args: &ChildArgs) -> Result<()> {
    children::die_with_parent()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(forge(args))
}

async fn forge(args: &ChildArgs) -> Result<()> {
    let journal = Journal::open(&args.folder, &args.label)?;
    let url = std::env::var(URL_VAR).context("a forger without a database")?;
    let settings = Settings::default().with_prefix(&args.prefix);
    let store = SqlStore::connect(&url, settings, 1).await?;
    let mut random = StdRng::seed_from_u64(args.seed);
    let mut known = Known::default();
    loop {
        tokio::time::sleep(LOOK).await;
        known.read(&args.folder)?;
        for _ in 0..AT_ONCE {
            let Some((task, run)) = known.over(&mut random) else {
                break;
            };
            let what = match random.random_bool(0.5) {
                true => Forgery::Save,
                false => Forgery::End,
            };
            journal.write(What::Forging { task, run, what });
            if let Ok(accepted) = write(&store, task, run, what).await {
                journal.write(What::Forged {
                    task,
                    run,
                    what,
                    accepted,
                });
            }
        }
        if random.random_ratio(1, 20) {
            bury(&store, &journal).await;
        }
    }
}

async fn write(
    store: &SqlStore,
    task: Uuid,
    run: Uuid,
    what: Forgery,
) -> peerwork_store::Result<bool> {
    let (id, run) = (TaskId(task), RunId(run));
    if what == Forgery::Save {
        let step = FORGED_STEP;
        let checkpoint = serde_json::to_vec(&Checkpoint { step }).expect("our own type is JSON");
        let save = Save {
            id,
            run,
            checkpoint: Some(checkpoint),
            progress: None,
        };
        let saved = store.save(vec![save]).await?;
        return Ok(saved.first().is_some_and(|saved| *saved != Saved::Lost));
    }
    let end = End {
        id,
        run,
        event: Event::Ok { forget: false },
        rules: Rules::default(),
        output: None,
        error: None,
        awaited_children: 0,
    };
    let ended = store.end(vec![end]).await?;
    Ok(ended.first().is_some_and(|ended| *ended != Ended::Lost))
}

/// Declares living nodes dead on a beat before their last.
async fn bury(store: &SqlStore, journal: &Journal) {
    let what = Forgery::Death;
    let nodes = store.nodes().await.unwrap_or_default();
    for node in nodes.iter().filter(|node| node.alive && node.seq > 1) {
        let (task, run) = (node.id.0, Uuid::nil());
        journal.write(What::Forging { task, run, what });
        if let Ok(accepted) = store.declare_dead(node.id, node.seq - 1).await {
            journal.write(What::Forged {
                task,
                run,
                what,
                accepted,
            });
        }
    }
}

/// The runs of each task, as far as the histories tell.
#[derive(Default)]
struct Known {
    files: HashMap<PathBuf, (u64, Vec<u8>)>,
    tasks: HashMap<Uuid, Runs>,
    /// Tasks whose last run may be at work, the newest last.
    recent: Vec<Uuid>,
}

#[derive(Default)]
struct Runs {
    latest: Option<(u32, Uuid)>,
    over: Vec<Uuid>,
    is_at_work: bool,
}

impl Known {
    fn read(&mut self, folder: &Path) -> Result<()> {
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with(children::NODE) {
                continue;
            }
            let (at, rest) = self.files.entry(path.clone()).or_default();
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(*at))?;
            *at += u64::try_from(file.read_to_end(rest)?)?;
            let whole = rest
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let lines: Vec<u8> = rest.drain(..whole).collect();
            for line in lines.split(|byte| *byte == b'\n') {
                if let Ok(entry) = serde_json::from_slice::<Entry>(line) {
                    self.note(entry.what);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, what: What) {
        match what {
            What::Began {
                task, run, attempt, ..
            } => {
                let runs = self.tasks.entry(task).or_default();
                match runs.latest {
                    Some((known, _)) if known > attempt => runs.over.push(run),
                    Some((known, latest)) if known < attempt => {
                        runs.over.push(latest);
                        (runs.latest, runs.is_at_work) = (Some((attempt, run)), true);
                    }
                    Some(_) => {}
                    None => (runs.latest, runs.is_at_work) = (Some((attempt, run)), true),
                }
                if !runs.over.is_empty() {
                    self.recent.push(task);
                }
            }
            What::Ended { task, run, .. } => {
                if let Some(runs) = self.tasks.get_mut(&task)
                    && runs.latest.is_some_and(|(_, latest)| latest == run)
                {
                    runs.is_at_work = false;
                }
            }
            _ => {}
        }
    }

    /// A task that is at work, and a run of it that is over.
    fn over(&mut self, random: &mut StdRng) -> Option<(Uuid, Uuid)> {
        const RECENT: usize = 200;
        let from = self.recent.len().saturating_sub(RECENT);
        self.recent.drain(..from);
        self.recent
            .retain(|task| self.tasks.get(task).is_some_and(|runs| runs.is_at_work));
        if self.recent.is_empty() {
            return None;
        }
        let task = self.recent[random.random_range(0..self.recent.len())];
        let over = &self.tasks.get(&task)?.over;
        Some((task, over[random.random_range(0..over.len())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_that_a_later_attempt_has_followed_is_forged() {
        let (task, first, second) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let began = |run, attempt| What::Began {
            task,
            run,
            kind: "steps".into(),
            attempt,
            from: None,
            cleanup: false,
        };
        let mut random = StdRng::seed_from_u64(1);
        let mut known = Known::default();
        known.note(began(first, 1));
        assert_eq!(known.over(&mut random), None);
        known.note(began(second, 2));
        assert_eq!(known.over(&mut random), Some((task, first)));
    }
}
