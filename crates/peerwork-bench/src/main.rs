//! `peerwork-bench SCENARIO`: measures peerwork, and in turn with it a yardstick of the same database.
//!
//! | file | is |
//! | --- | --- |
//! | `scenario/` | what is measured, one file for each |
//! | `floor/`, `yardstick.rs` | what it is compared with |
//! | `place.rs`, `fill.rs` | fresh tables, and rows in them |
//! | `play.rs` | a trace on real nodes, and the same one simulated |
//! | `counters.rs`, `timed.rs`, `process.rs` | what servers, claims and this process cost |
//! | `figures.rs`, `report.rs` | medians, percentiles, ratios; lines |

mod counters;
mod figures;
mod fill;
mod floor;
mod handlers;
mod options;
mod place;
mod play;
mod process;
mod raw;
mod report;
mod scenario;
mod target;
mod timed;
mod yardstick;

use clap::Parser;
use options::Options;
use target::Target;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // Servers start and stop outside the runtime: that blocks.
    let targets = Target::all(options.database_url.as_deref())?;
    counters::install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for target in &targets {
        for report in runtime.block_on(options.scenario.run(target, &options))? {
            let line = if options.json {
                report.to_json()
            } else {
                report.to_text()
            };
            println!("{line}");
        }
    }
    Ok(())
}
