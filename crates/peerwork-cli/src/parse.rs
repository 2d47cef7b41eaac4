//! From words to a command, and from clap's complaints to errors of three lines.

use crate::args::Cli;
use crate::exit::{Exit, Trouble};
use crate::host::Host;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Where the database is chosen; a service that has one of its own offers none of these.
const CONNECTION: [&str; 3] = ["database_url", "prefix", "schema"];

/// Instead of a command.
pub(crate) enum NoCommand {
    /// Help or the version was asked for: print it, and be done.
    Asked(String),
    /// Nothing was asked for: print the help, and complain by the exit code.
    Nothing(String),
    /// It cannot be understood.
    Wrong(Trouble),
}

/// Understands `args`, which do not include the program's name.
pub(crate) fn parse(args: Vec<OsString>, host: &Host) -> Result<Cli, NoCommand> {
    let mut offered = offered(host);
    let words = std::iter::once(OsString::from(&host.name)).chain(args);
    let matches = offered
        .try_get_matches_from_mut(words)
        .map_err(|error| explain(&error))?;
    if host.database.is_some()
        && let Some(given) = CONNECTION
            .into_iter()
            .find(|arg| matches.value_source(arg) == Some(ValueSource::CommandLine))
    {
        let given = given.replace('_', "-");
        return Err(NoCommand::Wrong(Trouble::new(
            Exit::Usage,
            "cannot understand the command line",
            format!("--{given} was given, but this program has a database of its own"),
            format!("leave --{given} out"),
        )));
    }
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| explain(&error))?;
    cli.connection.url_was_given =
        matches.value_source("database_url") == Some(ValueSource::CommandLine);
    Ok(cli)
}

/// The commands under the service's name, without those that it cannot run.
fn offered(host: &Host) -> clap::Command {
    let mut command = Cli::command().bin_name(host.name.clone());
    if host.node.is_none() {
        command = command.mut_subcommand("node", |node| {
            node.mut_subcommand("run", |run| run.hide(true))
        });
    }
    if !host.is_program {
        command = command.mut_subcommand("demo", |demo| demo.hide(true));
    }
    if host.database.is_some() {
        for arg in CONNECTION {
            command = command.mut_arg(arg, |arg| arg.hide(true));
        }
    }
    command
}

fn explain(error: &clap::Error) -> NoCommand {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => NoCommand::Asked(text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => NoCommand::Nothing(text),
        _ => NoCommand::Wrong(trouble(&text)),
    }
}

/// clap writes a paragraph that says what is wrong, then perhaps tips, then the usage.
fn trouble(text: &str) -> Trouble {
    let why: Vec<&str> = text
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .collect();
    let why = why.join(" ");
    let why = why.strip_prefix("error: ").unwrap_or(&why);
    let tips = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "));
    let usage = text.lines().filter_map(|line| line.strip_prefix("Usage: "));
    let usage = usage.map(|usage| format!("usage: {usage}"));
    let mut advice: Vec<String> = tips.map(str::to_owned).chain(usage).collect();
    advice.push("--help says more".to_owned());
    Trouble::new(
        Exit::Usage,
        "cannot understand the command line",
        why,
        advice.join("; "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, NodeCommand, TaskCommand};
    use peerwork::Database;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn wrong(text: &str, host: &Host) -> String {
        match parse(words(text), host) {
            Err(NoCommand::Wrong(trouble)) => trouble.to_string(),
            Err(NoCommand::Asked(text) | NoCommand::Nothing(text)) => panic!("help: {text}"),
            Ok(cli) => panic!("{cli:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_cannot_be_understood_is_said_in_three_lines() {
        for (words, part) in [
            ("task lisst", "list"),
            ("task get nonsense", "nonsense"),
            ("task list --state sleeping", "finished"),
            ("task get", "<ID>"),
            ("task list --limit 0", "--limit"),
            ("demo --nodes 2", "--nodes"),
        ] {
            let text = wrong(words, &Host::program());
            assert_eq!(text.lines().count(), 3, "{text}");
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn global_options_may_stand_anywhere() {
        let cli = parse(
            words("task list -o json --database-url sqlite:x"),
            &Host::program(),
        );
        let cli = cli.unwrap_or_else(|_| panic!("understood"));
        assert_eq!(cli.connection.database_url.as_deref(), Some("sqlite:x"));
        assert!(
            matches!(cli.command, Command::Task(task) if matches!(task.command, TaskCommand::List(_)))
        );
    }

    #[test]
    fn a_service_with_its_own_database_offers_no_other() {
        let host = Host::new("films peerwork").database(Database::memory());
        let text = wrong("task list --database-url sqlite:x", &host);
        assert!(text.contains("database of its own"), "{text}");
        let mut offered = offered(&host);
        assert!(
            !offered
                .render_long_help()
                .to_string()
                .contains("--database-url")
        );
    }

    #[test]
    fn a_service_with_handlers_offers_to_run_them() {
        let help = |host: &Host| match parse(words("node --help"), host) {
            Err(NoCommand::Asked(text)) => text,
            _ => panic!("no help"),
        };
        let host = Host::new("films peerwork");
        assert!(!help(&host).contains("Run tasks of"), "{}", help(&host));
        let host = host.node(|node| node);
        assert!(help(&host).contains("Run tasks of"), "{}", help(&host));
        assert!(help(&host).contains("films peerwork node"));
        let parsed = parse(words("node run"), &host).unwrap_or_else(|_| panic!("understood"));
        assert!(matches!(parsed.command, Command::Node(NodeCommand::Run)));
    }
}
