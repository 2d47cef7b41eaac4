//! What `docs/invariants.md` says is checked is checked: each invariant has its row, and each test that is named is there.

use super::Finding;
use super::source::Source;
use super::tree::Tree;

const PATH: &str = "docs/invariants.md";

/// I1 to this one.
const INVARIANTS: usize = 30;

/// A name of a test is a sentence: it has at least so many words. Shorter ones in backticks are words of the code.
const WORDS: usize = 3;

pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.invariants.as_deref() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for number in 1..=INVARIANTS {
        let rows = text.lines().filter_map(row).filter(|row| *row == number);
        if rows.count() != 1 {
            let what = format!("I{number} has to have one row of the table");
            findings.push(Finding::new(PATH, 0, what));
        }
    }
    for (line, number) in text.lines().zip(1..) {
        let missing = tests(line).filter(|name| !is_there(&tree.sources, name));
        findings.extend(missing.map(|name| {
            let what = format!("there is no test `{name}`: name the one that checks it now");
            Finding::new(PATH, number, what)
        }));
    }
    findings
}

/// The number of the invariant whose row this is.
fn row(line: &str) -> Option<usize> {
    let (number, _) = line.strip_prefix("| I")?.split_once(' ')?;
    number.parse().ok()
}

/// The names in backticks that are sentences, or the beginning of one: `ga_01_*`.
fn tests(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter(|name| {
        let is_name =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '*';
        name.chars().all(is_name) && name.split('_').count() >= WORDS
    })
}

fn is_there(sources: &[Source], name: &str) -> bool {
    let (begins, is_whole) = match name.strip_suffix('*') {
        Some(begins) => (begins, false),
        None => (name, true),
    };
    let mut lines = sources.iter().flat_map(|source| &source.lines);
    lines.any(|line| {
        let found = line
            .code
            .split("fn ")
            .skip(1)
            .find_map(|rest| rest.strip_prefix(begins));
        found.is_some_and(|rest| !is_whole || rest.starts_with(['(', '<']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let code = "async fn ga_01_a_test() {}\nfn a_second_one<T>() {}\n";
        let rows: String = (1..=INVARIANTS)
            .map(|n| format!("| I{n} | S |\n"))
            .collect();
        let tree = Tree {
            sources: vec![Source::parse("crates/x/tests/a.rs", code)],
            manifests: Vec::new(),
            architecture: None,
            invariants: Some(format!("{rows}{text}\n")),
        };
        check(&tree).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn tests_that_are_there_may_be_named() {
        assert_eq!(found("`ga_01_*`, `a_second_one`, and `decide`"), [""; 0]);
    }

    #[test]
    fn a_test_that_is_not_there_is_found() {
        for name in ["ga_02_*", "a_second", "a_second_on", "a_third_one"] {
            let expected = usize::from(name != "a_second");
            assert_eq!(found(&format!("`{name}`")).len(), expected, "{name}");
        }
    }

    #[test]
    fn an_invariant_without_a_row_of_its_own_is_found() {
        assert_eq!(found("| I7 | S |").len(), 1);
    }
}
