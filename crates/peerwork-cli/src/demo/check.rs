//! Computes everything again, one after the other, with other code than the handlers', and compares.
//!
//! People may work in the folder meanwhile: a file that has changed since the demo began is left out, and counted.

use super::digest::{self, UNREADABLE, sums_path};
use super::matrix::{Factors, Rows};
use anyhow::{Context, Result, bail, ensure};
use peerwork::TaskId;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// The files of a folder, with what tells whether one was written to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<String, Stamp>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl Snapshot {
    /// # Errors
    /// If a folder cannot be read.
    pub fn take(root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        walk(root, "", &mut files)?;
        Ok(Self(files))
    }

    /// The files' paths, relative to the root.
    pub fn files(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

fn walk(root: &Path, below: &str, files: &mut BTreeMap<String, Stamp>) -> Result<()> {
    let folder = root.join(below);
    for entry in
        fs::read_dir(&folder).with_context(|| format!("read the folder {}", folder.display()))?
    {
        let entry = entry?;
        let name = entry.file_name();
        let (Some(name), Ok(meta)) = (name.to_str(), entry.metadata()) else {
            continue;
        };
        let path = if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        };
        if meta.is_file() {
            let stamp = Stamp {
                length: meta.len(),
                modified: meta.modified().ok(),
            };
            files.insert(path, stamp);
        } else if meta.is_dir() && name != ".git" && !entry.path().join("CACHEDIR.TAG").exists() {
            walk(root, &path, files)?;
        }
    }
    Ok(())
}

/// The sums of a folder's files now, and what has not changed since a snapshot.
pub(crate) struct Truth {
    sums: BTreeMap<String, String>,
    /// Files that were written to, came or went meanwhile.
    pub changed: usize,
}

