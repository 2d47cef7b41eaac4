//! Tasks in every status, and everything that a user can ask of them.

use super::{Ghost, Puppet};
use peerwork::{Client, Handler, Result, Status, TaskHandle, TaskKind};
use peerwork_core::{Event, Work};
use peerwork_store::Claimed;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

const HOUR: Duration = Duration::from_secs(3_600);

/// A failure that is tried again in an hour, or never.
fn failed(permanent: bool) -> Event {
    Event::Err {
        permanent,
        retry_after_ms: Some(HOUR.as_millis() as u64),
        jitter: 0,
        forget: false,
    }
}

/// A puppet in `status`, in a group of its own. If it is held, then by `ghost`.
pub async fn task_in(client: &Client, ghost: &Ghost, status: Status) -> TaskHandle<Puppet> {
    let group = Uuid::now_v7().to_string();
    let draft = Puppet::task(status.name().to_owned()).group(&group);
    let draft = match status {
        Status::Created | Status::Deleted => draft.hold(),
        Status::Scheduled => draft.start_in(HOUR),
        _ => draft,
    };
    let task = client.create(draft).await.expect("create");
    let run = async || claim(ghost, &group, Work::Run).await;
    let clean = async || {
        task.delete().await.expect("delete");
        claim(ghost, &group, Work::Cleanup).await
    };
    match status {
        Status::Created | Status::Scheduled | Status::Queued => {}
        Status::Resuming => drop(ghost.end(&run().await, Event::Stopped).await),
        Status::Running => drop(run().await),
        Status::Pausing => {
            run().await;
            task.pause().await.expect("pause");
        }
        Status::Waiting => {
            let until = Some((SystemTime::now() + HOUR).into());
            ghost.end(&run().await, Event::Wait { until }).await;
        }
        Status::Paused => drop(task.pause().await.expect("pause")),
        Status::DeletingRun => {
            run().await;
            task.delete().await.expect("delete");
        }
        Status::CleanupQueued | Status::Deleted => drop(task.delete().await.expect("delete")),
        Status::Cleaning => drop(clean().await),
        Status::CleanupScheduled => drop(ghost.end(&clean().await, failed(false)).await),
        Status::CleanupFailed => drop(ghost.end(&clean().await, failed(true)).await),
        Status::Finished => {
            let forget = false;
            ghost.end(&run().await, Event::Ok { forget }).await;
        }
        Status::Failed => drop(ghost.end(&run().await, failed(true)).await),
    }
    assert_eq!(task.get().await.expect("get").status(), status);
    task
}

async fn claim(ghost: &Ghost, group: &str, work: Work) -> Claimed {
    let mut lanes = ghost.lanes(work).await;
    lanes.retain(|lane| lane.group == *group);
    let mut claimed = ghost.claim_from(ghost.id, &lanes, 1).await;
    claimed.pop().expect("it is there to be claimed")
}

/// What a user can ask of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ask {
    Run,
    Resume,
    Pause,
    Delete,
    ForceDelete,
    Rerun,
    Move,
    Priority,
}

impl Ask {
    /// All of it.
    pub const ALL: [Self; 8] = [
        Self::Run,
        Self::Resume,
        Self::Pause,
        Self::Delete,
        Self::ForceDelete,
        Self::Rerun,
        Self::Move,
        Self::Priority,
    ];

    /// What `decide` knows it as.
    pub fn event(self) -> Event {
        match self {
            Self::Run => Event::Run,
            Self::Resume => Event::Resume,
            Self::Pause => Event::Pause,
            Self::Delete => Event::Delete,
            Self::ForceDelete => Event::ForceDelete,
            Self::Rerun => Event::Rerun,
            Self::Move => Event::Move,
            Self::Priority => Event::Edit,
        }
    }

    /// Asks it of a task.
    pub async fn of(self, task: &TaskHandle<impl TaskKind>) -> Result<Status> {
        match self {
            Self::Run => task.run().await,
            Self::Resume => task.resume().await,
            Self::Pause => task.pause().await,
            Self::Delete => task.delete().await,
            Self::ForceDelete => task.force_delete().await,
            Self::Rerun => task.rerun().await,
            Self::Move => task.move_to("elsewhere").await,
            Self::Priority => task.set_priority(3).await,
        }
    }
}
