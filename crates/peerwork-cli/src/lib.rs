//! The `peerwork` commands: look at tasks and steer them, migrate, try policies, and a demo.
#![doc = include_str!("../README.md")]

mod args;
mod commands;
mod connect;
mod demo;
mod exit;
mod host;
mod output;
mod parse;
mod setting_args;
mod signals;
mod simulate;

pub use exit::Exit;
pub use host::Host;

use std::ffi::OsString;
use std::pin::Pin;

/// The environment variable that `--database-url` falls back to.
pub const DATABASE_URL: &str = "PEERWORK_DATABASE_URL";

/// Runs one command of the binary `peerwork`: `args` are what follows the program's name.
pub async fn program(args: impl IntoIterator<Item = OsString>) -> Exit {
    run(args, Host::program()).await
}

/// Runs one command within a service of yours: `args` are what follows the name that the commands have there.
///
/// Prints to stdout and, what goes wrong, to stderr. `node run` returns after Ctrl-C or SIGTERM.
///
/// ```no_run
/// use peerwork_cli::{Exit, Host};
/// # use peerwork::{Node, TaskError};
///
/// #[tokio::main]
/// async fn main() -> Exit {
///     let mut args = std::env::args_os().skip(1).peekable();
///     if args.next_if(|arg| arg == "peerwork").is_some() {
///         // `myservice peerwork task list`, `myservice peerwork node run`
///         let host = Host::new("myservice peerwork")
///             .node(|node| node.handle("greet", |name: String| async move { Ok::<_, TaskError>(format!("hello {name}")) }));
///         return peerwork_cli::run(args, host).await;
///     }
///     // .. the service itself
///     Exit::Done
/// }
/// ```
pub async fn run(args: impl IntoIterator<Item = OsString>, host: Host) -> Exit {
    // All commands in one type are more than a compiler likes to lay out.
    let command: Pin<Box<dyn Future<Output = Exit> + Send>> =
        Box::pin(commands::run(args.into_iter().collect(), host));
    command.await
}
