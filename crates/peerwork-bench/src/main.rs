//! `peerwork-bench SCENARIO`: measures peerwork, and in the same run a yardstick of the same database.

mod report;
mod scenario;
mod target;
mod yardstick;

use clap::Parser;
use report::Report;
use scenario::Scenario;
use target::Target;

/// Measures peerwork on a database, beside a yardstick measured in the same run.
///
/// Absolute figures do not carry from one machine or hour to the next: only the ratio is a result. The yardstick is
/// the number of one-row insert transactions that one connection commits in a second, in raw SQL.
#[derive(Parser)]
struct Args {
    /// What to measure
    scenario: Scenario,
    /// Where; by default on a SQLite file and on throw-away PostgreSQL and MariaDB servers, one after the other
    #[arg(long)]
    database_url: Option<String>,
    /// How many tasks
    #[arg(long, default_value_t = 50_000)]
    tasks: usize,
    /// Nodes that drain
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Slots of each node
    #[arg(long, default_value_t = 256)]
    slots: usize,
    /// Runs of each; the median is reported
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Servers start and stop outside the runtime: that blocks.
    let targets = Target::all(args.database_url.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for target in &targets {
        let report = runtime.block_on(measure(&args, target))?;
        println!(
            "{}",
            if args.json {
                report.to_json()
            } else {
                report.to_text()
            }
        );
    }
    Ok(())
}

async fn measure(args: &Args, target: &Target) -> anyhow::Result<Report> {
    let mut rounds = Vec::new();
    for round in 0..args.rounds.max(1) {
        // In turn, so that both see the machine in the same mood.
        let yardstick = yardstick::commits_per_second(target.url()).await?;
        let figure = args.scenario.run(target, args, round).await?;
        rounds.push((figure, yardstick));
    }
    Ok(Report::new(args, target, rounds))
}
