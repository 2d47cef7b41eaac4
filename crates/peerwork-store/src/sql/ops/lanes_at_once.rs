//! Looking into many lanes by few statements, which are prepared once: every statement has its price, and a claim may be of hundreds
//! of lanes.

use crate::sql::fault::Fault;
use crate::sql::value::Row;

/// Lanes that one statement looks into at most: longer texts take longer to prepare, and to send.
pub(super) const LANES_MAX: usize = 32;

/// How many lanes the next statement looks into, of those that have so much `room` each: of few lengths, powers of two up to `most`, and
/// as far as all of them may be taken of what is `left` of a batch; one in any case.
pub(super) fn fitting(room: impl Iterator<Item = usize>, most: usize, left: usize) -> usize {
    let mut sum = 0;
    let fit = room.take(most).take_while(|room| {
        sum += room;
        sum <= left
    });
    fit.count().checked_ilog2().map_or(1, |power| 1 << power)
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

    #[test]
    fn lanes_are_looked_into_by_statements_of_few_lengths_and_no_further_than_a_batch() {
        let of = |lanes: usize, room, most, left| fitting((0..lanes).map(|_| room), most, left);
        assert_eq!(of(77, 1, LANES_MAX, 1_000), 32);
        assert_eq!(of(13, 1, LANES_MAX, 1_000), 8);
        assert_eq!(of(3, 1, 1, 1_000), 1);
        // What the first ones leave of the batch is known only once they were looked into.
        assert_eq!(of(77, 100, LANES_MAX, 590), 4);
        assert_eq!(of(77, 1_000, LANES_MAX, 20), 1);
    }
}
