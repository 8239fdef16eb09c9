//! Blocks to be mined.

use crate::{chain::Chain, error::ChainError};
use alloy_primitives::{Address, B256, Bytes, Signature};
use bmm_pow::Target;
use bmm_types::Block;

/// What a producer wants in its block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateRequest {
    /// Who produces the block and gets its reward; signs it.
    pub beneficiary: Address,
    /// Free bytes for extraData, at most 32.
    pub vanity: Bytes,
}

/// A block that lacks only its seal.
#[derive(Clone, Debug)]
pub struct Template {
    /// The block, signed.
    pub block: Block,
    /// Its id: what the proof of work commits to.
    pub id: B256,
    /// What the proof's hash must not pass.
    pub target: Target,
}

#[derive(Default)]
pub(crate) struct PendingCache {}

impl Chain {
    /// Builds the next block from the pool and has it signed: `sign` gets the hash to sign with the beneficiary's key.
    pub fn template(&self, request: &TemplateRequest, sign: &dyn Fn(B256) -> Signature) -> Result<Template, ChainError> {
        todo!("{request:?} {}", sign(B256::ZERO))
    }
}
