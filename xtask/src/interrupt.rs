//! Ctrl-C, SIGTERM and SIGHUP as a flag, so that what we started is stopped in order.
//!
//! A second one ends us at once; the servers are then stopped by their tethers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on a signal sets the flag.
pub fn listen() {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first signal finds the flag unset and sets it, the second finds it set.
        let ends = flag::register_conditional_default(signal, Arc::clone(&REQUESTED));
        let sets = flag::register(signal, Arc::clone(&REQUESTED));
        ends.and(sets).expect("these three signals can be handled");
    }
}

/// Whether somebody wants us to end.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
