//! `task wait` and `task follow`: until tasks are over, or in a state.

use crate::args::WaitArgs;
use crate::exit::{Exit, Trouble};
use crate::output::json::TaskLine;
use crate::output::{Output, text};
use peerwork::{Client, Error, State, TaskHandle, TaskId, TaskRecord};
use std::time::Duration;
use tokio::task::JoinSet;

pub(super) async fn run(client: &Client, args: WaitArgs, output: Output) -> Result<Exit, Trouble> {
    let until = args.until;
    let waiting = each(client, args.tasks.ids, move |task| async move {
        let record = one(&task, until)
            .await
            .map_err(|error| trouble(task.id(), &error))?;
        output.print(|| text::change(&record), &TaskLine::new(&record))?;
        match until {
            // What was asked for has come, whatever it is.
            Some(_) => Ok(Exit::Done),
            None => over(&record),
        }
    });
    match args.timeout {
        // Waiting is cancel safe, and holds no transaction.
        Some(seconds) => tokio::time::timeout(Duration::from_secs(seconds), waiting)
            .await
            .unwrap_or_else(|_| Err(timed_out(seconds))),
        None => waiting.await,
    }
}

pub(super) async fn follow(
    client: &Client,
    ids: Vec<TaskId>,
    output: Output,
) -> Result<Exit, Trouble> {
    each(client, ids, move |task| async move {
        let mut watch = task.watch();
        loop {
            let record = watch
                .next()
                .await
                .map_err(|error| trouble(task.id(), &error))?;
            output.print(|| text::change(&record), &TaskLine::new(&record))?;
            if record.state().is_final() {
                return over(&record);
            }
        }
    })
    .await
}

/// Waits for all of them at once. The first error is the answer; the others are told.
async fn each<F, Fut>(client: &Client, ids: Vec<TaskId>, wait: F) -> Result<Exit, Trouble>
where
    F: Fn(TaskHandle) -> Fut,
    Fut: Future<Output = Result<Exit, Trouble>> + Send + 'static,
{
    let mut waits = JoinSet::new();
    for id in ids {
        waits.spawn(wait(client.task(id)));
    }
    let mut first: Option<Trouble> = None;
    while let Some(joined) = waits.join_next().await {
        match joined.expect("a wait neither panics nor is aborted while it is joined") {
            Ok(_) => {}
            Err(trouble) if first.is_none() => first = Some(trouble),
            Err(trouble) => eprintln!("{trouble}"),
        }
    }
    first.map_or(Ok(Exit::Done), Err)
}

async fn one(task: &TaskHandle, until: Option<State>) -> Result<TaskRecord, Error> {
    match until {
        None => task.until_over().await,
        Some(state) => task.until(state).await,
    }
}

/// What the end of a task means to one who waited for it.
fn over(record: &TaskRecord) -> Result<Exit, Trouble> {
    let id = record.id;
    match record.state() {
        State::Failed => Err(Trouble::new(
            Exit::TaskFailed,
            format!("task {id} failed"),
            record.error.as_deref().unwrap_or("no reason was recorded"),
            "`task run` tries it again from its checkpoint, `task rerun` from the beginning",
        )),
        State::Deleted => Err(Trouble::new(
            Exit::NotFound,
            format!("task {id} did not finish"),
            "it was deleted",
            "use --until deleted to wait for that",
        )),
        _ => Ok(Exit::Done),
    }
}

fn trouble(id: TaskId, error: &Error) -> Trouble {
    Trouble::of(format!("cannot wait for task {id}"), error)
}

fn timed_out(seconds: u64) -> Trouble {
    Trouble::new(
        Exit::TimedOut,
        "stopped waiting",
        format!("{seconds} seconds were up"),
        "see `task get` for the state it is in; --timeout gives it longer",
    )
}
