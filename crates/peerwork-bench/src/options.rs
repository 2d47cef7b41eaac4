//! What is asked for on the command line, and the sizes that it stands for.

use crate::scenario::Scenario;
use std::time::Duration;

/// Measures peerwork on a database, beside a yardstick measured in turn with it.
///
/// Absolute figures do not carry from one machine or hour to the next: only the ratio is a result. docs/benchmarks.md
/// says what each scenario measures, and what its yardstick is.
#[derive(clap::Parser, Clone, Debug)]
pub struct Options {
    /// What to measure
    pub scenario: Scenario,
    /// Where; by default on a SQLite file and on throw-away PostgreSQL and MariaDB servers, one after the other
    #[arg(long)]
    pub database_url: Option<String>,
    /// How many tasks or samples (`backlog`, `blocked`: those that are drained); by default as many as take seconds
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    tasks: Option<u32>,
    /// `backlog`: tasks in line behind those that are drained, once and five times; `blocked`, `lanes-full`: tasks that wait
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(0..=20_000_000))]
    backlog: u32,
    /// Nodes that drain
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// Slots of each node; `fair`, `weights`, `ageing`: of all nodes together
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    slots: Option<u32>,
    /// How many lanes (`lanes`, `lanes-claim`) or full groups (`lanes-full`)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lanes: Option<u32>,
    /// `fair`, `weights`, `ageing`: how long a task takes on average
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    length_ms: u32,
    /// Runs of each; medians are reported. By default 3, and 1 where a round takes minutes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// How long a round of a steady load lasts (`bloat`: the snapshot is held; `fair`, `weights`, `ageing`, `idle`, `checkpoint`)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: Option<u32>,
    /// `pickup`: tasks are created by another process; `fair`, `ageing`: by a client apart from the nodes
    #[arg(long)]
    pub from_process: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The tables of the process that started this one
    #[arg(long, hide = true)]
    pub prefix: Option<String>,
}

impl Options {
    pub fn tasks(&self) -> usize {
        self.tasks
            .map_or(self.scenario.tasks(), |tasks| tasks as usize)
    }

    pub fn backlog(&self) -> usize {
        self.backlog as usize
    }

    pub fn nodes(&self) -> usize {
        self.nodes as usize
    }

    pub fn slots(&self) -> usize {
        self.slots
            .map_or(self.scenario.slots(), |slots| slots as usize)
    }

    pub fn lanes(&self) -> usize {
        self.lanes
            .map_or(self.scenario.lanes(), |lanes| lanes as usize)
    }

    pub fn length_ms(&self) -> u64 {
        self.length_ms.into()
    }

    pub fn rounds(&self) -> usize {
        self.rounds
            .map_or(self.scenario.rounds(), |rounds| rounds as usize)
    }

    pub fn time(&self) -> Duration {
        self.seconds.map_or(self.scenario.time(), |seconds| {
            Duration::from_secs(seconds.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn parse(args: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(
            ["peerwork-bench"]
                .into_iter()
                .chain(args.split_whitespace()),
        )
    }

    #[test]
    fn sizes_are_the_scenarios_unless_they_are_given() {
        let options = parse("bloat").unwrap();
        assert_eq!(options.time(), Duration::from_secs(60));
        assert_eq!(options.rounds(), 1);
        let options = parse("drain --tasks 7 --rounds 2 --nodes 4 --slots 8").unwrap();
        let sizes = (
            options.tasks(),
            options.rounds(),
            options.nodes(),
            options.slots(),
        );
        assert_eq!(sizes, (7, 2, 4, 8));
        assert_eq!(parse("drain").unwrap().slots(), 256);
        let options = parse("fair").unwrap();
        assert_eq!((options.slots(), options.tasks()), (16, 100_000));
        assert_eq!(parse("lanes-claim").unwrap().lanes(), 10_000);
        assert_eq!(parse("lanes --lanes 5").unwrap().lanes(), 5);
        assert_eq!(parse("backlog --backlog 0").unwrap().backlog(), 0);
    }

    #[test]
    fn what_nobody_can_wait_for_or_means_nothing_is_refused() {
        for args in [
            "",
            "mystery",
            "drain --tasks 0",
            "drain --nodes 0",
            "idle --seconds 86400",
            "drain --rounds 0",
            "lanes --lanes 0",
            "fair --length-ms 0",
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }
}
