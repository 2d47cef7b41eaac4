//! `peers`: peerwork and what people would pick instead, side by side on one throw-away PostgreSQL server.

mod figures;
mod order;
mod prepare;
mod process;
mod referee;
mod roster;
mod table;

use anyhow::{Result, ensure};
use clap::Parser;
use figures::{Figures, Outcome};
use order::{Measure, Order};
use peerwork_testbed::{Options, Postgres, Server};
use prepare::Program;
use roster::Entry;

/// Measures peerwork and its peers in turn on one throw-away PostgreSQL server, and prints one table.
///
/// Absolute figures do not carry from one machine or hour to the next: only the ratios are a result.
#[derive(Parser)]
struct Args {
    /// How often everything is measured; medians are reported
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tasks of a drain, and of a bulk create
    #[arg(long, default_value_t = 50_000)]
    tasks: u32,
    /// Tasks that are created one at a time
    #[arg(long, default_value_t = 2_000)]
    creates: u32,
    /// Tasks that are picked up one at a time
    #[arg(long, default_value_t = 300)]
    pickups: u32,
    /// The contenders, by name; by default all
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// What to measure
    #[arg(long, value_delimiter = ',', default_values = ["create", "bulk", "drain", "pickup"])]
    measures: Vec<Measure>,
    /// One JSON object a line, for each figure of each round and for each median
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.rounds > 0 && args.tasks > 0, "nothing to measure");
    let entries = roster::chosen(&args.only)?;
    let contenders: Vec<_> = prepare::all(&entries)?;
    let server = Postgres::start(&Options::durable())?;
    let mut figures = Figures::default();
    for round in 0..args.rounds {
        for measure in &args.measures {
            run(&args, &server, &contenders, *measure, round, &mut figures);
        }
    }
    match args.json {
        true => table::print_json(&entries, &args.measures, &figures),
        false => table::print(&entries, &args.measures, &figures),
    }
    Ok(())
}

/// One measurement of every contender, one after the other.
fn run(
    args: &Args,
    server: &Server,
    contenders: &[(&Entry, Result<Program>)],
    measure: Measure,
    round: usize,
    figures: &mut Figures,
) {
    // Nobody is always the one who comes after the same neighbour.
    let (head, tail) = contenders.split_at(round % contenders.len());
    for (entry, program) in tail.iter().chain(head) {
        if !entry.takes(measure) {
            continue;
        }
        let tasks = match measure {
            Measure::Create => args.creates,
            Measure::Bulk | Measure::Drain => args.tasks,
            Measure::Pickup => args.pickups,
        };
        let outcome = match program {
            Ok(program) => referee::measure(server, entry, program, &Order { measure, tasks }),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        match args.json {
            true => println!(
                "{}",
                table::json_line(round + 1, entry.name, measure, &outcome)
            ),
            false => eprintln!("{} {measure} {}: {outcome}", round + 1, entry.name),
        }
        figures.record(round, entry.name, measure, outcome);
    }
}
