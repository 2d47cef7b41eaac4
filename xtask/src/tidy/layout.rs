//! Files: each says its one job first, stays small, and is named after what it does. So are types and functions.

use super::Finding;
use super::source::Source;
use super::tree::Tree;

const LINES_LIMIT: usize = 600;
const ARCHITECTURE_LIMIT: usize = 200;

/// Files over the limit: path and reason.
const LONG_FILES: [(&str, &str); 0] = [];

/// Words that say nothing about a job, as a part of a file's or folder's name.
const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "helper", "helpers", "common", "manager", "managers", "misc",
];

/// The same, at the end of a type's name.
const EMPTY_ENDINGS: [&str; 6] = ["Manager", "Helper", "Helpers", "Util", "Utils", "Service"];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        findings.extend(header(source));
        findings.extend(size(source, &LONG_FILES));
        findings.extend(file_name(source));
        findings.extend(names(source));
    }
    findings.extend(tree.architecture.as_deref().and_then(architecture));
    findings.extend(gone(tree, &LONG_FILES));
    findings
}

fn header(source: &Source) -> Option<Finding> {
    let first = source
        .lines
        .first()
        .map_or("", |line| line.comment.as_str());
    let says_something = first
        .strip_prefix("//!")
        .is_some_and(|job| !job.trim().is_empty() && job.trim() != "Placeholder.");
    let what = "begin with `//!` and the file's one job";
    (!says_something).then(|| Finding::new(&source.path, 1, what))
}

fn size(source: &Source, exceptions: &[(&str, &str)]) -> Option<Finding> {
    let lines = source.lines.len();
    let excepted = exceptions.iter().any(|(path, _)| *path == source.path);
    let what = match (lines > LINES_LIMIT, excepted) {
        (true, false) => format!("{lines} lines: split it, or give the reason in LONG_FILES"),
        (false, true) => format!("only {lines} lines by now: take it off LONG_FILES"),
        _ => return None,
    };
    Some(Finding::new(&source.path, 0, what))
}

fn gone(tree: &Tree, exceptions: &[(&str, &str)]) -> Vec<Finding> {
    let is_gone = |path: &str| tree.sources.iter().all(|source| source.path != path);
    let gone = exceptions.iter().filter(|(path, _)| is_gone(path));
    gone.map(|(path, _)| Finding::new(path, 0, "is gone: take it off LONG_FILES"))
        .collect()
}

fn file_name(source: &Source) -> Option<Finding> {
    let path = source.path.strip_suffix(".rs").unwrap_or(&source.path);
    let word = path
        .split(['/', '_', '-'])
        .find(|word| EMPTY_NAMES.contains(word))?;
    Some(Finding::new(
        &source.path,
        0,
        format!("`{word}` says nothing: name it after what it does"),
    ))
}

fn names(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.numbered() {
        let words: Vec<&str> = line.words().collect();
        for pair in words.windows(2) {
            let what = match *pair {
                ["struct" | "enum" | "trait" | "type", name] => {
                    let ending = EMPTY_ENDINGS.iter().find(|ending| name.ends_with(**ending));
                    ending.map(|ending| {
                        format!("`{name}`: {ending} says nothing: name it after what it is")
                    })
                }
                ["fn", name] if name.starts_with("get_") => {
                    Some(format!("`{name}`: leave out `get_`"))
                }
                _ => None,
            };
            findings.extend(what.map(|what| Finding::new(&source.path, number, what)));
        }
    }
    findings
}

fn architecture(text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let what = format!("{lines} lines: it is a page to read in one go, under {ARCHITECTURE_LIMIT}");
    (lines >= ARCHITECTURE_LIMIT).then(|| Finding::new("ARCHITECTURE.md", 0, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::parse("crates/x/src/thing.rs", text)
    }

    #[test]
    fn a_file_without_its_job_is_found() {
        assert_eq!(header(&source("//! One job.\n")), None);
        for text in [
            "",
            "use std::fs;\n//! Late.\n",
            "//!\n",
            "// One job.\n",
            "//! Placeholder.\n",
        ] {
            assert!(header(&source(text)).is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_long_file_needs_a_reason_and_a_short_one_none() {
        let (long, short) = (source(&"x\n".repeat(601)), source(&"x\n".repeat(600)));
        let excepted = [("crates/x/src/thing.rs", "a table")];
        assert!(size(&long, &[]).is_some());
        assert_eq!(size(&long, &excepted), None);
        assert_eq!(size(&short, &[]), None);
        assert!(
            size(&short, &excepted).is_some(),
            "an exception nobody needs"
        );
    }

    #[test]
    fn an_exception_for_a_file_that_is_gone_is_found() {
        let tree = Tree {
            sources: vec![source("")],
            manifests: vec![],
            architecture: None,
            invariants: None,
        };
        assert_eq!(
            gone(&tree, &[("crates/x/src/other.rs", "a table")]).len(),
            1
        );
        assert!(gone(&tree, &[("crates/x/src/thing.rs", "a table")]).is_empty());
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for path in [
            "crates/x/src/util.rs",
            "crates/x/src/common/a.rs",
            "crates/x/tests/test_helpers.rs",
        ] {
            assert!(file_name(&Source::parse(path, "")).is_some(), "{path}");
        }
        assert_eq!(
            file_name(&Source::parse("crates/x/src/utility_curve.rs", "")),
            None
        );
    }

    #[test]
    fn types_and_functions_with_empty_names_are_found() {
        let text = "pub struct TaskManager;\nfn get_task() {}\nimpl Manager for Task {}\nfn getaway() {}\n";
        let lines: Vec<usize> = names(&source(text))
            .iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [1, 2]);
    }

    #[test]
    fn an_architecture_page_that_grew_too_long_is_found() {
        assert!(architecture(&"x\n".repeat(200)).is_some());
        assert_eq!(architecture(&"x\n".repeat(199)), None);
    }
}
