//! `simulate`: policies on a workload, in virtual time. The simulation itself is `peerwork::simulate`.

mod lines;
mod plot;
mod table;

use crate::args::{Format, SimulateArgs};
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use peerwork::Policy;
use peerwork::policy::{Policies, Weights};
use peerwork::simulate::{Cluster, Mix, Outcome, Trace, Workload};
use std::path::Path;
use std::sync::Arc;

/// What is compared if nobody says.
const POLICIES: [&str; 3] = ["fifo", "fair", "weighted-groups"];

/// Users of `many-users`, and of the others.
const MANY: u32 = 2_000;
const FEW: u32 = 100;

/// Cancel safe: a simulation that has begun ends by itself, and nobody hears of it.
pub(crate) async fn run(
    args: SimulateArgs,
    policies: Policies,
    output: Output,
) -> Result<Exit, Trouble> {
    let output = match args.json {
        true => Output {
            format: Format::Json,
        },
        false => output,
    };
    let svg = args.svg.clone();
    let played = tokio::task::spawn_blocking(move || play(&args, &policies));
    let (told, outcomes) = played.await.expect("a policy's panic is caught")?;
    output.remark(&told);
    match output.format {
        Format::Text => output.line(&table::of(&outcomes))?,
        Format::Json => {
            for outcome in &outcomes {
                output.print(String::new, &lines::OutcomeLine::new(outcome))?;
            }
        }
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.mistaken > 0) {
        let first = outcome.mistakes.first().map(ToString::to_string);
        let (policy, times) = (&outcome.policy, outcome.mistaken);
        let first = first.unwrap_or_default();
        output.remark(&format!("policy {policy} was wrong {times} times: {first}"));
    }
    if let Some(path) = svg {
        let written = std::fs::write(&path, plot::of(&outcomes));
        written.map_err(|error| unusable("cannot write the plot", &path, &error))?;
    }
    Ok(Exit::Done)
}

/// All policies on one trace, and what it is.
fn play(args: &SimulateArgs, policies: &Policies) -> Result<(String, Vec<Outcome>), Trouble> {
    let mut texts: Vec<&str> = args.policy.iter().map(String::as_str).collect();
    if texts.is_empty() {
        texts.extend(POLICIES);
    }
    let find = |text| {
        policies
            .find(text)
            .map_err(|error| wrong(error.to_string()))
    };
    let found: Vec<Arc<dyn Policy>> = texts.iter().copied().map(find).collect::<Result<_, _>>()?;
    let workload = Workload::ALL
        .into_iter()
        .find(|workload| workload.name() == args.workload)
        .expect("clap offers no other");
    let (trace, mut weights) = match &args.trace {
        Some(path) => (recorded(path)?, Weights::default()),
        None => (workload.trace(&mix(args, workload)), workload.weights()),
    };
    for text in &args.weight {
        weigh(&mut weights, text).map_err(wrong)?;
    }
    let cluster = Cluster {
        slots: args.slots as usize,
        nodes: args.nodes as usize,
        snapshot_age_ms: args.snapshot_age_ms,
        seed: args.seed,
    };
    let named = texts.into_iter().zip(found);
    let outcomes = named.map(|(text, policy)| Outcome {
        policy: text.to_owned(),
        ..cluster.run(&trace, &weights, policy)
    });
    let outcomes: Vec<Outcome> = outcomes.collect();
    let users = outcomes.first().map_or(0, |outcome| outcome.users.len());
    let what = match &args.trace {
        Some(path) => path.display().to_string(),
        None => format!("{}, seed {}", args.workload, args.seed),
    };
    let (tasks, slots, nodes) = (trace.arrivals().len(), args.slots, args.nodes);
    let told = format!("{what}: {tasks} tasks of {users} users; {slots} slots on {nodes} node(s)");
    Ok((told, outcomes))
}

fn mix(args: &SimulateArgs, workload: Workload) -> Mix {
    let users = match workload {
        Workload::ManyUsers => MANY,
        Workload::HeavyLight | Workload::Weights | Workload::Priorities => FEW,
    };
    Mix {
        slots: args.slots as usize,
        users: args.users.unwrap_or(users) as usize,
        groups: args.groups as usize,
        tasks: args.tasks as usize,
        length_ms: args.length_ms,
        seed: args.seed,
    }
}

fn recorded(path: &Path) -> Result<Trace, Trouble> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| unusable("cannot read the trace", path, &error))?;
    Trace::parse(&text).map_err(|error| wrong(error.to_string()))
}

/// `user:ann=4`, `group:films=2`.
fn weigh(weights: &mut Weights, text: &str) -> Result<(), String> {
    let instead =
        || format!("{text:?} is no weight; write user:NAME=WEIGHT or group:NAME=WEIGHT, from 1 on");
    let (whose, weight) = text.rsplit_once('=').ok_or_else(instead)?;
    let weight = weight.parse().ok().filter(|weight| *weight > 0);
    let weight = weight.ok_or_else(instead)?;
    let (what, name) = whose.split_once(':').ok_or_else(instead)?;
    let named = |what| peerwork::Name::new(what, name).map_err(|error| error.to_string());
    match what {
        "user" => weights.set_user(named("user")?, weight),
        "group" => weights.set_group(named("group")?, weight),
        _ => return Err(instead()),
    }
    Ok(())
}

/// The library says what to do after the last semicolon.
fn wrong(said: String) -> Trouble {
    let (why, advice) = said.rsplit_once("; ").unwrap_or((&said, "see --help"));
    Trouble::new(Exit::Usage, "cannot simulate that", why, advice)
}

fn unusable(what: &str, path: &Path, error: &std::io::Error) -> Trouble {
    let why = format!("{}: {error}", path.display());
    Trouble::new(Exit::Usage, what, why, "check the path")
}
