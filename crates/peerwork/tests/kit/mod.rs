//! What behaviours are written with: a place on every database, handlers that a test leads by the hand, nodes that
//! only pretend, and everything that was logged.
//!
//! No test sleeps to wait for something: it waits for a puppet to appear, for a status to be seen, or for a future.

pub mod child;
mod ghost;
mod log;
mod lossy;
mod names;
mod note;
mod place;
mod puppet;
mod statuses;
mod tap;

pub use child::{Process, Relay};
pub use ghost::{Ghost, bury, sweep};
pub use log::Log;
pub use lossy::Lossy;
pub use names::NAMES;
pub use note::Note;
pub use place::Place;
pub use puppet::{Actor, Puppet, Stage};
pub use statuses::{Ask, task_in};
pub use tap::Tap;

use peerwork::{LeaseTimes, Retry, Rules};
use std::future::Future;
use std::time::Duration;

/// A lease that does not end while a test lasts: whatever works under it has not waited for a lease. It beats fast, so
/// that a node soon hears that a test has declared it dead.
pub const STEADY: LeaseTimes = LeaseTimes {
    beat_ms: 100,
    ttl_ms: 3_600_000,
    margin_ms: 1_000,
};

/// The shortest lease there is: for tests in which one must end.
pub const TIGHT: LeaseTimes = LeaseTimes {
    beat_ms: 300,
    ttl_ms: LeaseTimes::TTL_MS_MIN,
    margin_ms: 500,
};

/// Long enough for the slowest behaviour on a busy machine, short enough to end before the test runner gives up.
const TEST_LIMIT: Duration = Duration::from_secs(60);

/// Runs `test` on the database called `name`, and clears up after it unless it fails.
pub async fn run_on<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Place) -> F) {
    let place = Place::open(name).await;
    let bounded = tokio::time::timeout(TEST_LIMIT, test(place.clone()));
    bounded
        .await
        .unwrap_or_else(|_| panic!("still waiting after {TEST_LIMIT:?}"));
    place.close().await;
}

/// Waits until something holds that sends no signal; each look is a call of some kind.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::task::yield_now().await;
    }
}

/// The rules of a kind that fails at once and for good.
pub fn never_again() -> Rules {
    Rules {
        retry: Retry::NEVER,
        ..Rules::default()
    }
}

/// Makes a test of a behaviour for each of the databases named: `on!([sqlite, postgres] a_task_finishes)` makes
/// `a_task_finishes::sqlite` and `a_task_finishes::postgres`.
macro_rules! on {
    (@one [$($database:ident),+] $behaviour:ident) => {
        mod $behaviour {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $database() {
                    crate::kit::run_on(stringify!($database), super::$behaviour).await;
                }
            )+
        }
    };
    ($databases:tt $($behaviour:ident),+ $(,)?) => {
        $(on!(@one $databases $behaviour);)+
    };
}

/// [`on!`] for behaviours that must be alone in their process, because they read what it logs.
macro_rules! alone_on {
    (@one [$($database:ident),+] $behaviour:ident) => {
        mod $behaviour {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $database() {
                    if crate::kit::child::is_alone() {
                        crate::kit::run_on(stringify!($database), super::$behaviour).await;
                    } else {
                        let path = concat!(module_path!(), "::", stringify!($database));
                        let (_, name) = path.split_once("::").expect("it is in a crate");
                        crate::kit::child::run_alone(name);
                    }
                }
            )+
        }
    };
    ($databases:tt $($behaviour:ident),+ $(,)?) => {
        $(alone_on!(@one $databases $behaviour);)+
    };
}

/// [`on!`] for all four.
macro_rules! on_every_database {
    ($($behaviour:ident),+ $(,)?) => {
        $(on!([memory, sqlite, postgres, mysql] $behaviour);)+
    };
}
