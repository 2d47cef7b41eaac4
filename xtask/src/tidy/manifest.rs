//! The dependencies of a Cargo.toml, with the one thing that a TOML parser throws away: the comments that give their reason.

/// One Cargo.toml.
pub struct Manifest {
    /// From the workspace's root; the workspace's own is `Cargo.toml`.
    pub path: String,
    pub dependencies: Vec<Dependency>,
    /// `[lints] workspace = true`: the workspace's lints hold.
    pub has_workspace_lints: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name, also where the manifest gives it another.
    pub name: String,
    pub section: Section,
    /// From 1.
    pub line: usize,
    /// Whether a comment stands beside it, or above it in the same block of lines.
    pub has_reason: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Normal,
    Dev,
    Build,
    /// `[workspace.dependencies]`: a table of versions, nothing depends on it.
    Workspace,
}

impl Manifest {
    /// Cargo has read the file before us: this only has to understand what cargo accepts.
    pub fn parse(path: &str, text: &str) -> Self {
        let mut manifest = Self {
            path: path.to_owned(),
            dependencies: Vec::new(),
            has_workspace_lints: false,
        };
        let mut header = Header::Other;
        let mut reason_above = false;
        let mut open_brackets = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let (content, comment) = split_comment(line);
            let continues = open_brackets > 0;
            open_brackets += depth(content);
            if continues {
                continue;
            }
            match content.trim() {
                "" => reason_above = comment.is_some(),
                title if title.starts_with('[') => {
                    header = Header::parse(title.trim_matches(['[', ']']));
                    open_brackets = 0;
                    if let Header::Table(section, name) = &header {
                        let has_reason = reason_above || comment.is_some();
                        manifest
                            .dependencies
                            .push(Dependency::new(name, *section, number, has_reason));
                    }
                    reason_above = false;
                }
                entry => match &header {
                    Header::List(section) => {
                        let has_reason = reason_above || comment.is_some();
                        manifest.dependencies.push(Dependency::new(
                            name_of(entry),
                            *section,
                            number,
                            has_reason,
                        ));
                    }
                    Header::Lints => {
                        manifest.has_workspace_lints |= entry.replace(' ', "") == "workspace=true"
                    }
                    Header::Table(..) | Header::Other => {}
                },
            }
        }
        manifest
    }

    /// The crate's folder: `peerwork-core`, or `xtask`; `None` for the workspace's own.
    pub fn package(&self) -> Option<&str> {
        let folder = self.path.strip_suffix("/Cargo.toml")?;
        Some(folder.strip_prefix("crates/").unwrap_or(folder))
    }
}

impl Dependency {
    fn new(name: &str, section: Section, line: usize, has_reason: bool) -> Self {
        Self {
            name: name.to_owned(),
            section,
            line,
            has_reason,
        }
    }
}

enum Header {
    /// `[dependencies]`: a dependency per line.
    List(Section),
    /// `[dependencies.name]`.
    Table(Section, String),
    Lints,
    Other,
}

impl Header {
    fn parse(title: &str) -> Self {
        if title == "lints" {
            return Self::Lints;
        }
        // The condition of `[target.'cfg(..)'.dependencies]` may hold dots, but no section's name.
        for (name, section) in [
            ("dev-dependencies", Section::Dev),
            ("build-dependencies", Section::Build),
            ("workspace.dependencies", Section::Workspace),
            ("dependencies", Section::Normal),
        ] {
            let is_target = title.starts_with("target.");
            if title == name || (is_target && title.ends_with(&format!(".{name}"))) {
                return Self::List(section);
            }
            let table = match is_target {
                true => title
                    .split_once(&format!(".{name}."))
                    .map(|(_, dependency)| dependency),
                false => title.strip_prefix(&format!("{name}.")),
            };
            if let Some(dependency) = table {
                return Self::Table(section, dependency.to_owned());
            }
        }
        Self::Other
    }
}

/// `name = ..`, `name.workspace = true`, `other = { package = "name" }`.
fn name_of(entry: &str) -> &str {
    let renamed = entry
        .split_once("package")
        .and_then(|(_, rest)| rest.trim_start().strip_prefix('='));
    if let Some(name) = renamed.and_then(|value| value.split('"').nth(1)) {
        return name;
    }
    let name = entry
        .split(['=', '.', ' '])
        .next()
        .expect("split yields at least one part");
    name.trim_matches('"')
}

/// The line without its comment, and the comment if it says something.
fn split_comment(line: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => {
                let comment = line[at + 1..].trim();
                return (&line[..at], (!comment.is_empty()).then_some(comment));
            }
            _ => {}
        }
    }
    (line, None)
}

fn depth(content: &str) -> i32 {
    content
        .chars()
        .map(|c| match c {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependencies(text: &str) -> Vec<(String, Section, bool)> {
        let manifest = Manifest::parse("crates/x/Cargo.toml", text);
        manifest
            .dependencies
            .into_iter()
            .map(|found| (found.name, found.section, found.has_reason))
            .collect()
    }

    #[test]
    fn a_reason_stands_beside_a_dependency_or_above_its_block() {
        let text = "[dependencies]\n# ids\nuuid = \"1\"\nblake3.workspace = true\n\nbare = \"1\"\nserde = \"1\" # payloads\n";
        let expected = [
            ("uuid", true),
            ("blake3", true),
            ("bare", false),
            ("serde", true),
        ];
        let expected = expected.map(|(name, reason)| (name.to_owned(), Section::Normal, reason));
        assert_eq!(dependencies(text), expected);
    }

    #[test]
    fn an_empty_comment_and_a_hash_in_a_string_are_no_reason() {
        let text = "[dependencies]\n#\na = \"1\"\nb = { git = \"x#y\" }\n";
        assert!(dependencies(text).iter().all(|(_, _, reason)| !reason));
    }

    #[test]
    fn sections_tables_targets_and_renames_are_understood() {
        let text = "[dev-dependencies]\na = \"1\"\n[target.'cfg(unix)'.dependencies]\nb = \"1\"\n\
                    [build-dependencies.c]\nversion = \"1\"\n[workspace.dependencies]\nd = \"1\"\n\
                    [dependencies]\nrenamed = { package = \"e\", version = \"1\" }\n[features]\nf = []\n";
        let found: Vec<_> = dependencies(text)
            .into_iter()
            .map(|(name, section, _)| (name, section))
            .collect();
        let expected = [
            ("a", Section::Dev),
            ("b", Section::Normal),
            ("c", Section::Build),
            ("d", Section::Workspace),
            ("e", Section::Normal),
        ];
        assert_eq!(
            found,
            expected.map(|(name, section)| (name.to_owned(), section))
        );
    }

    #[test]
    fn a_list_over_several_lines_is_one_dependency() {
        let text = "[dependencies]\na = { version = \"1\", features = [\n  \"x\",\n  \"y\",\n] }\nb = \"1\"\n";
        let found: Vec<_> = dependencies(text)
            .into_iter()
            .map(|(name, _, _)| name)
            .collect();
        assert_eq!(found, ["a", "b"]);
    }

    #[test]
    fn lints_and_packages_are_known() {
        let manifest = Manifest::parse(
            "crates/peerwork-core/Cargo.toml",
            "[lints]\nworkspace = true\n",
        );
        assert!(manifest.has_workspace_lints);
        assert_eq!(manifest.package(), Some("peerwork-core"));
        assert_eq!(Manifest::parse("Cargo.toml", "").package(), None);
    }
}
