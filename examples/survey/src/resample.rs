//! One resample: as many persons as there are, drawn with replacement.

use std::fmt::Write as _;

use crate::data::Cluster;
use crate::poisson;

/// The line of resample `number`: the number, the coefficients, and for number 0, which is the sample itself, the
/// model's own standard errors.
pub fn line(clusters: &[Cluster], number: u32) -> Result<String, String> {
    let weights = if number == 0 { vec![1; clusters.len()] } else { draw(clusters.len(), number) };
    let fit = poisson::fit(clusters, &weights).ok_or_else(|| format!("resample {number} has no unique fit"))?;
    let mut line = number.to_string();
    let errors: &[f64] = if number == 0 { &fit.errors } else { &[] };
    for value in fit.beta.iter().chain(errors) {
        let _ = write!(line, ",{value:.9}");
    }
    line.push('\n');
    Ok(line)
}

/// How often each of `n` persons is drawn in resample `seed`.
fn draw(n: usize, seed: u32) -> Vec<u32> {
    let mut weights = vec![0; n];
    let mut state = u64::from(seed);
    for _ in 0..n {
        let at = (u128::from(split_mix(&mut state)) * n as u128) >> 64;
        weights[at as usize] += 1;
    }
    weights
}

/// Vigna's SplitMix64.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resample_is_as_large_as_the_sample() {
        let (a, b) = (draw(1000, 1), draw(1000, 2));
        assert_eq!(a.iter().sum::<u32>(), 1000);
        assert_ne!(a, b);
        let missed = a.iter().filter(|w| **w == 0).count();
        assert!((330..410).contains(&missed), "1/e of the persons should be left out, not {missed}");
    }
}
