//! What a policy would do: a cluster of slots, played through in virtual time.
//!
//! ```
//! use peerwork_core::policy::Policies;
//! use peerwork_core::simulate::{Cluster, Mix, Workload};
//!
//! let (workload, mix) = (Workload::HeavyLight, Mix { tasks: 2_000, ..Mix::default() });
//! let trace = workload.trace(&mix);
//! let fair = Policies::default().find("fair").unwrap();
//! let outcome = Cluster::default().run(&trace, &workload.weights(), fair);
//! assert!(outcome.jain > 0.9 && outcome.utilisation > 0.99);
//! ```
//!
//! What it leaves out: the time that a claim takes, reading ahead, failures, limits and gates. What it has: several nodes, each of which
//! decides on a snapshot of its own that is up to half a second old. [`Outcome::observed`] makes the same figures of what really ran.
//!
//! *Not here:* tables and plots of it (`peerwork simulate`).

mod cluster;
mod ideal;
mod observed;
mod outcome;
mod queue;
mod trace;
mod workload;

pub use cluster::Cluster;
pub use observed::Ran;
pub use outcome::{Class, Outcome, UserOutcome, Waits};
pub use trace::{Arrival, Trace, TraceError};
pub use workload::{Mix, Workload};
