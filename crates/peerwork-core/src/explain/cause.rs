//! The causes, each with its figures and as words.

use super::Count;
use crate::{Gate, Name, NodeId, Rate, Scope, State, Timestamp, Work};
use std::fmt;

/// Something that keeps a task from running, or says that it runs or is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is over.
    Over {
        /// Finished, failed or deleted.
        state: State,
        /// When.
        at: Option<Timestamp>,
        /// The text of its last failure, if it failed.
        error: Option<String>,
    },
    /// A node runs it.
    Running(Holder),
    /// A node runs it and was asked to stop.
    Stopping {
        /// That node.
        holder: Holder,
        /// Whether it is to be deleted; otherwise it is to pause.
        deletes: bool,
    },
    /// A node runs its cleanup.
    Cleaning(Holder),
    /// It was created and not started yet.
    NotStarted,
    /// It is paused.
    Paused {
        /// Its run was dropped at the deadline, not ended by itself.
        forced: bool,
        /// Runs that failed since it was last started anew.
        failures: u32,
        /// The text of the last of them.
        error: Option<String>,
    },
    /// Its cleanup failed for good.
    CleanupFailed {
        /// Why.
        error: Option<String>,
    },
    /// A gate is closed.
    Gate {
        /// Whose.
        scope: Scope,
        /// Why, by whom, since when, and until when if that is known.
        gate: Gate,
    },
    /// No live node has its kind.
    NoNode {
        /// Its kind.
        kind: Name,
        /// How many nodes are alive.
        live: u32,
        /// The kinds that those have.
        kinds: Vec<Name>,
    },
    /// It waits for its children.
    Children {
        /// Those that are over.
        over: u32,
        /// How many have to be.
        of: u32,
        /// When it waits no longer, whatever they do.
        until: Option<Timestamp>,
    },
    /// It is due at a time.
    Later {
        /// When. If that has passed, the next look of a node puts it in line.
        at: Timestamp,
        /// What for.
        why: Why,
    },
    /// As many tasks run as may.
    Limit {
        /// Whose limit it is.
        scope: Scope,
        /// How many may run at once.
        max: u32,
        /// How many do.
        running: u64,
        /// The tasks ahead of it in its lane.
        ahead: Count,
    },
    /// On each node that may have its kind as many tasks run as may on one.
    LimitPerNode {
        /// Whose limit it is.
        scope: Scope,
        /// How many may run at once on a node.
        max: u32,
        /// How many nodes that are.
        nodes: u32,
        /// The tasks ahead of it in its lane.
        ahead: Count,
    },
    /// As many tasks have started as may for now.
    Bucket {
        /// Whose bucket it is.
        scope: Scope,
        /// How many may start.
        rate: Rate,
        /// When one may start again.
        next_at: Timestamp,
    },
    /// It is in line: others are ahead of it, or all slots are taken, or the policy prefers other lanes.
    Line {
        /// Whether it waits for a run or for its cleanup.
        work: Work,
        /// The tasks ahead of it in its lane.
        ahead: Count,
        /// The lanes in which there is something to claim, its own included.
        lanes: Count,
        /// The slots for runs of the live nodes that may have its kind; none for a cleanup, whose slots are apart.
        slots: Option<Slots>,
        /// The policy that is chosen for all nodes; none: each has its own.
        policy: Option<String>,
    },
}

/// What a task waits for that is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The time at which it is to run.
    DueTime,
    /// Its next try.
    Retry {
        /// Runs that failed so far.
        failures: u32,
    },
    /// A time that its handler has named.
    Timer,
    /// The next try of its cleanup.
    CleanupRetry {
        /// Cleanups that failed so far.
        failures: u32,
    },
}

/// The node that holds a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub node: NodeId,
    /// For people; none if its row is gone.
    pub label: Option<String>,
    /// Since when it holds the task.
    pub since: Timestamp,
    /// How it is.
    pub health: Health,
    /// The slots for runs.
    pub slots: u32,
    /// The tasks that it holds to run. More than there are slots: some of them wait on it.
    pub running: u64,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its lease runs.
    Live,
    /// Its lease has run out, and no peer has declared it dead yet.
    Late,
    /// It was declared dead, or is gone.
    Dead,
}

/// Slots of several nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// All of them.
    pub total: u64,
    /// Those that are taken.
    pub taken: u64,
}

/// Characters of a text of others that a sentence quotes at most.
const QUOTE_CHARS_MAX: usize = 120;

/// A text on one line, in quotes, cut where it would bury the sentence.
fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

fn because(error: Option<&String>) -> String {
    error.map_or_else(String::new, |error| format!(": {}", quoted(error)))
}

