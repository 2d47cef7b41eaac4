//! The commands, one file each: what is asked of the library, and what is printed of its answer.

mod explain;
mod get;
mod list;
mod migrate;
mod node;
mod select;
mod setting;
mod steer;
mod wait;

use crate::args::{Cli, Command, Connection, TaskArgs, TaskCommand};
use crate::connect;
use crate::demo;
use crate::exit::{Exit, Trouble};
use crate::host::Host;
use crate::output::Output;
use crate::parse::{NoCommand, parse};
use crate::simulate;
use peerwork::Client;
use std::ffi::OsString;
use steer::Steer;

/// Understands `args`, runs the command, and says what went wrong.
pub(crate) async fn run(args: Vec<OsString>, host: Host) -> Exit {
    let cli = match parse(args, &host) {
        Ok(cli) => cli,
        Err(NoCommand::Asked(text)) => {
            print!("{text}");
            return Exit::Done;
        }
        Err(NoCommand::Nothing(text)) => {
            eprint!("{text}");
            return Exit::Usage;
        }
        Err(NoCommand::Wrong(trouble)) => return complain(&trouble),
    };
    match dispatch(cli, host).await {
        Ok(exit) => exit,
        Err(trouble) => complain(&trouble),
    }
}

fn complain(trouble: &Trouble) -> Exit {
    if trouble.exit != Exit::Done {
        eprintln!("{trouble}");
    }
    trouble.exit
}

async fn dispatch(cli: Cli, host: Host) -> Result<Exit, Trouble> {
    let output = Output { format: cli.output };
    match cli.command {
        Command::Migrate(command) => migrate::run(command, &cli.connection, &host, output).await,
        Command::Task(args) => task(args, &cli.connection, &host, output).await,
        Command::Node(command) => node::run(command, &cli.connection, host, output).await,
        Command::Setting(command) => {
            let client = connect::client(&cli.connection, &host).await?;
            setting::run(&client, command, output).await
        }
        Command::Simulate(args) => simulate::run(args, host.policies, output).await,
        Command::Demo(args) if host.is_program => demo::run(args, &cli.connection, output).await,
        Command::DemoNode(args) if host.is_program => demo::run_node(args, &cli.connection).await,
        Command::Demo(_) | Command::DemoNode(_) => Err(Trouble::new(
            Exit::Usage,
            "cannot run the demo",
            "only the program `peerwork` can start itself as a node of the demo",
            "run `peerwork demo`",
        )),
    }
}

async fn task(
    args: TaskArgs,
    connection: &Connection,
    host: &Host,
    output: Output,
) -> Result<Exit, Trouble> {
    let client = connect::client(connection, host).await?;
    let client = match &args.as_user {
        Some(user) => client
            .of_user(user)
            .map_err(|error| Trouble::of("cannot act for that user", &error))?,
        None => client,
    };
    match args.command {
        TaskCommand::List(args) => list::run(&client, args, output).await,
        TaskCommand::Get(args) => get::run(&client, args, output).await,
        TaskCommand::Explain(args) => explain::run(&client, args, output).await,
        TaskCommand::Run(args) => steer::run(&client, args, Steer::Run, output).await,
        TaskCommand::Pause(args) => steer::run(&client, args, Steer::Pause, output).await,
        TaskCommand::Resume(args) => steer::run(&client, args, Steer::Resume, output).await,
        TaskCommand::Rerun(args) => steer::run(&client, args, Steer::Rerun, output).await,
        TaskCommand::Move(args) => {
            steer::run(&client, args.tasks, Steer::MoveTo(args.to), output).await
        }
        TaskCommand::Delete(args) => {
            let steer = if args.force {
                Steer::ForceDelete
            } else {
                Steer::Delete
            };
            steer::run(&client, args.tasks, steer, output).await
        }
        TaskCommand::Wait(args) => wait::run(&client, args, output).await,
        TaskCommand::Follow(args) => wait::follow(&client, args.ids, output).await,
    }
}

/// The place of a task in a list, by its id.
async fn cursor(client: &Client, id: peerwork::TaskId) -> Result<peerwork::Cursor, Trouble> {
    let record = client
        .task(id)
        .get()
        .await
        .map_err(|error| Trouble::of("cannot find the task of --after", &error))?;
    Ok(peerwork::Cursor {
        created_at: record.created_at,
        id,
    })
}
