//! Rules that depend on the engine: difficulty, work, seal.

use crate::error::ImportError;
use alloy_primitives::{B256, U256};
use bmm_pow::{Asert, Difficulty, Work, verify};
use bmm_types::{ChainParams, Engine, Header, Seal};

/// Returns the difficulty of the block after `parent`: ASERT's for `pow`, 1 for `dev`, and 0 (after Ethereum's merge) for
/// `no-seal`.
pub fn next_difficulty(params: &ChainParams, asert: &Asert, parent: &Header) -> U256 {
    match params.engine {
        Engine::Pow => asert.next_difficulty(parent.number, parent.timestamp).get(),
        Engine::Dev => U256::ONE,
        Engine::NoSeal => U256::ZERO,
    }
}

/// Rule: the header's difficulty is what the engine says.
pub fn check_difficulty(
    params: &ChainParams,
    asert: &Asert,
    parent: &Header,
    header: &Header,
) -> Result<(), ImportError> {
    let (got, expected) = (header.difficulty, next_difficulty(params, asert, parent));
    if got == expected { Ok(()) } else { Err(ImportError::Difficulty { got, expected }) }
}

/// Rule: with the engine `pow` the seal is an AuxPoW that verifies for the header's difficulty; otherwise there is no seal.
pub fn check_seal(params: &ChainParams, id: B256, header: &Header, seal: &Seal) -> Result<(), ImportError> {
    match (params.engine, seal) {
        (Engine::Pow, Seal::None) => Err(ImportError::SealMissing),
        (Engine::Pow, Seal::AuxPow(aux)) => {
            // check_difficulty comes first, and ASERT never gives zero.
            let difficulty = Difficulty::new(header.difficulty).unwrap_or(Difficulty::ONE);
            Ok(verify(aux, id, params.aux_chain_id, difficulty)?)
        }
        (Engine::Dev | Engine::NoSeal, Seal::None) => Ok(()),
        (Engine::Dev | Engine::NoSeal, Seal::AuxPow(_)) => Err(ImportError::SealUnexpected),
    }
}

/// Hashes the parent headers of seals that [`check_seal`] is going to see, many at once: a tenth of the time that each takes alone.
pub fn hash_ahead<'a>(params: &ChainParams, seals: impl IntoIterator<Item = &'a Seal>) {
    if params.engine == Engine::Pow {
        bmm_pow::hash_ahead(seals.into_iter().filter_map(|seal| match seal {
            Seal::AuxPow(aux) => Some(&aux.parent_header.0),
            Seal::None => None,
        }));
    }
}

/// Returns the total work of a block: its parent's and its difficulty. Without proof of work every block counts 1.
pub fn total_work(params: &ChainParams, parent: Work, header: &Header) -> Work {
    match params.engine {
        Engine::Pow => parent.plus(header.difficulty),
        Engine::Dev | Engine::NoSeal => parent.plus(U256::ONE),
    }
}
