//! Looking into many lanes by few statements, which are prepared once: every statement has its price, and a claim may be of hundreds
//! of lanes.

use crate::Claim;
use crate::sql::fault::Fault;
use crate::sql::value::Row;
use peerwork_core::{BATCH_MAX, Grant};

/// Lanes that one statement looks into at most: longer texts take longer to prepare, and to send.
pub(super) const LANES_MAX: usize = 32;

/// The grants of a claim, as far as a batch goes.
pub(super) fn looks(claim: &Claim) -> Vec<Grant> {
    let mut left = BATCH_MAX;
    let cut = |grant: &Grant| {
        let tasks = grant.tasks.min(left);
        left -= tasks;
        Grant { tasks, ..*grant }
    };
    let looks = claim.grants.iter().map(cut);
    looks.filter(|look| look.tasks > 0).collect()
}

/// Cuts a list into pieces for a statement each, of `most` at most and of few lengths: powers of two.
pub(super) fn pieces<T>(all: &[T], most: usize) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let power = rest.len().checked_ilog2()?;
        let (piece, after) = rest.split_at(most.min(1 << power));
        rest = after;
        Some(piece)
    })
}

/// Reads by its number in the statement which of so many lanes a row is of.
pub(super) fn number_of(row: &mut Row<'_>, lanes: usize) -> Result<usize, Fault> {
    let number = usize::try_from(row.int()?).ok();
    let number = number.filter(|number| *number < lanes);
    number.ok_or_else(|| Fault::broken("a row of no lane".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerwork_core::{LaneId, NodeId, RunId};
    use uuid::Uuid;

    #[test]
    fn a_list_is_cut_into_pieces_of_few_lengths() {
        let lengths = |count: usize, most| -> Vec<usize> {
            let all: Vec<usize> = (0..count).collect();
            let pieces: Vec<_> = pieces(&all, most).collect();
            assert_eq!(pieces.concat(), all);
            pieces.iter().map(|piece| piece.len()).collect()
        };
        assert!(lengths(0, LANES_MAX).is_empty());
        assert_eq!(lengths(77, LANES_MAX), [32, 32, 8, 4, 1]);
        assert_eq!(lengths(3, 1), [1, 1, 1]);
    }

    #[test]
    fn no_more_is_looked_for_than_a_batch() {
        let id = Uuid::from_u128;
        let grants = [BATCH_MAX - 1, 7, 5].into_iter().zip(1..);
        let claim = Claim {
            node: NodeId(id(1)),
            run: RunId(id(1)),
            grants: grants
                .map(|(tasks, n)| Grant {
                    lane: LaneId(id(n)),
                    tasks,
                })
                .collect(),
            reaches: Vec::new(),
            kinds: Vec::new(),
            version: 0,
        };
        let looks = looks(&claim);
        let tasks: Vec<_> = looks.iter().map(|look| look.tasks).collect();
        assert_eq!(tasks, [BATCH_MAX - 1, 1]);
    }
}
