//! Divides free slots among parties by weight, given what each of them runs.
//!
//! A party's *target* is its weight's part of all slots that the parties have or get. Nobody is taken anything away; free slots
//! go to those who run less than their target. The whole slots of the targets come first. What is left are the fractions: with
//! weights 1:2:4, the targets in 16 slots are 2.29, 4.57 and 9.14, and one slot floats. Who gets it is drawn, by odds that make
//! the average over time come out at the targets:
//!
//! As long as there is work, the parties' slots are a Markov chain. In each state the parties of a set S, of a fixed size, have one
//! slot more than the whole part of their target. When one of those slots ends (of party j at a rate in proportion to the
//! slots it has then, whole + 1), the floating slot is drawn anew among those outside S by weights q. Detailed balance holds,
//! and the chain is in S with a probability in proportion to the product of q / (whole + 1) over S: a conditional Poisson
//! sample. [`odds`] finds those products' factors for which j is in S as often as its fraction says; q is the
//! factor times (whole + 1).
//!
//! Where mean lengths differ between parties, those with longer tasks hold the floating slots longer; the error stays below one slot.

use super::odds::odds;
use crate::Dice;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Somebody who waits for slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Party {
    /// At least 1.
    pub weight: u32,
    /// Slots that it has.
    pub running: usize,
}

/// What a party is to have: `whole` slots and `part` of `all` of another.
struct Target {
    whole: usize,
    part: u64,
}

/// How many of the `free` slots each party gets: all of them, unless there is no party.
pub(super) fn divide(free: usize, parties: &[Party], dice: u64) -> Vec<usize> {
    let slots = free as u64
        + parties
            .iter()
            .map(|party| party.running as u64)
            .sum::<u64>();
    let all: u64 = parties.iter().map(|party| u64::from(party.weight)).sum();
    let target = |party: &Party| {
        let product = u128::from(slots) * u128::from(party.weight);
        Target {
            whole: usize::try_from(product / u128::from(all)).expect("no more than all slots"),
            part: u64::try_from(product % u128::from(all)).expect("less than the weights"),
        }
    };
    let targets: Vec<Target> = parties.iter().map(target).collect();
    let short = |(party, target): (&Party, &Target)| target.whole.saturating_sub(party.running);
    let short: Vec<usize> = parties.iter().zip(&targets).map(short).collect();
    let missing: usize = short.iter().sum();
    if missing > free {
        // Up to the target rounded up: a part of a slot is a claim to the next one, too.
        let up = |(party, target): (&Party, &Target)| {
            (target.whole + usize::from(target.part > 0)).saturating_sub(party.running)
        };
        let up: Vec<usize> = parties.iter().zip(&targets).map(up).collect();
        return poorest_first(free, parties, &up, dice);
    }
    let mut gets = short;
    for party in draw(free - missing, parties, &targets, all, dice) {
        gets[party] += 1;
    }
    gets
}

/// Somebody has more than its target: there is less than the others are short of, and who runs least for its weight is first.
fn poorest_first(free: usize, parties: &[Party], short: &[usize], dice: u64) -> Vec<usize> {
    let mut dice = Dice::new(dice);
    let key = |party: &Party, gets: usize| {
        let rate = (party.running + gets) as f64 / f64::from(party.weight);
        // Of doubles that are not negative, the bits are in the order of the values.
        rate.to_bits()
    };
    let waiting = parties.iter().enumerate().filter(|(i, _)| short[*i] > 0);
    // Equals in no order that anybody could make use of.
    let mut queue: BinaryHeap<_> = waiting
        .map(|(i, party)| Reverse((key(party, 0), dice.roll(), i)))
        .collect();
    let mut gets = vec![0; parties.len()];
    for _ in 0..free {
        let Some(Reverse((_, tie, i))) = queue.pop() else {
            break;
        };
        gets[i] += 1;
        if gets[i] < short[i] {
            queue.push(Reverse((key(&parties[i], gets[i]), tie, i)));
        }
    }
    gets
}

