//! Whom the death of a node counts against.
//!
//! A node that dies takes down everything it runs, and mostly one task at fault, if any. So a death only *accuses*
//! those that were there: it makes each a suspect at most. From then on a task is tried: a node runs one suspect at a
//! time until that has shown itself (its first saved checkpoint, or [`trial_ms`] of running), having written beside it
//! that it is on trial; and only a death during a run on trial counts further. So a task that kills its process is found
//! after [`SUSPICION`] deaths plus the rest of its limit, and those that ran beside it are not: they are cleared by
//! their first checkpoint, or by ending. A single death makes no suspect, so one mass kill serialises nothing.
//!
//! What this cannot tell apart: two tasks on one node that both run for longer than a trial without ever saving, of which
//! one kills. Both are on trial then.
//!
//! *Not here:* the slot that one suspect at a time holds (`peerwork`, `node/trial.rs`).

/// Deaths without progress that make a task a suspect.
pub const SUSPICION: u32 = 2;

/// How long a suspect runs, at first, before the next one may start, in milliseconds.
pub const TRIAL_MS: u64 = 10_000;

/// The longest trial, in milliseconds.
const TRIAL_MS_MAX: u64 = 600_000;

/// Whether a task with so many deaths is run one at a time.
pub const fn is_suspect(crashes: u32) -> bool {
    crashes >= SUSPICION
}

/// How long a suspect runs before the next one may start, in milliseconds: doubled by each death on trial, so that what
/// kills late is told apart too.
pub fn trial_ms(crashes: u32) -> u64 {
    let doubled = crashes.saturating_sub(SUSPICION).min(16);
    (TRIAL_MS << doubled).min(TRIAL_MS_MAX)
}

/// The deaths of a task after one more, during a run that was on trial or not.
pub const fn charged(crashes: u32, on_trial: bool) -> u32 {
    if on_trial || !is_suspect(crashes) {
        crashes.saturating_add(1)
    } else {
        crashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_beside_others_accuses_and_only_a_trial_condemns() {
        let mut crashes = 0;
        for _ in 0..100 {
            crashes = charged(crashes, false);
        }
        assert_eq!(crashes, SUSPICION, "it was never on trial");
        assert_eq!(charged(crashes, true), SUSPICION + 1);
    }

    #[test]
    fn a_trial_doubles_up_to_ten_minutes() {
        let trials: Vec<_> = (2..=5).map(trial_ms).collect();
        assert_eq!(trials, [10_000, 20_000, 40_000, 80_000]);
        assert_eq!(trial_ms(u32::MAX), 600_000);
    }
}
