//! What may be written, but not committed: unfinished code, tests that do not run, and tests that wait by sleeping.

use super::Finding;
use super::source::{Line, Source};
use super::tree::Tree;

/// Macros of unfinished work.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// Folders of tests, beside every folder named `tests`: a suite's crate is tests throughout.
const SUITES: [&str; 1] = ["crates/peerwork-conformance/"];

/// On a line that sleeps because a fault has to last, or because another process cannot signal.
const SLEEP_REASON: &str = "fault:";

pub fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources.iter().flat_map(leftovers).collect()
}

fn leftovers(source: &Source) -> Vec<Finding> {
    let is_test = SUITES.iter().any(|suite| source.path.starts_with(suite))
        || source.path.split('/').any(|part| part == "tests");
    let mut findings = Vec::new();
    for (number, line) in source.numbered() {
        let unfinished = UNFINISHED.into_iter().filter(|name| calls(line, name));
        let whats = unfinished.map(|name| format!("`{name}` is left over: finish it or remove it"));
        findings.extend(whats.map(|what| Finding::new(&source.path, number, what)));
        if line.code.replace(' ', "").contains("#[ignore") {
            findings.push(Finding::new(
                &source.path,
                number,
                "`#[ignore]`: a test runs in CI, or is removed",
            ));
        }
        if is_test && sleeps(line) && !line.comment.contains(SLEEP_REASON) {
            let what = "a test that sleeps: wait for a signal, move the clock, or say `// fault: <why time has to pass>`";
            findings.push(Finding::new(&source.path, number, what));
        }
    }
    findings
}

fn calls(line: &Line, name: &str) -> bool {
    line.code
        .match_indices(name)
        .any(|(at, _)| !ends_in_word(&line.code[..at]))
}

/// `sleep(..)`, `time::sleep_until(..)`; not a method of that name, which is a task's durable sleep.
fn sleeps(line: &Line) -> bool {
    let is_function = |before: &str| {
        !ends_in_word(before) && !before.trim_end().ends_with(['.']) && !before.ends_with("fn ")
    };
    ["sleep(", "sleep_until("].iter().any(|call| {
        line.code
            .match_indices(call)
            .any(|(at, _)| is_function(&line.code[..at]))
    })
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        leftovers(&Source::parse(path, text)).len()
    }

    #[test]
    fn unfinished_code_is_found() {
        for text in [
            "fn f() { todo!() }",
            "unimplemented!(\"later\")",
            "dbg!(x);",
            "#[ignore]\nfn t() {}",
            "#[ignore = \"slow\"]",
        ] {
            assert_eq!(found("crates/x/src/lib.rs", text), 1, "{text}");
        }
        assert_eq!(
            found(
                "crates/x/src/lib.rs",
                "// todo!\nlet a = \"dbg!\"; mytodo!()"
            ),
            0
        );
    }

    #[test]
    fn a_test_that_sleeps_is_found() {
        for text in [
            "tokio::time::sleep(d).await;",
            "sleep(d)",
            "thread::sleep(d); // wait a bit",
            "time::sleep_until(t)",
        ] {
            assert_eq!(found("crates/x/tests/a.rs", text), 1, "{text}");
            assert_eq!(
                found("crates/peerwork-conformance/src/lib.rs", text),
                1,
                "{text}"
            );
        }
    }

    #[test]
    fn a_fault_may_last_and_a_task_may_sleep() {
        assert_eq!(
            found(
                "crates/x/tests/a.rs",
                "sleep(d); // fault: the database is away for a second"
            ),
            0
        );
        assert_eq!(
            found("crates/x/tests/a.rs", "run.sleep(d).await?; fn sleep(d) {}"),
            0
        );
        assert_eq!(
            found("crates/x/src/lib.rs", "tokio::time::sleep(d).await;"),
            0
        );
    }
}
