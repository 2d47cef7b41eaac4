//! The files that the checks look at, read once.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::manifest::Manifest;
use super::source::Source;

/// Where our own code lives; everything else below the root is built, downloaded or prose.
const FOLDERS: [&str; 3] = ["crates", "xtask", "benches"];

/// What tools put into them: none of it is ours.
const BUILT: [&str; 2] = ["target", "node_modules"];

pub struct Tree {
    pub sources: Vec<Source>,
    /// Every crate's, and the workspace's as the one whose path is `Cargo.toml`. Benches have workspaces of their own.
    pub manifests: Vec<Manifest>,
    /// `ARCHITECTURE.md`, once it is there.
    pub architecture: Option<String>,
    /// `docs/invariants.md`, once it is there.
    pub invariants: Option<String>,
}

impl Tree {
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self {
            sources: Vec::new(),
            manifests: Vec::new(),
            architecture: None,
            invariants: None,
        };
        for folder in FOLDERS {
            if root.join(folder).exists() {
                tree.walk(root, folder)?;
            }
        }
        if let Ok(text) = fs::read_to_string(root.join("Cargo.toml")) {
            tree.manifests.push(Manifest::parse("Cargo.toml", &text));
        }
        tree.architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).ok();
        tree.invariants = fs::read_to_string(root.join("docs/invariants.md")).ok();
        tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn walk(&mut self, root: &Path, folder: &str) -> Result<()> {
        for entry in root
            .join(folder)
            .read_dir()
            .with_context(|| format!("read {folder}"))?
        {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}/{name}");
            if entry.file_type()?.is_dir() {
                if !BUILT.contains(&name.as_str()) && !name.starts_with('.') {
                    self.walk(root, &path)?;
                }
            } else if name.ends_with(".rs") {
                self.sources.push(Source::parse(&path, &read(root, &path)?));
            } else if name == "Cargo.toml" {
                self.manifests
                    .push(Manifest::parse(&path, &read(root, &path)?));
            }
        }
        Ok(())
    }
}

fn read(root: &Path, path: &str) -> Result<String> {
    fs::read_to_string(root.join(path)).with_context(|| format!("read {path}"))
}
