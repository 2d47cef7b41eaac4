//! peerwork-core is pure: no async, no clock, no randomness. What cargo cannot refuse is refused here.

use super::Finding;
use super::source::Source;
use super::tree::Tree;

const PURE: &str = "peerwork-core";

/// Words in a row that no code of the pure crate contains, and what it does instead.
const FORBIDDEN: [(&[&str], &str); 9] = [
    (&["async"], "the shell is in peerwork"),
    (&["await"], "the shell is in peerwork"),
    (&["thread", "spawn"], "the shell is in peerwork"),
    (&["thread", "sleep"], "`now` is an argument"),
    (&["SystemTime", "now"], "`now` is an argument"),
    (&["Instant", "now"], "`now` is an argument"),
    (&["Uuid", "now_v7"], "ids are arguments"),
    (&["Uuid", "new_v4"], "ids are arguments"),
    (
        &["RandomState"],
        "jitter is an argument, and maps are ordered",
    ),
];

pub fn check(tree: &Tree) -> Vec<Finding> {
    tree.sources
        .iter()
        .filter(|source| source.package() == PURE)
        .flat_map(impurities)
        .collect()
}

fn impurities(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.numbered() {
        let words: Vec<&str> = line.words().collect();
        for (forbidden, instead) in FORBIDDEN {
            if words
                .windows(forbidden.len())
                .any(|found| found == forbidden)
            {
                let what = format!("`{}` in {PURE}: {instead}", forbidden.join("::"));
                findings.push(Finding::new(&source.path, number, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        impurities(&Source::parse("crates/peerwork-core/src/lib.rs", text)).len()
    }

    #[test]
    fn a_clock_or_a_future_in_the_core_is_found() {
        for text in [
            "pub async fn run() {}",
            "let t = SystemTime::now();",
            "let start = std::time::Instant::now();",
            "let id = Uuid::now_v7();",
            "std::thread::sleep(d)",
            "let seed = RandomState::new();",
        ] {
            assert!(found(text) > 0, "{text}");
        }
    }

    #[test]
    fn prose_about_them_is_not() {
        assert_eq!(
            found(
                "//! No async here, no Instant::now.\nlet text = \"async\"; let asynchronous = 1;"
            ),
            0
        );
    }

    #[test]
    fn a_time_that_is_handed_in_is_not() {
        assert_eq!(
            found("pub fn from_system(time: SystemTime) -> Self { time.into() }"),
            0
        );
    }

    #[test]
    fn other_crates_may() {
        let sources = vec![Source::parse(
            "crates/peerwork/src/lib.rs",
            "async fn run() {}",
        )];
        let tree = Tree {
            sources,
            manifests: vec![],
            architecture: None,
            invariants: None,
        };
        assert!(check(&tree).is_empty());
    }
}
