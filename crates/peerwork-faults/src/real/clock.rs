//! Two clocks, in microseconds: one that all processes of a machine share and that never jumps, and the one of day.

use rustix::time::{ClockId, clock_gettime};

/// Since the machine started, suspension included: comparable between processes of one machine.
pub fn boot_us() -> u64 {
    read(ClockId::Boottime)
}

/// Since 1970: what a database on this machine writes into the audit.
pub fn day_us() -> u64 {
    read(ClockId::Realtime)
}

/// What is added to a time of [`boot_us`] to get one of [`day_us`].
pub fn boot_to_day_us() -> u64 {
    day_us() - boot_us()
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds * 1_000_000 + nanoseconds / 1_000
}
