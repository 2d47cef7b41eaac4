//! Whom the death of a node counts against.
//!
//! A node that dies takes down everything it runs, and mostly one task at fault, if any. So a death only *accuses*
//! those that were there: it makes each a suspect at most. From then on a task is tried, and only a death during a run *on trial*,
//! which is written beside the run before it begins, counts further.
//!
//! | deaths | how it runs |
//! | --- | --- |
//! | fewer than [`SUSPICION`] | like any other: one mass kill serialises nothing |
//! | [`SUSPICION`] | a node starts one such task at a time: the next one when that has saved a checkpoint, or has run for [`trial_ms`] |
//! | more | a node runs no other suspect beside it, until it has saved a checkpoint, has ended, or has run for ten minutes |
//!
//! A checkpoint clears a task. So one that kills its process within ten minutes is found after [`SUSPICION`] deaths plus the rest of
//! its limit. Those that ran beside it are charged with one death more than the suspicion at most, whether they save or not: after that
//! each runs without it.
//!
//! *Not here:* the slot that one suspect at a time holds (`peerwork`, `node/trial.rs`).

/// Deaths without progress that make a task a suspect.
pub const SUSPICION: u32 = 2;

/// How long a suspect runs before the next one may start, in milliseconds.
pub const TRIAL_MS: u64 = 10_000;

/// How long one runs without any other suspect beside it, in milliseconds.
const ALONE_MS: u64 = 600_000;

/// Whether a task with so many deaths is run one at a time.
pub const fn is_suspect(crashes: u32) -> bool {
    crashes >= SUSPICION
}

/// Whether a task with so many deaths runs without any other suspect beside it.
pub const fn is_tried_alone(crashes: u32) -> bool {
    crashes > SUSPICION
}

/// How long the trial of a suspect with so many deaths holds others up, in milliseconds.
pub const fn trial_ms(crashes: u32) -> u64 {
    if is_tried_alone(crashes) {
        ALONE_MS
    } else {
        TRIAL_MS
    }
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
    fn who_was_charged_on_trial_is_tried_alone() {
        assert!(is_suspect(SUSPICION) && !is_tried_alone(SUSPICION));
        assert!(is_tried_alone(charged(SUSPICION, true)));
        assert!(trial_ms(SUSPICION + 1) > trial_ms(SUSPICION));
    }
}
