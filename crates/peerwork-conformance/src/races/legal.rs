//! Which status may follow which, as the reviewed matrix says.

use peerwork_core::{Status, lifecycle};
use std::collections::BTreeSet;

/// All (status, next status) that some event leads from and to.
pub fn steps() -> BTreeSet<(Status, Status)> {
    let named = |name: &str| Status::ALL.into_iter().find(|status| status.name() == name);
    let mut steps = BTreeSet::new();
    // A line of a cell is indented: the status, and what it becomes, with `|` between the alternatives.
    for line in lifecycle::matrix()
        .lines()
        .filter(|line| line.starts_with(' '))
    {
        let (from, becomes) = line
            .trim()
            .split_once(' ')
            .expect("a status and its answers");
        let from = named(from).expect("a status");
        steps.extend(
            becomes
                .split('|')
                .filter_map(|to| Some((from, named(to.trim())?))),
        );
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_read_right() {
        let steps = steps();
        assert!(steps.contains(&(Status::Queued, Status::Running)));
        assert!(steps.contains(&(Status::Cleaning, Status::CleanupFailed)));
        assert!(!steps.contains(&(Status::Deleted, Status::Queued)));
        assert!(!steps.contains(&(Status::Paused, Status::Running)));
        assert!(steps.len() > 50, "{}", steps.len());
    }
}
