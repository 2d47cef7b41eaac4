//! The rules that no compiler checks. Each is an absence, so a reader may rely on it without looking.
//!
//! Every check is a function from the tree to findings; its limits and exceptions are constants in its file, each with
//! its reason. An exception that is no longer needed is a finding too.

mod claims;
mod dependencies;
mod layout;
mod leftovers;
mod manifest;
mod purity;
mod source;
mod sql;
mod tree;

use std::fmt;

use anyhow::{Result, bail};

use tree::Tree;

/// `cargo xtask tidy`: prints what is untidy.
pub fn run() -> Result<()> {
    let findings = check(&Tree::read(&crate::root())?);
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => bail!("{count} untidy"),
    }
}

fn check(tree: &Tree) -> Vec<Finding> {
    let checks = [
        layout::check,
        purity::check,
        sql::check,
        dependencies::check,
        leftovers::check,
        claims::check,
    ];
    checks.iter().flat_map(|check| check(tree)).collect()
}

/// One breach of a rule: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1; 0 where the whole file is meant.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_tidy() {
        let tree = Tree::read(&crate::root()).unwrap();
        assert!(
            tree.sources.len() > 20,
            "the walk found {} sources only",
            tree.sources.len()
        );
        let findings: Vec<String> = check(&tree).iter().map(Finding::to_string).collect();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn an_untidy_tree_is_found_out() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("crates/peerwork-core/src");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("lib.rs"), "pub async fn run() { todo!() }\n").unwrap();
        let manifest = "[package]\nname = \"peerwork-core\"\n\n[dependencies]\ntokio = \"1\"\n";
        std::fs::write(
            root.path().join("crates/peerwork-core/Cargo.toml"),
            manifest,
        )
        .unwrap();

        let findings = check(&Tree::read(root.path()).unwrap());
        let texts: Vec<String> = findings.iter().map(Finding::to_string).collect();
        for part in [
            "lib.rs:1: begin with",
            "lib.rs:1: `async`",
            "lib.rs:1: `todo!`",
            "Cargo.toml:5: tokio",
        ] {
            assert!(
                texts.iter().any(|text| text.contains(part)),
                "{part} is not in {texts:#?}"
            );
        }
    }
}
