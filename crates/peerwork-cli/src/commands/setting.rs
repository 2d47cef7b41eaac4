//! `setting`: limits, starts per second, weights and gates.

use crate::args::Format;
use crate::exit::{Exit, Trouble};
use crate::output::json::SettingLine;
use crate::output::{Output, text};
use crate::setting_args::{GateArgs, ScopeArgs, SetArgs, SettingCommand};
use peerwork::{Adjustment, Client, Error};
use std::time::{Duration, SystemTime};

pub(super) async fn run(
    client: &Client,
    command: SettingCommand,
    output: Output,
) -> Result<Exit, Trouble> {
    match command {
        SettingCommand::List => return list(client, output).await,
        SettingCommand::Set(args) => carry_out(set(client, args)?).await?,
        SettingCommand::Gate(args) => {
            let now = client.now().await.map_err(|error| trouble(&error))?;
            carry_out(gate(client, args, now.into())?).await?;
        }
        SettingCommand::Open(scope) => carry_out(of(client, &scope)?.open()).await?,
        SettingCommand::Clear(scope) => carry_out(of(client, &scope)?.clear()).await?,
        SettingCommand::Policy(args) => {
            let chosen = client.choose_policy(args.policy.as_deref()).await;
            chosen.map_err(|error| trouble(&error))?;
            output.remark("nodes follow within a second or two; one that does not know it keeps its own and logs that");
            return Ok(Exit::Done);
        }
    }
    output.remark("in force on all nodes");
    Ok(Exit::Done)
}

fn trouble(error: &Error) -> Trouble {
    Trouble::of("cannot change what is set", error)
}

async fn carry_out(adjustment: Adjustment) -> Result<(), Trouble> {
    adjustment.await.map_err(|error| trouble(&error))
}

async fn list(client: &Client, output: Output) -> Result<Exit, Trouble> {
    let cannot = |error| Trouble::of("cannot list what is set", &error);
    let config = client.settings().await.map_err(cannot)?;
    let settings = config.settings;
    if let Some(policy) = &config.policy {
        output.remark(&format!("the policy of all nodes is {policy}"));
    }
    let now = client.now().await.map_err(cannot)?;
    match output.format {
        Format::Text if settings.is_empty() => output.remark("nothing is set"),
        Format::Text => output.line(&text::settings(&settings, now))?,
        Format::Json => {
            for row in &settings {
                output.print(String::new, &SettingLine::new(row, now))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn of(client: &Client, scope: &ScopeArgs) -> Result<Adjustment, Trouble> {
    match (&scope.group, &scope.user, &scope.kind, scope.everything) {
        (Some(group), Some(user), _, _) => Ok(client.user_in(group, user)),
        (Some(group), None, _, _) => Ok(client.group(group)),
        (None, Some(user), _, _) => Ok(client.user(user)),
        (None, None, Some(kind), _) => Ok(client.kind(kind)),
        (None, None, None, true) => Ok(client.everything()),
        (None, None, None, false) => Err(Trouble::new(
            Exit::Usage,
            "cannot change what is set",
            "it is not said for what",
            "name --group, --user, both of them, --kind, or --everything",
        )),
    }
}

fn set(client: &Client, args: SetArgs) -> Result<Adjustment, Trouble> {
    let mut change = of(client, &args.scope)?;
    change = match args.limit.map(|limit| limit.0) {
        Some(Some(tasks)) => change.limit(tasks),
        Some(None) => change.without_limit(),
        None => change,
    };
    change = match args.limit_per_node.map(|limit| limit.0) {
        Some(Some(tasks)) => change.limit_per_node(tasks),
        Some(None) => change.without_limit_per_node(),
        None => change,
    };
    if let Some(starts) = args.starts_per_second {
        change = change.starts_per_second(starts);
    }
    if let Some(burst) = args.burst {
        change = change.burst(burst);
    }
    if args.no_rate {
        change = change.without_rate();
    }
    if let Some(weight) = args.weight {
        change = change.weight(weight);
    }
    Ok(change)
}

fn gate(client: &Client, args: GateArgs, now: SystemTime) -> Result<Adjustment, Trouble> {
    let mut gate = of(client, &args.scope)?.gate(args.reason);
    if let Some(who) = args.by {
        gate = gate.by(who);
    }
    if let Some(seconds) = args.seconds {
        let until = now
            .checked_add(Duration::from_secs(seconds))
            .ok_or_else(|| {
                Trouble::new(
                    Exit::Usage,
                    "cannot close the gate",
                    "that many seconds are no time",
                    "leave --seconds out for a gate that somebody opens",
                )
            })?;
        gate = gate.until(until);
    }
    if args.pausing {
        gate = gate.pausing();
    }
    if let Some(starts) = args.ramp {
        gate = gate.ramp(starts, Duration::from_secs(args.ramp_seconds));
    }
    Ok(gate)
}
