//! What tasks do that harm the process they run in.

use super::history::{FaultSort, Journal, What};
use super::node::{LEASE, THREADS};
use std::time::{Duration, Instant};

/// What a node says on its standard output when a task blocks one of its threads for ever.
pub const SPINNING: &str = "spinning";
/// Its neighbours are to have something to lose.
const SETTLE: Duration = Duration::from_millis(300);
const MEAL_BYTES: usize = 256 << 20;
/// What it says when a task has blocked all of them.
pub const WEDGED: &str = "wedged";
/// A wedged node beats for a ttl, then its lease runs out; then peers look, and need some time.
pub const WEDGE: Duration = Duration::from_millis(2 * LEASE.ttl_ms + 4_000);

/// Aborts the process.
pub async fn abort<T>() -> T {
    tokio::time::sleep(SETTLE).await;
    std::process::abort()
}

/// Never yields.
pub async fn spin<T>() -> T {
    tokio::time::sleep(SETTLE).await;
    println!("{SPINNING}");
    loop {
        // Blocks the thread as a loop does, without taking a core away from everybody else.
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Takes address space until there is none, which ends the process. Nothing of it is touched, so the machine has its
/// memory still.
pub async fn devour<T>() -> T {
    tokio::time::sleep(SETTLE).await;
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(Vec::with_capacity(MEAL_BYTES));
    }
}

/// Blocks every thread of the runtime, this one too, until a peer has had all the time to take over.
pub fn wedge(journal: &Journal, label: &str) {
    let until = Instant::now() + WEDGE;
    let node = || Some(label.to_owned());
    let sort = FaultSort::Wedge;
    journal.write(What::Fault { sort, node: node() });
    println!("{WEDGED}");
    let block = move || std::thread::sleep(until.saturating_duration_since(Instant::now()));
    // More than there are threads: one of them may be taken by a thread that soon waits again.
    for _ in 0..2 * THREADS {
        // Nobody waits for it: it ends at the same time as this.
        drop(tokio::spawn(async move { block() }));
    }
    block();
    journal.write(What::Healed { sort, node: node() });
}
