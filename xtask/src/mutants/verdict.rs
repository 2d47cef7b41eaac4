//! What the output of a simulation says: which promises were broken, and by which seed.

/// A broken promise.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    seed: u64,
    invariant: String,
}

/// The broken promises in what `peerwork-faults simulate` has printed, as `seed 7: I12: ..`.
pub fn violations(output: &str) -> Vec<Violation> {
    output.lines().filter_map(violation).collect()
}

fn violation(line: &str) -> Option<Violation> {
    let (seed, found) = line.strip_prefix("seed ")?.split_once(": ")?;
    let (invariant, _) = found.split_once(": ")?;
    invariant.strip_prefix('I')?.parse::<u32>().ok()?;
    Some(Violation {
        seed: seed.parse().ok()?,
        invariant: invariant.to_owned(),
    })
}

/// By what a bug was caught that breaks `expected`. None if it was not.
pub fn of(violations: &[Violation], expected: &str) -> Option<String> {
    let first = violations.first()?;
    let as_expected = violations
        .iter()
        .find(|violation| violation.invariant == expected);
    let Violation { seed, invariant } = as_expected.unwrap_or(first);
    let mut words = format!("caught by {invariant}, seed {seed}");
    if as_expected.is_none() {
        words += &format!(" ({expected} was expected)");
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
seed 7: I20: task 1 is still running after the faults
seed 7: I12: end of task 1: running -> resuming while its handler lives
seed 7: two runs of it have two histories
replay it: cargo run -p peerwork-faults --release -- simulate --seed 7
";

    #[test]
    fn the_expected_invariant_is_named_before_others() {
        let found = violations(OUTPUT);
        assert_eq!(found.len(), 2);
        assert_eq!(of(&found, "I12").unwrap(), "caught by I12, seed 7");
        assert_eq!(
            of(&found, "I1").unwrap(),
            "caught by I20, seed 7 (I1 was expected)"
        );
    }

    #[test]
    fn a_panic_and_a_second_history_are_no_violations() {
        for output in [
            "thread 'main' panicked at src/sim/world.rs:7:7:\nseed 7: why",
            "seed 7: two runs of it have two histories\n",
            "300 seeds from 0: no promise was broken\n",
            "",
        ] {
            assert_eq!(of(&violations(output), "I1"), None, "{output}");
        }
    }
}
