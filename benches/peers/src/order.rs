//! What a contender is told to do, and how long it may take.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Measure {
    /// Tasks created one at a time, by one caller
    Create,
    /// Tasks created by the fastest call there is
    Bulk,
    /// Tasks that are there already, to their recorded ends
    Drain,
    /// From creating a task to the first line of its handler, on an idle worker in the same process
    Pickup,
}

pub struct Order {
    pub measure: Measure,
    pub tasks: u32,
}

impl Measure {
    /// Whoever is not done by then is judged by what it has done.
    pub fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Create => 5,
            Self::Bulk => 10,
            Self::Drain | Self::Pickup => 20,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Bulk => "bulk",
            Self::Drain => "drain",
            Self::Pickup => "pickup",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
