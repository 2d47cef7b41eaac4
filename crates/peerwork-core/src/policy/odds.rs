//! Odds of a sample of a fixed size in which each is as often as its fraction says.
//!
//! A conditional Poisson sample draws a set of `size` with a probability in proportion to the product of its members'
//! odds. S. Chen, A. Dempster, J. Liu, "Weighted finite population sampling to maximize entropy", Biometrika 1994, show
//! that for any fractions whose sum is `size` there are such odds, and how to find them.

/// Up to so many members the odds are exact. It takes members² × size × rounds steps: some twenty microseconds for 16.
const EXACT_MAX: usize = 16;

/// Each makes the error several times smaller.
const ROUNDS: usize = 8;

/// The odds of members with these fractions, each above 0 and below 1, whose sum is a whole number.
///
/// Beyond [`EXACT_MAX`] members they are fraction / (1 - fraction), which is their limit (J. Hájek, 1964).
pub(super) fn odds(fractions: &[f64]) -> Vec<f64> {
    let size = fractions.iter().sum::<f64>().round() as usize;
    let mut odds: Vec<f64> = fractions.iter().map(|f| f / (1.0 - f)).collect();
    if fractions.len() > EXACT_MAX || size == 0 {
        return odds;
    }
    let against = |p: f64| p / (1.0 - p);
    // A member's own odds move it fully, the others' odds together as far the other way: this step neither overshoots nor lags.
    let step = 1.0 - 1.0 / fractions.len() as f64;
    for _ in 0..ROUNDS {
        let are_in = inclusions(&odds, size);
        for (odds, (fraction, is_in)) in odds.iter_mut().zip(fractions.iter().zip(are_in)) {
            *odds *= (against(*fraction) / against(is_in)).powf(step);
        }
    }
    odds
}

/// How likely each is in the sample.
fn inclusions(odds: &[f64], size: usize) -> Vec<f64> {
    let is_in = |member: usize| {
        // The sums over all sets of 0, 1, .. of the others, of the products of their odds.
        let mut sums = vec![0.0; size + 1];
        sums[0] = 1.0;
        for (_, odds) in odds.iter().enumerate().filter(|(i, _)| *i != member) {
            for n in (1..=size).rev() {
                sums[n] += sums[n - 1] * odds;
            }
        }
        let with = odds[member] * sums[size - 1];
        with / (with + sums[size])
    };
    (0..odds.len()).map(is_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_in_the_sample_as_often_as_its_fraction_says() {
        let cases: [&[f64]; 4] = [
            &[2.0 / 7.0, 4.0 / 7.0, 1.0 / 7.0],
            &[0.9, 0.6, 0.5],
            &[0.9, 0.5, 0.4, 0.2],
            &[0.99, 0.99, 0.01, 0.01],
        ];
        for fractions in cases {
            let size = fractions.iter().sum::<f64>().round() as usize;
            let are_in = inclusions(&odds(fractions), size);
            for (is_in, fraction) in are_in.iter().zip(fractions) {
                let error = (is_in - fraction).abs() / fraction;
                assert!(error < 0.02, "{are_in:?} instead of {fractions:?}");
            }
        }
    }

    #[test]
    fn many_members_are_close_to_it() {
        let fractions: Vec<f64> = (0..40)
            .map(|i| 0.2 + 0.3 * f64::from(i % 2) * 2.0)
            .collect();
        let size = fractions.iter().sum::<f64>().round() as usize;
        let are_in = inclusions(&odds(&fractions), size);
        let is_close = |(is_in, fraction): (&f64, &f64)| (is_in - fraction).abs() / fraction < 0.05;
        assert!(are_in.iter().zip(&fractions).all(is_close), "{are_in:?}");
    }
}
