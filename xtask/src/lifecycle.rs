//! Writes `docs/lifecycle.md` from the decisions in peerwork-core; a test there checks that it was done.

use anyhow::Context;

pub fn run() -> anyhow::Result<()> {
    let path = crate::root().join("docs/lifecycle.md");
    std::fs::write(&path, peerwork_core::lifecycle::document())
        .with_context(|| format!("cannot write {}", path.display()))
}