impl Truth {
    /// Reads everything below `root`.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn find(root: &Path, before: &Snapshot) -> Result<Self> {
        let mut now = Snapshot::take(root)?.0;
        let all = now.len()
            + before
                .0
                .keys()
                .filter(|path| !now.contains_key(*path))
                .count();
        now.retain(|path, stamp| before.0.get(path) == Some(stamp));
        let changed = all - now.len();
        let sum = |path: &str| match fs::read(root.join(path)) {
            Ok(bytes) => sha256(&bytes),
            Err(_) => UNREADABLE.to_owned(),
        };
        let sums = now
            .into_keys()
            .map(|path| (sum(&path), path))
            .map(|(sum, path)| (path, sum));
        Ok(Self {
            sums: sums.collect(),
            changed,
        })
    }

    /// Checks what a digest task has left behind. Returns the number of files that were compared.
    ///
    /// # Errors
    /// If anything is missing, too much, or wrong.
    pub fn check(
        &self,
        id: TaskId,
        input: &digest::Input,
        output: &digest::Output,
    ) -> Result<usize> {
        let path = sums_path(&input.sums, id);
        let text = fs::read_to_string(&path).with_context(|| format!("the sums of task {id}"))?;
        ensure!(
            sha256(text.as_bytes()) == output.sums_sha256,
            "task {id}: its sums are not those that it recorded"
        );
        ensure!(
            text.lines().count() as u64 == output.files,
            "task {id}: it recorded {} files",
            output.files
        );
        let mut found = BTreeMap::new();
        for line in text.lines() {
            let (sum, path) = line
                .split_once("  ")
                .with_context(|| format!("task {id}: {line:?}"))?;
            ensure!(
                found.insert(path, sum).is_none(),
                "task {id}: {path} was digested twice"
            );
        }
        let mut compared = 0;
        for (path, sum) in self
            .sums
            .iter()
            .filter(|(path, _)| input.subtree.holds(path))
        {
            match found.remove(path.as_str()) {
                Some(found) if found == sum => compared += 1,
                Some(_) => bail!("task {id}: the sum of {path} is wrong"),
                None => bail!("task {id}: {path} was not digested"),
            }
        }
        match found
            .keys()
            .find(|path| self.sums.contains_key(**path) || !input.subtree.holds(path))
        {
            Some(path) => bail!("task {id}: {path} does not belong to it"),
            // The rest has changed meanwhile.
            None => Ok(compared),
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks the product of two matrices. Returns the number of its cells.
///
/// # Errors
/// If a cell is wrong.
pub(crate) fn check_product(factors: &Factors, product: &Rows) -> Result<usize> {
    let (left, right) = (parse(&factors.left)?, parse(&factors.right)?);
    let mut cells = 0;
    let width = right[0].len();
    for (i, row) in left.iter().enumerate() {
        for j in 0..width {
            let sum: i64 = row
                .iter()
                .zip(&right)
                .map(|(value, other)| value * other[j])
                .sum();
            let found = product.get(i).and_then(|row| row.get(j));
            ensure!(
                found == Some(&sum),
                "cell {i},{j} of the product is {found:?} instead of {sum}"
            );
            cells += 1;
        }
    }
    ensure!(
        product.iter().map(Vec::len).sum::<usize>() == cells,
        "the product has too many cells"
    );
    Ok(cells)
}

fn parse(path: &Path) -> Result<Rows> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let row = |line: &str| {
        line.split(',')
            .map(|cell| cell.trim().parse().context("no integer"))
            .collect()
    };
    text.lines().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::subtrees::divide;
    use super::*;

    struct Case {
        folder: tempfile::TempDir,
        input: digest::Input,
        output: digest::Output,
        id: TaskId,
    }

    /// Two files, digested rightly unless `sums` says otherwise.
    fn case(sums: &str) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), "abc").unwrap();
        fs::write(root.join("b"), "").unwrap();
        let sums = sums
            .replace("{abc}", &sha256(b"abc"))
            .replace("{}", &sha256(b""));
        let id: TaskId = "0193a0c0-0000-7000-8000-000000000000".parse().unwrap();
        let input = digest::Input {
            root,
            subtree: divide(&[], 1).remove(0),
            sums: folder.path().to_owned(),
            pace_ms: 0,
        };
        fs::write(sums_path(folder.path(), id), &sums).unwrap();
        let output = digest::Output {
            files: sums.lines().count() as u64,
            sums_sha256: sha256(sums.as_bytes()),
        };
        Case {
            folder,
            input,
            output,
            id,
        }
    }

    impl Case {
        fn check(&self) -> Result<usize> {
            let before = Snapshot::take(&self.input.root)?;
            Truth::find(&self.input.root, &before)?.check(self.id, &self.input, &self.output)
        }
    }

    #[test]
    fn right_sums_pass_and_wrong_ones_do_not() {
        assert_eq!(case("{abc}  a\n{}  b\n").check().unwrap(), 2);
        for (sums, part) in [
            ("{abc}  a\n", "b was not digested"),
            ("{abc}  a\n{abc}  b\n", "of b is wrong"),
            ("{abc}  a\n{abc}  a\n{}  b\n", "twice"),
        ] {
            let error = case(sums).check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let case = case("{abc}  a\n{}  b\n");
        fs::write(sums_path(case.folder.path(), case.id), "tampered with").unwrap();
        assert!(case.check().is_err());
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_left_out_and_counted() {
        let case = case("{}  a\n{}  b\n");
        let before = Snapshot::take(&case.input.root).unwrap();
        fs::write(case.input.root.join("a"), "longer than before").unwrap();
        let truth = Truth::find(&case.input.root, &before).unwrap();
        assert_eq!(truth.changed, 1);
        assert_eq!(truth.check(case.id, &case.input, &case.output).unwrap(), 1);
    }

    #[test]
    fn a_product_is_checked_cell_by_cell() {
        let folder = tempfile::tempdir().unwrap();
        let (left, right) = (folder.path().join("l"), folder.path().join("r"));
        fs::write(&left, "1,2\n3,4\n").unwrap();
        fs::write(&right, "5,6\n7,8\n").unwrap();
        let factors = Factors {
            left,
            right,
            pace_ms: 0,
        };
        assert_eq!(
            check_product(&factors, &vec![vec![19, 22], vec![43, 50]]).unwrap(),
            4
        );
        assert!(check_product(&factors, &vec![vec![19, 22], vec![43, 51]]).is_err());
        assert!(check_product(&factors, &vec![vec![19, 22]]).is_err());
    }
}
