//! `peerwork-faults simulate`: seed after seed until one fails, or one seed with everything that happens.

use crate::sim::Plan;
use clap::Args;
use std::time::{Duration, Instant};

/// Simulated clusters, seed after seed, until one fails.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// No seed is begun after so many seconds; without it there is no end
    #[arg(long)]
    seconds: Option<u64>,
    /// At most so many seeds
    #[arg(long)]
    seeds: Option<u64>,
    /// Replay this one, and print everything that happens
    #[arg(long)]
    seed: Option<u64>,
}

/// Whether no promise was broken.
pub fn run(args: &SimulateArgs) -> bool {
    if let Some(seed) = args.seed {
        return replay(seed);
    }
    let started = Instant::now();
    let more = |done: u64| {
        args.seeds.is_none_or(|seeds| done < seeds)
            && args
                .seconds
                .is_none_or(|seconds| started.elapsed() < Duration::from_secs(seconds))
    };
    let mut done = 0;
    while more(done) {
        let seed = args.from + done;
        let plan = Plan::of_seed(seed);
        let report = plan.run();
        let once_more = plan.run().trace;
        for violation in &report.violations {
            println!("seed {seed}: {violation}");
        }
        if report.trace != once_more {
            println!("seed {seed}: two runs of it have two histories");
        }
        if !report.violations.is_empty() || report.trace != once_more {
            println!("replay it: cargo run -p peerwork-faults --release -- simulate --seed {seed}");
            return false;
        }
        done += 1;
    }
    println!("{done} seeds from {}: no promise was broken", args.from);
    true
}

fn replay(seed: u64) -> bool {
    let plan = Plan {
        in_words: true,
        ..Plan::of_seed(seed)
    };
    let report = plan.run();
    for line in &report.lines {
        println!("{line}");
    }
    for violation in &report.violations {
        println!("seed {seed}: {violation}");
    }
    println!(
        "trace {:016x}, violations {}",
        report.trace,
        report.violations.len()
    );
    report.violations.is_empty()
}
