//! Proofs of hash work: what a solution commits to, and how many hashes a contributor's smallest ones tell of.

use crate::{
    auxpow::{AuxPowError, check_commitment, check_magic},
    scrypt::{hash_ahead, scrypt_hash},
};
use alloy_primitives::{B256, U256, U512};
use bmm_types::{AuxPow, system::RESOURCE_AUX_CHAIN_ID};

/// Why a proof of hash work is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A solution does not commit to the leaf.
    #[error("solution {index}: {error}")]
    Solution {
        /// Which of the solutions.
        index: usize,
        /// What is wrong with it.
        error: AuxPowError,
    },
    /// The hashes do not ascend strictly.
    #[error("solution {0}: its hash is not above the one before")]
    NotAscending(usize),
}

/// Returns the Scrypt hash of a parent header as the number that it is compared by.
pub fn solution_hash(aux: &AuxPow) -> U256 {
    U256::from_le_bytes(scrypt_hash(&aux.parent_header.0))
}

/// Rule: a solution's work was done for `leaf` under [`RESOURCE_AUX_CHAIN_ID`], by a coinbase that holds the magic.
///
/// # Errors
/// The rule that it breaks.
pub fn check_solution(aux: &AuxPow, leaf: B256) -> Result<(), AuxPowError> {
    check_commitment(aux, leaf, RESOURCE_AUX_CHAIN_ID)?;
    check_magic(aux)
}

/// Rule: every solution of a proof commits to `leaf`, and their hashes ascend strictly, so that none is there twice. Returns the largest
/// hash; zero of no solutions.
///
/// The cheap rules come first; the hashes are computed together, which takes a fraction of the time of one after the other.
///
/// # Errors
/// The first rule that is broken, with the solution's number.
pub fn check_proof(solutions: &[AuxPow], leaf: B256) -> Result<U256, ProofError> {
    for (index, aux) in solutions.iter().enumerate() {
        check_solution(aux, leaf).map_err(|error| ProofError::Solution { index, error })?;
    }
    hash_ahead(solutions.iter().map(|aux| &aux.parent_header.0));
    let mut last = None;
    for (index, aux) in solutions.iter().enumerate() {
        let hash = solution_hash(aux);
        if last.is_some_and(|last| hash <= last) {
            return Err(ProofError::NotAscending(index));
        }
        last = Some(hash);
    }
    Ok(last.unwrap_or_default())
}

/// Returns the number of hashes of which the `count` smallest end with `largest`: (count − 1) · 2^256 / largest, rounded down, and 2^256 − 1
/// at most.
///
/// The k-th smallest of N uniform numbers has the mean of its inverse at N / (k − 1) · 2^−256, so that the estimate has no bias; its
/// relative standard deviation is 1/√(k − 2).
pub fn estimate(count: usize, largest: U256) -> U256 {
    let factor = U512::from(count.saturating_sub(1)).wrapping_shl(256);
    let hashes = factor.checked_div(U512::from(largest)).unwrap_or(U512::MAX);
    U256::saturating_from(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_exact_at_the_edges() {
        assert_eq!(estimate(32, U256::MAX), U256::from(31));
        assert_eq!(estimate(32, U256::from(1).wrapping_shl(255)), U256::from(62));
        assert_eq!(estimate(2, U256::from(3)), U256::MAX / U256::from(3));
        assert_eq!(estimate(2, U256::from(1)), U256::MAX, "2^256 does not fit");
        assert_eq!(estimate(32, U256::ZERO), U256::MAX);
        assert_eq!(estimate(0, U256::from(7)), U256::ZERO);
    }

    /// Returns estimate over truth for a contributor whose hashes are these.
    fn quotient(mut hashes: Vec<U256>, count: usize) -> f64 {
        hashes.sort();
        let largest = hashes.iter().take(count).max().expect("enough hashes");
        f64::from(estimate(count, *largest)) / f64::from(u32::try_from(hashes.len()).expect("few"))
    }

    #[test]
    fn a_thousand_estimates_have_no_bias_and_the_spread_of_theory() {
        const COUNT: usize = 32;
        // Keccak of a counter is uniform, and the same on every run.
        let hash = |who: u32, at: u32| {
            U256::from_be_bytes(alloy_primitives::keccak256([who, at].map(u32::to_be_bytes).as_flattened()).0)
        };
        let quotients: Vec<f64> =
            (0..1_000).map(|who| quotient((0..1_500).map(|at| hash(who, at)).collect(), COUNT)).collect();
        let mean = quotients.iter().sum::<f64>() / 1_000.0;
        let spread = (quotients.iter().map(|quotient| (quotient - mean).powi(2)).sum::<f64>() / 999.0).sqrt();
        // The mean of a thousand is off by 0.6 % at one standard deviation, their spread by about 2.5 %.
        assert!((0.98..1.02).contains(&mean), "{mean}");
        let theory = 1.0 / 30f64.sqrt();
        assert!((0.9..1.1).contains(&(spread / theory)), "{spread} instead of {theory}");
    }

    #[test]
    fn real_work_is_estimated_within_three_standard_deviations() {
        const COUNT: usize = 32;
        for who in 0..4u64 {
            let parent = crate::SyntheticParent::new(B256::ZERO, who, 1);
            let headers: Vec<_> = (0..700).map(|nonce| parent.header(nonce)).collect();
            hash_ahead(&headers);
            let hashes = headers.iter().map(|header| U256::from_le_bytes(scrypt_hash(header))).collect();
            let quotient = quotient(hashes, COUNT);
            assert!((1.0 - 3.0 / 30f64.sqrt()..1.0 + 3.0 / 30f64.sqrt()).contains(&quotient), "{quotient}");
        }
    }
}
