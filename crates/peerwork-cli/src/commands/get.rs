//! `task get`: everything about one task.

use crate::args::OneArgs;
use crate::exit::{Exit, Trouble};
use crate::output::json::{ErrorLine, Payloads, TaskLine, TaskPage};
use crate::output::{Output, text};
use peerwork::{Client, State, TaskHandle};

pub(super) async fn run(client: &Client, args: OneArgs, output: Output) -> Result<Exit, Trouble> {
    let trouble =
        |error: &peerwork::Error| Trouble::of(format!("cannot show task {}", args.id), error);
    let task = client.task(args.id);
    let record = task.get().await.map_err(|error| trouble(&error))?;
    let failures = task.failures().await.map_err(|error| trouble(&error))?;
    let payloads = match args.payloads {
        true => Some(
            payloads(&task, record.state())
                .await
                .map_err(|error| trouble(&error))?,
        ),
        false => None,
    };
    let text = || text::page(&record, &failures, payloads.as_ref());
    let page = text();
    let value = TaskPage {
        task: TaskLine::new(&record),
        errors: failures.iter().map(ErrorLine::new).collect(),
        payloads,
    };
    output.print(|| page, &value)?;
    Ok(Exit::Done)
}

async fn payloads(task: &TaskHandle, state: State) -> peerwork::Result<Payloads> {
    Ok(Payloads {
        input: task.input().await?,
        checkpoint: task.checkpoint().await?,
        output: match state {
            State::Finished => Some(task.result().await?),
            _ => None,
        },
    })
}
