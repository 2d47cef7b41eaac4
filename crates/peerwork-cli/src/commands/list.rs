//! `task list`: page by page, newest first.

use super::cursor;
use crate::args::{Format, ListArgs};
use crate::exit::{Exit, Trouble};
use crate::output::json::TaskLine;
use crate::output::{Output, text};
use peerwork::Client;

/// Tasks asked for at once: a large limit is read in pages, so that memory stays bounded.
const PAGE: u64 = 1_000;

pub(super) async fn run(client: &Client, args: ListArgs, output: Output) -> Result<Exit, Trouble> {
    let mut after = match args.after {
        Some(id) => Some(cursor(client, id).await?),
        None => None,
    };
    let mut left = args.limit;
    loop {
        let size = usize::try_from(left.min(PAGE)).expect("a page is small");
        let mut tasks = args.filter.select(client).limit(size);
        if let Some(after) = after {
            tasks = tasks.after(after);
        }
        let page = tasks
            .list()
            .await
            .map_err(|error| Trouble::of("cannot list tasks", &error))?;
        match output.format {
            Format::Text if page.tasks.is_empty() && left == args.limit => {
                output.remark("no tasks")
            }
            Format::Text => output.line(&text::tasks(&page.tasks))?,
            Format::Json => {
                for task in &page.tasks {
                    output.print(String::new, &TaskLine::new(task))?;
                }
            }
        }
        left -= page.tasks.len() as u64;
        after = page.next;
        match after {
            Some(next) if left == 0 => {
                output.remark(&format!("there are more: --after {}", next.id));
                return Ok(Exit::Done);
            }
            Some(_) => {}
            None => return Ok(Exit::Done),
        }
    }
}
