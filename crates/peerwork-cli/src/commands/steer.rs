//! `task run | pause | resume | rerun | move | delete`: by ids, or by a filter that has to be confirmed.
//!
//! Named tasks are steered one by one, and each that refuses is an error. A filter means those tasks to which the
//! operation applies: the others are counted, and are no error.

use crate::args::SteerArgs;
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use crate::output::json::{SteeredLine, SteeringLine};
use peerwork::{Client, Status, Tally, TaskHandle, TaskId, Tasks};

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) enum Steer {
    Run,
    Pause,
    Resume,
    Rerun,
    MoveTo(String),
    Delete,
    ForceDelete,
}

impl Steer {
    fn verb(&self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Rerun => "rerun",
            Self::MoveTo(_) => "move",
            Self::Delete | Self::ForceDelete => "delete",
        }
    }

    async fn one(&self, task: &TaskHandle) -> peerwork::Result<Status> {
        match self {
            Self::Run => task.run().await,
            Self::Pause => task.pause().await,
            Self::Resume => task.resume().await,
            Self::Rerun => task.rerun().await,
            Self::MoveTo(group) => task.move_to(group).await,
            Self::Delete => task.delete().await,
            Self::ForceDelete => task.force_delete().await,
        }
    }

    async fn all(&self, tasks: Tasks) -> peerwork::Result<Tally> {
        match self {
            Self::Run => tasks.run().await,
            Self::Pause => tasks.pause().await,
            Self::Resume => tasks.resume().await,
            Self::Rerun => tasks.rerun().await,
            Self::MoveTo(group) => tasks.move_to(group).await,
            Self::Delete => tasks.delete().await,
            Self::ForceDelete => tasks.force_delete().await,
        }
    }
}

/// What the command line means.
#[derive(Debug, PartialEq, Eq)]
enum Meant {
    Ids,
    /// A filter, confirmed.
    Filter,
    /// A filter, to be counted only.
    Count,
}

pub(super) async fn run(
    client: &Client,
    args: SteerArgs,
    steer: Steer,
    output: Output,
) -> Result<Exit, Trouble> {
    match meant(&args, &steer)? {
        Meant::Ids => by_ids(client, &args.ids, &steer, output).await,
        Meant::Filter => by_filter(args.filter.select(client), &steer, output).await,
        Meant::Count => Err(unconfirmed(args.filter.select(client), &steer).await),
    }
}

fn meant(args: &SteerArgs, steer: &Steer) -> Result<Meant, Trouble> {
    let verb = steer.verb();
    let usage = |why: &str, advice: &str| {
        Err(Trouble::new(
            Exit::Usage,
            format!("cannot {verb} tasks"),
            why,
            advice,
        ))
    };
    match (
        args.ids.is_empty(),
        args.filter.is_empty(),
        args.all_matching,
    ) {
        (false, true, false) => Ok(Meant::Ids),
        (true, false, true) => Ok(Meant::Filter),
        (true, false, false) => Ok(Meant::Count),
        (false, _, _) => usage(
            "ids were given together with a filter or --all-matching",
            "name the tasks, or give a filter",
        ),
        (true, true, true) => usage(
            "--all-matching was given without a filter, which would mean every task there is",
            "give one of --user, --group, --kind, --state or --parent",
        ),
        (true, true, false) => usage(
            "no task was named",
            "give ids, or a filter with --all-matching",
        ),
    }
}

async fn by_ids(
    client: &Client,
    ids: &[TaskId],
    steer: &Steer,
    output: Output,
) -> Result<Exit, Trouble> {
    let mut last: Option<Trouble> = None;
    for id in ids {
        match steer.one(&client.task(*id)).await {
            Ok(status) => {
                output.print(|| format!("{id}  {status}"), &SteeredLine::new(*id, status))?;
            }
            Err(error) => {
                let trouble = Trouble::of(format!("cannot {} task {id}", steer.verb()), &error);
                // The last one is told by our caller, whose exit code it is.
                if let Some(earlier) = last.replace(trouble) {
                    eprintln!("{earlier}");
                }
                if error.is_transient() {
                    break;
                }
            }
        }
    }
    last.map_or(Ok(Exit::Done), Err)
}

async fn by_filter(tasks: Tasks, steer: &Steer, output: Output) -> Result<Exit, Trouble> {
    let steering = steer
        .all(tasks)
        .await
        .map_err(|error| Trouble::of(format!("cannot {} tasks", steer.verb()), &error))?;
    let Tally {
        changed,
        unchanged,
        refused,
    } = steering;
    let text = || {
        format!(
            "{}: {changed} tasks changed, {unchanged} were so already, {refused} where it has no effect",
            steer.verb()
        )
    };
    output.print(text, &SteeringLine::from(steering))?;
    Ok(Exit::Done)
}

/// A filter without its confirmation: says how many tasks it means.
async fn unconfirmed(tasks: Tasks, steer: &Steer) -> Trouble {
    let verb = steer.verb();
    match count(tasks).await {
        Ok(count) => Trouble::new(
            Exit::Usage,
            format!("did not {verb} anything"),
            format!("the filter means {count}, and was not confirmed"),
            format!("add --all-matching to {verb} them all, or give ids"),
        ),
        Err(error) => Trouble::of("cannot count tasks", &error),
    }
}

/// How many tasks are meant, in words; beyond a bound it is not counted on.
async fn count(tasks: Tasks) -> peerwork::Result<String> {
    /// Ten pages are read in a moment, and "more than 10,000" is warning enough.
    const PAGES: usize = 10;
    let (mut query, mut count) = (tasks.limit(1_000), 0);
    for _ in 0..PAGES {
        let page = query.clone().list().await?;
        count += page.tasks.len();
        match page.next {
            Some(next) => query = query.after(next),
            None if count == 1 => return Ok("1 task".to_owned()),
            None => return Ok(format!("{count} tasks")),
        }
    }
    Ok(format!("more than {count} tasks"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::FilterArgs;

    fn args(ids: usize, filtered: bool, all_matching: bool) -> SteerArgs {
        let id = "0193a0c0-0000-7000-8000-000000000000"
            .parse()
            .expect("an id");
        SteerArgs {
            ids: vec![id; ids],
            filter: FilterArgs {
                user: filtered.then(|| "ann".to_owned()),
                ..FilterArgs::default()
            },
            all_matching,
        }
    }

    #[test]
    fn a_filter_changes_nothing_until_it_is_confirmed() {
        let meant = |ids, filtered, all| meant(&args(ids, filtered, all), &Steer::Delete).ok();
        assert_eq!(meant(2, false, false), Some(Meant::Ids));
        assert_eq!(meant(0, true, false), Some(Meant::Count));
        assert_eq!(meant(0, true, true), Some(Meant::Filter));
    }

    #[test]
    fn what_could_mean_everything_or_two_things_is_refused() {
        for (ids, filtered, all) in [
            (0, false, false),
            (0, false, true),
            (1, true, false),
            (1, true, true),
            (1, false, true),
        ] {
            let trouble = meant(&args(ids, filtered, all), &Steer::Delete).unwrap_err();
            assert_eq!(trouble.exit, Exit::Usage);
        }
    }
}