fn tasks(n: Count) -> String {
    let are = if n.n == 1 && !n.is_bound {
        "task is"
    } else {
        "tasks are"
    };
    format!("{n} {are}")
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over { state, at, error } => {
                let how = match state {
                    State::Failed => "it has failed",
                    State::Deleted => "it is deleted",
                    _ => "it has finished",
                };
                let at = at.map_or_else(String::new, |at| format!(", at {at}"));
                write!(f, "{how}{at}{}", because(error.as_ref()))
            }
            Self::Running(holder) => write!(f, "it runs on {holder}"),
            Self::Stopping {
                holder,
                deletes: true,
            } => write!(f, "it is to be deleted, and its run is to stop on {holder}"),
            Self::Stopping {
                holder,
                deletes: false,
            } => write!(f, "it is to pause, and stops at its next save on {holder}"),
            Self::Cleaning(holder) => write!(f, "its cleanup runs on {holder}"),
            Self::NotStarted => {
                f.write_str("it was created and not started; run it, and it gets in line")
            }
            Self::Paused {
                forced,
                failures,
                error,
            } => {
                f.write_str("it is paused until somebody resumes it")?;
                if *forced {
                    f.write_str("; its run was dropped, because it did not stop in time")?;
                }
                if *failures > 0 {
                    write!(f, "; it has failed {failures} times")?;
                    f.write_str(&because(error.as_ref()))?;
                }
                Ok(())
            }
            Self::CleanupFailed { error } => write!(
                f,
                "its cleanup has failed for good{}; delete it again to try once more, or force its deletion",
                because(error.as_ref())
            ),
            Self::Gate { scope, gate } => {
                write!(f, "the gate of {scope} is closed since {}", gate.since)?;
                if let Some(until) = gate.until {
                    write!(f, " until {until}")?;
                }
                if let Some(by) = &gate.by {
                    write!(f, " by {}", quoted(by))?;
                }
                write!(f, ": {}", quoted(&gate.reason))
            }
            Self::NoNode { kind, live: 0, .. } => {
                write!(
                    f,
                    "no node is alive; start one that has kind {kind:?}",
                    kind = kind.as_str()
                )
            }
            Self::NoNode { kind, live, kinds } => {
                let kind = kind.as_str();
                write!(f, "no live node has kind {kind:?}; {live} ")?;
                f.write_str(if *live == 1 {
                    "is alive and has "
                } else {
                    "are alive and have "
                })?;
                f.write_str(&listed(kinds))
            }
            Self::Children { over, of, until } => {
                write!(
                    f,
                    "it waits for its children, of which {over} of {of} are over"
                )?;
                match until {
                    Some(until) => write!(f, ", until {until} at the latest"),
                    None => Ok(()),
                }
            }
            Self::Later { at, why } => write!(f, "it is due at {at}, {why}"),
            Self::Limit {
                scope,
                max,
                running,
                ahead,
            } => write!(
                f,
                "{running} of {max} run under the limit of {scope}, and {} ahead of it in its lane",
                tasks(*ahead)
            ),
            Self::LimitPerNode {
                scope,
                max,
                nodes,
                ahead,
            } => write!(
                f,
                "{max} run on each of the nodes that have its kind ({nodes}) under the limit of {scope} for each node, and {} ahead of \
                 it in its lane",
                tasks(*ahead)
            ),
            Self::Bucket {
                scope,
                rate,
                next_at,
            } => write!(
                f,
                "as many have started under {scope} as may for now ({} a second); the next may at {next_at}",
                rate.per_1000_s as f64 / 1_000.0
            ),
            Self::Line {
                work,
                ahead,
                lanes,
                slots,
                policy,
            } => line(f, *work, *ahead, *lanes, *slots, policy.as_deref()),
        }
    }
}

/// Kinds that a sentence lists at most.
const LISTED_MAX: usize = 8;

fn listed(kinds: &[Name]) -> String {
    if kinds.is_empty() {
        return "none".to_owned();
    }
    let named: Vec<_> = kinds
        .iter()
        .take(LISTED_MAX)
        .map(|kind| format!("{:?}", kind.as_str()))
        .collect();
    let more = match kinds.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    named.join(", ") + &more
}

fn line(
    f: &mut fmt::Formatter<'_>,
    work: Work,
    ahead: Count,
    lanes: Count,
    slots: Option<Slots>,
    policy: Option<&str>,
) -> fmt::Result {
    f.write_str(match work {
        Work::Run => "it is in line, and ",
        Work::Cleanup => "its cleanup is in line, and ",
    })?;
    match ahead.n {
        0 => f.write_str("the first of its lane")?,
        _ => write!(f, "{} ahead of it in its lane", tasks(ahead))?,
    }
    let is_full = slots.is_some_and(|slots| slots.taken >= slots.total);
    if let Some(slots) = slots {
        let Slots { total, taken } = slots;
        write!(f, "; {taken} of {total} slots are taken")?;
    }
    let others = lanes.n.saturating_sub(1);
    if others == 0 {
        return match ahead.n == 0 && !is_full {
            true => f.write_str("; it is about to start"),
            false => Ok(()),
        };
    }
    let bound = if lanes.is_bound { "at least " } else { "" };
    let lanes = if others == 1 {
        "lane has"
    } else {
        "lanes have"
    };
    write!(f, "; {bound}{others} other {lanes} work, which the policy ")?;
    if let Some(policy) = policy {
        write!(f, "({}) ", quoted(policy))?;
    }
    f.write_str("may prefer")
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DueTime => f.write_str("its due time"),
            Self::Retry { failures: 1 } => f.write_str("for another try after its first failure"),
            Self::Retry { failures } => write!(f, "for another try after {failures} failures"),
            Self::Timer => f.write_str("the time that its handler waits for"),
            Self::CleanupRetry { failures: 1 } => {
                f.write_str("for another try of its cleanup after the first failure")
            }
            Self::CleanupRetry { failures } => {
                write!(
                    f,
                    "for another try of its cleanup after {failures} failures"
                )
            }
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.node)?;
        if let Some(label) = &self.label {
            write!(f, " ({})", quoted(label))?;
        }
        write!(f, " since {}", self.since)?;
        match self.health {
            Health::Live if self.running > u64::from(self.slots) => {
                let Self { running, slots, .. } = self;
                write!(f, ", which holds {running} tasks for {slots} slots: it may wait for one there")
            }
            Health::Live => Ok(()),
            Health::Late => f.write_str(
                ", whose lease has run out: a peer takes the task over once it has declared the node dead",
            ),
            Health::Dead => f.write_str(", which is dead: a live node takes the task over at its next look"),
        }
    }
}