/// Draws who gets one of the `left` slots: of the parties that have no slot beyond the whole ones.
fn draw(left: usize, parties: &[Party], targets: &[Target], all: u64, dice: u64) -> Vec<usize> {
    if left == 0 {
        return Vec::new();
    }
    let fractional: Vec<usize> = (0..parties.len())
        .filter(|i| targets[*i].part > 0)
        .collect();
    let parts = fractional
        .iter()
        .map(|i| targets[*i].part as f64 / all as f64);
    let odds = odds(&parts.collect::<Vec<_>>());
    let mut dice = Dice::new(dice);
    let mut lots: Vec<(f64, usize)> = Vec::new();
    for (i, odds) in fractional.into_iter().zip(odds) {
        // Rolled for everybody, so that one's lot does not depend on what others run.
        let lot = dice.fraction().ln() / (odds * (targets[i].whole + 1) as f64);
        if parties[i].running <= targets[i].whole {
            lots.push((lot, i));
        }
    }
    // The largest of ln(u) / q are a weighted sample without replacement: P. Efraimidis, P. Spirakis, "Weighted random sampling
    // with a reservoir", 2006. There are enough: the targets' sum exceeds what runs by `free`.
    if left < lots.len() {
        lots.select_nth_unstable_by(left, |a, b| b.0.total_cmp(&a.0));
    }
    lots.into_iter().take(left).map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn party(weight: u32, running: usize) -> Party {
        Party { weight, running }
    }

    #[test]
    fn whole_slots_go_to_those_who_are_short_of_them() {
        let parties = [party(1, 0), party(1, 4), party(2, 4)];
        assert_eq!(divide(8, &parties, 1), [4, 0, 4]);
        assert_eq!(divide(0, &parties, 1), [0, 0, 0]);
        assert_eq!(divide(3, &[], 1), [0; 0]);
    }

    #[test]
    fn who_has_too_much_gets_nothing_until_the_others_have_caught_up() {
        let parties = [party(1, 15), party(1, 0)];
        assert_eq!(divide(1, &parties, 1), [0, 1]);
        let parties = [party(1, 100), party(1, 0), party(3, 0)];
        assert_eq!(divide(8, &parties, 1), [0, 2, 6]);
    }

    #[test]
    fn a_small_weight_is_not_passed_over_while_somebody_has_too_much() {
        // Targets of 0.73, 14.5 and 0.73: the first has taken an idle cluster, the last one has nothing.
        let parties = [party(1, 12), party(20, 3), party(1, 0)];
        assert_eq!(divide(1, &parties, 1), [0, 0, 1]);
    }

    /// Slots end one by one, of whom is drawn, and are divided again.
    fn averages(weights: &[u32], slots: usize, seed: u64) -> Vec<f64> {
        const STEPS: usize = 30_000;
        let mut parties: Vec<_> = weights.iter().map(|weight| party(*weight, 0)).collect();
        let mut dice = Dice::new(seed);
        let mut sums = vec![0; weights.len()];
        let mut free = slots;
        for _ in 0..STEPS {
            let gets = divide(free, &parties, dice.roll());
            for (i, gets) in gets.into_iter().enumerate() {
                parties[i].running += gets;
                sums[i] += parties[i].running;
            }
            let mut nth = dice.below(slots);
            let ends = parties.iter_mut().find(|party| {
                let is_this = nth < party.running;
                nth = nth.saturating_sub(party.running);
                is_this
            });
            ends.expect("all slots are taken").running -= 1;
            free = 1;
        }
        sums.iter().map(|sum| *sum as f64 / STEPS as f64).collect()
    }

    #[test]
    fn the_averages_over_time_are_the_targets() {
        let cases: [(&[u32], usize); 5] = [
            (&[1, 2, 4], 16),
            (&[1, 1, 1], 16),
            (&[1, 2, 4, 4, 3, 7], 8),
            (&[5, 3, 1], 2),
            (&[[1; 10], [3; 10]].concat(), 12),
        ];
        for (weights, slots) in cases {
            let all: u32 = weights.iter().sum();
            let averages = averages(weights, slots, 3);
            for weight in weights {
                let alike = weights.iter().zip(&averages).filter(|(w, _)| *w == weight);
                let alike: Vec<f64> = alike.map(|(_, average)| *average).collect();
                let average = alike.iter().sum::<f64>() / alike.len() as f64;
                let target = slots as f64 * f64::from(*weight) / f64::from(all);
                let error = (average - target).abs() / target;
                assert!(error < 0.06, "{weights:?}: {average} instead of {target}");
            }
        }
    }

    proptest! {
        #[test]
        fn all_slots_are_divided_and_nobody_gets_more_than_its_target_rounded_up(
            parties in prop::collection::vec((1..9u32, 0..30usize), 1..40),
            free in 0..80usize,
            dice: u64,
        ) {
            let parties: Vec<_> = parties.into_iter().map(|(w, r)| party(w, r)).collect();
            let gets = divide(free, &parties, dice);
            prop_assert_eq!(gets.iter().sum::<usize>(), free);
            let slots = free + parties.iter().map(|party| party.running).sum::<usize>();
            let all: u32 = parties.iter().map(|party| party.weight).sum();
            for (party, gets) in parties.iter().zip(gets) {
                let most = (slots * party.weight as usize).div_ceil(all as usize);
                prop_assert!(gets == 0 || party.running + gets <= most);
            }
        }
    }
}
