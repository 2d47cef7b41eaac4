//! Who may depend on whom, and why each dependency is there.

use super::Finding;
use super::manifest::{Dependency, Manifest, Section};
use super::tree::Tree;

/// Our crates, each with those of ours that it may use: core <- store <- peerwork <- the rest.
const CRATES: [Crate; 10] = [
    Crate {
        name: "peerwork-core",
        uses: &[],
        tests_use: &[],
    },
    Crate {
        name: "peerwork-store",
        uses: &["peerwork-core"],
        tests_use: &["peerwork-testbed"],
    },
    Crate {
        name: "peerwork",
        uses: &["peerwork-core", "peerwork-store"],
        tests_use: &["peerwork-testbed"],
    },
    Crate {
        name: "peerwork-cli",
        uses: &["peerwork"],
        tests_use: &["peerwork-testbed"],
    },
    Crate {
        name: "peerwork-dashboard",
        uses: &["peerwork"],
        tests_use: &["peerwork-testbed"],
    },
    Crate {
        name: "peerwork-conformance",
        uses: &["peerwork-core", "peerwork-store", "peerwork-testbed"],
        tests_use: &[],
    },
    Crate {
        name: "peerwork-faults",
        uses: &[
            "peerwork-core",
            "peerwork-store",
            "peerwork",
            "peerwork-testbed",
        ],
        tests_use: &[],
    },
    Crate {
        name: "peerwork-bench",
        uses: &[
            "peerwork-core",
            "peerwork-store",
            "peerwork",
            "peerwork-testbed",
        ],
        tests_use: &[],
    },
    Crate {
        name: "peerwork-testbed",
        uses: &[],
        tests_use: &[],
    },
    Crate {
        name: "xtask",
        uses: &["peerwork-core", "peerwork-testbed"],
        tests_use: &[],
    },
];

/// The driver of the databases, and who may know it.
const SQLX_USERS: [(&str, &str); 6] = [
    ("peerwork-store", "the one crate with SQL"),
    ("peerwork", "its types: the caller's pool and transaction"),
    (
        "peerwork-conformance",
        "looks at rows and plans behind the store's back",
    ),
    ("peerwork-faults", "audits the rows of a run"),
    ("peerwork-bench", "prepares and measures tables"),
    ("peerwork-testbed", "may ask a server by its own protocol"),
];

/// What the pure crate does without, by the beginning of a package's name.
const IMPURE: [&str; 6] = ["tokio", "futures", "async-", "sqlx", "rand", "getrandom"];

/// `anyhow` is for binaries; a library's errors have types.
const ANYHOW_USERS: [(&str, &str); 4] = [
    ("peerwork-cli", "a binary"),
    ("peerwork-faults", "unpublished binaries"),
    ("peerwork-bench", "an unpublished binary"),
    ("xtask", "an unpublished binary"),
];

/// Workspaces of their own, which no crate of ours depends on: who may use what does not matter there, but why does.
const APART: [&str; 1] = ["benches/peers/"];

struct Crate {
    name: &'static str,
    uses: &'static [&'static str],
    /// In dev-dependencies, on top.
    tests_use: &'static [&'static str],
}

pub fn check(tree: &Tree) -> Vec<Finding> {
    let at = |path: String| tree.manifests.iter().find(|manifest| manifest.path == path);
    tree.manifests
        .iter()
        .flat_map(|manifest| {
            let root = apart(manifest).unwrap_or_default();
            check_manifest(manifest, at(format!("{root}Cargo.toml")))
        })
        .collect()
}

fn apart(manifest: &Manifest) -> Option<&'static str> {
    let mut folders = APART.into_iter();
    folders.find(|folder| manifest.path.starts_with(folder))
}

fn check_manifest(manifest: &Manifest, workspace: Option<&Manifest>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(package) = manifest.package().filter(|_| apart(manifest).is_none()) {
        if !manifest.has_workspace_lints {
            findings.push(Finding::new(
                &manifest.path,
                0,
                "add `[lints] workspace = true`",
            ));
        }
        match CRATES.iter().find(|known| known.name == package) {
            Some(known) => {
                let refused = manifest
                    .dependencies
                    .iter()
                    .filter_map(|dependency| refusal(known, dependency));
                findings
                    .extend(refused.map(|(line, what)| Finding::new(&manifest.path, line, what)));
            }
            None => {
                let what = format!(
                    "say in CRATES what {package} may depend on (xtask/src/tidy/dependencies.rs)"
                );
                findings.push(Finding::new(&manifest.path, 0, what));
            }
        }
    }
    // The workspace's table lists our own crates with versions; who may use them is said above.
    let unexplained = manifest
        .dependencies
        .iter()
        .filter(|dependency| !is_ours(dependency) && !has_reason(dependency, workspace));
    findings.extend(unexplained.map(|dependency| {
        let what = format!(
            "{}: give its reason in a comment beside or above it",
            dependency.name
        );
        Finding::new(&manifest.path, dependency.line, what)
    }));
    findings
}

