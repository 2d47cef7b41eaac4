//! Divides a tree into subtrees of about the same number of files: pure, so that any tree can be tried in a test.

use super::FILES_MIN;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A folder without some of the folders below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subtree {
    /// Relative to the root; empty for the root itself.
    pub folder: String,
    /// Folders below it that belong to other subtrees.
    pub without: Vec<String>,
}

impl Subtree {
    /// The whole tree.
    fn whole() -> Self {
        Self {
            folder: String::new(),
            without: Vec::new(),
        }
    }

    /// Whether the file at `path` (relative to the root) belongs to it.
    pub fn holds(&self, path: &str) -> bool {
        is_below(path, &self.folder) && !self.without.iter().any(|other| is_below(path, other))
    }

    /// For people.
    pub fn name(&self) -> &str {
        match (self.folder.as_str(), self.without.is_empty()) {
            ("", true) => "whole folder",
            ("", false) => "other files",
            (folder, _) => folder,
        }
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// Divides `files` into at most `count` subtrees: the largest one gives away that folder of its own which comes nearest
/// to half of it, again and again.
///
/// Every file is in exactly one of them. There are fewer where folders are few.
pub(crate) fn divide(files: &[String], count: usize) -> Vec<Subtree> {
    let mut subtrees = vec![(Subtree::whole(), files.iter().collect::<Vec<_>>())];
    while subtrees.len() < count {
        subtrees.sort_by_key(|(_, files)| std::cmp::Reverse(files.len()));
        let split = subtrees
            .iter()
            .enumerate()
            .find_map(|(at, (subtree, files))| {
                let folder = halving_folder(subtree, files)?;
                Some((at, folder))
            });
        let Some((at, folder)) = split else { break };
        let (from, files) = &mut subtrees[at];
        let given: Vec<_> = files
            .extract_if(.., |file| is_below(file, &folder))
            .collect();
        let without = from
            .without
            .extract_if(.., |other| is_below(other, &folder))
            .collect();
        from.without.push(folder.clone());
        subtrees.push((Subtree { folder, without }, given));
    }
    subtrees.sort_by(|(a, _), (b, _)| a.folder.cmp(&b.folder));
    subtrees.into_iter().map(|(subtree, _)| subtree).collect()
}

/// The folder below `subtree` with nearest to half of its files, if both sides keep enough of them.
fn halving_folder(subtree: &Subtree, files: &[&String]) -> Option<String> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        for (end, _) in file.match_indices('/') {
            *sizes.entry(&file[..end]).or_default() += 1;
        }
    }
    sizes
        .into_iter()
        .filter(|(folder, size)| {
            is_below(folder, &subtree.folder)
                && *size >= FILES_MIN
                && files.len() - size >= FILES_MIN
        })
        .min_by_key(|(_, size)| (2 * size).abs_diff(files.len()))
        .map(|(folder, _)| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folders: &[(&str, usize)]) -> Vec<String> {
        let all = folders
            .iter()
            .flat_map(|(folder, count)| (0..*count).map(move |n| format!("{folder}f{n}")));
        all.collect()
    }

    fn sizes(files: &[String], subtrees: &[Subtree]) -> Vec<(String, usize)> {
        let size = |subtree: &Subtree| files.iter().filter(|file| subtree.holds(file)).count();
        subtrees
            .iter()
            .map(|subtree| (subtree.name().to_owned(), size(subtree)))
            .collect()
    }

    #[test]
    fn every_file_is_in_exactly_one_subtree() {
        let files = files(&[
            ("", 7),
            ("a/", 40),
            ("a/b/", 30),
            ("a/b/c/", 20),
            ("ab/", 9),
            ("d/e/f/", 50),
        ]);
        for count in 1..12 {
            let subtrees = divide(&files, count);
            assert!(subtrees.len() <= count);
            for file in &files {
                assert_eq!(
                    subtrees
                        .iter()
                        .filter(|subtree| subtree.holds(file))
                        .count(),
                    1,
                    "{file} {subtrees:?}"
                );
            }
        }
    }

    #[test]
    fn a_large_subtree_gives_half_of_itself_away() {
        let files = files(&[("", 14), ("a/", 50), ("b/", 50), ("c/x/", 6)]);
        let divided = divide(&files, 3);
        assert_eq!(
            sizes(&files, &divided),
            [
                ("other files".to_owned(), 20),
                ("a".to_owned(), 50),
                ("b".to_owned(), 50)
            ]
        );
    }

    #[test]
    fn a_flat_folder_stays_whole() {
        let files = files(&[("", 100)]);
        assert_eq!(divide(&files, 8), [Subtree::whole()]);
        assert_eq!(divide(&[], 8), [Subtree::whole()]);
    }
}
