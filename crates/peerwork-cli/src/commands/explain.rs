//! `task explain`: why one task is not running.

use crate::args::{ExplainArgs, Format};
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use crate::output::explain::{ExplainLine, page};
use peerwork::Client;

pub(super) async fn run(
    client: &Client,
    args: ExplainArgs,
    output: Output,
) -> Result<Exit, Trouble> {
    let trouble = |error| Trouble::of(format!("cannot explain task {}", args.id), &error);
    let explanation = client.explain(args.id).await.map_err(trouble)?;
    let output = match args.json {
        true => Output {
            format: Format::Json,
        },
        false => output,
    };
    output.print(|| page(&explanation), &ExplainLine::new(&explanation))?;
    Ok(Exit::Done)
}
