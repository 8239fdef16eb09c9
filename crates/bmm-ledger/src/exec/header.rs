//! Rules of the header that do not depend on the engine, and the values that the next header must hold.

use super::BlockError;
use bmm_types::{Block, ChainParams, Header};

/// Returns the base fee of the block after `parent`, in units per gas (EIP-1559).
pub fn next_base_fee(parent: &Header) -> u64 {
    todo!()
}

/// Returns the gas limit nearest to `wanted` that the block after `parent` may have.
pub fn next_gas_limit(parent_limit: u64, wanted: u64) -> u64 {
    todo!()
}

/// Checks what a header must hold given its parent, engine and seal aside: parent hash, number, timestamp, gas limit, base fee and the fixed fields.
pub fn check_header(params: &ChainParams, parent: &Header, header: &Header) -> Result<(), BlockError> {
    todo!()
}

/// Checks that the body is the one that the header commits to: transactions, ommers, withdrawals, length.
pub fn check_body(params: &ChainParams, block: &Block) -> Result<(), BlockError> {
    todo!()
}
