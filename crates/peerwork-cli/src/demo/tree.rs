//! The files below a folder, in one order for everybody: regular files, without what a version control system or a
//! build puts there.

use std::path::Path;
use walkdir::{DirEntry, WalkDir};

/// Paths relative to `root`, with `/`, sorted. Names that are not UTF-8 are passed over, and links are not followed.
///
/// # Errors
/// If a folder cannot be read.
pub(crate) fn files_below(root: &Path) -> Result<Vec<String>, walkdir::Error> {
    let mut files = Vec::new();
    for entry in WalkDir::new(root).into_iter().filter_entry(is_wanted) {
        let entry = match entry {
            Ok(entry) => entry,
            // Gone between the listing and the look: it is not below the folder any more.
            Err(error) if error.depth() > 0 && is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if let (true, Some(path)) = (entry.file_type().is_file(), path.to_str()) {
            files.push(path.replace(std::path::MAIN_SEPARATOR, "/"));
        }
    }
    // Not the walk's order, which goes by components: `a-b` comes before `a/b` here, as in any sorted list.
    files.sort_unstable();
    Ok(files)
}

/// Neither a repository's own folder nor a cache (`target` says that it is one, see <https://bford.info/cachedir/>).
fn is_wanted(entry: &DirEntry) -> bool {
    let is_folder = entry.file_type().is_dir() && entry.depth() > 0;
    !is_folder || (entry.file_name() != ".git" && !entry.path().join("CACHEDIR.TAG").exists())
}

fn is_gone(error: &walkdir::Error) -> bool {
    error
        .io_error()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn caches_and_repositories_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["target/debug", ".git", "src", "src-b"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in [
            "target/CACHEDIR.TAG",
            "target/debug/x",
            ".git/HEAD",
            "src/b",
            "src/a",
            "src-b/c",
            ".hidden",
        ] {
            fs::write(root.path().join(file), file).unwrap();
        }
        let found = files_below(root.path()).unwrap();
        assert_eq!(found, [".hidden", "src-b/c", "src/a", "src/b"]);
        assert!(files_below(&root.path().join("absent")).is_err());
    }
}
