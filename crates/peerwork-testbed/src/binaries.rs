//! Where the servers' programs are installed.

use std::env;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Debian keeps PostgreSQL's server programs out of PATH, one folder per major version.
const POSTGRES_ROOT: &str = "/usr/lib/postgresql";

/// Programs for administrators, which an ordinary user's PATH may lack.
const ADMIN_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"];

/// A program of PostgreSQL: the newest installed version's, else the one in PATH.
pub(crate) fn postgres(name: &str) -> Result<PathBuf> {
    find(
        name,
        postgres_folders(Path::new(POSTGRES_ROOT)),
        "postgresql",
    )
}

/// A program of MariaDB, under the first of its names that is installed.
pub(crate) fn mariadb(names: &[&str]) -> Result<PathBuf> {
    let mut missing = None;
    for name in names {
        match find(name, Vec::new(), "mariadb-server") {
            Ok(path) => return Ok(path),
            Err(error) => missing = missing.or(Some(error)),
        }
    }
    Err(missing.expect("callers name at least one program"))
}

/// A program that is where programs are, of a package that a fault needs.
pub(crate) fn anywhere(name: &str, package: &str) -> Result<PathBuf> {
    find(name, Vec::new(), package)
}

fn find(name: &str, first: Vec<PathBuf>, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = first
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(ADMIN_FOLDERS.map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Error::missing_binary(format_args!(
                "find {name}: not installed; `apt-get install {package}`, or put it in PATH"
            ))
        })
}

/// Newest first: 16 before 9.6.
fn postgres_folders(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = root.read_dir() else {
        return Vec::new();
    };
    let mut versions: Vec<(f64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    versions.sort_by(|a, b| b.0.total_cmp(&a.0));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_the_package_to_install() {
        let error = find("no-such-server", Vec::new(), "postgresql").unwrap_err();
        assert!(error.is_missing_binary());
        assert_eq!(
            error.to_string(),
            "find no-such-server: not installed; `apt-get install postgresql`, or put it in PATH"
        );
    }

    #[test]
    fn the_newest_postgres_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for name in ["9.6", "15", "17", "not-a-version"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let found: Vec<_> = postgres_folders(root.path())
            .iter()
            .map(|folder| {
                folder
                    .strip_prefix(root.path())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(found, ["17/bin", "15/bin", "9.6/bin"]);
    }
}
