//! SQL is in peerwork-store, so that a statement and its plan are found in one place.
//!
//! A check of string literals, by their first words: it cannot know SQL, but it knows what ours begins with.

use super::Finding;
use super::source::Literal;
use super::tree::Tree;

/// Where statements may be written: a path's beginning and the reason.
const SQL_LIVES_IN: [(&str, &str); 9] = [
    ("crates/peerwork-store/", "the one crate with SQL"),
    (
        "crates/peerwork-conformance/",
        "looks at rows and plans behind the store's back",
    ),
    ("crates/peerwork-bench/", "prepares and measures tables"),
    (
        "benches/peers/",
        "counts what other people's queues have recorded",
    ),
    ("crates/peerwork-faults/", "audits the rows of a run"),
    (
        "crates/peerwork-testbed/",
        "asks a server whether it is the one it started",
    ),
    (
        "crates/peerwork/examples/",
        "a user's own tables beside ours",
    ),
    ("crates/peerwork/tests/", "a user's own tables beside ours"),
    ("xtask/src/tidy/sql.rs", "this check's own examples"),
];

/// What statements begin with, after lower-casing and joining white space.
const BEGINNINGS: [&str; 21] = [
    "select ",
    "insert into ",
    "insert or ",
    "replace into ",
    "delete from ",
    "create table ",
    "create index ",
    "create unique index ",
    "create schema ",
    "create database ",
    "create trigger ",
    "alter table ",
    "drop table ",
    "drop index ",
    "drop schema ",
    "truncate table ",
    "pragma ",
    "begin immediate",
    "set transaction ",
    "explain select ",
    "explain (",
];

/// What betrays a statement wherever it stands.
const PARTS: [&str; 3] = ["insert into ", "delete from ", " for update skip locked"];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let elsewhere = tree.sources.iter().filter(|source| {
        !SQL_LIVES_IN
            .iter()
            .any(|(place, _)| source.path.starts_with(place))
    });
    elsewhere
        .flat_map(|source| statements(&source.path, &source.literals))
        .collect()
}

fn statements(path: &str, literals: &[Literal]) -> Vec<Finding> {
    let statements = literals.iter().filter(|literal| is_sql(&literal.text));
    statements
        .map(|literal| {
            let start: String = literal.text.trim().chars().take(40).collect();
            let what = format!(
                "SQL (\"{start}\"): it belongs in peerwork-store; prose is worded otherwise"
            );
            Finding::new(path, literal.line, what)
        })
        .collect()
}

fn is_sql(text: &str) -> bool {
    // An escaped line end in a literal is white space to the reader of the statement.
    let text = text.replace("\\n", " ").replace("\\\n", " ").to_lowercase();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ") + " ";
    BEGINNINGS
        .iter()
        .any(|beginning| text.starts_with(beginning))
        || PARTS.iter().any(|part| text.contains(part))
        || (text.starts_with("update ") && text.contains(" set "))
        || (text.starts_with("with ") && text.contains(" as (") && text.contains("select "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source::Source;

    fn found(path: &str, text: &str) -> usize {
        let tree = Tree {
            sources: vec![Source::parse(path, text)],
            manifests: vec![],
            architecture: None,
            invariants: None,
        };
        check(&tree).len()
    }

    #[test]
    fn statements_outside_of_the_store_are_found() {
        for text in [
            r#"query("SELECT id FROM task")"#,
            r#"query("insert  into t values (1)")"#,
            r##"query(r#"UPDATE task\n   SET x = 1"#)"##,
            "query(\"\n   delete from task\")",
            r#"format!("{prefix} DELETE FROM {table}")"#,
            r#"query("with due as (select id from parked) update parked set x = 1")"#,
            r#"query("PRAGMA journal_mode")"#,
            r#"query("BEGIN IMMEDIATE")"#,
        ] {
            assert_eq!(found("crates/peerwork/src/client.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn prose_and_comments_are_not() {
        for text in [
            "// select id from task",
            r#""selected tasks""#,
            r#""update the task, then run it""#,
            r#""delete: removes it from its group""#,
        ] {
            assert_eq!(found("crates/peerwork/src/client.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn the_store_may() {
        assert_eq!(
            found(
                "crates/peerwork-store/src/sqlite.rs",
                r#"query("select 1")"#
            ),
            0
        );
    }
}