fn refusal(known: &Crate, dependency: &Dependency) -> Option<(usize, String)> {
    let (package, name) = (known.name, dependency.name.as_str());
    let may_use = |users: &[(&str, &str)]| users.iter().any(|(user, _)| *user == package);
    let is_dev = dependency.section == Section::Dev;
    let what = if is_ours(dependency) {
        let allowed = known.uses.contains(&name) || (is_dev && known.tests_use.contains(&name));
        (!allowed).then(|| {
            format!(
                "{name} in {package}: against the direction core <- store <- peerwork <- the rest"
            )
        })
    } else if package == "peerwork-core" && IMPURE.iter().any(|start| name.starts_with(start)) {
        Some(format!(
            "{name} in {package}: it is pure, without async, databases or randomness"
        ))
    } else if name.starts_with("sqlx") {
        (!may_use(&SQLX_USERS)).then(|| format!("{name} in {package}: go through peerwork"))
    } else if name == "anyhow" {
        // Examples and tests are programs too.
        (!is_dev && !may_use(&ANYHOW_USERS))
            .then(|| format!("{name} in {package}: a library's errors have types"))
    } else {
        None
    };
    what.map(|what| (dependency.line, what))
}

fn is_ours(dependency: &Dependency) -> bool {
    CRATES.iter().any(|known| known.name == dependency.name)
}

fn has_reason(dependency: &Dependency, workspace: Option<&Manifest>) -> bool {
    let in_table = |table: &Manifest| {
        table
            .dependencies
            .iter()
            .any(|entry| entry.name == dependency.name && entry.has_reason)
    };
    dependency.has_reason || workspace.is_some_and(in_table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";
    const NOTHING: [usize; 0] = [];

    fn found(package: &str, dependencies: &str) -> Vec<usize> {
        let manifest = Manifest::parse(
            &format!("crates/{package}/Cargo.toml"),
            &format!("{LINTS}{dependencies}"),
        );
        check_manifest(&manifest, None)
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn dependencies_against_the_direction_are_found() {
        assert_eq!(
            found(
                "peerwork-core",
                "[dependencies]\npeerwork-store.workspace = true\n"
            ),
            [4]
        );
        assert_eq!(
            found(
                "peerwork-store",
                "[dependencies]\npeerwork.workspace = true\n"
            ),
            [4]
        );
        assert_eq!(
            found(
                "peerwork-cli",
                "[dependencies]\npeerwork-store.workspace = true\n"
            ),
            [4]
        );
        assert_eq!(
            found(
                "peerwork",
                "[dependencies]\npeerwork-testbed.workspace = true\n"
            ),
            [4]
        );
        assert_eq!(
            found(
                "peerwork",
                "[dev-dependencies]\npeerwork-testbed.workspace = true\n"
            ),
            NOTHING
        );
        assert_eq!(
            found(
                "peerwork-store",
                "[dependencies]\npeerwork-core.workspace = true\n"
            ),
            NOTHING
        );
    }

    #[test]
    fn an_impure_core_is_found() {
        for name in [
            "tokio",
            "tokio-util",
            "sqlx",
            "rand",
            "async-trait",
            "futures-util",
        ] {
            assert_eq!(
                found(
                    "peerwork-core",
                    &format!("[dev-dependencies]\n{name} = \"1\" # why\n")
                ),
                [4],
                "{name}"
            );
        }
    }

    #[test]
    fn the_driver_and_anyhow_stay_where_they_belong() {
        assert_eq!(
            found("peerwork-cli", "[dependencies]\nsqlx = \"0.9\" # why\n"),
            [4]
        );
        assert_eq!(
            found("peerwork-store", "[dependencies]\nsqlx = \"0.9\" # why\n"),
            NOTHING
        );
        assert_eq!(
            found("peerwork-store", "[dependencies]\nanyhow = \"1\" # why\n"),
            [4]
        );
        assert_eq!(
            found("peerwork", "[dev-dependencies]\nanyhow = \"1\" # why\n"),
            NOTHING
        );
    }

    #[test]
    fn a_dependency_without_a_reason_is_found_unless_the_workspace_gives_it() {
        assert_eq!(
            found("peerwork", "[dependencies]\nserde.workspace = true\n"),
            [4]
        );
        let workspace = Manifest::parse(
            "Cargo.toml",
            "[workspace.dependencies]\n# payloads\nserde = \"1\"\n",
        );
        let text = format!("{LINTS}[dependencies]\nserde.workspace = true\n");
        let manifest = Manifest::parse("crates/peerwork/Cargo.toml", &text);
        assert!(check_manifest(&manifest, Some(&workspace)).is_empty());
    }

    #[test]
    fn in_a_workspace_apart_only_reasons_count() {
        let path = "benches/peers/rust/fang/Cargo.toml";
        let text = "[dependencies]\nsqlx.workspace = true\npeerwork = { path = \"..\" }\n";
        let manifest = Manifest::parse(path, text);
        let table = "[workspace.dependencies]\nsqlx = \"0.8\" # its pool\n";
        let workspace = Manifest::parse("benches/peers/Cargo.toml", table);
        assert!(check_manifest(&manifest, Some(&workspace)).is_empty());
        assert_eq!(check_manifest(&manifest, None).len(), 1);
    }

    #[test]
    fn a_crate_that_nobody_placed_and_one_without_lints_are_found() {
        assert_eq!(found("peerwork-new", ""), [0]);
        assert_eq!(
            check_manifest(&Manifest::parse("crates/peerwork/Cargo.toml", ""), None).len(),
            1
        );
    }
}
