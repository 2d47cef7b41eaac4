//! Who takes part: how each is built, and where it records in the database what it has done.

use anyhow::{Result, ensure};

use crate::order::Measure;

/// The one that the others are compared with.
pub const OURS: &str = "peerwork";

/// A contender.
pub struct Entry {
    /// As in the table, and for `--only`.
    pub name: &'static str,
    pub version: &'static str,
    pub source: Source,
    /// Migrations that the contender does not run itself.
    pub schema: Option<Schema>,
    /// What follows `from`, for the tasks whose ends are not recorded yet ..
    pub unfinished: &'static str,
    /// .. and for those whose ends are, where they are kept.
    pub kept: Option<&'static str>,
    pub measures: &'static [Measure],
}

pub enum Source {
    /// A binary of this workspace.
    Rust(&'static str),
    /// A script in `node`.
    Node(&'static str),
}

/// SQL files that come with a package of the lock file.
pub struct Schema {
    pub package: &'static str,
    pub folder: &'static str,
}

const ALL: &[Measure] = &[
    Measure::Create,
    Measure::Bulk,
    Measure::Drain,
    Measure::Pickup,
];

const GRAPHILE_JOBS: &str = "graphile_worker._private_jobs";

const PLAIN: Entry = Entry {
    name: "",
    version: "",
    source: Source::Rust(""),
    schema: None,
    unfinished: "",
    kept: None,
    measures: ALL,
};

static ENTRIES: [Entry; 8] = [
    Entry {
        name: OURS,
        version: "this checkout",
        source: Source::Rust("contender-peerwork"),
        unfinished: "(select id from peerwork_ready union all select id from peerwork_running union all select run_id from peerwork_batch \
                     union all select id from peerwork_parked) waiting",
        kept: Some("peerwork_done"),
        ..PLAIN
    },
    Entry {
        name: "graphile_worker",
        version: "0.14.1, Rust",
        source: Source::Rust("contender-graphile_worker"),
        unfinished: GRAPHILE_JOBS,
        ..PLAIN
    },
    Entry {
        name: "apalis-postgres",
        version: "1.0.0, Rust",
        source: Source::Rust("contender-apalis"),
        unfinished: "apalis.jobs where status <> 'Done'",
        kept: Some("apalis.jobs where status = 'Done'"),
        ..PLAIN
    },
    Entry {
        name: "underway",
        version: "0.2.0, Rust",
        source: Source::Rust("contender-underway"),
        unfinished: "underway.task where state <> 'succeeded'",
        kept: Some("underway.task where state = 'succeeded'"),
        ..PLAIN
    },
    Entry {
        name: "fang",
        version: "0.11.0, Rust",
        source: Source::Rust("contender-fang"),
        schema: Some(Schema {
            package: "fang",
            folder: "postgres_migrations/migrations",
        }),
        unfinished: "fang_tasks",
        // It has no call that creates many.
        measures: &[Measure::Create, Measure::Drain, Measure::Pickup],
        ..PLAIN
    },
    Entry {
        name: "sqlxmq",
        version: "0.6.0, Rust",
        source: Source::Rust("contender-sqlxmq"),
        schema: Some(Schema {
            package: "sqlxmq",
            folder: "migrations",
        }),
        // Every queue of it has one row that is no job.
        unfinished: "mq_msgs where id <> '00000000-0000-0000-0000-000000000000'",
        ..PLAIN
    },
    Entry {
        name: "graphile-worker",
        version: "0.18.0, JavaScript",
        source: Source::Node("graphile-worker.mjs"),
        unfinished: GRAPHILE_JOBS,
        ..PLAIN
    },
    Entry {
        name: "pg-boss",
        version: "12.38.0, JavaScript",
        source: Source::Node("pg-boss.mjs"),
        unfinished: "pgboss.job where state <> 'completed'",
        kept: Some("pgboss.job where state = 'completed'"),
        ..PLAIN
    },
];

impl Entry {
    pub fn takes(&self, measure: Measure) -> bool {
        self.measures.contains(&measure)
    }
}

/// Those with these names; without names, all.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Entry>> {
    let known: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
    for name in names {
        ensure!(
            known.contains(&name.as_str()),
            "no contender {name:?}: there are {}",
            known.join(", ")
        );
    }
    let is_chosen = |entry: &&Entry| match names {
        [] => true,
        names => names.iter().any(|name| name == entry.name),
    };
    Ok(ENTRIES.iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_named_take_part_and_otherwise_all() {
        let count = |only: &[&str]| {
            let names: Vec<_> = only.iter().map(|name| name.to_string()).collect();
            chosen(&names).unwrap().len()
        };
        assert_eq!(count(&[]), ENTRIES.len());
        assert_eq!(count(&["fang", OURS]), 2);
    }

    #[test]
    fn an_unknown_contender_is_refused() {
        assert!(chosen(&["river".to_owned()]).is_err());
    }
}
