//! Numbers that look random, from a seed that is an argument.
//!
//! SplitMix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.

/// A sequence of such numbers. The same seed gives the same sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next one as a fraction above 0, up to 1.
    pub fn fraction(&mut self) -> f64 {
        // 53 bits are what a double holds; never 0, so that it has a logarithm.
        ((self.roll() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// The next one as a number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The high half of a product: D. Lemire, "Fast Random Integer Generation in an Interval", 2019, without its last correction.
        let product = u128::from(self.roll()) * bound as u128;
        (product >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        let mut dice = Dice::new(1_234_567);
        let rolls = [dice.roll(), dice.roll(), dice.roll()];
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(rolls, published);
    }

    #[test]
    fn fractions_and_bounded_numbers_are_spread_evenly() {
        let mut dice = Dice::new(7);
        let mean = (0..10_000).map(|_| dice.fraction()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let mut counts = [0; 5];
        for _ in 0..10_000 {
            counts[dice.below(5)] += 1;
        }
        assert!(
            counts.iter().all(|count| (1_850..2_150).contains(count)),
            "{counts:?}"
        );
        assert_eq!(dice.below(0), 0);
    }
}
