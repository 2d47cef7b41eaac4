//! The bugs: each what somebody tired might write, and different in kind from the others.

use anyhow::{Result, bail};

/// One bug.
#[derive(Debug)]
pub struct Mutant {
    pub name: &'static str,
    /// What somebody got wrong.
    pub bug: &'static str,
    /// The invariant of `docs/invariants.md` that it is expected to break.
    pub breaks: &'static str,
    pub file: &'static str,
    /// What stands in the file, exactly once.
    pub old: &'static str,
    /// What stands there instead.
    pub new: &'static str,
}

impl Mutant {
    /// The file's text with the bug in it.
    ///
    /// # Errors
    /// What to do when the text is not there any more, or more than once.
    pub fn planted(&self, text: &str) -> Result<String> {
        let times = text.matches(self.old).count();
        if times != 1 {
            bail!(
                "mutant {} no longer applies: its old text occurs {times} times in {}. Find what does the same there now, and \
                 change the mutant in xtask/src/mutants/table.rs; then see that `cargo xtask mutants --only {}` catches it",
                self.name,
                self.file,
                self.name
            );
        }
        Ok(text.replacen(self.old, self.new, 1))
    }
}

pub const MUTANTS: [Mutant; 12] = [
    Mutant {
        name: "fence-without-run",
        bug: "the fence asks whether the task is held, and not by which run",
        breaks: "I1",
        file: "crates/peerwork-store/src/memory/table.rs",
        old: ".filter(|row| row.task.status.is_held() && row.run == Some(run))",
        new: ".filter(|row| row.task.status.is_held())",
    },
    Mutant {
        name: "checkpoint-let-go",
        bug: "the checkpoint's bytes are let go together with the input's, which are decoded already",
        breaks: "I11",
        file: "crates/peerwork/src/node/registry.rs",
        old: "run.claimed.input = Vec::new();",
        new: "(run.claimed.input, run.claimed.checkpoint) = (Vec::new(), None);",
    },
    Mutant {
        name: "death-by-the-database-clock",
        bug: "a peer is declared dead as soon as its lease has expired, without having been watched for a whole ttl",
        breaks: "I21",
        file: "crates/peerwork-core/src/lease.rs",
        old: "if now.since(seen.since) >= Duration::from_millis(ttl_ms) && is_over {",
        new: "if is_over {",
    },
    Mutant {
        name: "watch-that-never-begins",
        bug: "the watch does not note its reading, so that each one is the first, and nobody is ever declared dead or rescued",
        breaks: "I20",
        file: "crates/peerwork-core/src/lease.rs",
        old: "self.last_read = Some(now);",
        new: "",
    },
    Mutant {
        name: "beat-timed-from-repetition",
        bug: "a beat that is sent again counts from then, though its first sending may be what was written",
        breaks: "I24",
        file: "crates/peerwork-core/src/lease.rs",
        old: "*self.sent.get_or_insert((self.next, now))",
        new: "*self.sent.insert((self.next, now))",
    },
    Mutant {
        name: "pause-ignored",
        bug: "a run is told of deletions, and not of pauses",
        breaks: "I12",
        file: "crates/peerwork/src/run.rs",
        old: "Status::Pausing => Some(Reason::Pause),",
        new: "",
    },
    Mutant {
        name: "handler-outlives-its-run",
        bug: "the handler is a task of its own, which goes on when the run that waits for it is dropped",
        breaks: "I12",
        file: "crates/peerwork/src/node/runner.rs",
        old: "entry.start(core.clone(), control.clone(), claimed),",
        new: "{
            let handler = core.spawn(entry.start(core.clone(), control.clone(), claimed));
            async move { handler.await.expect(\"panics are caught in it\") }
        },",
    },
    Mutant {
        name: "poll-without-lease",
        bug: "before a poll only the node's incarnation is compared, and not its lease",
        breaks: "I24",
        file: "crates/peerwork/src/node/runner.rs",
        old: "core.lease.is_fenced(node, core.client.env.now())",
        new: "core.lease.node() != node",
    },
    Mutant {
        name: "slot-leaked",
        bug: "a run's slot is forgotten at its end instead of being given back",
        breaks: "I20",
        file: "crates/peerwork/src/node/runner.rs",
        old: "(upcoming, slot) = match slot.next() {",
        new: "if true {
            return std::mem::forget(slot);
        }
        (upcoming, slot) = match slot.next() {",
    },
    Mutant {
        name: "lost-claim-kept",
        bug: "what a node holds without knowing, by a claim whose answer was lost, is not given back",
        breaks: "I20",
        file: "crates/peerwork/src/node/upkeep.rs",
        old: "give_back_unknown(core).await",
        new: "Ok(())",
    },
    Mutant {
        name: "claim-on-old-settings",
        bug: "a claim is not refused that was decided before the newest setting, so that a limit is passed over that its node has not read",
        breaks: "I14",
        file: "crates/peerwork-store/src/memory/mod.rs",
        old: "if claim.version != data.config.version {",
        new: "if claim.version > data.config.version {",
    },
    Mutant {
        name: "room-not-counted-down",
        bug: "of what a claim has taken under a limit only the last part is taken off what is left",
        breaks: "I14",
        file: "crates/peerwork-core/src/limits/rooms.rs",
        old: "room.taken = room.taken.saturating_add(tasks);",
        new: "room.taken = tasks;",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn every_mutant_can_be_planted() {
        for mutant in &MUTANTS {
            let text = fs::read_to_string(crate::root().join(mutant.file)).unwrap();
            assert_ne!(mutant.planted(&text).unwrap(), text, "{}", mutant.name);
        }
    }

    #[test]
    fn every_mutant_has_a_name_of_its_own_and_breaks_what_the_simulation_checks() {
        let names: BTreeSet<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
        let invariants = fs::read_to_string(crate::root().join("docs/invariants.md")).unwrap();
        for mutant in &MUTANTS {
            let row = format!("| {} |", mutant.breaks);
            let row = invariants.lines().find(|line| line.starts_with(&row));
            let is_simulated = row.is_some_and(|row| row.contains("sim"));
            assert!(is_simulated, "{}: {}", mutant.name, mutant.breaks);
        }
    }

    #[test]
    fn a_mutant_whose_text_has_changed_says_what_to_do() {
        let mutant = &MUTANTS[0];
        for (text, times) in [
            (String::new(), "0 times"),
            (mutant.old.repeat(2), "2 times"),
        ] {
            let error = mutant.planted(&text).unwrap_err().to_string();
            for part in [times, mutant.name, mutant.file, "table.rs"] {
                assert!(error.contains(part), "{error}");
            }
        }
    }
}
